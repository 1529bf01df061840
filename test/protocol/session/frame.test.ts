import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { FrameReader } from "../../../src/shared/protocol/session/frame.js";
import { FRAME, isEliciting, NO_FRAME } from "../../../src/shared/protocol/session/frame-type.js";
import { decode, encode, hex, put, type Said, unhex } from "./said.js";
import { anyFrame, FRAMES } from "./said-arbitrary.js";

const BOOT = "b0b1b2b3b4b5b6b7";
const ID = "000102030405060708090a0b";
const REPLIED = "101112131415161718191a1b";
const DIGEST16 = "d0d1d2d3d4d5d6d7d8d9dadbdcdddedf";
const NOISE = "5a".repeat(48);
const MESSAGE = {
  number: 7,
  bytes: false,
  priority: 1,
  messageId: ID,
  lifeSeconds: 3_600,
  inReplyTo: undefined,
  ordered: undefined,
  piece: undefined,
  data: "6869",
} as const;

const EXAMPLES: readonly (readonly [string, Said, string])[] = [
  ["PING", { kind: "ping" }, "01"],
  ["an ACK of one packet", { kind: "ack", delayUs: 0, ranges: [[0, 0]] }, "0200000000"],
  [
    "an ACK of 1000 to 990, 980 and 100 to 0, 25 ms old",
    {
      kind: "ack",
      delayUs: 25_000,
      ranges: [
        [990, 1_000],
        [980, 980],
        [0, 100],
      ],
    },
    "0243e84c35020a0800436e4064",
  ],
  ["a text of two bytes", { kind: "message", ...MESSAGE, total: 2 }, `030710${ID}4e1002026869`],
  [
    "an empty urgent message of bytes",
    { kind: "message", ...MESSAGE, bytes: true, priority: 3, data: "", total: 0 },
    `030732${ID}4e100000`,
  ],
  [
    "the second piece of an ordered reply in stream aé",
    {
      kind: "message",
      ...MESSAGE,
      number: 300,
      priority: 0,
      total: 70_000,
      inReplyTo: REPLIED,
      ordered: { stream: "61c3a9", sequence: 9, base: 5 },
      piece: { digest16: DIGEST16, offset: 1_100 },
    },
    `03412c0d${ID}4e1080011170${REPLIED}0361c3a90905${DIGEST16}444c026869`,
  ],
  [
    "receipts of 5, 6 and 70",
    {
      kind: "receipt",
      boot: BOOT,
      entries: [
        [5, 0x03020100, 0x07060504],
        [6, 0, 1],
        [70, 0xffffffff, 0x80000000],
      ],
    },
    `04${BOOT}030500010203040506070100000000010000004040ffffffff00000080`,
  ],
  [
    "a refusal for good",
    {
      kind: "refuse",
      boot: BOOT,
      number: 5,
      digest: [0x03020100, 0x07060504],
      reason: 2,
      delaySeconds: 0,
    },
    `05${BOOT}0500010203040506070200`,
  ],
  [
    "a refusal until later",
    { kind: "refuse", boot: BOOT, number: 5, digest: [0, 0], reason: 65, delaySeconds: 300 },
    `05${BOOT}05000000000000000041412c`,
  ],
  ["SETTLED", { kind: "settled", below: 16_384 }, "0680004000"],
  [
    "HAVE of the first MiB and of one byte",
    {
      kind: "have",
      dropped: false,
      messageId: ID,
      digest16: DIGEST16,
      total: 3_000_000,
      ranges: [
        [0, 1_048_576],
        [1_048_580, 1_048_581],
      ],
    },
    `0700${ID}${DIGEST16}802dc6c00200801000000401`,
  ],
  [
    "HAVE of nothing",
    { kind: "have", dropped: true, messageId: ID, digest16: DIGEST16, total: 5, ranges: [] },
    `0701${ID}${DIGEST16}0500`,
  ],
  ["CREDIT", { kind: "credit", messages: 1_024, bytes: 2 ** 33 }, "084400c000000200000000"],
  [
    "REKEY with message 1",
    { kind: "rekey", message: 1, sessionId: 0xa1b2c3d4, answers: 0, noise: NOISE },
    `0901a1b2c3d40000000030${NOISE}`,
  ],
  [
    "REKEY with message 2",
    { kind: "rekey", message: 2, sessionId: 1, answers: 0xa1b2c3d4, noise: NOISE },
    `090200000001a1b2c3d430${NOISE}`,
  ],
  ["PATH_CHALLENGE", { kind: "challenge", data: BOOT }, `0a${BOOT}`],
  ["PATH_RESPONSE", { kind: "response", data: BOOT }, `0b${BOOT}`],
  ["CLOSE", { kind: "close", reason: 1 }, "0c01"],
  [
    "KEYS, current and next",
    {
      kind: "keys",
      keys: [
        [0, BOOT],
        [1, "c0c1c2c3c4c5c6c7"],
      ],
    },
    `0d0201${BOOT}02c0c1c2c3c4c5c6c7`,
  ],
];

