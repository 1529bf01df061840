// The quota of a peer at a real daemon: large messages that it begins and never ends count as much as
// rows, are bounded by it, and are gone when it settles them; one that fits goes through.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { existsSync, readdirSync } from "node:fs";
import { test } from "node:test";
import { setTimeout as nap } from "node:timers/promises";
import { FRAME } from "../../src/shared/protocol/session/frame-type.js";
import { putVarint } from "../../src/shared/protocol/session/varint.js";
import { Place, type TestDaemon, until } from "./harness.js";
import { RoguePeer } from "./rogue-peer.js";
import { SessionPair, sendAll, sumOf } from "./session-hosts.js";

const FLAG = { bytes: 2, fragmented: 4 } as const;
const MIB = 1 << 20;
const QUOTA = "70MiB";
const BEGUN = 20;
const BEGUN_BYTES = 30 * MIB;
/** Of those that fit the quota. */
const FILES = 2;

test("a peer that begins large messages and ends none gets no further than its quota", async (t) => {
  const place = new Place(t);
  const pair = await SessionPair.make(place, { top: `quota = "${QUOTA}"` });
  const { alice, bob, identities, secret } = pair;
  await alice.start();
  const rogue = await RoguePeer.make(place, {
    identity: identities.bob,
    publicKey: identities.alice.publicKey,
    secret,
    port: alice.port,
  });
  await rogue.shake();

  for (let number = 1; number <= BEGUN; number++) await rogue.send(rogue.packet(piece(number)));
  const end = performance.now() + 20_000;
  // What gets lost or is refused as busy comes again, as from any sender.
  for (let number = 1; filesAt(alice) < FILES; number = (number % BEGUN) + 1) {
    assert.ok(performance.now() < end, `${filesAt(alice)} files`);
    await rogue.send(rogue.packet(piece(number)));
    await nap(20);
  }
  for (let number = 1; number <= BEGUN; number++) await rogue.send(rogue.packet(piece(number)));
  await nap(300);
  assert.equal(filesAt(alice), FILES);
  const settled = (): Promise<void> => rogue.send(rogue.packet(settledFrame(BEGUN + 1)));
  while (filesAt(alice) > 0) {
    assert.ok(performance.now() < end, "a file is left");
    await settled();
    await nap(20);
  }
  assert.equal(rogue.isClosed, false);

  await bob.start();
  const payload = randomBytes(64 * MIB);
  sendAll(bob, "alice", [{ payload }]);
  await bob.settled();
  assert.ok(alice.inbound()[0]?.payload.equals(payload), "byte for byte");
  const [, late = 0] = sendAll(bob, "alice", [
    { payload: "small" },
    { payload: randomBytes(9 * MIB) },
  ]);
  const postponed = (): boolean => /quota/.test(bob.outbound().at(-1)?.lastError ?? "");
  await until(postponed, "a refusal for want of quota");
  assert.deepEqual([bob.state(late), filesAt(alice)], ["sent", 0]);
  const read = alice.db.prepare("DELETE FROM inbound_messages WHERE payload <> 'small'");
  alice.write(() => read.run());
  await bob.settled();

  assert.equal(alice.count("inbound"), 2);
  assert.deepEqual([await bob.stop(), await alice.stop()], [0, 0]);
  assert.ok(sumOf(alice, "messages_over_quota") >= BEGUN - FILES, alice.log.join("\n"));
});

const filesAt = ({ database }: TestDaemon): number =>
  existsSync(`${database}-spool`) ? readdirSync(`${database}-spool`).length : 0;

/** First piece of a large message, PROTOCOL.md 19. */
function piece(number: number): Uint8Array {
  const bytes = new Uint8Array(1_024);
  bytes[0] = FRAME.message;
  let at = putVarint(bytes, 1, number);
  bytes[at++] = FLAG.bytes | FLAG.fragmented;
  bytes.fill(number, at, at + 12);
  at = putVarint(bytes, at + 12, 3_600);
  at = putVarint(bytes, at, BEGUN_BYTES);
  bytes.fill(number, at, at + 16);
  at = putVarint(bytes, at + 16, 0);
  at = putVarint(bytes, at, 500);
  return bytes.subarray(0, at + 500);
}

function settledFrame(below: number): Uint8Array {
  const bytes = Uint8Array.of(FRAME.settled, 0, 0, 0, 0);
  return bytes.subarray(0, putVarint(bytes, 1, below));
}
