// No file descriptor is left for a daemon that runs: what needs none goes on, what needs one waits, and
// nothing is acknowledged that is not stored. Threat T46.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { readdirSync } from "node:fs";
import { test } from "node:test";
import { CLI, Place, type TestDaemon, until } from "./harness.js";
import { SessionPair, sendAll } from "./session-hosts.js";

/** Above what a row may have at once: it takes a file. */
const LARGE_BYTES = 400_000;
const SMALL = 20;

test("out of file descriptors a daemon goes on, and what takes a file comes once there are some", async (t) => {
  const trouble = limitTrouble();
  if (trouble !== undefined) return t.diagnostic(`NOT RUN: ${trouble}`);
  const place = new Place(t);
  const pair = await (await SessionPair.make(place)).start();
  const { alice, bob } = pair;
  sendAll(alice, "bob", [{ payload: "first" }]);
  await pair.settled();
  const before = limitOf(bob);

  setLimit(bob, String(lowestFree(bob)));
  const large = randomBytes(LARGE_BYTES);
  const [largeId = 0] = sendAll(alice, "bob", [{ payload: large }]);
  const small = sendAll(
    alice,
    "bob",
    Array.from({ length: SMALL }, () => ({ payload: "small" })),
  );
  const stateOf = (id: number) => alice.outbound().find((row) => row.id === id);
  await until(
    () => small.every((id) => stateOf(id)?.state === "acknowledged"),
    "small ones to be acknowledged",
  );
  await until(() => retriesOf(alice, largeId) > 0, "the large one to be refused for a while");
  assert.ok(bob.running && stateOf(largeId)?.state !== "acknowledged");
  assert.equal(bob.inbound().length, 1 + SMALL);

  setLimit(bob, before);
  await pair.settled();
  assert.ok(
    bob.inbound().some(({ payload }) => payload.equals(large)),
    "byte for byte",
  );
  assert.equal(await bob.stop(), 0);
});

test("a start without file descriptors says what to allow, and does not call itself at fault", () => {
  const limited = (most: number): string =>
    spawnSync("sh", ["-c", `ulimit -n ${most}; exec "$0" "$@"`, process.execPath, CLI, "run"], {
      encoding: "utf8",
      cwd: "/",
    }).stderr;

  for (const most of [56, 64, 72, 80, 1_024]) {
    const said = limited(most);
    assert.doesNotMatch(said, /internal error/);
    // With enough of them it is another refusal: nothing is configured there.
    assert.match(said, most === 1_024 ? /no secret/ : /ulimit -n 1024|no secret/);
  }
});

const retriesOf = ({ db }: TestDaemon, id: number): number =>
  Number(db.prepare("SELECT retry_count FROM outbound_messages WHERE id = ?").pluck().get(id));

/** The number that the next file would get: as a limit it leaves none. */
function lowestFree({ pid }: TestDaemon): number {
  const taken = new Set(readdirSync(`/proc/${pid}/fd`).map(Number));
  let free = 0;
  while (taken.has(free)) free += 1;
  return free;
}

function prlimit(...words: readonly string[]): string {
  const { status, stdout, stderr } = spawnSync("prlimit", words, { encoding: "utf8" });
  assert.equal(status, 0, stderr);
  return stdout.trim();
}

const limitOf = ({ pid }: TestDaemon): string =>
  prlimit(`--pid=${pid}`, "--nofile", "--raw", "--noheadings", "--output=SOFT");
const setLimit = ({ pid }: TestDaemon, soft: string): void => {
  prlimit(`--pid=${pid}`, `--nofile=${soft}:`);
};

/** Undefined when limits of a child can be set here; else a sentence that says why not. */
function limitTrouble(): string | undefined {
  const { error } = spawnSync("prlimit", ["--version"]);
  return error === undefined ? undefined : `prlimit cannot be run (${error.message})`;
}
