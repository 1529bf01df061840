// What the frame reader refuses, each beside what comes closest and is accepted.

import assert from "node:assert/strict";
import { test } from "node:test";
import { seconds } from "../../../src/shared/base/units.js";
import { FrameReader } from "../../../src/shared/protocol/session/frame.js";
import { putAck } from "../../../src/shared/protocol/session/frame-ack.js";
import { putKeys, putRekey } from "../../../src/shared/protocol/session/frame-control.js";
import { putRefuse, ReceiptWriter } from "../../../src/shared/protocol/session/frame-receipt.js";
import { FRAME } from "../../../src/shared/protocol/session/frame-type.js";
import { AckRanges } from "../../../src/shared/protocol/transport/ack-ranges.js";
import { AckedRanges } from "../../../src/shared/protocol/transport/ack-reader.js";
import { decode, encode, type Pair, unhex } from "./said.js";

const BOOT = "b0b1b2b3b4b5b6b7";
const ID = "000102030405060708090a0b";
const D8 = "0001020304050607";
const D16 = D8 + D8;
const MAX = "c01fffffffffffff";
const NOISE = "5a".repeat(48);
/** Flags, with what stands before and behind them in a MESSAGE. */
const message = (flags: string, behind: string, number = "01", life = "01") =>
  `03${number}${flags}${ID}${life}${behind}`;

