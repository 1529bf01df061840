import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync } from "node:fs";
import { type TestContext, test } from "node:test";
import { adviceOf, type BenchRow, workerCounts } from "../../src/main/commands/bench.js";
import { entryOf, folder, run } from "./programs.js";

const DEADLINE_MS = 90_000;

/** Starts it in a folder that holds its temporary files, too; killed when the test ends. */
function startBench(t: TestContext, directory: string, line: readonly string[]) {
  const child = spawn(process.execPath, [entryOf("cli"), "bench", ...line], {
    cwd: directory,
    env: { PATH: process.env["PATH"] ?? "", TMPDIR: directory },
  });
  t.after(() => child.kill("SIGKILL"));
  return child;
}

const rowsOf = (...perSecond: readonly number[]): readonly BenchRow[] =>
  perSecond.map((messagesPerSecond, workers) => ({
    workers,
    messagesPerSecond,
    sealMbPerSecond: 1,
    mainBusy: 0,
  }));

test("the default is kept unless another number is better by more than a tenth", () => {
  assert.match(adviceOf(rowsOf(1_000, 950, 900), 1), /^Keep the default, 1 crypto worker:/);
  assert.match(
    adviceOf(rowsOf(1_000, 850, 900), 1),
    /^Start the daemon with --crypto-workers 0: 1,000 messages\/s against 850 with the default, 1\.$/,
  );
});

test("of numbers that are as good as the best the smallest is advised", () => {
  assert.match(adviceOf(rowsOf(100, 950, 1_000), 0), /--crypto-workers 1: 950 messages\/s/);
  assert.match(adviceOf(rowsOf(100, 850, 1_000), 0), /--crypto-workers 2: 1,000 messages\/s/);
});

test("a default that was not measured is said so", () => {
  assert.match(adviceOf(rowsOf(100, 200), 8), /the default, 8, was not measured\.$/);
});

test("more than two workers are tried only where there are cores for them", () => {
  assert.deepEqual(workerCounts(1), [0, 1, 2]);
  assert.deepEqual(workerCounts(2), [0, 1, 2]);
  assert.deepEqual(workerCounts(5), [0, 1, 2, 3]);
  assert.deepEqual(workerCounts(64), [0, 1, 2, 3, 4]);
});

test("bench measures each number of workers and leaves nothing behind", {
  timeout: DEADLINE_MS,
}, async (t) => {
  const directory = folder(t);
  const child = startBench(t, directory, ["--seconds", "5", "--bytes", "300", "--json"]);
  let said = "";
  child.stdout.on("data", (chunk: Buffer) => {
    said += chunk.toString();
  });
  const [code] = await once(child, "close");

  const { rows, advice, bytes } = JSON.parse(said) as {
    readonly rows: readonly BenchRow[];
    readonly advice: string;
    readonly bytes: number;
  };
  assert.equal(code, 0);
  assert.equal(bytes, 300);
  assert.deepEqual(
    rows.slice(0, 3).map(({ workers }) => workers),
    [0, 1, 2],
  );
  for (const { messagesPerSecond, sealMbPerSecond } of rows) {
    assert.ok(messagesPerSecond > 100, `${messagesPerSecond} messages/s`);
    assert.ok(sealMbPerSecond > 1, `${sealMbPerSecond} MB/s`);
  }
  assert.match(advice, /^(Keep the default|Start the daemon with --crypto-workers \d)/);
  assert.deepEqual(readdirSync(directory), []);
});

test("an interrupted bench ends with 130 and leaves nothing behind", {
  timeout: DEADLINE_MS,
}, async (t) => {
  const directory = folder(t);
  const child = startBench(t, directory, ["--seconds", "60"]);
  const closed = once(child, "close");
  let said = "";
  child.stderr.on("data", (chunk: Buffer) => {
    said += chunk.toString();
    if (chunk.toString().includes("0 crypto workers")) child.kill("SIGINT");
  });
  const [code] = await closed;

  assert.equal(code, 130, said);
  assert.match(said, /interrupted/);
  assert.deepEqual(readdirSync(directory), []);
});

test("a time too short to measure anything is refused", async (t) => {
  const directory = folder(t);

  const refused = await run(t, "cli", ["bench", "--seconds", "1"], { directory });

  assert.equal(refused.code, 2);
  assert.match(refused.stderr, /seconds/);
});
