// Large messages on their way in: what the store says is on disk is there after a crash, what a file
// says of itself is true or the file goes, and nothing but the right bytes becomes a row.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { fileURLToPath } from "node:url";
import { DaemonError } from "../../src/shared/base/errors.js";
import { LARGE_TRANSFERS_MAX } from "../../src/shared/protocol/session/large-in.js";
import { MESSAGE_BYTES_MAX } from "../../src/shared/protocol/session/limits.js";
import { DELIVERED } from "../../src/shared/protocol/session/ports.js";
import { STORED } from "../../src/shared/runtime/inbound-batch.js";
import type { SpoolFound } from "../../src/shared/runtime/messages.js";
import { SPOOL_LIFE_MS, spoolFolder } from "../../src/workers/spool.js";
import { SPOOL_HEAD_BYTES, SPOOL_SLOT_BYTES } from "../../src/workers/spool-header.js";
import { idOf, payloadOf, temporaryFolder } from "./fixture.js";
import {
  ALICE,
  BOB,
  BOOT_2,
  bytesOf,
  digestOf,
  FLAG,
  largePayload,
  type Piece,
  piecesOf,
  SessionStoreUnderTest,
} from "./session-fixture.js";

const { inserted, known, conflict, quota, busy, full, held, spooled, corrupt } = DELIVERED;
const ID = idOf(0xa1);
const PIECE_BYTES = 100_000;
const PAYLOAD = largePayload(450_000);
const PIECES = piecesOf({ id: ID, payload: PAYLOAD, flags: FLAG.bytes, number: 5 }, PIECE_BYTES);
/** The way of the core: data first, then a piece without any that says it was the last. */
const FINISH: Piece = {
  ...(PIECES[0] as Piece),
  from: PAYLOAD.length,
  to: PAYLOAD.length,
  last: true,
};
const DATA = PIECES.map((piece) => ({ ...piece, last: false }));
const pieceAt = (at: number): Piece => DATA[at] as Piece;

/** The same database in a new process, in effect. */
function reopened(t: TestContext, store: SessionStoreUnderTest): SessionStoreUnderTest {
  store.close();
  return new SessionStoreUnderTest(t, { path: store.path });
}

const rangesOf = ({ ranges }: SpoolFound): readonly (readonly number[])[] =>
  ranges.map(({ start, end }) => [start, end]);
const filesIn = (store: SessionStoreUnderTest): readonly string[] => {
  const folder = spoolFolder(store.path);
  return existsSync(folder) ? readdirSync(folder).map((name) => join(folder, name)) : [];
};
const onlyFile = (store: SessionStoreUnderTest): string => {
  const [path, ...others] = filesIn(store);
  assert.ok(path !== undefined && others.length === 0);
  return path;
};

test("pieces in any order and in other cuts become one row, and the file goes", (t) => {
  const store = new SessionStoreUnderTest(t);
  const again: Piece = { ...pieceAt(0), from: 50_000, to: 250_000 };

  assert.deepEqual(store.deliver([pieceAt(4), pieceAt(1), again]), [spooled, spooled, spooled]);
  const outcomes = store.deliver([pieceAt(3), pieceAt(2), pieceAt(0), FINISH]);

  assert.deepEqual(outcomes, [spooled, spooled, spooled, inserted]);
  const digest = digestOf(PIECES[0] as Piece);
  assert.deepEqual(store.rows("payload, digest, number"), [[PAYLOAD, digest, 5]]);
  assert.deepEqual(filesIn(store), []);
  assert.equal(store.spool.bytesOf(ALICE), 0);
  assert.equal(store.read("SELECT bytes FROM inbound_usage"), PAYLOAD.length);
});

test("a large text becomes TEXT", (t) => {
  const store = new SessionStoreUnderTest(t);
  const payload = Buffer.from("ä".repeat(200_000));

  store.deliver(piecesOf({ id: ID, payload }, PIECE_BYTES));

  assert.deepEqual(store.rows("typeof(payload), CAST(payload AS BLOB)"), [["text", payload]]);
});