const ROWS: readonly (readonly [string, string, string])[] = [
  // what, fault, accepted
  ["ACK: the first range reaches below 0", "0205000006", "0205000005"],
  ["ACK: 64 further ranges", `0240ff004040${"00".repeat(130)}`, `0240ff003f00${"0000".repeat(63)}`],
  ["ACK: a gap reaches below 0", "0205000100 0400", "0205000100 0300"],
  ["ACK: a further range reaches below 0", "0205000100 0301", "0205000100 0201"],
  ["ACK: a gap of 2^53 - 1", `02${MAX}000100 ${MAX}00`, `02${MAX}000100 c01ffffffffffffd00`],
  ["ACK: largest above 2^53 - 1", "02c020000000000000000000", `02${MAX}000000`],
  ["MESSAGE: bit 6 of the flags", message("40", "0000"), message("30", "0000")],
  ["MESSAGE: bit 7 of the flags", message("80", "0000"), message("02", "0000")],
  ["MESSAGE: no life", message("00", "0000", "01", "00"), message("00", "0000", "01", "01")],
  ["MESSAGE: shorter than its total", message("00", "0201aa"), message("00", "0202aaaa")],
  ["MESSAGE: longer than its total", message("00", "0102aaaa"), message("00", "0101aa")],
  ["MESSAGE: data beyond the packet", message("00", "0202aa"), message("00", "0101aa")],
  ["MESSAGE: 2^53 - 1 bytes of data", message("00", `${MAX}${MAX}aa`), message("00", "0101aa")],
  ["MESSAGE: no stream", message("01", "0000 0101 00"), message("01", "0001 61 0101 00")],
  [
    "MESSAGE: a stream of 65 bytes",
    message("01", `0041${"61".repeat(65)}010100`),
    message("01", `0040${"61".repeat(64)}010100`),
  ],
  [
    "MESSAGE: a stream of half a character",
    message("01", "0001c3010100"),
    message("01", "0002c3a9010100"),
  ],
  [
    "MESSAGE: a stream of a surrogate",
    message("01", "0003eda080010100"),
    message("01", "0003ed9fbf010100"),
  ],
  [
    "MESSAGE: base above the sequence",
    message("01", "00016101 0200"),
    message("01", "00016102 0200"),
  ],
  ["MESSAGE: base 0", message("01", "00016101 0000"), message("01", "00016101 0100")],
  ["MESSAGE: an empty piece", message("04", `02${D16}0100`), message("04", `02${D16}0101aa`)],
  [
    "MESSAGE: a piece that ends beyond",
    message("04", `02${D16}0102aaaa`),
    message("04", `02${D16}0002aaaa`),
  ],
  [
    "MESSAGE: a piece that begins beyond",
    message("04", `00${D16}0100`),
    message("04", `00${D16}0000`),
  ],
  [
    "MESSAGE: offset and length whose sum is not exact",
    message("04", `${MAX}${D16}${MAX}02aaaa`),
    message("04", `${MAX}${D16}c01ffffffffffffd02aaaa`),
  ],
  ["RECEIPT: none", `04${BOOT}00`, `04${BOOT}0101${D8}`],
  ["RECEIPT: 65", `04${BOOT}4041${`01${D8}`.repeat(65)}`, `04${BOOT}4040${`01${D8}`.repeat(64)}`],
  ["RECEIPT: number 0", `04${BOOT}0100${D8}`, `04${BOOT}0101${D8}`],
  ["RECEIPT: a step of 0", `04${BOOT}0205${D8}00${D8}`, `04${BOOT}0205${D8}01${D8}`],
  [
    "RECEIPT: a step above 2^53 - 1",
    `04${BOOT}0202${D8}c01ffffffffffffe${D8}`,
    `04${BOOT}0201${D8}c01ffffffffffffe${D8}`,
  ],
  ["REFUSE: number 0", `05${BOOT}00${D8}0200`, `05${BOOT}01${D8}0200`],
  ["REFUSE: a delay for good", `05${BOOT}01${D8}3f01`, `05${BOOT}01${D8}4001`],
  ["SETTLED: above 2^53 - 1", "06c020000000000000", `06${MAX}`],
  [
    "HAVE: 33 ranges",
    `0700${ID}${D16}404021${"0001".repeat(33)}`,
    `0700${ID}${D16}404020${"0001".repeat(32)}`,
  ],
  ["HAVE: bit 1 of the flags", `0702${ID}${D16}0500`, `0701${ID}${D16}0500`],
  ["HAVE: bit 7 of the flags", `0780${ID}${D16}0500`, `0700${ID}${D16}0500`],
  ["HAVE: an empty range", `0700${ID}${D16}05010000`, `0700${ID}${D16}05010001`],
  ["HAVE: a range beyond the total", `0700${ID}${D16}05010402`, `0700${ID}${D16}05010401`],
  ["HAVE: a gap beyond the total", `0700${ID}${D16}05010601`, `0700${ID}${D16}05010005`],
  [
    "HAVE: a second range beyond the total",
    `0700${ID}${D16}050200020202`,
    `0700${ID}${D16}050200020201`,
  ],
  ["CREDIT: above 2^53 - 1", "0801c020000000000000", `0801${MAX}`],
  ["REKEY: message 0", `090000000001000000 0030${NOISE}`, `090100000001000000 0030${NOISE}`],
  ["REKEY: message 3", `0903000000010000000130${NOISE}`, `0902000000010000000130${NOISE}`],
  ["REKEY: session id 0", `0901000000000000000030${NOISE}`, `0901000000010000000030${NOISE}`],
  ["REKEY: message 1 answers", `0901000000010000000130${NOISE}`, `0901000000010000000030${NOISE}`],
  [
    "REKEY: message 2 answers nobody",
    `0902000000010000000030${NOISE}`,
    `0902000000010000000130${NOISE}`,
  ],
  ["REKEY: noise of 47 bytes", `090100000001000000002f${NOISE}`, `0901000000010000000030${NOISE}`],
  [
    "REKEY: noise of 1,025 bytes",
    `09010000000100000000 4401${"5a".repeat(1_025)}`,
    `09010000000100000000 4400${"5a".repeat(1_024)}`,
  ],
  ["CLOSE: above 2^53 - 1", "0cffffffffffffffff", `0c${MAX}`],
  ["KEYS: none", "0d00", `0d0101${D8}`],
  ["KEYS: four", `0d04${`01${D8}`.repeat(4)}`, `0d03${`01${D8}`.repeat(3)}`],
  ["KEYS: role 0", `0d0100${D8}`, `0d0101${D8}`],
  ["KEYS: role 4", `0d0104${D8}`, `0d0103${D8}`],
];

for (const [what, fault, accepted] of ROWS) {
  test(`${what}: refused; its neighbour is not`, () => {
    const good = decode(unhex(accepted.replaceAll(" ", "")));

    assert.deepEqual(decode(unhex(fault.replaceAll(" ", ""))).at(-1), "fault");
    assert.equal(good.length, 1);
    assert.notEqual(good[0], "fault");
  });
}

test("number 0 of a MESSAGE is read: its receiver closes with a reason of its own", () => {
  const [said] = decode(unhex(message("00", "0000", "00")));

  assert.ok(said !== undefined && said !== "fault" && said.kind === "message");
  assert.equal(said.number, 0);
});

test("numbers in longer forms than needed are read", () => {
  assert.deepEqual(decode(unhex("0c80000001")), [{ kind: "close", reason: 1 }]);
  assert.deepEqual(decode(unhex("06c000000000000005")), [{ kind: "settled", below: 5 }]);
});

