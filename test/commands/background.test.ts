// A daemon in the background: what does not stop it, and what is said of it.

import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { userInfo } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { freePort } from "../daemon/harness.js";
import { folder, run } from "./programs.js";

/** A folder with a configuration, whose log goes somewhere. */
async function configured(t: TestContext, log: string): Promise<string> {
  const directory = folder(t);
  const settings = [`secret_file = "secret"`, `user = "${userInfo().username}"`, `log = "${log}"`];
  const places = [`address = "127.0.0.1"`, `port = ${await freePort()}`, `db = "x.db"`];
  const text = [...settings, ...places, ""].join("\n");
  writeFileSync(join(directory, "c.toml"), text, { mode: 0o600 });
  writeFileSync(join(directory, "secret"), "ab".repeat(32), { mode: 0o600 });
  return directory;
}

test("restart leaves a daemon alone that it could not start again, and else starts another", async (t) => {
  const directory = await configured(t, "d.log");
  const file = join(directory, "secret");
  const call = (word: string) => run(t, "cli", [word, "--config", "c.toml"], { directory });
  const pidOf = async (): Promise<string> =>
    /process (\d+)/.exec((await call("status")).stdout)?.[1] ?? "none";
  try {
    const started = await call("start");
    assert.equal(started.code, 0, started.stderr);
    const first = await pidOf();
    assert.notEqual(first, "none");
    writeFileSync(file, "ab", { mode: 0o600 });
    const refused = await call("restart");
    assert.notEqual(refused.code, 0);
    assert.match(refused.stderr, /secret/);
    assert.equal(await pidOf(), first);

    writeFileSync(file, "cd".repeat(32), { mode: 0o600 });
    const restarted = await call("restart");
    assert.equal(restarted.code, 0, restarted.stderr);
    assert.notEqual(await pidOf(), first);
  } finally {
    assert.equal((await call("stop")).code, 0);
  }
});

test("start says that nobody will read the log where that goes to its own output", async (t) => {
  for (const [log, says] of [
    [
      "stdout",
      /warning: nobody will read the log: it goes to stdout; name a file with --log FILE\n/,
    ],
    ["d.log", /^(?!.*nobody)[\s\S]*securedgram: started/],
  ] as const) {
    const directory = await configured(t, log);
    const call = (word: string) => run(t, "cli", [word, "--config", "c.toml"], { directory });
    const started = await call("start");
    try {
      assert.equal(started.code, 0, started.stderr);
      assert.match(started.stderr, says);
    } finally {
      assert.equal((await call("stop")).code, 0);
    }
  }
});

test("status says whether a daemon runs although the database cannot be read", async (t) => {
  const directory = await configured(t, "d.log");
  const status = (...more: readonly string[]) =>
    run(t, "cli", ["status", "--config", "c.toml", ...more], { directory });
  writeFileSync(join(directory, "x.db"), "no database", { mode: 0o600 });

  const said = await status();
  assert.equal(said.code, 1);
  assert.equal(said.stdout, "no daemon runs\nwhat waits is not known\n");
  assert.match(said.stderr, /^securedgram: .*x\.db/);
  const json = JSON.parse((await status("--json")).stdout);
  assert.deepEqual([json.running, json.queue, typeof json.fault], [false, null, "string"]);
});
