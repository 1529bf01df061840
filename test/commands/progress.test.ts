// The progress line of sg-send --json-lines.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Progress } from "../../src/main/commands/progress.js";
import { database, folder, run } from "./programs.js";

interface Screen {
  readonly drawn: string[];
  now: number;
  readonly progress: Progress;
}

function screen(
  stderrIsTerminal: boolean,
  totalBytes: number | undefined,
  environment: Readonly<Record<string, string>> = {},
): Screen {
  const drawn: string[] = [];
  const io = { stderrIsTerminal, environment, prompt: (text: string) => void drawn.push(text) };
  const seen = { drawn, now: 1_000 };
  const progress = new Progress(io, totalBytes, () => seen.now);
  return Object.assign(seen, { progress });
}

test("a file shows its share, drawn ten times a second at most and taken away at the end", () => {
  const seen = screen(true, 1_000, { NO_COLOR: "1" });

  for (let i = 0; i < 100; i++) {
    seen.now += 20;
    seen.progress.add(5, 1_000);
  }
  seen.progress.end();

  const last = seen.drawn.at(-2);
  assert.equal(
    last,
    "\r\u001b[K[############............]  50 %  100,000 messages queued, 50,000/s",
  );
  assert.equal(seen.drawn.at(-1), "\r\u001b[K");
  assert.ok(seen.drawn.length >= 15 && seen.drawn.length <= 19, `${seen.drawn.length} drawings`);
});

test("a pipe shows a count, in bold unless NO_COLOR is set", () => {
  const seen = screen(true, undefined);
  seen.now += 500;
  seen.progress.add(1, 2_000);

  assert.deepEqual(seen.drawn, ["\r\u001b[K\u001b[1m2,000\u001b[22m messages queued, 4,000/s"]);
});

test("short runs, and what is no terminal, show nothing", () => {
  const short = screen(true, 10);
  short.now += 100;
  short.progress.add(10, 10);
  short.progress.end();
  const file = screen(false, 10);
  file.now += 5_000;
  file.progress.add(10, 10);
  file.progress.end();

  assert.deepEqual([short.drawn, file.drawn], [[], []]);
});

test("sg-send reads a hundred thousand lines from a pipe and draws nothing into a file", async (t) => {
  const directory = folder(t);
  const db = database(t, directory);
  const stdin = Array.from({ length: 100_000 }, (_, n) => `{"n":${n}}\n`).join("");

  const ended = await run(t, "sg-send", ["-q", "--json-lines", "h", "9"], { directory, stdin });

  assert.deepEqual(ended, { code: 0, stdout: "", stderr: "" });
  const rows = db.prepare(
    "SELECT count(*), sum(payload = '{\"n\":' || (id - 1) || '}') FROM outbound_messages",
  );
  assert.deepEqual(rows.raw().get(), [100_000, 100_000]);
});
