// A daemon in the background, and what does not stop it.

import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { userInfo } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { freePort } from "../daemon/harness.js";
import { folder, run } from "./programs.js";

test("restart leaves a daemon alone that it could not start again, and else starts another", async (t) => {
  const directory = folder(t);
  const file = join(directory, "secret");
  const settings = [`secret_file = "secret"`, `user = "${userInfo().username}"`, `log = "d.log"`];
  const places = [`address = "127.0.0.1"`, `port = ${await freePort()}`, `db = "x.db"`];
  writeFileSync(join(directory, "c.toml"), [...settings, ...places, ""].join("\n"), {
    mode: 0o600,
  });
  writeFileSync(file, "ab".repeat(32), { mode: 0o600 });
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
