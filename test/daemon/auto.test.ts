// Real daemons that move from classic to sessions, host by host, and back only when they are told to.
// Between them is a relay, which can tell what is spoken, and can be an attacker.

import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { open } from "./classic-peer.js";
import { LOOPBACK, makeSecret, Place, type TestDaemon, until } from "./harness.js";
import { CONFIG_NAME, SessionPair } from "./session-hosts.js";

const AUTO = { peer: 'mode = "auto"' } as const;

interface Hosts {
  readonly pair: SessionPair;
  readonly alice: TestDaemon;
  readonly bob: TestDaemon;
}

async function makeHosts(place: Place): Promise<Hosts> {
  const pair = await SessionPair.make(place, { ...AUTO, relayed: true });
  return { pair, alice: pair.alice, bob: pair.bob };
}

/** The configuration that an older daemon's was carried over to: no key, and no identity. */
function configureClassic({ pair, alice }: Hosts): void {
  const peer = ["[[peer]]", 'name = "bob"', `address = "${LOOPBACK}:${pair.toBob}"`];
  const lines = [...peer, 'secret_file = "bob.secret"', ""];
  writeFileSync(join(alice.directory, "bob.secret"), `${pair.secret}\n`, { mode: 0o600 });
  writeFileSync(join(alice.directory, CONFIG_NAME), lines.join("\n"), { mode: 0o600 });
}

/** Rows to the other one, by its address. */
function send({ pair, alice, bob }: Hosts, rows: number): void {
  for (const [from, port] of [
    [alice, pair.toBob],
    [bob, pair.toAlice],
  ] as const) {
    from.write(() => {
      const insert = from.db.prepare(
        "INSERT INTO outbound_messages(dst_addr, dst_port, payload) VALUES (?, ?, ?)",
      );
      for (let n = 0; n < rows; n++)
        insert.run(LOOPBACK, port, JSON.stringify({ from: from.name, n }));
    });
  }
}

