// Real daemons whose session peers, keys and secrets change by reloads while messages are under way.

import assert from "node:assert/strict";
import { test } from "node:test";
import { makeSecret, Place, TestDaemon, until } from "./harness.js";
import {
  reload,
  requireOnce,
  run,
  runWith,
  stateOf,
  texts,
  untilRotation,
} from "./session-commands.js";
import { CONFIG_NAME, makeIdentity, SessionPair, sendAll, writeConfig } from "./session-hosts.js";

test("the secret of a pair changes by the commands, under traffic, and no message is lost", async (t) => {
  const pair = await (await SessionPair.make(new Place(t))).start();
  const { alice, bob } = pair;
  let sent = 0;
  const send = (count: number): void => {
    sendAll(alice, "bob", texts(sent, count));
    sendAll(bob, "alice", texts(sent, count));
    sent += count;
  };
  send(50);
  await pair.settled();

  const secret = (await run(alice, "peer", "rotate", "bob")).trim();
  send(50);
  await reload(alice);
  await untilRotation(alice, "bob", "installed");
  await runWith(bob, `${secret}\n`, "peer", "rotate", "alice", "--install", "-");
  send(50);
  await reload(bob);
  await untilRotation(alice, "bob", "confirmed");
  await untilRotation(bob, "alice", "confirmed");

  // The next handshake: a rekey comes in two minutes, a restart is one at once.
  assert.equal(await alice.stop(), 0);
  await alice.start();
  send(50);
  await untilRotation(alice, "bob", "proven");
  await untilRotation(bob, "alice", "proven");
  await run(bob, "peer", "rotate", "alice", "--finish");
  send(50);
  await reload(bob);
  await run(alice, "peer", "rotate", "bob", "--finish");
  send(50);
  await reload(alice);
  send(50);
  await pair.settled();

  requireOnce([alice, bob], sent);
  assert.deepEqual(
    [(await stateOf(alice, "bob")).rotation, (await stateOf(bob, "alice")).rotation],
    ["none", "none"],
  );
  assert.deepEqual([await alice.stop(), await bob.stop()], [0, 0]);
});

test("an identity changes by the commands; the daemon that was off meanwhile is found", async (t) => {
  const pair = await (await SessionPair.make(new Place(t))).start();
  const { alice, bob } = pair;
  sendAll(alice, "bob", texts(0, 20));
  sendAll(bob, "alice", texts(0, 20));
  await pair.settled();

  const key = (await run(alice, "peer", "rotate", "--identity")).trim();
  await reload(alice);
  assert.equal(await bob.stop(), 0);
  await run(bob, "peer", "rotate", "alice", "--public-key", key);
  sendAll(alice, "bob", texts(20, 20));
  await bob.start();
  sendAll(bob, "alice", texts(20, 20));
  // A handshake under the new key may have come already.
  await untilRotation(alice, "bob", "confirmed", "proven");
  await alice.stop();
  await alice.start();
  await untilRotation(alice, "bob", "proven");
  await untilRotation(bob, "alice", "proven");
  await pair.settled();

  // Finished while it is off: everything that was known under the key before counts.
  await bob.stop();
  await run(bob, "peer", "rotate", "alice", "--finish");
  sendAll(bob, "alice", texts(40, 20));
  await bob.start();
  sendAll(alice, "bob", texts(40, 20));
  await pair.settled();
  await run(alice, "peer", "rotate", "--identity", "--finish");
  await reload(alice);
  sendAll(alice, "bob", texts(60, 20));
  sendAll(bob, "alice", texts(60, 20));
  await pair.settled();

  requireOnce([alice, bob], 80);
  const scopes = bob.db.prepare("SELECT DISTINCT peer FROM inbound_messages").pluck().all();
  assert.deepEqual(scopes, [key]);
});

