// Runs the compiled tests, each file in a process of its own, two at a time, behind them, one by one,
// those that time a daemon, and then a slice of the daemons' tests on the other socket:
// node dist/test/run.js [part of a path ...]. SECUREDGRAM_TEST_SOCKET says which socket is the first one.
// The files are named one by one, since patterns differ between Node 20 and 26.

import { spawn } from "node:child_process";
import { readdirSync } from "node:fs";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { chooseSocket } from "../src/main/socket/choose-socket.js";
import type { SocketKind } from "../src/main/socket/datagram-socket.js";
import { loadLibc } from "../src/main/socket/libc.js";
import { SOCKET } from "./daemon/harness.js";

const FOLDER = fileURLToPath(new URL(".", import.meta.url));
const FILES_AT_ONCE = 2;
/** What these measure is the machine's, unless they have it to themselves. */
const ALONE = ["daemon/idle.test.js", "daemon/kill.test.js"];
/** Daemons with loss, restarts and reloads, in classic and in sessions: on each socket there is. */
const ON_BOTH_SOCKETS = [
  "daemon/two-daemons.test.js",
  "daemon/session-messages.test.js",
  "daemon/session-slice.test.js",
];
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

const isOf = (list: readonly string[]) => (path: string) => list.includes(relative(FOLDER, path));
const isAlone = isOf(ALONE);
const together = await runAll(
  files.filter((path) => !isAlone(path)),
  FILES_AT_ONCE,
);
const alone = await runAll(files.filter(isAlone), 1);
const again = await runOnOther(files.filter(isOf(ON_BOTH_SOCKETS)));
process.exitCode = together || alone || again;

/** The same on the socket that was not the first one. */
async function runOnOther(paths: readonly string[]): Promise<number> {
  const other: SocketKind = chooseSocket(SOCKET).kind === "linux" ? "dgram" : "linux";
  const libc = loadLibc();
  if (paths.length === 0) return 0;
  if (other === "linux" && typeof libc === "string") {
    process.stdout.write(`only on dgram, since the Linux socket does not work here: ${libc}\n`);
    return 0;
  }
  process.stdout.write(`--- again, with --socket ${other} ---\n`);
  return runAll(paths, FILES_AT_ONCE, { SECUREDGRAM_TEST_SOCKET: other });
}

/** Exit code of the runner; 0 when there is nothing to run. A signal ends it, and this program. */
async function runAll(
  paths: readonly string[],
  atOnce: number,
  environment: Readonly<Record<string, string>> = {},
): Promise<number> {
  if (paths.length === 0) return 0;
  const options = [
    "--test",
    "--test-reporter=spec",
    `--test-concurrency=${atOnce}`,
    `--test-timeout=${TEST_TIMEOUT_MS}`,
  ];
  const child = spawn(process.execPath, [...options, ...paths], {
    stdio: "inherit",
    env: { ...process.env, ...environment },
  });
  const signals = ["SIGINT", "SIGTERM"] as const;
  let isStopped = false;
  const stop = (signal: NodeJS.Signals): void => {
    isStopped = true;
    child.kill(signal);
  };
  for (const signal of signals) process.on(signal, stop);
  const code = await new Promise<number>((resolve) => {
    child.on("exit", (ended) => resolve(ended ?? 1));
  });
  for (const signal of signals) process.off(signal, stop);
  if (isStopped) process.exit(1);
  return code;
}

function testsUnder(folder: string): readonly string[] {
  return readdirSync(folder, { withFileTypes: true })
    .flatMap((entry) => {
      const path = join(folder, entry.name);
      if (entry.isDirectory()) return testsUnder(path);
      return entry.name.endsWith(".test.js") ? [path] : [];
    })
    .sort();
}
