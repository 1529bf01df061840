// The crypto pool with real threads: what goes out comes back, in order, opened only by the right key;
// credits end; a worker that dies is told of.

import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { CryptoPool, type PooledSlab, SLABS_PER_WORKER_MAX } from "../../src/main/crypto-pool.js";
import type { DaemonError } from "../../src/shared/base/errors.js";
import { NO_RING } from "../../src/shared/protocol/slot.js";
import { OUTCOME, SLAB_ENTRIES_MAX, wordOf } from "../../src/shared/runtime/slab.js";
import { SlabCursor } from "../../src/shared/runtime/slab-cursor.js";

const BODY = new TextEncoder().encode('{"n":1,"message_id":"0123456789abcdef01234567"}');
const WALL_NS = 1_760_000_000_123_000_000;

interface Seen {
  readonly code: number;
  readonly bytes: Uint8Array;
  readonly tag: number;
  readonly address: string;
  readonly ring: number;
  readonly id: string;
  readonly stampNs: number;
}

/** A pool whose slabs are read and released at once. */
async function poolOf(t: TestContext, workers: number, hold = false) {
  const seen: Seen[] = [];
  const held: PooledSlab[] = [];
  const lost: DaemonError[] = [];
  let waiting: (() => void) | undefined;
  const pool = new CryptoPool({
    onReturned: (slab) => {
      const cursor = new SlabCursor(slab.table, slab.routes);
      for (let index = 0; index < slab.table.entries; index++) seen.push(read(slab, cursor, index));
      if (hold) held.push(slab);
      else pool.release(slab);
      waiting?.();
    },
    onLost: (error) => {
      lost.push(error);
      waiting?.();
    },
  });
  await pool.start(workers);
  t.after(() => pool.stop());
  const until = async (condition: () => boolean): Promise<void> => {
    while (!condition()) {
      await new Promise<void>((resolve) => {
        waiting = resolve;
      });
    }
  };
  return { pool, seen, held, lost, until };
}

function read(slab: PooledSlab, cursor: SlabCursor, index: number): Seen {
  const packet = cursor.move(slab.table, slab.routes, index);
  const code = slab.table.words[wordOf(index)] as number;
  const from = code === OUTCOME.sealed ? packet.at : packet.bodyAt;
  const length = code === OUTCOME.sealed ? packet.length : packet.bodyLength;
  return {
    code,
    bytes: packet.bytes.slice(from, from + length),
    tag: packet.tag,
    address: packet.address,
    ring: packet.ring,
    id: Buffer.from(packet.bytes.subarray(packet.messageIdAt, packet.messageIdAt + 12)).toString(
      "hex",
    ),
    stampNs: packet.stampHigh * 2 ** 32 + packet.stampLow,
  };
}

const keys = (fill: number, previous?: number) => ({
  current: new Uint8Array(32).fill(fill),
  previous: previous === undefined ? undefined : new Uint8Array(32).fill(previous),
  next: undefined,
  pairInfo: undefined,
});

function seal(pool: CryptoPool, affinity: number, ring: number, tag: number): boolean {
  if (!pool.room(affinity, BODY.length)) return false;
  pool.bytes.set(BODY, pool.bodyAt);
  pool.seal(ring, WALL_NS, tag, "192.0.2.1", 5);
  return true;
}

for (const workers of [0, 1, 2]) {
  test(`with ${workers} workers, what is sealed opens again, byte for byte and in order`, async (t) => {
    const { pool, seen, until } = await poolOf(t, workers);
    await pool.installRings([keys(1)], 0);
    for (let tag = 0; tag < 300; tag++) assert.ok(seal(pool, 0, 0, tag));
    pool.flush();
    await until(() => seen.length === 300);
    assert.deepEqual(
      seen.map((packet) => packet.tag),
      Array.from({ length: 300 }, (_, i) => i),
    );
    const sealed = seen.splice(0).map((packet) => packet.bytes);

    for (const datagram of sealed) assert.ok(pool.open(0, datagram, 0, NO_RING, "192.0.2.9", 7));
    pool.flush();
    await until(() => seen.length === 300);

    for (const packet of seen) {
      assert.equal(packet.code, OUTCOME.message);
      assert.deepEqual(packet.bytes, BODY);
      assert.equal(packet.id, "0123456789abcdef01234567");
      assert.equal(packet.address, "192.0.2.9");
      assert.ok(Math.abs(packet.stampNs - WALL_NS) < 512, "stamps are exact to a double");
    }
    assert.equal(
      new Set(sealed.map((d) => Buffer.from(d.subarray(0, 12)).toString("hex"))).size,
      300,
    );
  });
}