test("pieces of what is stored are known, of another message under its id refused", (t) => {
  const store = new SessionStoreUnderTest(t);
  store.deliver(PIECES);
  const other = piecesOf({ id: ID, payload: largePayload(300_000, 9) }, PIECE_BYTES);

  for (const deleted of [false, true]) {
    if (deleted) store.outside.exec("DELETE FROM inbound_messages");
    const late = { ...pieceAt(2), number: 8, boot: BOOT_2 };
    assert.deepEqual(store.deliver([pieceAt(0), late]), [known, known]);
    assert.deepEqual(store.deliver([{ ...FINISH, number: 9, boot: BOOT_2 }]), [known]);
    assert.deepEqual(store.deliver(other), Array(other.length).fill(conflict));
    assert.deepEqual(filesIn(store), []);
  }
  // Known under its newest number, so that one covers the tombstone.
  assert.deepEqual(store.read("SELECT number FROM tombstones"), 9);
});

test("a wrong digest leaves nothing, and the message can come again", (t) => {
  const store = new SessionStoreUnderTest(t);
  const wrong = DATA.map((piece) => ({ ...piece, digest: Buffer.alloc(32, 7) }));

  const outcomes = store.deliver([...wrong, { ...FINISH, digest: Buffer.alloc(32, 7) }]);

  assert.deepEqual(outcomes, [...Array(5).fill(spooled), corrupt]);
  assert.deepEqual([store.rows("id"), filesIn(store)], [[], []]);
  assert.deepEqual(store.deliver(PIECES), [spooled, spooled, spooled, spooled, inserted]);
});

test("another digest or total for an id begins anew", (t) => {
  const store = new SessionStoreUnderTest(t);
  const payload = largePayload(300_000, 9);
  const other = piecesOf({ id: ID, payload, flags: FLAG.bytes }, PIECE_BYTES);
  store.deliver([pieceAt(0), pieceAt(1)]);

  assert.deepEqual(store.deliver(other), [spooled, spooled, inserted]);

  assert.deepEqual(store.rows("payload"), [[payload]]);
});

test("a last piece with a hole in front of it makes no row, and costs nothing that is there", (t) => {
  const store = new SessionStoreUnderTest(t);

  assert.deepEqual(store.deliver([FINISH]), [busy]);
  assert.deepEqual(filesIn(store), []);
  assert.deepEqual(store.deliver([pieceAt(0), FINISH]), [spooled, busy]);

  assert.deepEqual(store.deliver([...DATA, FINISH]).at(-1), inserted);
});

test("a dropped message leaves no file", (t) => {
  const store = new SessionStoreUnderTest(t);
  store.deliver([pieceAt(0), { ...pieceAt(0), peer: 1 }]);

  store.deliver([{ kind: "drop", id: ID }]);

  assert.equal(filesIn(store).length, 1);
  assert.deepEqual([store.spool.bytesOf(ALICE), store.spool.bytesOf(BOB)], [0, PAYLOAD.length]);
});

test("the quota counts a large message with its first piece", (t) => {
  const store = new SessionStoreUnderTest(t, { quotaBytes: PAYLOAD.length + 10 });

  assert.deepEqual(store.deliver([pieceAt(0), { ...pieceAt(0), id: idOf(2) }]), [spooled, quota]);
  assert.deepEqual(store.deliver([{ id: idOf(3), payload: "x".repeat(11) }]), [quota]);
  assert.deepEqual(store.deliver([{ id: idOf(3), payload: "x".repeat(10) }]), [inserted]);
  assert.deepEqual(store.deliver([...DATA, FINISH]).at(-1), inserted);
  assert.deepEqual(store.deliver([{ id: idOf(4), payload: "x" }]), [quota]);
});