async function reload(daemon: TestDaemon): Promise<void> {
  const count = () =>
    daemon.log.filter((line) => /"msg":"(nothing was )?reloaded/.test(line)).length;
  const before = count();
  daemon.signal("SIGHUP");
  await until(() => count() > before, `${daemon.name} to reload`);
}

const sessionSince = (daemon: TestDaemon): unknown =>
  daemon.db.prepare("SELECT session_since FROM peers").pluck().get() ?? null;

async function migrated({ alice, bob }: Hosts): Promise<void> {
  for (const daemon of [alice, bob]) {
    await until(() => sessionSince(daemon) !== null, `${daemon.name} to speak sessions`);
  }
}

/** Rows that came in sessions. */
const bySession = (daemon: TestDaemon): number => daemon.count("inbound", "boot IS NOT NULL");

function requireOnce({ alice, bob }: Hosts): void {
  for (const [from, to] of [
    [alice, bob],
    [bob, alice],
  ] as const) {
    const sent = from.outbound().map(({ messageId, state }) => [messageId, state]);
    const stored = to.inbound().map(({ messageId }) => messageId);
    assert.equal(new Set(stored).size, stored.length);
    assert.deepEqual(new Set(stored), new Set(sent.map(([id]) => id)));
    assert.deepEqual(new Set(sent.map(([, state]) => state)), new Set(["acknowledged"]));
  }
}

/** What passed the relay and was sealed with the secret of classic. */
const classicOf = ({ pair }: Hosts): number =>
  (pair.relay.kept ?? []).filter(({ bytes }) => open(pair.secret, bytes) !== undefined).length;

test("a pair speaks classic until both have each other's key, then sessions, and loses nothing", async (t) => {
  const hosts = await makeHosts(new Place(t));
  const { pair, alice, bob } = hosts;
  configureClassic(hosts);
  await pair.start();
  send(hosts, 50);
  await pair.settled();
  assert.deepEqual([bySession(alice), bySession(bob)], [0, 0]);
  assert.deepEqual([sessionSince(alice), sessionSince(bob)], [null, null]);

  pair.configure("alice", AUTO);
  send(hosts, 200);
  await reload(alice);
  send(hosts, 200);
  await migrated(hosts);
  pair.relay.kept = [];
  send(hosts, 50);
  await pair.settled();

  requireOnce(hosts);
  assert.ok(bySession(alice) >= 50 && bySession(bob) >= 50);
  await pair.relay.quiet();
  pair.relay.kept = [];
  send(hosts, 50);
  await pair.settled();
  assert.equal(classicOf(hosts), 0);
  requireOnce(hosts);
  assert.deepEqual([await alice.stop(), await bob.stop()], [0, 0]);
});

test("under a secret that all share, too, what was not acknowledged in time is stored once", async (t) => {
  const place = new Place(t);
  const top = 'secret_file = "shared.secret"';
  const pair = await SessionPair.make(place, { ...AUTO, top, relayed: true, secret: false });
  const { alice, bob } = pair;
  const hosts = { pair, alice, bob };
  const secret = makeSecret();
  for (const { directory } of [alice, bob]) {
    writeFileSync(join(directory, "shared.secret"), `${secret}\n`, { mode: 0o600 });
  }
  writeFileSync(join(alice.directory, CONFIG_NAME), `${top}\n`, { mode: 0o600 });
  await pair.start();
  send(hosts, 50);
  await pair.settled();
  pair.relay.delayMs = () => 30;

  pair.configure("alice", { ...AUTO, top });
  send(hosts, 300);
  await reload(alice);
  send(hosts, 300);
  await migrated(hosts);
  send(hosts, 10);
  await pair.settled(60_000);

  assert.ok(bySession(alice) > 0 && bySession(bob) > 0);
  requireOnce(hosts);
});

test("who drops every handshake cannot push a pair back, over restarts of both", async (t) => {
  const hosts = await makeHosts(new Place(t));
  const { pair, alice, bob } = hosts;
  await pair.start();
  await migrated(hosts);
  send(hosts, 5);
  await pair.settled();
  await Promise.all([alice.stop(), bob.stop()]);

  const { relay } = pair;
  relay.kept = [];
  relay.passes = () => false;
  await pair.start();
  send(hosts, 20);
  // Longer than the 3 s that `auto` tries the session for.
  await until(
    () => relay.kept !== undefined && relay.kept.length >= 6,
    "handshakes of both",
    20_000,
  );
  await relay.quiet(1_000);

  assert.equal(classicOf(hosts), 0);
  assert.deepEqual([alice.count("inbound"), bob.count("inbound")], [5, 5]);
  relay.passes = () => true;
  await pair.settled(60_000);
  assert.equal(classicOf(hosts), 0);
  requireOnce(hosts);
});

test("classic that was recorded before the move is refused behind it, and draws no reply", async (t) => {
  const hosts = await makeHosts(new Place(t));
  const { pair, alice, bob } = hosts;
  configureClassic(hosts);
  await pair.start();
  pair.relay.passes = (_, direction) => direction === "toAlice";
  pair.relay.kept = [];
  send(hosts, 1);
  const recorded = () =>
    (pair.relay.kept ?? []).find(({ bytes, direction }) => {
      return direction === "toBob" && open(pair.secret, bytes) !== undefined;
    });
  await until(() => recorded() !== undefined, "a message by classic");
  const message = recorded()?.bytes ?? Buffer.alloc(0);
  pair.relay.passes = () => true;
  pair.configure("alice", AUTO);
  await reload(alice);
  await migrated(hosts);
  await pair.settled();
  await pair.relay.quiet();
  // Sessions have things to say of themselves at any time; an answer to classic would be classic.
  const answersOf = (): number =>
    (pair.relay.kept ?? []).filter(({ bytes, direction }) => {
      return direction === "toAlice" && open(pair.secret, bytes) !== undefined;
    }).length;
  const [stored, answers] = [bob.count("inbound"), answersOf()];

  await pair.relay.inject(message, "toBob");
  await pair.relay.quiet();

  assert.equal(bob.count("inbound"), stored);
  assert.equal(answersOf(), answers);
  requireOnce(hosts);
  await bob.stop();
  await bob.start();
  await until(() => bob.ready, "bob to be back");
  await pair.relay.quiet(500);
  await pair.relay.inject(message, "toBob");
  await pair.relay.quiet();
  assert.equal(answersOf(), answers);
  assert.equal(bob.count("inbound"), stored);
  await bob.stop();
  assert.ok(bob.log.some((line) => line.includes('"drop_classic_ended":1')));
});

test("mode classic, set on purpose, ends it, and auto may begin anew", async (t) => {
  const hosts = await makeHosts(new Place(t));
  const { pair, alice, bob } = hosts;
  await pair.start();
  await migrated(hosts);
  send(hosts, 10);

  for (const name of ["alice", "bob"] as const) {
    pair.configure(name, { peer: 'mode = "classic"' });
    await reload(pair[name]);
  }
  send(hosts, 10);
  await pair.settled(60_000);
  const before = [bySession(alice), bySession(bob)];
  send(hosts, 10);
  await pair.settled(60_000);

  assert.deepEqual([sessionSince(alice), sessionSince(bob)], [null, null]);
  assert.deepEqual([bySession(alice), bySession(bob)], before);
  requireOnce(hosts);
  for (const name of ["alice", "bob"] as const) {
    pair.configure(name, AUTO);
    await reload(pair[name]);
  }
  await migrated(hosts);
  send(hosts, 10);
  await pair.settled(60_000);
  requireOnce(hosts);
});

for (const victims of [[], ["alice"], ["bob"], ["alice", "bob"]] as const) {
  const killed = victims.length === 0 ? "nobody" : victims.join(" and ");
  test(`what classic had in hand ends once each in the session, ${killed} killed in between`, async (t) => {
    const hosts = await makeHosts(new Place(t));
    const { pair, alice, bob } = hosts;
    configureClassic(hosts);
    await pair.start();
    for (const daemon of [alice, bob]) noteEnds(daemon);
    pair.relay.passes = withoutAcks(pair.secret);
    send(hosts, 100);
    const stored = () => Math.min(alice.count("inbound"), bob.count("inbound"));
    await until(() => stored() >= 5, "messages by classic");
    assert.deepEqual([endsOf(alice), endsOf(bob)], [[], []]);

    pair.configure("alice", AUTO);
    await reload(alice);
    await until(() => sessionSince(alice) !== null, "alice to speak sessions");
    for (const name of victims) await pair[name].kill();
    for (const name of victims) await pair[name].start();
    send(hosts, 20);
    await migrated(hosts);
    await pair.settled(60_000);

    requireOnce(hosts);
    for (const daemon of [alice, bob]) {
      const ids = daemon.outbound().map(({ id }) => id);
      assert.deepEqual(endsOf(daemon), ids, `${daemon.name}: each row is acknowledged once`);
    }
    assert.ok(bySession(alice) > 0 && bySession(bob) > 0);
    await pair.relay.quiet();
    pair.relay.kept = [];
    send(hosts, 20);
    await pair.settled();
    assert.equal(classicOf(hosts), 0, "classic is over");
  });
}

test("a pair that is killed right behind its first session never speaks classic again", async (t) => {
  const hosts = await makeHosts(new Place(t));
  const { pair, alice, bob } = hosts;
  const { relay } = pair;
  await pair.start();
  await migrated(hosts);
  await Promise.all([alice.kill(), bob.kill()]);
  relay.kept = [];
  relay.passes = () => false;
  await pair.start();
  send(hosts, 20);
  // Longer than the 3 s that `auto` tries the session for.
  const tried = (): boolean => (relay.kept ?? []).length >= 6;
  await until(tried, "handshakes of both", 20_000);
  await relay.quiet(1_000);

  assert.equal(classicOf(hosts), 0);
  for (const daemon of [alice, bob]) {
    assert.equal(daemon.count("inbound"), 0);
    assert.equal(daemon.count("outbound", "state IN ('acknowledged', 'send_failed')"), 0);
  }
  relay.passes = () => true;
  await pair.settled(60_000);
  assert.equal(classicOf(hosts), 0);
  requireOnce(hosts);
});

/** Lets every second message of classic through and none of its acknowledgements; all else passes. */
function withoutAcks(secret: string): (datagram: Uint8Array) => boolean {
  let messages = 0;
  return (datagram) => {
    const body = open(secret, datagram);
    if (body === undefined) return true;
    if (body.includes('"ACK"')) return false;
    messages += 1;
    return messages % 2 === 0;
  };
}

/** From now on each row is noted whenever somebody writes that it is acknowledged. */
function noteEnds(daemon: TestDaemon): void {
  daemon.write(() =>
    daemon.db.exec(
      `CREATE TABLE test_ends(row_id INTEGER);
       CREATE TRIGGER test_ends_noted AFTER UPDATE OF state ON outbound_messages
       WHEN NEW.state = 'acknowledged' BEGIN INSERT INTO test_ends VALUES (NEW.id); END`,
    ),
  );
}

const endsOf = (daemon: TestDaemon): readonly unknown[] =>
  daemon.db.prepare("SELECT row_id FROM test_ends ORDER BY row_id").pluck().all();
