// Two real daemons on loopback: messages both ways, restarts, strangers, reloads, and what the owners
// of the tables do to them while the daemons work.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { connect } from "../../src/shared/store/driver.js";
import { ClassicPeer } from "./classic-peer.js";
import { LOOPBACK, makeId, makePair, makeSecret, Place, TestDaemon, until } from "./harness.js";
import { compare, requireIntegrity } from "./ledger.js";

const SG_SEND = fileURLToPath(new URL("../../src/main/sg-send.js", import.meta.url));
/** Lines of a log that said nothing about packets: start, a summary or two, the end. */
const QUIET_LOG_LINES = 8;

test("messages both ways are stored byte for byte and acknowledged", async (t) => {
  const [alice, bob] = await makePair(new Place(t));
  const payloads = Array.from({ length: 50 }, (_, n) => JSON.stringify({ n, text: `no. ${n}` }));

  for (const payload of payloads) {
    alice.insert(bob.port, payload);
    bob.insert(alice.port, payload);
  }
  const words = ["--db", alice.database, LOOPBACK, String(bob.port), '{"from": "sg-send"}'];
  const { stdout } = await promisify(execFile)(process.execPath, [SG_SEND, ...words]);
  await Promise.all([alice.settled(), bob.settled()]);

  assert.equal((JSON.parse(stdout) as { status: string }).status, "queued");
  for (const [sender, receiver] of [
    [alice, bob],
    [bob, alice],
  ] as const) {
    const copies = new Map(receiver.inbound().map((row) => [row.messageId, row]));
    const rows = sender.outbound();
    assert.equal(copies.size, rows.length);
    for (const row of rows) {
      const copy = copies.get(row.messageId);
      assert.deepEqual(copy?.payload, row.payload);
      assert.deepEqual([copy?.state, copy?.port], ["ack_sent", sender.port]);
    }
  }
  assert.deepEqual([await alice.stop(), await bob.stop()], [0, 0]);
});

test("a restart of either side in the middle of traffic loses nothing and repeats nothing", async (t) => {
  const [alice, bob] = await makePair(new Place(t));
  const [fromAlice, fromBob] = [new Map<number, string>(), new Map<number, string>()];
  const write = (rows: number) => {
    for (let i = 0; i < rows; i++) {
      for (const [producer, sender, receiver] of [
        [fromAlice, alice, bob],
        [fromBob, bob, alice],
      ] as const) {
        const n = producer.size;
        const text = `${n} ${"x".repeat(n % 700)}`;
        producer.set(n, text);
        const messageId = n % 2 === 0 ? null : makeId();
        const id = messageId === null ? {} : { message_id: messageId };
        sender.insert(receiver.port, JSON.stringify({ ...id, n, text }), messageId);
      }
    }
  };

  for (const restarted of [bob, alice, bob, alice]) {
    write(150);
    await until(() => bob.count("inbound") > 0 && alice.count("inbound") > 0, "traffic");
    assert.equal(await restarted.stop(), 0);
    write(50);
    await restarted.start();
  }
  await Promise.all([alice.settled(), bob.settled()]);

  assert.deepEqual(compare(alice, bob, fromAlice), { acknowledged: 800, stored: 800 });
  assert.deepEqual(compare(bob, alice, fromBob), { acknowledged: 800, stored: 800 });
  requireIntegrity(alice);
  requireIntegrity(bob);
});

test("what another secret sealed is neither stored nor answered nor logged one by one", async (t) => {
  const place = new Place(t);
  const bob = await TestDaemon.make(place, { name: "bob", secret: makeSecret() });
  const mallory = await TestDaemon.make(place, {
    name: "mallory",
    secret: makeSecret(),
    flags: ["--retry-interval", "0.1"],
  });
  await Promise.all([bob.start(), mallory.start()]);

  for (let n = 0; n < 200; n++) mallory.insert(bob.port, JSON.stringify({ n }));
  // How many rows take part depends on when the first waits end: the window of a silent host shrinks.
  const tries = mallory.db.prepare("SELECT sum(retry_count) FROM outbound_messages").pluck();
  await until(() => (tries.get() as number) > 400, "mallory to try again and again");
  const own = mallory.count("outbound", "state = 'acknowledged'");
  assert.deepEqual([bob.count("inbound"), own], [0, 0]);
  assert.deepEqual([await mallory.stop(), await bob.stop()], [0, 0]);

  assert.ok(bob.log.length <= QUIET_LOG_LINES, bob.log.join("\n"));
  assert.ok(sum(bob, "drop_not_authentic") >= 300, bob.log.join("\n"));
  assert.equal(sum(bob, "datagrams_sent"), 0);
  assert.equal(sum(mallory, "datagrams_received"), 0);
});