test("64 receipts fit a frame, the count in two bytes; a 65th does not", () => {
  const into = new Uint8Array(2_000);
  const writer = new ReceiptWriter();
  writer.open(into, 0, into.length, unhex(BOOT));
  for (let number = 1; number <= 64; number++) assert.equal(writer.add(number, number, 0), true);

  assert.equal(writer.add(65, 0, 0), false);
  const end = writer.close();

  assert.equal(end, 1 + 8 + 2 + 64 * 9);
  const entries = Array.from({ length: 64 }, (_, i) => [i + 1, i + 1, 0] as const);
  assert.deepEqual(decode(into, 0, end), [{ kind: "receipt", boot: BOOT, entries }]);
});

test("the 64th receipt needs a byte more than the others, and is left out without it", () => {
  const end = 1 + 8 + 1 + 64 * 9;
  for (const [room, count] of [
    [end, 63],
    [end + 1, 64],
  ] as const) {
    const writer = new ReceiptWriter();
    writer.open(new Uint8Array(2_000), 0, room, unhex(BOOT));
    for (let number = 1; number <= 64 && writer.add(number, 0, 0); number++);

    assert.equal(writer.count, count);
    assert.ok(writer.close() <= room);
  }
});

test("a receipt whose number does not rise is left for the next frame", () => {
  const writer = new ReceiptWriter();
  writer.open(new Uint8Array(100), 0, 100, unhex(BOOT));

  assert.equal(writer.add(5, 0, 0), true);
  assert.equal(writer.add(5, 0, 0), false);
  assert.equal(writer.add(4, 0, 0), false);
  assert.equal(writer.add(6, 0, 0), true);
  assert.equal(writer.count, 2);
});

test("what AckRanges remembers arrives as the ranges that loss recovery reads", () => {
  const ranges = new AckRanges();
  const seen = [0, 1, 2, 7, 9, 10, 500, 502, 503, 504];
  for (const counter of seen) ranges.handlePacket(seconds(1), counter, true);
  const into = new Uint8Array(200);

  const end = putAck(into, 0, into.length, ranges, ranges.delayUs(seconds(1)));
  const reader = new FrameReader();
  reader.open(into, 0, end);

  assert.equal(reader.next(), FRAME.ack);
  const acked = new AckedRanges();
  assert.equal(acked.read(reader.ack), true);
  const pairs = Array.from({ length: acked.count }, (_, i) => [acked.first[i], acked.last[i]]);
  assert.deepEqual(pairs, [
    [502, 504],
    [500, 500],
    [9, 10],
    [7, 7],
    [0, 2],
  ]);
});

test("64 ranges of one packet each fit an ACK, and no ACK is written of nothing", () => {
  const all: Pair[] = Array.from({ length: 64 }, (_, i) => [1_000 - 2 * i, 1_000 - 2 * i]);

  assert.deepEqual(decode(encode({ kind: "ack", delayUs: 8, ranges: all })), [
    { kind: "ack", delayUs: 8, ranges: all },
  ]);
  assert.equal(putAck(new Uint8Array(9), 3, 9, new AckRanges(), 0), 3);
});

test("of more than 64 ranges an ACK says the newest 64", () => {
  const all: Pair[] = Array.from({ length: 70 }, (_, i) => [1_000 - 2 * i, 1_000 - 2 * i]);

  assert.deepEqual(decode(encode({ kind: "ack", delayUs: 8, ranges: all })), [
    { kind: "ack", delayUs: 8, ranges: all.slice(0, 64) },
  ]);
});

test("what no frame can say is a mistake of the caller", () => {
  const into = new Uint8Array(2_000);
  const boot = unhex(BOOT);
  const noise = new Uint8Array(48);

  assert.throws(() => putRefuse(into, 0, boot, 1, 0, 0, 2, 5), /no delay/);
  assert.throws(() => putRekey(into, 0, 1, 5, 6, noise), /answers/);
  assert.throws(() => putRekey(into, 0, 2, 5, 0, noise), /answers/);
  assert.throws(() => putRekey(into, 0, 1, 5, 0, noise.subarray(1)), /fits/);
  assert.throws(() => putRekey(into, 0, 1, 5, 0, new Uint8Array(1_025)), /fits/);
  assert.throws(() => putKeys(into, 0, []), /one to three/);
});
