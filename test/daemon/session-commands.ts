// What an operator does to a daemon with sessions: commands beside it, reloads, looks at a rotation;
// and numbered texts that must be everywhere once.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { CLI, type TestDaemon, until } from "./harness.js";
import { CONFIG_NAME, sendAll } from "./session-hosts.js";

const ROTATION_WAIT_MS = 30_000;

export interface PeerState {
  readonly name: string;
  readonly speaks: string;
  readonly rotation: string;
  readonly lastHandshakeAt: string | null;
}

export interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command of the daemon's host, however it ends. */
export async function attempt(
  daemon: TestDaemon,
  words: readonly string[],
  stdin = "",
): Promise<Ran> {
  const flags = ["--config", CONFIG_NAME, "--db", daemon.database];
  const running = promisify(execFile)(process.execPath, [CLI, ...words, ...flags], {
    cwd: daemon.directory,
  });
  running.child.stdin?.end(stdin);
  try {
    return { code: 0, ...(await running) };
  } catch (thrown) {
    const { code, stdout, stderr } = thrown as Ran;
    assert.ok(typeof code === "number", String(thrown));
    return { code, stdout, stderr };
  }
}

/** Runs a command that succeeds; what it printed. */
export async function run(daemon: TestDaemon, ...words: readonly string[]): Promise<string> {
  return await runWith(daemon, "", ...words);
}

export async function runWith(
  daemon: TestDaemon,
  stdin: string,
  ...words: readonly string[]
): Promise<string> {
  const { code, stdout, stderr } = await attempt(daemon, words, stdin);
  assert.equal(code, 0, `${daemon.name}: ${words.join(" ")}: ${stderr}`);
  return stdout;
}

/** Runs a command that is refused with one line on stderr. */
export async function refused(
  daemon: TestDaemon,
  line: string,
  why: RegExp,
  stdin = "",
): Promise<void> {
  const { code, stdout, stderr } = await attempt(daemon, line.split(" "), stdin);
  assert.notEqual(code, 0, `${daemon.name} did: ${line}`);
  assert.match(stderr, why);
  assert.equal(stdout, "");
  assert.equal(stderr.trimEnd().split("\n").length, 1, stderr);
}

export async function stateOf(daemon: TestDaemon, name: string): Promise<PeerState> {
  const { peers } = JSON.parse(await run(daemon, "peer", "status", name, "--json")) as {
    readonly peers: readonly [PeerState];
  };
  return peers[0];
}

export async function untilRotation(
  daemon: TestDaemon,
  name: string,
  ...phases: readonly string[]
): Promise<void> {
  const end = performance.now() + ROTATION_WAIT_MS;
  let found = "";
  while (performance.now() < end) {
    found = (await stateOf(daemon, name)).rotation;
    if (phases.includes(found)) return;
  }
  throw new Error(`${daemon.name} says ${found} of ${name}, not ${phases.join()}`);
}

/** SIGHUP, and what the daemon says to it: everything is taken over. */
export async function reload(daemon: TestDaemon): Promise<void> {
  const said = () => daemon.log.filter((line) => /"msg":"(nothing was )?reloaded/.test(line));
  const before = said().length;
  daemon.signal("SIGHUP");
  await until(() => said().length > before, `${daemon.name} to reload`);
  const last = said().at(-1) ?? "";
  assert.ok(!last.includes("nothing was reloaded"), last);
}

export const texts = (from: number, count: number): readonly { readonly payload: string }[] =>
  Array.from({ length: count }, (_, n) => ({ payload: `{"n":${from + n}}` }));

/** Each host has every text once; classic writes the id into a row before it leaves. */
export function requireOnce(hosts: readonly TestDaemon[], count: number): void {
  for (const host of hosts) {
    const stored = host
      .inbound()
      .map(({ payload }) => (JSON.parse(payload.toString()) as { readonly n: number }).n);
    const sent = Array.from({ length: count }, (_, n) => n);
    assert.deepEqual(
      stored.toSorted((a, b) => a - b),
      sent,
    );
  }
}

/** Numbered texts in both directions of a pair. */
export class Mail {
  readonly #alice: TestDaemon;
  readonly #bob: TestDaemon;
  sent = 0;

  constructor({ alice, bob }: { readonly alice: TestDaemon; readonly bob: TestDaemon }) {
    this.#alice = alice;
    this.#bob = bob;
  }

  send(count: number): void {
    sendAll(this.#alice, "bob", texts(this.sent, count));
    sendAll(this.#bob, "alice", texts(this.sent, count));
    this.sent += count;
  }

  /** All that was sent is stored at the other end once, and acknowledged. */
  async arrived(waitMs?: number): Promise<void> {
    await Promise.all([this.#alice.settled(waitMs), this.#bob.settled(waitMs)]);
    requireOnce([this.#alice, this.#bob], this.sent);
  }
}
