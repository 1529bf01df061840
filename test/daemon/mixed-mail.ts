// Mixed mail of 0 B to 1 MiB over a bad path, and what came of it: everything acknowledged, once each,
// byte for byte.

import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { setTimeout as nap } from "node:timers/promises";
import type { TestDaemon } from "./harness.js";
import { requireIntegrity } from "./ledger.js";
import { type Message, sendAll } from "./session-hosts.js";

const KIB = 1_024;
/** Of 10,000: nearly all small, one of a MiB; a path that loses a third carries few bytes a second. */
const SIZES = [
  { share: 0.97, bytesMax: 300 },
  { share: 0.995, bytesMax: 4 * KIB },
  { share: 0.9995, bytesMax: 32 * KIB },
  { share: 1, bytesMax: 400 * KIB },
] as const;
const STREAMS = ["one", "two"];
const LOOK_MS = 250;

export interface MailReport {
  readonly messages: number;
  readonly bytes: number;
  readonly seconds: number;
}

/** `random`: uniform in [0, 1). */
export function mixedMail(messages: number, random: () => number): readonly Message[] {
  const below = (limit: number) => Math.floor(random() * limit);
  return Array.from({ length: messages }, (_, n): Message => {
    const draw = random();
    const { bytesMax } = SIZES.find(({ share }) => draw < share) ?? SIZES[3];
    const bytes = n === 0 ? 0 : n === 1 ? KIB * KIB : below(bytesMax + 1);
    const stream = random() < 0.2 ? STREAMS[below(STREAMS.length)] : undefined;
    const payload = random() < 0.5 ? randomBytes(bytes) : "x".repeat(bytes);
    return { payload, priority: below(4), ...(stream === undefined ? {} : { stream }) };
  });
}

/** Sends half of it each way and waits for it; throws when a promise is broken. */
export async function exchange(
  [alice, bob]: readonly [TestDaemon, TestDaemon],
  mail: readonly Message[],
  options: { readonly secondsMax: number; readonly say: (line: string) => void },
): Promise<MailReport> {
  const half = mail.length >> 1;
  const startedAt = performance.now();
  sendAll(alice, "bob", mail.slice(0, half));
  sendAll(bob, "alice", mail.slice(half));
  const left = (daemon: TestDaemon) => daemon.count("outbound", "state <> 'acknowledged'");
  for (let look = 1; left(alice) + left(bob) > 0; look++) {
    const seconds = (performance.now() - startedAt) / 1_000;
    assert.ok(
      seconds < options.secondsMax,
      `${left(alice)} and ${left(bob)} rows left after ${Math.round(seconds)} s`,
    );
    if (look % 40 === 0) {
      options.say(`${Math.round(seconds)} s: ${left(alice)} and ${left(bob)} rows left`);
    }
    await nap(LOOK_MS);
  }
  const seconds = (performance.now() - startedAt) / 1_000;
  requireOnce(alice, bob);
  requireOnce(bob, alice);
  const bytes = mail.reduce((sum, { payload }) => sum + Buffer.byteLength(payload), 0);
  return { messages: mail.length, bytes, seconds };
}

/** Every row of one is stored once, byte for byte, at the other. */
export function requireOnce(sender: TestDaemon, receiver: TestDaemon): void {
  const digest = (payload: Buffer) => createHash("sha256").update(payload).digest("hex");
  const pairs = (rows: readonly { readonly messageId: string; readonly payload: Buffer }[]) =>
    rows.map(({ messageId, payload }) => `${messageId} ${digest(payload)}`).toSorted();
  assert.deepEqual(pairs(receiver.inbound()), pairs(sender.outbound()));
  assert.equal(sender.count("outbound", "state <> 'acknowledged'"), 0);
  requireIntegrity(receiver);
}