test("who begins many large messages and ends none has what the quota allows, and the others go on", (t) => {
  const quotaBytes = 3 * PAYLOAD.length + 10;
  const store = new SessionStoreUnderTest(t, { quotaBytes });
  const begun = Array.from({ length: 20 }, (_, i) => ({ ...pieceAt(0), id: idOf(i) }));

  const outcomes = store.deliver(begun);

  assert.deepEqual(outcomes, [...Array(3).fill(spooled), ...Array(17).fill(quota)]);
  assert.equal(filesIn(store).length, 3);
  const onDisk = filesIn(store).reduce((sum, path) => sum + statSync(path).size, 0);
  assert.ok(onDisk <= quotaBytes + 3 * SPOOL_HEAD_BYTES, `${onDisk} bytes`);
  assert.match(store.reports.join(), /alice has used up the quota/);
  const ofClassic = { scope: ALICE, payload: payloadOf(idOf(30), "x") };
  assert.deepEqual(store.store([{ id: idOf(30), ...ofClassic }]), [STORED.quota]);
  assert.deepEqual(store.deliver(PIECES.map((piece) => ({ ...piece, peer: 1 }))).at(-1), inserted);

  store.deliver([{ kind: "drop", id: idOf(0) }]);
  assert.deepEqual(store.store([{ id: idOf(30), ...ofClassic }]), [STORED.inserted]);
  const rest = DATA.map((piece) => ({ ...piece, id: idOf(1) }));
  assert.deepEqual(store.deliver([...rest, { ...FINISH, id: idOf(1) }]).at(-1), inserted);
});

test("64 MiB fit a quota of 64 MiB, and leave no room and no file", (t) => {
  const payload = largePayload(MESSAGE_BYTES_MAX);
  const store = new SessionStoreUnderTest(t, { quotaBytes: MESSAGE_BYTES_MAX });
  const pieces = piecesOf({ id: ID, payload, flags: FLAG.bytes }, 8 << 20);

  for (const piece of pieces.slice(0, -1)) assert.deepEqual(store.deliver([piece]), [spooled]);
  assert.deepEqual(store.deliver([{ id: idOf(2), payload: "x" }]), [quota]);
  assert.deepEqual(store.deliver(pieces.slice(-1)), [inserted]);

  const [stored] = store.rows("payload") as [[Buffer]];
  assert.ok(payload.equals(stored[0]));
  assert.deepEqual([filesIn(store), store.spool.bytesOf(ALICE)], [[], 0]);
  assert.deepEqual(store.deliver([{ id: idOf(2), payload: "x" }]), [quota]);
});

test("a peer has so many unfinished large messages, and no more", (t) => {
  const store = new SessionStoreUnderTest(t);
  const many = Array.from({ length: LARGE_TRANSFERS_MAX + 1 }, (_, i) => ({
    ...pieceAt(0),
    id: idOf(i),
    to: 10,
  }));

  const outcomes = store.deliver(many);

  assert.deepEqual(outcomes, [...Array(LARGE_TRANSFERS_MAX).fill(spooled), busy]);
  assert.deepEqual(store.deliver([{ ...(many[0] as Piece), peer: 1 }]), [spooled]);
});

test("an ordered large message behind a refused one keeps its file, and goes on when told", (t) => {
  const store = new SessionStoreUnderTest(t, { quotaBytes: 2 * PAYLOAD.length });
  const ordered = { flags: FLAG.ordered | FLAG.bytes, stream: "s" };
  const pieces = piecesOf({ id: ID, payload: PAYLOAD, ...ordered, sequence: 2 }, PIECE_BYTES);
  const first = { id: idOf(1), ...ordered, sequence: 1 };
  const tooMuch = { ...first, payload: Buffer.alloc(2 * PAYLOAD.length + 1) };

  assert.deepEqual(store.deliver([tooMuch, ...pieces]).at(-1), held);
  const last = pieces.at(-1) as Piece;
  assert.deepEqual(store.deliver([{ ...first, resume: true }, last]), [inserted, inserted]);

  assert.deepEqual(store.rows("sequence"), [[1], [2]]);
});

