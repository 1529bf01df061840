// Rounds of SIGKILL: two daemons send to each other without a pause, one of them is killed at a moment
// that a seed chooses and started again at once, and after each round the two files must agree.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { setTimeout as nap } from "node:timers/promises";
import { promisify } from "node:util";
import { makeId, makePair, type Place, type TestDaemon } from "./harness.js";
import { type Balance, Ledger, requireIntegrity } from "./ledger.js";

export interface KillOptions {
  readonly rounds: number;
  readonly seed: number;
  /** A round's kill comes after 10 ms to this. */
  readonly lifeMsMax: number;
  readonly say: (line: string) => void;
}

export interface KillReport {
  /** From the start of the process to the first new row in its inbound table, each round, sorted. */
  readonly recoveryMs: readonly number[];
  /** From the start of the process to its word that it is ready, median. */
  readonly readyMs: number;
  readonly balances: readonly [Balance, Balance];
  /** From the start of a Node that does nothing to its end, under the same traffic, median. */
  readonly bareMs: number;
}

const LIFE_MS_MIN = 10;
const EVERY_MS = 5;
const ROWS_EACH = 5;
/** Rows that may wait before the producer pauses. */
const BACKLOG_ROWS = 2_000;
const LOOK_MS = 2;
const RECOVERY_MS_MAX = 15_000;
/** A round in so many also times a Node that does nothing. */
const BARE_EVERY_ROUNDS = 5;

/** Throws where a promise is broken; the message says in which round. */
export async function killRounds(place: Place, options: KillOptions): Promise<KillReport> {
  const { rounds, seed, lifeMsMax, say } = options;
  const random = randomFrom(seed);
  const [alice, bob] = await makePair(place);
  const [toBob, toAlice] = [new Producer(alice, bob, random), new Producer(bob, alice, random)];
  const ledgers = [new Ledger(alice, bob, toBob.written), new Ledger(bob, alice, toAlice.written)];
  const recoveryMs: number[] = [];
  const bareMs: number[] = [];
  const startMs: number[] = [];
  const traffic = setInterval(() => {
    toBob.write();
    toAlice.write();
  }, EVERY_MS);
  try {
    for (let round = 1; round <= rounds; round++) {
      const lifeMs = Math.round(LIFE_MS_MIN + random() * (lifeMsMax - LIFE_MS_MIN));
      const victim = random() < 0.5 ? alice : bob;
      await nap(lifeMs);
      await victim.kill();
      if (round % BARE_EVERY_ROUNDS === 1) bareMs.push(await timeBareNode());
      const { readyMs, receivedMs } = await recovered(victim);
      recoveryMs.push(receivedMs);
      startMs.push(readyMs);
      for (const ledger of ledgers) ledger.check();
      requireIntegrity(victim);
      say(
        `round ${round}: ${victim.name} killed after ${lifeMs} ms, ready again after ${readyMs} ms, ` +
          `received after ${receivedMs} ms`,
      );
    }
  } catch (thrown) {
    throw new Error(`seed ${seed}, round ${recoveryMs.length + 1}`, { cause: thrown });
  } finally {
    clearInterval(traffic);
  }
  await Promise.all([alice.settled(), bob.settled()]);
  for (const daemon of [alice, bob]) requireIntegrity(daemon);
  const balances = [
    new Ledger(alice, bob, toBob.written).check(),
    new Ledger(bob, alice, toAlice.written).check(),
  ] as const;
  assert.deepEqual(
    balances.map(({ acknowledged, stored }) => [acknowledged, stored]),
    [toBob, toAlice].map(({ written }) => [written.size, written.size]),
  );
  assert.deepEqual([await alice.stop(), await bob.stop()], [0, 0]);
  return {
    recoveryMs: inOrder(recoveryMs),
    readyMs: medianOf(startMs),
    bareMs: medianOf(bareMs),
    balances,
  };
}

const inOrder = (values: readonly number[]): readonly number[] => values.toSorted((a, b) => a - b);

export const medianOf = (values: readonly number[]): number =>
  inOrder(values)[values.length >> 1] ?? 0;

/** What the machine makes of the start of a process right now, ms. */
async function timeBareNode(): Promise<number> {
  const startedAt = performance.now();
  await promisify(execFile)(process.execPath, ["--eval", "0"]);
  return Math.round(performance.now() - startedAt);
}

/** Starts a daemon again; ms from the start of its process until it is ready and has a new row. */
async function recovered(
  daemon: TestDaemon,
): Promise<{ readonly readyMs: number; readonly receivedMs: number }> {
  const before = daemon.inboundId;
  const startedAt = performance.now();
  let [readyMs, receivedMs] = [0, 0];
  daemon.spawn();
  while (readyMs === 0 || receivedMs === 0) {
    if (!daemon.running) throw new Error(`${daemon.name} did not start again: ${daemon.said}`);
    const spentMs = Math.round(performance.now() - startedAt);
    if (spentMs > RECOVERY_MS_MAX) throw new Error(`${daemon.name} received nothing`);
    if (readyMs === 0 && daemon.ready) readyMs = spentMs;
    if (receivedMs === 0 && daemon.inboundId > before) receivedMs = spentMs;
    await nap(LOOK_MS);
  }
  return { readyMs, receivedMs };
}

/** Writes rows of known content from one side to the other. */
class Producer {
  readonly written = new Map<number, string>();
  readonly #from: TestDaemon;
  readonly #to: TestDaemon;
  readonly #random: () => number;

  constructor(from: TestDaemon, to: TestDaemon, random: () => number) {
    this.#from = from;
    this.#to = to;
    this.#random = random;
  }

  write(): void {
    if (this.#from.count("outbound", "state IN ('pending','sending','sent')") > BACKLOG_ROWS)
      return;
    this.#from.write(() => {
      for (let i = 0; i < ROWS_EACH; i++) {
        const n = this.written.size;
        const text = `${n} ${"x".repeat(Math.floor(this.#random() * 600))}`;
        this.written.set(n, text);
        const messageId = this.#random() < 0.5 ? null : makeId();
        const id = messageId === null ? {} : { message_id: messageId };
        this.#from.insert(this.#to.port, JSON.stringify({ ...id, n, text }), messageId);
      }
    });
  }
}

/** Uniform in [0, 1), the same for the same seed. */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x9e37_79b9) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 16), 0x21f0_aaad);
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a_2d97);
    return ((mixed ^ (mixed >>> 15)) >>> 0) / 2 ** 32;
  };
}
