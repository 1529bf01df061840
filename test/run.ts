// Runs the compiled tests, each file in a process of its own, two at a time: node dist/test/run.js
// [part of a path ...]. The files are named one by one, since patterns differ between Node 20 and 26.

import { spawn } from "node:child_process";
import { readdirSync } from "node:fs";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";

const FOLDER = fileURLToPath(new URL(".", import.meta.url));
const FILES_AT_ONCE = 2;
/** No test takes this long unless it hangs. */
const TEST_TIMEOUT_MS = 600_000;

const filters = process.argv.slice(2);
const files = testsUnder(FOLDER).filter(
  (path) => filters.length === 0 || filters.some((each) => relative(FOLDER, path).includes(each)),
);
if (files.length === 0) {
  process.stderr.write(`no test file has "${filters.join('" or "')}" in its path\n`);
  process.exit(2);
}

const options = [
  "--test",
  "--test-reporter=spec",
  `--test-concurrency=${FILES_AT_ONCE}`,
  `--test-timeout=${TEST_TIMEOUT_MS}`,
];
const child = spawn(process.execPath, [...options, ...files], { stdio: "inherit" });
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.on(signal, () => child.kill(signal));
}
child.on("exit", (code) => {
  process.exitCode = code ?? 1;
});

function testsUnder(folder: string): readonly string[] {
  return readdirSync(folder, { withFileTypes: true })
    .flatMap((entry) => {
      const path = join(folder, entry.name);
      if (entry.isDirectory()) return testsUnder(path);
      return entry.name.endsWith(".test.js") ? [path] : [];
    })
    .sort();
}