test("a large message whose stream is held is not read from its file each time a byte of it comes", (t) => {
  const store = new SessionStoreUnderTest(t, { quotaBytes: 2 * PAYLOAD.length });
  const ordered = { flags: FLAG.ordered | FLAG.bytes, stream: "s" };
  const pieces = piecesOf({ id: ID, payload: PAYLOAD, ...ordered, sequence: 2 }, PIECE_BYTES);
  const first = { id: idOf(1), ...ordered, sequence: 1 };
  const tooMuch = { ...first, payload: Buffer.alloc(2 * PAYLOAD.length + 1) };
  assert.deepEqual(store.deliver([tooMuch, ...pieces]).at(-1), held);
  const last = pieces.at(-1) as Piece;

  // Whoever reads it finds other bytes, and drops it.
  const [file] = filesIn(store) as [string];
  const bytes = readFileSync(file);
  bytes[SPOOL_HEAD_BYTES] = (bytes[SPOOL_HEAD_BYTES] as number) ^ 1;
  writeFileSync(file, bytes);
  assert.deepEqual(store.deliver([tooMuch, last]).at(-1), held);
  assert.deepEqual(store.deliver([{ ...first, resume: true }, last]), [inserted, corrupt]);
});

test("pieces of what is stored are looked up once a batch, under however many numbers they come", (t) => {
  const store = new SessionStoreUnderTest(t);
  store.deliver(PIECES);
  const numberOf = (): unknown => store.rows("number");
  const many = Array.from({ length: 500 }, (_, n) => ({ ...pieceAt(0), number: 10 + n }));

  assert.deepEqual(store.deliver(many), Array(500).fill(known));
  assert.deepEqual(numberOf(), [[10]], "each new number is a commit of its own");
  assert.deepEqual(store.deliver([{ ...pieceAt(0), number: 600 }]), [known]);
  assert.deepEqual(numberOf(), [[600]]);
});

test("records behind a large message are rows behind it; a lock in the way gives them all back", (t) => {
  const store = new SessionStoreUnderTest(t);
  const small = (n: number) => ({ id: idOf(n), number: n });
  const handed = [small(1), ...PIECES, small(2)];
  store.outside.exec("BEGIN IMMEDIATE");
  assert.deepEqual(store.deliver(handed, 10), Array(7).fill(busy));
  store.outside.exec("ROLLBACK");

  const outcomes = store.deliver(handed);

  assert.deepEqual(outcomes.slice(-2), [inserted, inserted]);
  assert.deepEqual(store.rows("message_id"), [[idOf(1)], [ID], [idOf(2)]]);
});

test("a disk that is full for the row keeps the file, and the message becomes a row later", (t) => {
  const store = new SessionStoreUnderTest(t);
  const pages = Number(store.db.pragma("page_count", { simple: true }));
  store.db.pragma(`max_page_count = ${pages + 4}`);

  assert.deepEqual(store.deliver([...DATA, FINISH, { id: idOf(2) }]).slice(-2), [full, full]);
  assert.equal(store.failure, "full");

  store.db.pragma("max_page_count = 1000000");
  assert.deepEqual(store.deliver([FINISH]), [inserted]);
});

// --- After a restart ------------------------------------------------------------------------------

test("a transfer goes on after a restart with what was on disk", (t) => {
  const before = new SessionStoreUnderTest(t);
  before.deliver([pieceAt(1), pieceAt(3)]);

  const store = reopened(t, before);
  const [found, ...others] = store.load();

  assert.ok(found !== undefined && others.length === 0);
  assert.deepEqual(rangesOf(found), [
    [100_000, 200_000],
    [300_000, 400_000],
  ]);
  assert.deepEqual([found.peer, found.total], [ALICE, PAYLOAD.length]);
  assert.deepEqual(found.messageId, bytesOf(ID));
  assert.deepEqual(Buffer.from(found.digest16), digestOf(pieceAt(0)).subarray(0, 16));
  const rest = [pieceAt(0), pieceAt(2), pieceAt(4), { ...FINISH, boot: BOOT_2, number: 1 }];
  assert.deepEqual(store.deliver(rest), [spooled, spooled, spooled, inserted]);
  assert.deepEqual(store.rows("payload, boot"), [[PAYLOAD, BOOT_2]]);
});