for (const [name, said, bytes] of EXAMPLES) {
  test(`${name} has these bytes, and is read from them`, () => {
    assert.equal(hex(encode(said)), bytes);
    assert.deepEqual(decode(unhex(bytes)), [said]);
  });
}

for (const [kind, frame] of Object.entries(FRAMES)) {
  test(`any ${kind} is read as it was written`, () => {
    fc.assert(
      fc.property(frame, (said) => {
        assert.deepEqual(decode(encode(said)), [said]);
      }),
      { numRuns: 500 },
    );
  });

  test(`any ${kind} that is cut off is a fault, wherever it is cut`, () => {
    fc.assert(
      fc.property(frame, (said) => {
        const bytes = encode(said);
        for (let length = 1; length < bytes.length; length++) {
          assert.deepEqual(decode(bytes, 0, length), ["fault"], `${length} of ${bytes.length}`);
        }
      }),
      { numRuns: 50 },
    );
  });
}

test("frames back to back, with padding anywhere, are read in their order by one reader", () => {
  const reader = new FrameReader();
  fc.assert(
    fc.property(
      fc.array(fc.tuple(anyFrame, fc.nat(9)), { maxLength: 12 }),
      fc.nat(9),
      (all, at) => {
        const parts = all.flatMap(([said, padding]) => [new Uint8Array(padding), encode(said)]);
        const packet = Buffer.concat([Buffer.alloc(at, 0xff), ...parts, Buffer.alloc(3)]);

        const heard = decode(packet, at, packet.length - at, reader);

        assert.deepEqual(
          heard,
          all.map(([said]) => said),
        );
        assert.equal(
          reader.eliciting,
          all.some(([{ kind }]) => kind !== "ack" && kind !== "close"),
        );
      },
    ),
  );
});

test("what a reader met before leaves nothing in what it reads next", () => {
  const full = EXAMPLES.map(([, said]) => said);
  const reader = new FrameReader();

  const first = decode(encode(...full), 0, undefined, reader);
  decode(unhex("0301ff"), 0, undefined, reader);
  const second = decode(encode(...full.toReversed()), 0, undefined, reader);

  assert.deepEqual(first, full);
  assert.deepEqual(second, full.toReversed());
});

test("only PADDING, ACK and CLOSE draw no acknowledgement", () => {
  const quiet = Object.entries(FRAME).filter(([, type]) => !isEliciting(type));

  assert.deepEqual(
    quiet.map(([name]) => name),
    ["padding", "ack", "close"],
  );
});

test("a packet of padding alone ends without a frame, and so does an empty one", () => {
  const reader = new FrameReader();
  for (const length of [0, 1, 1_172]) {
    reader.open(new Uint8Array(1_200).fill(1, length), 0, length);

    assert.equal(reader.next(), NO_FRAME.end);
    assert.equal(reader.next(), NO_FRAME.end);
    assert.equal(reader.eliciting, false);
  }
});

test("behind a fault nothing is read any more", () => {
  const reader = new FrameReader();
  reader.open(unhex("010e0101"), 0, 4);

  assert.equal(reader.next(), FRAME.ping);
  assert.equal(reader.next(), NO_FRAME.fault);
  assert.equal(reader.next(), NO_FRAME.fault);
});

test("every type that is none is a fault", () => {
  const known: ReadonlySet<number> = new Set(Object.values(FRAME));
  for (let type = 0; type < 256; type++) {
    if (known.has(type)) continue;
    assert.deepEqual(decode(Uint8Array.of(type, ...new Uint8Array(64))), ["fault"], `${type}`);
  }
});

test("a frame that is written to a limit never passes it, and is read back as far as it got", () => {
  const limited = fc.oneof(FRAMES.ack, FRAMES.receipt, FRAMES.have);
  fc.assert(
    fc.property(limited, fc.nat(400), (said, room) => {
      const into = new Uint8Array(2_000).fill(0xee);
      const end = put(into, 5, 5 + room, said);

      assert.ok(end <= 5 + room || end === 5, "the limit holds");
      assert.deepEqual(
        into.subarray(Math.max(end, 5 + room)),
        new Uint8Array(2_000 - Math.max(end, 5 + room)).fill(0xee),
      );
      if (end === 5) return;
      const [heard, ...more] = decode(into, 5, end - 5);
      assert.deepEqual(more, []);
      assert.ok(heard !== undefined && heard !== "fault" && heard.kind === said.kind);
      const [some, all] = [listOf(heard), listOf(said)];
      assert.deepEqual(some, all.slice(0, some.length));
      assert.ok(some.length > 0 || all.length === 0, "nothing is not said for want of room");
    }),
    { numRuns: 2_000 },
  );
});

const listOf = (said: Said): readonly unknown[] =>
  said.kind === "receipt" ? said.entries : "ranges" in said ? said.ranges : [];
