import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { tmpdir } from "node:os";
import { type TestContext, test } from "node:test";
import { fileURLToPath } from "node:url";
import { type DetachOptions, startDetached, withoutSecret } from "../../src/main/detach.js";
import { processFacts } from "../../src/main/process-facts.js";
import { refusal, SECRET, until } from "./places.js";

const entry = fileURLToPath(new URL("./child.js", import.meta.url));
const options = (how: string, more: readonly string[] = []): DetachOptions => ({
  entry,
  argv: ["detached", how, ...more, "securedgram-test"],
  env: process.env,
  cwd: tmpdir(),
});

async function start(t: TestContext, given: DetachOptions) {
  const started = await startDetached(given);
  t.after(() => {
    try {
      process.kill(started.pid, "SIGKILL");
    } catch {
      // Ended by itself.
    }
  });
  return started;
}

test("start returns when the daemon is ready, with what it had to say", async (t) => {
  const { pid, warnings } = await start(t, options("ready"));
  assert.deepEqual(warnings, ["mind the gap"]);
  assert.match(processFacts(pid)?.command ?? "", /child\.js detached ready/);
});

test("start fails with the daemon's own error and its exit code", async () => {
  await assert.rejects(startDetached(options("refuse")), (error) => {
    assert.ok(refusal("ERR_PORT_IN_USE", /port 1 is taken Take another/)(error));
    return true;
  });
});

test("a daemon that ends without a word is an error that says how it ended", async () => {
  await assert.rejects(
    startDetached(options("vanish")),
    refusal("ERR_NOT_RUNNING", /ended before it was ready \(exit code 3\).*run --debug/),
  );
  await assert.rejects(
    startDetached({ ...options("vanish"), cwd: "/nonexistent" }),
    refusal("ERR_NOT_RUNNING", /ENOENT/),
  );
});

test("a daemon that is not ready in time is ended", async () => {
  const before = performance.now();
  const hanging = startDetached({ ...options("hang", ["unique-word-2718"]), deadlineMs: 700 });
  await assert.rejects(hanging, refusal("ERR_TIMEOUT", /not ready in 0\.7 s/));
  assert.ok(performance.now() - before < 10_000);
  await until(() => !isRunning("unique-word-2718"), "the end of the daemon");
});

test("a daemon that says it is busy is waited for, and one that says it no more is ended", async (t) => {
  const said: string[] = [];
  const onBusy = (sentence: string) => said.push(sentence);
  const deadlineMs = 4_000;
  const silent = startDetached({ ...options("busy", ["2", "unique-word-3141"]), deadlineMs });
  const ended = assert.rejects(silent, refusal("ERR_TIMEOUT", /not ready in 4 s/));
  const before = performance.now();
  await start(t, { ...options("busy", ["20"]), deadlineMs, onBusy });

  assert.ok(performance.now() - before > deadlineMs);
  assert.deepEqual(said, Array(20).fill("opening"));
  await ended;
  await until(() => !isRunning("unique-word-3141"), "the end of the daemon");
});

test("the secret is not on the daemon's command line, and no core will have it", async (t) => {
  // Without a limit of ours there would be a core: raised where that is allowed, and lowered again.
  const limit = (core: string) =>
    spawnSync("prlimit", ["--pid", `${process.pid}`, `--core=${core}:`]);
  limit("4096");
  t.after(() => limit("0"));
  const { warnings } = await start(t, options("secret", ["--secret", SECRET]));
  assert.deepEqual(warnings, ["32 false 0"]);
});

test("the secret is taken out of a line in all spellings, other words stay", () => {
  const table: readonly (readonly [string, string, string | undefined])[] = [
    ["--secret X -v", "-v", "X"],
    ["-v --secret=X start", "-v start", "X"],
    ["-s X start", "start", "X"],
    [`-s${SECRET} start`, "start", SECRET],
    ["-p 1 --db s start", "-p 1 --db s start", undefined],
    ["--secret", "", undefined],
  ];
  for (const [line, rest, secret] of table) {
    const split = withoutSecret(line.split(" "));
    assert.deepEqual([split.argv.join(" "), split.secret], [rest, secret], line);
  }
});

function isRunning(word: string): boolean {
  for (let pid = process.pid; pid < process.pid + 2_000; pid++) {
    if (processFacts(pid)?.command.includes(word)) return true;
  }
  return false;
}
