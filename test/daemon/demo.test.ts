// The demonstration as people run it: it must end well, and leave nothing behind.

import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const CLI = fileURLToPath(new URL("../../src/main/cli.js", import.meta.url));
const DEADLINE_MS = 60_000;

test("the demonstration ends well within a minute and leaves nothing behind", async (t) => {
  const directory = mkdtempSync(join(tmpdir(), "securedgram-test-"));
  t.after(() => rmSync(directory, { recursive: true, force: true }));

  const { stdout } = await promisify(execFile)(process.execPath, [CLI, "demo"], {
    cwd: directory,
    env: { PATH: process.env["PATH"] ?? "", HOME: directory, TMPDIR: directory },
    timeout: DEADLINE_MS,
  });

  assert.match(stdout, /alice row 5: [0-9a-f]{24}, \d+ bytes, acknowledged/);
  assert.match(stdout, /carol row 5: [0-9a-f]{24}, 1048576 bytes, acknowledged/);
  assert.match(stdout, /four \(stream numbers, \d\)/);
  assert.match(stdout, /All receipts were true\.\n$/);
  assert.deepEqual(readdirSync(directory), []);
});

test("an interrupted demonstration says so in one line and leaves nothing behind", async (t) => {
  const directory = mkdtempSync(join(tmpdir(), "securedgram-test-"));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const child = spawn(process.execPath, [CLI, "demo"], {
    cwd: directory,
    env: { PATH: process.env["PATH"] ?? "", HOME: directory, TMPDIR: directory },
    timeout: DEADLINE_MS,
  });
  let [out, said] = ["", ""];
  child.stdout.on("data", (text) => {
    const before = out;
    out += text;
    // Both daemons run, and mail is under way.
    if (!before.includes("2. ") && out.includes("2. ")) child.kill("SIGINT");
  });
  child.stderr.on("data", (text) => (said += text));
  const [code] = await once(child, "close");

  assert.deepEqual([code, said], [130, "securedgram: interrupted; nothing is left behind.\n"]);
  assert.deepEqual(readdirSync(directory), []);
});
