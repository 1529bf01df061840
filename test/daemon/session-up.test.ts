// Since when a session is up, as `status`, `peer list` and `peer status` show it: while it is, and not a
// moment after the daemon is gone, however it went.

import assert from "node:assert/strict";
import { test } from "node:test";
import { EXIT } from "../../src/shared/base/errors.js";
import { Place, type TestDaemon, until } from "./harness.js";
import { attempt, run } from "./session-commands.js";
import { SessionPair, sendAll } from "./session-hosts.js";

const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}$/;

/** As the table has it. */
const inTable = (daemon: TestDaemon): unknown =>
  daemon.db.prepare("SELECT session_up_since FROM peers").pluck().get();

/** What each command shows for the only peer. */
async function shown(daemon: TestDaemon): Promise<readonly unknown[]> {
  const first = async (words: readonly string[]): Promise<Readonly<Record<string, unknown>>> => {
    const { stdout } = await attempt(daemon, [...words, "--json"]);
    const { peers } = JSON.parse(stdout) as { readonly peers: readonly [Record<string, unknown>] };
    return peers[0];
  };
  return [
    (await first(["status"]))["upSince"],
    (await first(["peer", "list"]))["session_up_since"],
    (await first(["peer", "status"]))["upSince"],
  ];
}

test("the start of a session is shown while it is up, and only then", async (t) => {
  const { alice, bob } = await (await SessionPair.make(new Place(t))).start();
  const before = Date.now() - 1_000;
  sendAll(alice, "bob", [{ payload: "hello" }]);
  await alice.settled();
  await until(() => inTable(alice) !== null, "the note");

  const since = String(inTable(alice));
  assert.match(since, TIME);
  const at = Date.parse(`${since}Z`);
  assert.ok(at > before - 5_000 && at <= Date.now(), since);
  assert.deepEqual(await shown(alice), [since, since, since]);
  assert.match(await run(alice, "status"), new RegExp(`^peer bob: up since ${since}, last`, "m"));
  assert.match(await run(alice, "peer", "list"), new RegExp(`^bob .* up since ${since}\n$`));
  assert.match(await run(alice, "peer", "status"), new RegExp(`^bob .* up since ${since}; last`));

  assert.equal(await bob.stop(), 0);
  await until(() => inTable(alice) === null, "the loss of the session");
  assert.deepEqual(await shown(alice), [null, null, null]);
  assert.equal((await run(alice, "peer", "list")).includes("up since"), false);
  assert.deepEqual(inTable(bob), null, "its own end ends it, too");
  assert.equal((await attempt(bob, ["status"])).code, EXIT.unreachable);

  await bob.start();
  await until(() => inTable(alice) !== null && inTable(bob) !== null, "the next session");
  assert.ok(String(inTable(alice)) > since);
  await alice.kill();
  assert.match(String(inTable(alice)), TIME, "what a killed daemon wrote");
  assert.deepEqual(await shown(alice), [null, null, null]);
  assert.equal((await attempt(alice, ["status"])).stdout.includes("up since"), false);
  await bob.kill();
  await alice.start();
  assert.equal(inTable(alice), null, "a start begins without a session");
});