test("a message that an outside DELETE purged is acknowledged again and stored nowhere twice", async (t) => {
  const place = new Place(t);
  const secret = makeSecret();
  const bob = await TestDaemon.make(place, { name: "bob", secret });
  await bob.start();
  const peer = await ClassicPeer.make(place, secret, bob.port);
  const [purged, kept] = [makeId(), makeId()];
  assert.ok(await peer.deliver(purged, "first"));

  const foreign = connect(bob.database, { timeout: 5_000 });
  foreign.prepare("DELETE FROM inbound_messages WHERE message_id = ?").run(purged);
  foreign.close();
  peer.acknowledged.clear();

  assert.ok(await peer.deliver(purged, "first"));
  assert.equal(bob.count("inbound"), 0);
  assert.ok(await peer.deliver(kept, "first"));
  assert.ok(await peer.deliver(kept, "first"));
  assert.deepEqual(
    bob.inbound().map(({ messageId }) => messageId),
    [kept],
  );
});

test("rows that a foreign program inserts, redrives and re-addresses are sent", async (t) => {
  const place = new Place(t);
  const [alice, bob] = await makePair(place);
  const carol = await TestDaemon.make(place, { name: "carol", secret: makeSecret() });
  const foreign = connect(alice.database, { timeout: 5_000 });
  place.after(() => {
    foreign.close();
  });
  const insert = foreign.prepare(
    "INSERT INTO outbound_messages(dst_addr, dst_port, payload) VALUES (?, ?, ?)",
  );
  const one = insert.run(LOOPBACK, bob.port, '{"text":"one"}').lastInsertRowid;
  const two = insert.run(LOOPBACK, carol.port, '{"text":"two"}').lastInsertRowid;
  await until(() => alice.state(Number(one)) === "acknowledged", "the first receipt");
  await until(() => alice.state(Number(two)) === "sent", "a try without an answer");

  const redrive = foreign.prepare("UPDATE outbound_messages SET state = 'pending' WHERE id = ?");
  redrive.run(one);
  const readdress = foreign.prepare("UPDATE outbound_messages SET dst_port = ? WHERE id = ?");
  readdress.run(bob.port, two);
  await alice.settled();

  const redriven = foreign
    .prepare("SELECT generation FROM outbound_messages WHERE id = ?")
    .pluck()
    .get(one);
  assert.equal(redriven, 1);
  assert.equal(bob.count("inbound"), 2);
});

test("a row that failed is sent once its owner has put it right", async (t) => {
  const [alice, bob] = await makePair(new Place(t));
  const row = alice.insert(bob.port, "no JSON");
  await until(() => alice.state(row) === "send_failed", "the refusal");
  assert.match(alice.outbound()[0]?.lastError ?? "", /\S+ .*; /);

  const repair = alice.db.prepare(
    "UPDATE outbound_messages SET payload = '{}', state = 'pending' WHERE id = ?",
  );
  alice.write(() => repair.run(row));
  await alice.settled();

  assert.equal(bob.count("inbound"), 1);
});

