// Keys change between real daemons by the commands of two operators, with mail in both directions all
// the while: hosts are killed behind each step, are off during all of it, begin at the same time, or
// get a wrong key. The old key goes only when traffic came under the new one.

import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { makeSecret, Place, type TestDaemon } from "./harness.js";
import {
  attempt,
  Mail,
  refused,
  reload,
  run,
  runWith,
  stateOf,
  untilRotation,
} from "./session-commands.js";
import { CONFIG_NAME, SessionPair } from "./session-hosts.js";

interface Hosts {
  readonly alice: TestDaemon;
  readonly bob: TestDaemon;
}

/** A clean stop and a start: handshakes of both, under whatever key is due. */
async function restart(daemon: TestDaemon): Promise<void> {
  assert.equal(await daemon.stop(), 0);
  await daemon.start();
}

async function crash(daemon: TestDaemon): Promise<void> {
  await daemon.kill();
  await daemon.start();
}

const textOf = (daemon: TestDaemon, name: string): string =>
  readFileSync(join(daemon.directory, name), "utf8");

async function requireNone({ alice, bob }: Hosts): Promise<void> {
  const phases = [(await stateOf(alice, "bob")).rotation, (await stateOf(bob, "alice")).rotation];
  assert.deepEqual(phases, ["none", "none"]);
}

/** From `confirmed` on both to the end, with a handshake in between. */
async function finishSecret({ alice, bob }: Hosts, mail: Mail): Promise<void> {
  await restart(alice);
  mail.send(10);
  await untilRotation(alice, "bob", "proven");
  await untilRotation(bob, "alice", "proven");
  await run(bob, "peer", "rotate", "alice", "--finish");
  await reload(bob);
  mail.send(10);
  await run(alice, "peer", "rotate", "bob", "--finish");
  await reload(alice);
  mail.send(10);
  await mail.arrived();
  await requireNone({ alice, bob });
}

test("a secret changes though a daemon is killed behind every step", async (t) => {
  const pair = await (await SessionPair.make(new Place(t))).start();
  const { alice, bob } = pair;
  const mail = new Mail(pair);
  const old = pair.secret;
  mail.send(20);
  await mail.arrived();

  const secret = await run(alice, "peer", "rotate", "bob");
  mail.send(20);
  await crash(alice);
  await untilRotation(alice, "bob", "installed");
  await crash(bob);
  await refused(alice, "peer rotate bob --finish", /not been heard under the new key/);
  mail.send(20);
  await runWith(bob, secret, "peer", "rotate", "alice", "--install", "-");
  await crash(bob);
  await untilRotation(alice, "bob", "confirmed", "proven");
  await untilRotation(bob, "alice", "confirmed", "proven");
  mail.send(20);
  await Promise.all([crash(alice), crash(bob)]);
  await untilRotation(alice, "bob", "proven");
  await untilRotation(bob, "alice", "proven");
  mail.send(20);
  await crash(bob);
  await crash(alice);
  await run(alice, "peer", "rotate", "bob", "--finish");
  await crash(alice);
  mail.send(20);
  await mail.arrived();
  await crash(bob);
  await run(bob, "peer", "rotate", "alice", "--finish");
  await crash(bob);
  mail.send(20);
  await mail.arrived();

  await requireNone(pair);
  for (const [daemon, file] of [
    [alice, "bob.secret.2"],
    [bob, "alice.secret.2"],
  ] as const) {
    assert.match(textOf(daemon, CONFIG_NAME), new RegExp(`secret_file = "${file}"`));
    assert.equal(textOf(daemon, file), secret);
    assert.ok(!textOf(daemon, CONFIG_NAME).includes(old));
  }
});

test("a peer that was off while the secret was changed to the end comes back with the old one", async (t) => {
  const pair = await (await SessionPair.make(new Place(t))).start();
  const { alice, bob } = pair;
  const mail = new Mail(pair);
  mail.send(20);
  await mail.arrived();
  assert.equal(await bob.stop(), 0);

  const secret = await run(alice, "peer", "rotate", "bob");
  await reload(alice);
  mail.send(10);
  await refused(alice, "peer rotate bob --finish", /not been heard.*\(installed\)/);
  await run(alice, "peer", "rotate", "bob", "--finish", "--force");
  await reload(alice);
  assert.equal((await stateOf(alice, "bob")).rotation, "switched");
  await crash(alice);
  await refused(alice, "peer rotate bob --finish", /not been heard.*\(switched\)/);
  mail.send(10);
  await bob.start();
  await mail.arrived();
  assert.equal((await stateOf(alice, "bob")).rotation, "switched");
  await refused(alice, "peer rotate bob --finish", /not been heard.*\(switched\)/);
  await refused(alice, "peer rotate bob --finish --force", /\(switched\).*kept for it/);

  await runWith(bob, secret, "peer", "rotate", "alice", "--install", "-");
  await reload(bob);
  mail.send(10);
  await untilRotation(bob, "alice", "confirmed", "proven");
  await restart(bob);
  mail.send(10);
  await untilRotation(bob, "alice", "proven");
  await untilRotation(alice, "bob", "retirable");
  await run(alice, "peer", "rotate", "bob", "--finish");
  await reload(alice);
  await run(bob, "peer", "rotate", "alice", "--finish");
  await reload(bob);
  mail.send(10);
  await mail.arrived();
  await requireNone(pair);
});

