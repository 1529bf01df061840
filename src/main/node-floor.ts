// Imported first by every program: on a Node that is too old, the packages behind the other imports
// fail in their own words, on many lines. This says it in one.

import { writeSync } from "node:fs";
import { basename } from "node:path";
import { EXIT } from "../shared/base/errors.js";

/** Oldest Node that has everything we use. Source: package.json, engines. */
export const NODE_FLOOR = [20, 19] as const;

/** Whether a version of Node, as in process.versions.node, is new enough. */
export function isSupported(version: string): boolean {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  const [floorMajor, floorMinor] = NODE_FLOOR;
  return major > floorMajor || (major === floorMajor && minor >= floorMinor);
}

if (!isSupported(process.versions.node)) {
  const program = basename(process.argv[1] ?? "securedgram", ".js").replace(/^cli$/, "securedgram");
  const floor = NODE_FLOOR.join(".");
  writeSync(
    2,
    `${program}: Node ${process.versions.node} is too old. Install Node ${floor} or later.\n`,
  );
  process.exit(EXIT.failed);
}