test("peers come and go by reloads: the others keep their sessions, and rows wait for theirs", async (t) => {
  const place = new Place(t);
  const pair = await SessionPair.make(place);
  const { alice, bob } = pair;
  const options = { secret: "", secretInEnvironment: false, flags: ["--config", CONFIG_NAME] };
  const carol = await TestDaemon.make(place, { ...options, name: "carol" });
  const identity = makeIdentity();
  const secret = makeSecret();
  const bobAs = {
    name: "bob",
    publicKey: pair.identities.bob.publicKey,
    port: bob.port,
    secret: pair.secret,
  };
  const carolAs = { name: "carol", publicKey: identity.publicKey, port: carol.port, secret };
  const aliceAs = { name: "alice", publicKey: pair.identities.alice.publicKey };
  writeConfig(carol, {
    identity: identity.privateKey,
    peers: [{ ...aliceAs, port: alice.port, secret }],
  });
  const own = pair.identities.alice.privateKey;
  await pair.start();
  await carol.start();
  sendAll(alice, "bob", texts(0, 20));
  await alice.settled();
  const before = (await stateOf(alice, "bob")).lastHandshakeAt;

  writeConfig(alice, { identity: own, peers: [carolAs, bobAs] });
  await reload(alice);
  sendAll(alice, "carol", texts(0, 20));
  sendAll(alice, "bob", texts(20, 20));
  await alice.settled();
  requireOnce([carol], 20);
  assert.equal((await stateOf(alice, "bob")).lastHandshakeAt, before);

  await carol.stop();
  sendAll(alice, "carol", texts(20, 20));
  await until(() => alice.count("outbound", "state <> 'acknowledged'") === 20, "rows to wait");
  writeConfig(alice, { identity: own, peers: [bobAs] });
  await reload(alice);
  await carol.start();
  sendAll(alice, "bob", texts(40, 20));
  await until(() => alice.count("outbound", "state = 'acknowledged'") === 80, "bob to have all");
  assert.equal(carol.count("inbound"), 20);

  writeConfig(alice, { identity: own, peers: [bobAs, carolAs] });
  await reload(alice);
  await alice.settled();
  requireOnce([carol], 40);
  requireOnce([bob], 60);
  assert.equal((await stateOf(alice, "bob")).lastHandshakeAt, before);
});

test("a clean stop ends the session at the other end: what follows there is a handshake", async (t) => {
  const pair = await (await SessionPair.make(new Place(t), { relayed: true })).start();
  const { alice, bob } = pair;
  const { relay } = pair;
  relay.kept = [];
  sendAll(bob, "alice", texts(0, 20));
  await pair.settled();
  await relay.quiet();
  const idOf = (datagram: Buffer): string => datagram.subarray(0, 4).toString("hex");
  const ids = new Set(relay.kept.map(({ bytes }) => idOf(bytes)));

  assert.equal(await alice.stop(), 0);
  const upSince = bob.db.prepare("SELECT session_up_since FROM peers").pluck();
  await until(() => upSince.get() === null, "bob to have no session");
  await relay.quiet();
  relay.kept = [];
  sendAll(bob, "alice", texts(20, 1));
  await until(() => (relay.kept ?? []).length > 0, "a datagram of bob");
  assert.ok(relay.kept.every(({ bytes }) => !ids.has(idOf(bytes))));
  await alice.start();
  await pair.settled();
  requireOnce([alice], 21);
});

test("a reload in the middle of large messages loses nothing", async (t) => {
  const pair = await (await SessionPair.make(new Place(t))).start();
  const { alice, bob } = pair;
  const large = Buffer.alloc(6 << 20, 7);

  sendAll(alice, "bob", [{ payload: large }, ...texts(0, 500), { payload: large }]);
  for (let times = 0; times < 5; times++) {
    pair.configure("alice", { peer: `padding = ${2 + times}` });
    pair.configure("bob", { peer: `keepalive = ${20 + times}` });
    await Promise.all([reload(alice), reload(bob)]);
  }
  await pair.settled();

  assert.equal(bob.count("inbound", `length(payload) = ${large.length}`), 2);
  assert.equal(bob.count("inbound"), 502);
});