test("a peer that was off while an identity was changed to the end comes back, and moves on", async (t) => {
  const pair = await (await SessionPair.make(new Place(t))).start();
  const { alice, bob } = pair;
  const mail = new Mail(pair);
  mail.send(20);
  await mail.arrived();
  assert.equal(await bob.stop(), 0);

  const key = (await run(alice, "peer", "rotate", "--identity")).trim();
  await reload(alice);
  await refused(alice, "peer rotate --identity --finish", /new identity from: bob/);
  await run(alice, "peer", "rotate", "--identity", "--finish", "--force");
  await crash(alice);
  mail.send(20);
  await bob.start();
  await mail.arrived();
  assert.equal((await stateOf(alice, "bob")).rotation, "switched");
  await refused(alice, "peer rotate --identity --finish", /new identity from: bob/);
  await refused(alice, "peer rotate --identity --finish --force", /from: bob.*kept for them/);
  await refused(alice, "peer rotate --identity --abandon", /no next identity/);

  await run(bob, "peer", "rotate", "alice", "--public-key", key);
  await crash(bob);
  mail.send(10);
  await untilRotation(bob, "alice", "confirmed", "proven");
  await restart(bob);
  mail.send(10);
  await untilRotation(bob, "alice", "proven");
  await untilRotation(alice, "bob", "retirable");
  await run(bob, "peer", "rotate", "alice", "--finish");
  await crash(bob);
  mail.send(10);
  await run(alice, "peer", "rotate", "--identity", "--finish");
  await crash(alice);
  mail.send(10);
  await mail.arrived();
  await requireNone(pair);
});

test("two hosts that change the secret at once go on as before, until one of them gives way", async (t) => {
  const pair = await (await SessionPair.make(new Place(t))).start();
  const { alice, bob } = pair;
  const mail = new Mail(pair);
  mail.send(20);

  const [ours, theirs] = await Promise.all([
    run(alice, "peer", "rotate", "bob"),
    run(bob, "peer", "rotate", "alice"),
  ]);
  await Promise.all([reload(alice), reload(bob)]);
  mail.send(20);
  await mail.arrived();
  await Promise.all([crash(alice), restart(bob)]);
  mail.send(20);
  await mail.arrived();
  // Each has a next key that the other has not: nothing comes of it, and nothing of what was breaks.
  assert.equal((await stateOf(alice, "bob")).rotation, "installed");
  assert.equal((await stateOf(bob, "alice")).rotation, "installed");
  await refused(alice, "peer rotate bob --install -", /changes already/, theirs);
  await refused(alice, "peer rotate bob --finish", /\(installed\)/);
  await refused(bob, "peer rotate alice --abandon", /the daemon runs/);

  assert.equal(await bob.stop(), 0);
  await run(bob, "peer", "rotate", "alice", "--abandon");
  await runWith(bob, ours, "peer", "rotate", "alice", "--install", "-");
  await bob.start();
  mail.send(20);
  await untilRotation(alice, "bob", "confirmed", "proven");
  await untilRotation(bob, "alice", "confirmed", "proven");
  await finishSecret(pair, mail);
});

test("two hosts that change their identities at once go on as before, until one gives way", async (t) => {
  const pair = await (await SessionPair.make(new Place(t))).start();
  const { alice, bob } = pair;
  const mail = new Mail(pair);
  const [key, other] = await Promise.all([
    run(alice, "peer", "rotate", "--identity"),
    run(bob, "peer", "rotate", "--identity"),
  ]);
  await Promise.all([reload(alice), reload(bob)]);
  mail.send(20);
  await mail.arrived();
  await refused(alice, `peer rotate bob --public-key ${other.trim()}`, /changes already/);
  await refused(bob, `peer rotate alice --public-key ${key.trim()}`, /changes already/);

  await bob.kill();
  await run(bob, "peer", "rotate", "--identity", "--abandon");
  await run(bob, "peer", "rotate", "alice", "--public-key", key.trim());
  await bob.start();
  mail.send(20);
  await untilRotation(bob, "alice", "confirmed", "proven");
  await crash(alice);
  await untilRotation(alice, "bob", "proven");
  await untilRotation(bob, "alice", "proven");
  await run(bob, "peer", "rotate", "alice", "--finish");
  await reload(bob);
  await run(alice, "peer", "rotate", "--identity", "--finish");
  await reload(alice);
  mail.send(20);
  await mail.arrived();
  await requireNone(pair);
});

test("a wrong next secret never disturbs the traffic under the current one", async (t) => {
  const pair = await (await SessionPair.make(new Place(t))).start();
  const { alice, bob } = pair;
  const mail = new Mail(pair);
  const secret = await run(alice, "peer", "rotate", "bob");
  await reload(alice);
  const wrong = makeSecret();
  writeFileSync(join(bob.directory, "wrong"), `${wrong}\n`, { mode: 0o644 });
  await refused(bob, "peer rotate alice --install wrong", /wrong.*(others|chmod|mode)/);
  const spoilt = await attempt(bob, ["peer", "rotate", "alice", "--install", "-"], "not a secret");
  assert.notEqual(spoilt.code, 0);
  assert.ok(!spoilt.stderr.includes("not a secret"), "what is not a key may be one");
  await runWith(bob, wrong, "peer", "rotate", "alice", "--install", "-");
  await reload(bob);
  for (const disturb of [restart, crash]) {
    mail.send(20);
    await disturb(alice);
    mail.send(20);
    await disturb(bob);
    await mail.arrived();
  }
  assert.equal((await stateOf(alice, "bob")).rotation, "installed");
  assert.equal((await stateOf(bob, "alice")).rotation, "installed");

  assert.equal(await bob.stop(), 0);
  await run(bob, "peer", "rotate", "alice", "--abandon");
  await runWith(bob, secret, "peer", "rotate", "alice", "--install", "-");
  await bob.start();
  mail.send(20);
  await untilRotation(alice, "bob", "confirmed", "proven");
  await untilRotation(bob, "alice", "confirmed", "proven");
  await finishSecret(pair, mail);
});
