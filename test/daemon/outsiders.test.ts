// Other programs at the tables of a running daemon: one that keeps the write lock, one that keeps a
// read snapshot, one that writes whatever it likes. The daemon waits, goes on, and stays as it is.

import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { copyFileSync, renameSync, rmSync } from "node:fs";
import { test } from "node:test";
import { setTimeout as nap } from "node:timers/promises";
import { EXIT } from "../../src/shared/base/errors.js";
import { connect } from "../../src/shared/store/driver.js";
import { ClassicPeer } from "./classic-peer.js";
import { LOOPBACK, makeId, makePair, makeSecret, Place, TestDaemon, until } from "./harness.js";
import { randomFrom } from "./kill-rounds.js";
import { requireIntegrity } from "./ledger.js";

const HELD_MS = 2_000;
const STATEMENTS = 1_500;
const STATEMENTS_EACH = 20;
const GROWTH_BYTES_MAX = 32 * 1_024 * 1_024;

test("while another process holds the write lock nothing is acknowledged, and all is afterwards", async (t) => {
  const place = new Place(t);
  const secret = makeSecret();
  const bob = await TestDaemon.make(place, { name: "bob", secret });
  await bob.start();
  const peer = await ClassicPeer.make(place, secret, bob.port);
  const holder = connect(bob.database, { timeout: 5_000 });
  place.after(() => {
    holder.close();
  });
  const ids = Array.from({ length: 20 }, makeId);
  assert.ok(await peer.deliver(makeId(), "before"));

  holder.exec("BEGIN IMMEDIATE");
  const lockedAt = Date.now();
  const deliveries = ids.map((id) => peer.deliver(id, "meanwhile"));
  await nap(HELD_MS);
  const early = ids.filter((id) => peer.acknowledged.has(id));
  const heldMs = Date.now() - lockedAt;
  holder.exec("COMMIT");

  assert.deepEqual(early, [], `no ACK in ${heldMs} ms without a commit`);
  assert.deepEqual(
    await Promise.all(deliveries),
    ids.map(() => true),
  );
  assert.equal(bob.count("inbound"), ids.length + 1);
  const lines = bob.log.filter((line) => line.includes("write lock"));
  assert.equal(lines.length, 1, "said once");
  assert.equal(await bob.stop(), 0);
});

test("a program that keeps a snapshot open holds up nothing", async (t) => {
  const place = new Place(t);
  const [alice, bob] = await makePair(place);
  const readers = [alice, bob].map(({ database }) => connect(database, { timeout: 5_000 }));
  place.after(() => {
    for (const reader of readers) reader.close();
  });
  for (const reader of readers) {
    reader.exec("BEGIN");
    reader.prepare("SELECT count(*) FROM outbound_messages").get();
  }

  alice.write(() => {
    for (let n = 0; n < 5_000; n++) alice.insert(bob.port, JSON.stringify({ n }));
  });
  await alice.settled();

  assert.equal(bob.count("inbound"), 5_000);
  assert.deepEqual([await alice.stop(), await bob.stop()], [0, 0]);
});

test("whatever another program writes into the tables, the daemon serves on", async (t) => {
  const seed = Number(process.env["SEED"] ?? randomInt(2 ** 32));
  t.diagnostic(`SEED=${seed}`);
  const place = new Place(t);
  const [alice, bob] = await makePair(place, { flags: ["--retry-interval", "0.2"] });
  const vandal = connect(alice.database, { timeout: 5_000 });
  place.after(() => {
    vandal.close();
  });
  const draw = new Vandal(randomFrom(seed), bob.port);
  const residentBytes = alice.residentBytes;

  let accepted = 0;
  /** Rows that the vandal cancelled itself, or gave another id. */
  const own = new Set<Value | undefined>();
  for (let n = 0; n < STATEMENTS; n++) {
    const [sql, values] = draw.next();
    if (values[0] === "send_failed") own.add(values.at(-1));
    if (sql.includes("SET id")) for (const id of values) own.add(id);
    try {
      accepted += vandal.prepare(sql).run(...values).changes;
    } catch {
      // The schema refuses some of it; what it does not refuse the daemon must bear.
    }
    if (n % STATEMENTS_EACH === 0) await nap(1);
  }
  assert.ok(accepted > STATEMENTS / 10, `${accepted} rows were changed`);
  const honest = alice.insert(bob.port, '{"text":"behind it all"}');
  await until(() => alice.state(honest) === "acknowledged", "an honest row");

  assert.ok(alice.running && bob.running);
  assert.ok(alice.residentBytes - residentBytes < GROWTH_BYTES_MAX);
  const unexplained = alice
    .outbound()
    .filter(({ id, state, lastError }) => state === "send_failed" && !lastError && !own.has(id));
  assert.deepEqual(unexplained, []);
  requireIntegrity(alice);
  assert.deepEqual([await alice.stop(), await bob.stop()], [0, 0]);
});

const ROBBERIES: Readonly<Record<string, (path: string) => void>> = {
  deleted: (path) => rmSync(path),
  "replaced by a copy": (path) => {
    copyFileSync(path, `${path}.copy`);
    renameSync(`${path}.copy`, path);
  },
};