test("a secret changes on both sides, by reloads, under traffic, and no message is lost", async (t) => {
  const place = new Place(t);
  const [old, fresh] = [makeSecret(), makeSecret()];
  const config = ["--config", "securedgram.toml"];
  const options = { secret: "", secretInEnvironment: false, flags: config };
  const alice = await TestDaemon.make(place, { ...options, name: "alice" });
  const bob = await TestDaemon.make(place, { ...options, name: "bob" });
  const secrets = (daemon: TestDaemon, rings: Readonly<Record<string, string>>) => {
    const lines = Object.entries(rings).map(([ring, secret]) => {
      writeFileSync(join(daemon.directory, ring), secret, { mode: 0o600 });
      return `${ring} = "${ring}"\n`;
    });
    writeFileSync(join(daemon.directory, "securedgram.toml"), lines.join(""), { mode: 0o600 });
  };
  const reload = async (daemon: TestDaemon, rings: Readonly<Record<string, string>>) => {
    const lines = daemon.log.length;
    secrets(daemon, rings);
    daemon.signal("SIGHUP");
    const isDone = () => daemon.log.slice(lines).some((line) => line.includes('"msg":"reloaded"'));
    await until(isDone, "the reload");
  };
  for (const daemon of [alice, bob]) secrets(daemon, { secret_file: old });
  await Promise.all([alice.start(), bob.start()]);
  const producer = new Map<number, string>();
  const traffic = setInterval(() => {
    for (let i = 0; i < 5; i++) {
      const n = producer.size;
      producer.set(n, "in flight");
      alice.insert(bob.port, JSON.stringify({ n, text: "in flight" }));
    }
  }, 10);
  place.after(() => clearInterval(traffic));
  const flows = async () => {
    const before = alice.count("outbound", "state = 'acknowledged'");
    await until(() => alice.count("outbound", "state = 'acknowledged'") > before + 50, "traffic");
  };

  await flows();
  await reload(bob, { secret_file: old, next_secret_file: fresh });
  await reload(alice, { secret_file: fresh, previous_secret_file: old });
  await flows();
  await reload(bob, { secret_file: fresh, previous_secret_file: old });
  await reload(alice, { secret_file: fresh });
  await reload(bob, { secret_file: fresh });
  await flows();
  clearInterval(traffic);
  await alice.settled();

  const rows = producer.size;
  assert.deepEqual(compare(alice, bob, producer), { acknowledged: rows, stored: rows });
});

test("a stop waits for what is in flight and leaves the rest to the next start", async (t) => {
  const [alice, bob] = await makePair(new Place(t));
  alice.write(() => {
    for (let n = 0; n < 20_000; n++) alice.insert(bob.port, JSON.stringify({ n }));
  });
  await until(() => bob.count("inbound") > 0, "the first arrivals");

  assert.equal(await alice.stop(), 0);

  const settled = new Set(
    alice
      .outbound()
      .filter(({ state }) => state === "acknowledged")
      .map(({ messageId }) => messageId),
  );
  const unsettled = bob.inbound().filter(({ messageId }) => !settled.has(messageId));
  assert.deepEqual([unsettled.length, alice.count("outbound", "state = 'sending'")], [0, 0]);
  assert.match(alice.log.at(-1) ?? "", /"msg":"stopped"/);
  await alice.start();
  await alice.settled();
  assert.equal(bob.count("inbound"), 20_000);
});

test("after a clean restart the first acknowledgement is believed", async (t) => {
  const [alice, bob] = await makePair(new Place(t));
  const [early, late] = ["early", "late"];
  alice.insert(bob.port, JSON.stringify({ text: early }));
  await alice.settled();

  assert.equal(await alice.stop(), 0);
  const stoppedNs = Date.now() * 1e6;
  const stored = alice.db.prepare("SELECT value FROM meta WHERE key = 'sealed_stamps'").pluck();
  const [[fromNs, untilNs]] = JSON.parse(String(stored.get()));
  await alice.start();
  alice.insert(bob.port, JSON.stringify({ text: late }));
  await alice.settled();
  await alice.stop();

  assert.ok(0 < fromNs && fromNs < untilNs && untilNs <= stoppedNs, `${fromNs} to ${untilNs}`);
  assert.deepEqual(
    alice.outbound().map(({ retries }) => retries),
    [0, 0],
  );
  assert.equal(sum(alice, "drop_reflected"), 0);
});

/** A counter over all summary lines of a daemon's log. */
function sum(daemon: TestDaemon, counter: string): number {
  return daemon.log
    .map((line) => (JSON.parse(line) as Readonly<Record<string, unknown>>)[counter])
    .reduce((all: number, value) => all + (typeof value === "number" ? value : 0), 0);
}