test("the file of a message that became a row before the crash goes at the start", (t) => {
  for (const deleted of [false, true]) {
    const before = new SessionStoreUnderTest(t);
    before.deliver(DATA);
    const path = onlyFile(before);
    const copy = readFileSync(path);
    before.deliver([FINISH]);
    writeFileSync(path, copy, { mode: 0o600 });
    if (deleted) before.outside.exec("DELETE FROM inbound_messages");

    const store = reopened(t, before);

    assert.deepEqual([store.load(), filesIn(store)], [[], []]);
  }
});

test("old files and files of peers that are gone are removed", (t) => {
  const before = new SessionStoreUnderTest(t);
  before.deliver([pieceAt(0), { ...pieceAt(0), peer: 1 }, { ...pieceAt(0), id: idOf(2) }]);
  const [old] = filesIn(before);
  const past = (before.now - SPOOL_LIFE_MS - 60_000) / 1_000;
  utimesSync(old as string, past, past);

  const store = reopened(t, before);
  assert.equal(store.load().length, 2);
  store.spool.keepOnly(new Set([BOB]));
  assert.equal(filesIn(store).length, store.spool.bytesOf(BOB) === 0 ? 0 : 1);
  store.now += SPOOL_LIFE_MS + 60_000;
  store.spool.tend();
  assert.deepEqual(filesIn(store), []);
});

test("bytes that were written and not synced are not listed", (t) => {
  const before = new SessionStoreUnderTest(t);
  before.deliver([pieceAt(0)]);
  const file = before.spool.find(ALICE, bytesOf(ID));
  assert.ok(file?.write(200_000, PAYLOAD.subarray(200_000, 300_000)));

  const store = reopened(t, before);

  assert.deepEqual(store.load().map(rangesOf), [[[0, 100_000]]]);
});

test("a head that was cut short costs what its sync added; two of them cost the file", (t) => {
  const tears: readonly ((slot: Buffer) => void)[] = [
    (slot) => slot.fill(0),
    (slot) => slot.fill(0, 100),
    (slot) => slot.fill(0, 0, 50),
    (slot) => void slot.writeUInt32LE(0xffff_ffff, 92),
    (slot) => void slot.writeUInt8((slot[97] as number) ^ 1, 97),
  ];
  for (const tear of tears) {
    for (const both of [false, true]) {
      const before = new SessionStoreUnderTest(t);
      before.deliver([pieceAt(0)]);
      before.deliver([pieceAt(1)]);
      const path = onlyFile(before);
      const bytes = readFileSync(path);
      const slots = [0, 1].map((i) =>
        bytes.subarray(i * SPOOL_SLOT_BYTES, (i + 1) * SPOOL_SLOT_BYTES),
      ) as [Buffer, Buffer];
      const newest = slots[0].readBigUInt64LE(8) > slots[1].readBigUInt64LE(8) ? 0 : 1;
      tear(slots[newest] as Buffer);
      if (both) tear(slots[1 - newest] as Buffer);
      writeFileSync(path, bytes);

      const store = reopened(t, before);
      const found = store.load();

      assert.deepEqual(found.map(rangesOf), both ? [] : [[[0, 100_000]]], String(tear));
      assert.equal(filesIn(store).length, both ? 0 : 1);
      assert.equal(store.deliver([...DATA, FINISH]).at(-1), inserted);
    }
  }
});

test("a file that is shorter than it says, or no spool file, goes at the start", (t) => {
  const harms: readonly ((path: string) => void)[] = [
    (path) => truncateSync(path, SPOOL_HEAD_BYTES + 99_999),
    (path) => truncateSync(path, 0),
    (path) => truncateSync(path, 50),
    (path) => writeFileSync(path, "hello"),
    (path) =>
      writeFileSync(
        path.replace(/.$/, (last) => (last === "0" ? "1" : "0")),
        readFileSync(path),
      ),
    (path) => symlinkSync(path, path.replace(/.{4}$/, "abcd")),
  ];
  for (const [i, harm] of harms.entries()) {
    const before = new SessionStoreUnderTest(t);
    before.deliver([pieceAt(0)]);
    harm(onlyFile(before));

    const store = reopened(t, before);

    assert.equal(store.load().length, i < 4 ? 0 : 1, String(harm));
    assert.equal(filesIn(store).length, i < 4 ? 0 : 1, String(harm));
  }
});

