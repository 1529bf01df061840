// A daemon that root started and that gave up root's rights: what it can still read it reloads, what it
// cannot is refused as a whole, and meanwhile it serves on with what it has.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { chmodSync, chownSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { ClassicPeer } from "./classic-peer.js";
import { makeId, makeSecret, Place, type Scope, TestDaemon, until } from "./harness.js";

const IS_ROOT = process.geteuid?.() === 0;
const NOBODY_ID = Number(spawnSync("id", ["-u", "nobody"], { encoding: "utf8" }).stdout);
const NOT_RUN = "NOT RUN: needs root to give something up";

interface Trial {
  readonly daemon: TestDaemon;
  readonly peer: ClassicPeer;
}

/** `folderMode`: of the folder with `.env`; the secret stands in `.env` or in the environment. */
async function arrange(
  scope: Scope,
  options: { folderMode: number; envMode: number; secretInEnvironment: boolean },
): Promise<Trial> {
  const place = new Place(scope);
  chmodSync(place.path, 0o711);
  const state = join(place.path, "state");
  mkdirSync(state, { mode: 0o700 });
  chownSync(state, NOBODY_ID, NOBODY_ID);
  const secret = makeSecret();
  const { secretInEnvironment } = options;
  const flags = ["--user", "nobody"];
  const daemon = await TestDaemon.make(place, { name: "bob", secret, secretInEnvironment, flags });
  daemon.database = join(state, "x.db");
  const line = secretInEnvironment ? "" : `SECUREDGRAM_SECRET=${secret}\n`;
  const dotEnv = join(daemon.directory, ".env");
  writeFileSync(dotEnv, `SECUREDGRAM_WINDOW=33\n${line}`);
  chmodSync(dotEnv, options.envMode);
  chmodSync(daemon.directory, options.folderMode);
  await daemon.start();
  return { daemon, peer: await ClassicPeer.make(place, secret, daemon.port) };
}

/** Lines that a reload wrote. */
async function reload(daemon: TestDaemon): Promise<string> {
  const before = daemon.log.length;
  daemon.signal("SIGHUP");
  const lines = () => daemon.log.slice(before).filter((line) => line.includes("reloaded"));
  await until(() => lines().length > 0, "an answer to HUP");
  return lines().join("\n");
}

const CLOSED = [
  { name: "a .env of root", folderMode: 0o755, envMode: 0o600, secretInEnvironment: false },
  {
    name: "a .env in a closed folder",
    folderMode: 0o700,
    envMode: 0o644,
    secretInEnvironment: true,
  },
] as const;

for (const { name, ...options } of CLOSED) {
  test(`a reload that cannot read ${name} any more is refused, names the way, and loses nothing`, async (t) => {
    if (!IS_ROOT) return t.diagnostic(NOT_RUN);
    const { daemon, peer } = await arrange(t, options);

    const said = await reload(daemon);

    assert.match(said, /^[^\n]*nothing was reloaded; the daemon goes on as before[^\n]*$/);
    assert.match(said, /\.env cannot be read .*started by root and is user nobody now/);
    assert.match(said, /securedgram restart/);
    assert.ok(await peer.deliver(makeId(), "under the secret that it has"));
    assert.equal(await daemon.stop(), 0);
  });
}

test("a reload takes what the user can read, and a file that was taken away", async (t) => {
  if (!IS_ROOT) return t.diagnostic(NOT_RUN);
  const open = { folderMode: 0o755, envMode: 0o644, secretInEnvironment: true };
  const { daemon, peer } = await arrange(t, open);
  const dotEnv = join(daemon.directory, ".env");

  writeFileSync(dotEnv, "SECUREDGRAM_WINDOW=44\n");
  const changed = await reload(daemon);
  rmSync(dotEnv);
  const removed = await reload(daemon);

  for (const said of [changed, removed]) assert.match(said, /"changed":"window"/);
  assert.ok(await peer.deliver(makeId(), "all the same"));
  assert.equal(await daemon.stop(), 0);
});
