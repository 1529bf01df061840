// Tells systemd where we are in our life, through systemd-notify, since Node has no socket that
// could. The unit needs NotifyAccess=all: the message comes from a child. Elsewhere this does
// nothing.

import { spawn } from "node:child_process";
import { existsSync } from "node:fs";

export type LifeState = "READY" | "RELOADING" | "STOPPING";

const NOTIFY_PATHS = ["/usr/bin/systemd-notify", "/bin/systemd-notify"];
const NOTIFY_DEADLINE_MS = 2_000;
const US_PER_NS = 1_000n;

/**
 * Sends a state, with a sentence for `systemctl status`; never throws, waits 2 s at most. True:
 * sent.
 */
export async function notifySystemd(
  state: LifeState,
  status?: string,
  env: Readonly<Record<string, string | undefined>> = process.env,
): Promise<boolean> {
  const socket = env["NOTIFY_SOCKET"];
  const program = NOTIFY_PATHS.find((path) => existsSync(path));
  if (!socket || program === undefined) return false;
  const words = [`${state}=1`];
  if (state === "RELOADING") {
    words.push(`MONOTONIC_USEC=${process.hrtime.bigint() / US_PER_NS}`);
  } else if (state === "READY") {
    words.push(`MAINPID=${process.pid}`);
  }
  if (status !== undefined) words.push(`STATUS=${status.replace(/[^\x20-\x7e]/g, "?")}`);
  return await new Promise<boolean>((resolve) => {
    const child = spawn(program, words, {
      env: { NOTIFY_SOCKET: socket },
      stdio: "ignore",
      timeout: NOTIFY_DEADLINE_MS,
      killSignal: "SIGKILL",
    });
    child.once("error", () => resolve(false));
    child.once("exit", (code) => resolve(code === 0));
  });
}