for (const [what, rob] of Object.entries(ROBBERIES)) {
  test(`a daemon whose database is ${what} ends, says so, and acknowledges nothing afterwards`, async (t) => {
    const place = new Place(t);
    const secret = makeSecret();
    const host = { fileCheckMs: 100 };
    const bob = await TestDaemon.make(place, { name: "bob", secret, host });
    await bob.start();
    const peer = await ClassicPeer.make(place, secret, bob.port);
    assert.ok(await peer.deliver(makeId(), "while all is well"));

    rob(bob.database);
    const code = await bob.ended();
    const id = makeId();
    await peer.sendMessage(id, "too late");
    await nap(50);

    assert.equal(code, EXIT.failed);
    const line = bob.log.at(-1) ?? "";
    assert.match(
      line,
      /^{"level":"error".*securedgram\.db was deleted or replaced while it was in use/,
    );
    assert.equal(peer.acknowledged.has(id), false);
    const [, saved = ""] = /its content is in ([^" ]+)/.exec(line) ?? [];
    renameSync(saved, bob.database);
    await bob.start();
    const stored = new Set(bob.inbound().map(({ messageId }) => messageId));
    const lost = [...peer.acknowledged.keys()].filter((each) => !stored.has(each));
    requireIntegrity(bob);
    assert.deepEqual(
      lost,
      [],
      "with the saved file in its place all that was acknowledged is there",
    );
    assert.equal(await bob.stop(), 0);
  });
}

test("a stop that finds the database gone is not clean, and names where its content is", async (t) => {
  const place = new Place(t);
  const secret = makeSecret();
  const bob = await TestDaemon.make(place, { name: "bob", secret });
  await bob.start();
  const peer = await ClassicPeer.make(place, secret, bob.port);
  const id = makeId();
  assert.ok(await peer.deliver(id, "while all is well"));

  rmSync(bob.database);
  const code = await bob.stop();

  assert.equal(code, EXIT.failed);
  const line = bob.log.find((each) => each.includes("the stop was not clean")) ?? "";
  const [, saved = ""] = /"reason":"[^"]* its content is in ([^" ]+)"/.exec(line) ?? [];
  const copy = connect(saved, { fileMustExist: true });
  const stored = copy.prepare("SELECT message_id FROM inbound_messages").pluck().all();
  copy.close();
  assert.deepEqual(stored, [id]);
});

type Value = string | number | bigint | null | Buffer;

/** Random statements on the outbound table: other columns' values, other types, other times. */
class Vandal {
  readonly #random: () => number;
  readonly #port: number;

  constructor(random: () => number, port: number) {
    this.#random = random;
    this.#port = port;
  }

  next(): readonly [string, readonly Value[]] {
    const draw = this.#random();
    const id = Math.floor(this.#random() * 400);
    if (draw < 0.5) {
      const sql = `INSERT INTO outbound_messages
        (message_id, dst_addr, dst_port, payload, priority, not_before, expires_at)
        VALUES (?, ?, ?, ?, ?, ?, ?)`;
      const values = [this.#id(), this.#address(), this.#number(), this.#payload()];
      return [sql, [...values, this.#number(), this.#time(), this.#time()]];
    }
    if (draw < 0.6) return ["DELETE FROM outbound_messages WHERE id = ?", [id]];
    if (draw < 0.7)
      return ["UPDATE outbound_messages SET id = ? WHERE id = ?", [this.#number(), id]];
    const column = this.#pick(["state", "payload", "dst_addr", "dst_port", "message_id"]);
    const more = this.#pick(["retry_count", "expires_at", "not_before", "priority", "generation"]);
    const sql = `UPDATE outbound_messages SET ${column} = ?, ${more} = ? WHERE id = ?`;
    const value = column === "state" ? this.#state() : this.#any();
    return [sql, [value, this.#any(), id]];
  }

  #any(): Value {
    const makers = [this.#id, this.#address, this.#number, this.#payload, this.#time, this.#state];
    return this.#pick(makers).call(this);
  }

  #id(): Value {
    return this.#pick<Value>([null, makeId(), makeId().toUpperCase(), "", "x\0", 7, Buffer.of(1)]);
  }

  #address(): Value {
    return this.#pick<Value>([
      LOOPBACK,
      LOOPBACK,
      "::1",
      "",
      "no such\nhost",
      "255.255.255.255",
      5,
    ]);
  }

  #number(): Value {
    const numbers = [this.#port, 0, -1, 65_536, 1.5, 2n ** 63n - 1n, -(2n ** 63n), "port", null];
    return this.#pick<Value>(numbers);
  }

  #payload(): Value {
    const deep = "[".repeat(5_000);
    const texts = ["{}", '{"a":1}', "", "[]", deep, "{", '{"message_id":"x"}', '{"type":"ACK"}'];
    return this.#pick<Value>([...texts, Buffer.of(0xff, 0), "x".repeat(100_000), 3, null]);
  }

  #time(): Value {
    const texts = ["2000-01-01T00:00:00.000", "9999-12-31T23:59:59.999", "soon", ""];
    return this.#pick<Value>([null, null, ...texts, 12, Buffer.of(2)]);
  }

  #state(): Value {
    const states = ["pending", "pending", "sending", "sent", "acknowledged", "send_failed"];
    return this.#pick<Value>([...states, "", "lost", null, 4]);
  }

  #pick<T>(values: readonly T[]): T {
    return values[Math.floor(this.#random() * values.length)] as T;
  }
}
