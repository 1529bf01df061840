// A daemon whose wall clock is wrong: its own Date, on all its threads, goes on from an instant that a
// test chooses. The system's clock, and with it that of SQLite's own functions, stays as it is.

import { preload } from "../preload.js";

/** The epoch, and a second: what a board without a battery believes after its start. */
export const YEAR_1970_MS = 1_000;

/** Words in front of the program: at each of its starts it is `wallMs` since the epoch. */
export function clockAt(wallMs: number): readonly string[] {
  // Node's threads begin at different times, and must agree: all count from the process's start.
  const script = `
    import { uptime } from "node:process";
    const True = Date;
    const shift = ${wallMs} - (True.now() - uptime() * 1000);
    const now = () => Math.floor(True.now() + shift);
    globalThis.Date = new Proxy(True, {
      construct: (target, words, made) =>
        Reflect.construct(target, words.length === 0 ? [now()] : words, made),
      apply: () => new True(now()).toString(),
      get: (target, name) => (name === "now" ? now : target[name]),
    });`;
  return ["env", `NODE_OPTIONS=${preload(script).join("=")}`];
}