test("a datagram opens under the second ring, and under a previous key, and under no other", async (t) => {
  const { pool, seen, until } = await poolOf(t, 1);
  await pool.installRings([keys(1), keys(2), keys(3, 1)], 0);
  seal(pool, 0, 0, 1);
  pool.flush();
  await until(() => seen.length === 1);
  const sealed = (seen.pop() as Seen).bytes;

  pool.open(0, sealed, 1, 0, "x", 1);
  pool.open(0, sealed, 2, NO_RING, "x", 1);
  pool.open(0, sealed, 1, NO_RING, "x", 1);
  pool.flush();
  await until(() => seen.length === 3);

  assert.deepEqual(
    seen.map(({ code }) => code),
    [OUTCOME.message, OUTCOME.message, OUTCOME.notAuthentic],
  );
  assert.deepEqual(
    seen.slice(0, 2).map(({ ring }) => ring),
    [0, 2],
  );
});

test("a ring that a reload took away seals nothing", async (t) => {
  const { pool, seen, until } = await poolOf(t, 1);
  await pool.installRings([keys(1), keys(2)], 0);
  await pool.installRings([keys(1)], 0);

  seal(pool, 0, 1, 9);
  pool.flush();
  await until(() => seen.length === 1);

  assert.equal(seen[0]?.code, OUTCOME.keyless);
  assert.equal(seen[0]?.tag, 9);
});

test("the secrets that were installed are wiped where they came from", async (t) => {
  const { pool } = await poolOf(t, 1);
  const ring = keys(7, 8);
  await pool.installRings([ring], 0);
  assert.ok(ring.current.every((byte) => byte === 0));
  assert.ok(ring.previous?.every((byte) => byte === 0));
});

test("credits end when all slabs are out, and come back with them", async (t) => {
  const { pool, held, until } = await poolOf(t, 1, true);
  await pool.installRings([keys(1)], 0);
  let sealed = 0;
  while (seal(pool, 0, 0, sealed)) sealed += 1;
  pool.flush();

  assert.equal(sealed, SLABS_PER_WORKER_MAX * SLAB_ENTRIES_MAX);
  await until(() => held.length === SLABS_PER_WORKER_MAX);
  assert.equal(seal(pool, 0, 0, 1), false);
  pool.release(held.pop() as PooledSlab);
  assert.equal(seal(pool, 0, 0, 1), true);
});

test("a slab that comes back is zeroed before it is used again", async (t) => {
  const { pool, held, until } = await poolOf(t, 1, true);
  await pool.installRings([keys(1)], 0);
  seal(pool, 0, 0, 1);
  pool.flush();
  await until(() => held.length === 1);
  const slab = held[0] as PooledSlab;
  pool.release(slab);
  assert.equal(slab.table.entries, 0);
  assert.ok(slab.table.bytes.subarray(8).every((byte) => byte === 0));
});

test("the largest datagram travels", async (t) => {
  const { pool, seen, until } = await poolOf(t, 1);
  await pool.installRings([keys(1)], 0);
  const length = 65_471;
  assert.ok(pool.room(0, length));
  pool.bytes.fill(0x20, pool.bodyAt, pool.bodyAt + length);
  pool.bytes.set(BODY, pool.bodyAt);
  pool.seal(0, WALL_NS, 1, "x", 1);
  pool.flush();
  await until(() => seen.length === 1);
  const sealed = (seen.pop() as Seen).bytes;
  assert.equal(sealed.length, 65_507);

  pool.open(0, sealed, 0, NO_RING, "x", 1);
  pool.flush();
  await until(() => seen.length === 1);

  assert.equal(seen[0]?.code, OUTCOME.message);
});
