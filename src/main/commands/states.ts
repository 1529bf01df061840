// States of rows, as a person types them.

import { usageError } from "./argv.js";
import { nearest } from "./nearest.js";
import { quoted } from "./printable.js";

/** Refuses a state that no row can have: nothing found would look like an answer. */
export function requireState(given: string | undefined, known: readonly string[], hint = ""): void {
  if (given === undefined || known.includes(given)) return;
  const guess = nearest(given, known);
  throw usageError(
    `there is no state ${quoted(given)}${hint}`,
    guess === undefined ? `States: ${known.join(", ")}.` : `Did you mean ${guess}?`,
  );
}
