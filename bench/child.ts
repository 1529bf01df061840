// A measuring process: told what to do in one argument, it answers over Node's IPC channel. The work
// of producers must not share a thread, or a process, with what they measure.

import { type ChildProcess, fork } from "node:child_process";
import { forget, remember } from "./children.js";

/** What a child says: that the measured part begins, or what came out. */
export type Said<Result> =
  | { readonly kind: "started" }
  | { readonly kind: "finished"; readonly result: Result };

/** Runs `script` with `options`; calls `onStart` when the measured part begins. */
export async function runChild<Options, Result>(
  script: URL,
  options: Options,
  hooks: {
    readonly onStart?: (pid: number) => void;
    /** Called while the child is still there. */
    readonly onFinish?: (pid: number) => void;
    readonly deadlineMs: number;
  },
): Promise<Result> {
  const child = fork(script, [JSON.stringify(options)], { serialization: "advanced" });
  const pid = child.pid ?? 0;
  const ends = { abandon: () => void child.kill("SIGKILL") };
  remember(ends);
  try {
    return await resultOf<Result>(child, hooks.deadlineMs, {
      started: () => hooks.onStart?.(pid),
      finished: () => hooks.onFinish?.(pid),
    });
  } finally {
    ends.abandon();
    forget(ends);
  }
}

function resultOf<Result>(
  child: ChildProcess,
  deadlineMs: number,
  on: { readonly started: () => void; readonly finished: () => void },
): Promise<Result> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(
      () => reject(new Error(`the measuring process did not end in ${deadlineMs / 1_000} s`)),
      deadlineMs,
    );
    child.once("error", reject);
    child.once("exit", (code) => {
      clearTimeout(timer);
      reject(new Error(`the measuring process ended with code ${code}`));
    });
    child.on("message", (said: Said<Result>) => {
      if (said.kind === "started") return on.started();
      clearTimeout(timer);
      on.finished();
      resolve(said.result);
    });
  });
}

/** The child's side: what it was told. */
export const optionsOf = <Options>(): Options => JSON.parse(process.argv[2] ?? "null") as Options;

/** The child's side: says something to the parent. The channel is flushed before the process ends. */
export const tell = <Result>(said: Said<Result>): Promise<void> =>
  new Promise((resolve, reject) => {
    process.send?.(said, undefined, {}, (error) => (error === null ? resolve() : reject(error)));
  });
