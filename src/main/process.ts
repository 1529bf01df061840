// What the process does about itself before anything else: a umask under which nothing is readable
// by others, no debugger door, no report that would write the environment or the heap to a file.
// Imports little: it must run before the rest is loaded.

import { url as inspectorUrl } from "node:inspector";
import { DaemonError } from "../shared/base/errors.js";

/** Oldest Node that the daemon is tested on. */
const NODE_VERSION_MIN = [20, 19] as const;
/** Switches that open a debugger or write memory or the environment to files. */
const UNSAFE_SWITCH =
  /^--(inspect|debug-port|heapsnapshot-|heap-prof|abort-on-uncaught|report-(?!exclude))/;

/**
 * Closes the process: umask 077, SIGUSR1 without effect, refusal of debugger and dump switches.
 * Call it first in every program that will hold a secret.
 */
export function hardenProcess(): void {
  process.umask(0o077);
  if (process.listenerCount("SIGUSR1") === 0) process.on("SIGUSR1", ignoreSignal);
  const unsafe = unsafeSwitch(process.execArgv, process.env["NODE_OPTIONS"]);
  if (unsafe !== undefined || inspectorUrl() !== undefined) {
    throw new DaemonError(
      "ERR_CONFIG",
      `Node was started with ${unsafe ?? "its inspector open"}, through which secrets leak`,
      "Start it without that, and look at NODE_OPTIONS.",
    );
  }
}

/** The first switch that must not be on, of the command line or NODE_OPTIONS. */
export function unsafeSwitch(
  execArgv: readonly string[],
  nodeOptions: string | undefined,
): string | undefined {
  const words = [...execArgv, ...(nodeOptions?.split(/\s+/) ?? [])];
  const names = words.map(
    (word) =>
      word
        .replace(/^["']+/, "")
        .replaceAll("_", "-")
        .split("=")[0],
  );
  return names.find((name) => UNSAFE_SWITCH.test(name));
}

/** Refuses a Node that is too old to have what we use. */
export function checkNodeVersion(version: string = process.versions.node): void {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  const [majorMin, minorMin] = NODE_VERSION_MIN;
  if (major > majorMin || (major === majorMin && minor >= minorMin)) return;
  throw new DaemonError(
    "ERR_NODE_VERSION",
    `Node ${version} is too old`,
    `Install Node ${majorMin}.${minorMin} or later; 22.14 or later is recommended.`,
  );
}

/** Without a handler, Node would open its inspector on a local port. */
function ignoreSignal(): void {}