test("other files in the folder stay", (t) => {
  const store = new SessionStoreUnderTest(t);
  store.deliver([pieceAt(0)]);
  writeFileSync(join(spoolFolder(store.path), "notes.txt"), "mine");

  assert.equal(store.load().length, 1);
  assert.equal(filesIn(store).length, 2);
});

test("folder and files are private; a folder that others can read is refused", (t) => {
  const before = new SessionStoreUnderTest(t);
  const umask = process.umask(0);
  before.deliver([pieceAt(0)]);
  process.umask(umask);
  const folder = spoolFolder(before.path);
  assert.equal(statSync(folder).mode & 0o777, 0o700);
  assert.equal(statSync(onlyFile(before)).mode & 0o777, 0o600);

  chmodSync(folder, 0o750);
  const store = reopened(t, before);

  assert.throws(
    () => store.load(),
    (thrown) => thrown instanceof DaemonError && thrown.code === "ERR_FILE_MODE",
  );
  chmodSync(folder, 0o700);
  assert.equal(store.load().length, 1);
});

test("a folder that is a link is refused", (t) => {
  const store = new SessionStoreUnderTest(t);
  const elsewhere = join(temporaryFolder(t), "elsewhere");
  mkdirSync(elsewhere, { mode: 0o700 });
  symlinkSync(elsewhere, spoolFolder(store.path));

  assert.throws(
    () => store.load(),
    (thrown) => thrown instanceof DaemonError && thrown.code === "ERR_FILE_MODE",
  );
});

test("what a killed process was told is on disk is there, byte for byte", async (t) => {
  const folder = temporaryFolder(t);
  const script = fileURLToPath(new URL("./spool-writer.js", import.meta.url));
  for (let round = 0; round < 4; round++) {
    const first = 1 + 1_000 * round;
    const child = spawn(process.execPath, [script, folder, String(first)], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    t.after(() => void child.kill("SIGKILL"));
    let said = "";
    const enough = 8 + 13 * round;
    await new Promise<void>((resolve, reject) => {
      child.stdout.setEncoding("utf8").on("data", (text: string) => {
        said += text;
        if (said.split("\n").length > enough) resolve();
      });
      child.once("exit", (code) => reject(new Error(`exit code ${code}: ${said}`)));
    });
    const exited = once(child, "close");
    child.kill("SIGKILL");
    await exited;

    requireKept(t, join(folder, "queue.db"), said.split("\n").slice(0, -1));
  }
});

/** Everything said is listed or a row, and everything listed is right. */
function requireKept(t: TestContext, path: string, said: readonly string[]): void {
  const store = new SessionStoreUnderTest(t, { path });
  const stored = new Map(store.rows("message_id, payload") as [string, Buffer][]);
  const found = new Map(
    store.load().map((each) => [Buffer.from(each.messageId).toString("hex"), each]),
  );
  for (const line of said) {
    const [id, from, to] = line.split(" ") as [string, string, string];
    if (from === "row") {
      assert.ok(stored.has(id), line);
      continue;
    }
    assert.match(from, /^\d+$/, line);
    const covers = found
      .get(id)
      ?.ranges.some(({ start, end }) => start <= Number(from) && Number(to) <= end);
    assert.ok(stored.has(id) || covers === true, line);
  }
  for (const [id, payload] of stored) {
    assert.ok(payload.equals(largePayload(600_000, Number.parseInt(id, 16))), id);
  }
  for (const [id, { ranges }] of found) {
    assert.ok(!stored.has(id), "a message is a file or a row");
    const payload = largePayload(600_000, Number.parseInt(id, 16));
    const bytes = store.spool.find(ALICE, bytesOf(id))?.path;
    const data = readFileSync(bytes as string).subarray(SPOOL_HEAD_BYTES);
    for (const { start, end } of ranges) {
      assert.ok(data.subarray(start, end).equals(payload.subarray(start, end)), `${id} ${start}`);
    }
  }
  store.close();
}
