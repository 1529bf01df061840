// Rounds of SIGKILL: two daemons send to each other without a pause, one of them is killed at a moment
// that a seed chooses and started again at once, and after each round the two files must agree.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { setTimeout as nap } from "node:timers/promises";
import { makeId, makePair, type Place, type TestDaemon } from "./harness.js";
import { type Balance, Ledger, requireIntegrity } from "./ledger.js";

export interface KillOptions {
  readonly rounds: number;
  readonly seed: number;
  /** A round's kill comes after 10 ms to this. */
  readonly lifeMsMax: number;
  readonly say: (line: string) => void;
  /** Two started daemons; by default they speak classic. */
  readonly makePair?: (place: Place) => Promise<readonly [TestDaemon, TestDaemon]>;
}

/** How long the victim of a round took to come back. */
export interface Recovery {
  /** From the start of the process to its word that it is ready. */
  readonly readyMs: number;
  /** From the start of the process to the first new row in its inbound table. */
  readonly receivedMs: number;
  /**
   * How much of that the process waited for a core that something else had: what is left is its own doing.
   * 0 where the system does not say.
   */
  readonly waitedMs: number;
}

export interface KillReport {
  readonly recoveries: readonly Recovery[];
  readonly balances: readonly [Balance, Balance];
}

const LIFE_MS_MIN = 10;
const EVERY_MS = 5;
const ROWS_EACH = 5;
/** Rows that may wait before the producer pauses. */
const BACKLOG_ROWS = 2_000;
const LOOK_MS = 2;
/** A promise that is broken is said at once; a machine with much other work may take its time. */
const RECOVERY_MS_MAX = 60_000;

/** Throws where a promise is broken; the message says in which round. */
export async function killRounds(place: Place, options: KillOptions): Promise<KillReport> {
  const { rounds, seed, lifeMsMax, say } = options;
  const random = randomFrom(seed);
  const [alice, bob] = await (options.makePair ?? makePair)(place);
  const [toBob, toAlice] = [new Producer(alice, bob, random), new Producer(bob, alice, random)];
  const ledgers = [new Ledger(alice, bob, toBob.written), new Ledger(bob, alice, toAlice.written)];
  const recoveries: Recovery[] = [];
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
      const { readyMs, receivedMs, waitedMs } = await recovered(victim);
      recoveries.push({ readyMs, receivedMs, waitedMs });
      for (const ledger of ledgers) ledger.check();
      requireIntegrity(victim);
      say(
        `round ${round}: ${victim.name} killed after ${lifeMs} ms, ready again after ${readyMs} ms, ` +
          `received after ${receivedMs} ms, ${waitedMs} ms of it without a core`,
      );
    }
  } catch (thrown) {
    throw new Error(`seed ${seed}, round ${recoveries.length + 1}`, { cause: thrown });
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
  return { recoveries, balances };
}

/** The value below which this share of them lies. */
export const quantileOf = (values: readonly number[], share: number): number =>
  values.toSorted((a, b) => a - b)[Math.floor((values.length - 1) * share)] ?? 0;

/**
 * Time that a process's threads could have run and had no core, since its start, ms: of its main thread,
 * and of the worker that the main thread waited for longest. Its other threads wait beside those.
 */
function waitedForCoreMs(pid: number): number {
  const waits: number[] = [];
  try {
    for (const thread of readdirSync(`/proc/${pid}/task`)) {
      const [, waitedNs] = readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "latin1").split(
        " ",
      );
      const waitedMs = Number(waitedNs) / 1e6;
      if (thread === String(pid)) waits.unshift(waitedMs);
      else waits.push(waitedMs);
    }
  } catch {
    return 0;
  }
  const [main = 0, ...others] = waits;
  return Math.round(main + Math.max(0, ...others));
}

/** Starts a daemon again and waits until it is ready and has a new row. */
async function recovered(daemon: TestDaemon): Promise<Recovery> {
  const before = daemon.inboundId;
  const startedAt = performance.now();
  let [readyMs, receivedMs, waitedMs] = [0, 0, 0];
  daemon.spawn();
  while (readyMs === 0 || receivedMs === 0) {
    if (!daemon.running) throw new Error(`${daemon.name} did not start again: ${daemon.said}`);
    const spentMs = Math.round(performance.now() - startedAt);
    if (spentMs > RECOVERY_MS_MAX) throw new Error(`${daemon.name} received nothing`);
    if (readyMs === 0 && daemon.ready) readyMs = spentMs;
    if (receivedMs === 0 && daemon.inboundId > before) {
      receivedMs = spentMs;
      waitedMs = waitedForCoreMs(daemon.pid);
    }
    await nap(LOOK_MS);
  }
  return { readyMs, receivedMs, waitedMs };
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
