// From a failing run to a short one: fewer decisions of fate, then fewer steps of the owners, as long as
// the same invariant fails. Halves are left out first, then quarters, down to single entries.

import type { Decision, Scenario, Step } from "./scenario.js";
import type { RunResult } from "./simulation.js";
import type { Violation } from "./violation.js";

export interface Shrunk {
  readonly scenario: Scenario;
  readonly violation: Violation;
  readonly runs: number;
}

/**
 * Cuts a failing run shorter. `run` plays a scenario; `runsMax`: how often at most. What comes back
 * fails by the invariant that `failed` failed by.
 */
export function shrink(
  failed: RunResult,
  run: (scenario: Scenario) => RunResult,
  runsMax: number,
): Shrunk | undefined {
  const wanted = failed.violation?.name;
  if (failed.violation === undefined) return undefined;
  let runs = 0;
  let violation = failed.violation;
  let scenario: Scenario = { ...failed.scenario, decisions: failed.decisions };
  const fails = (candidate: Scenario): boolean => {
    if (runs >= runsMax) return false;
    runs += 1;
    const result = run(candidate);
    if (result.violation?.name !== wanted || result.violation === undefined) return false;
    violation = result.violation;
    return true;
  };
  if (!fails(scenario)) return undefined;
  for (let before = -1; before !== sizeOf(scenario) && runs < runsMax; ) {
    before = sizeOf(scenario);
    const { decisions = [], steps } = scenario;
    const fewer: readonly Decision[] = without(decisions, (left) =>
      fails({ ...scenario, decisions: left }),
    );
    scenario = { ...scenario, decisions: fewer };
    const shorter: readonly Step[] = without(steps, (left) => fails({ ...scenario, steps: left }));
    scenario = { ...scenario, steps: shorter };
  }
  return { scenario, violation, runs };
}

const sizeOf = ({ decisions, steps }: Scenario): number => (decisions?.length ?? 0) + steps.length;

/** A part of the list that still fails, from which no single piece of the last size can go. */
function without<T>(list: readonly T[], fails: (left: readonly T[]) => boolean): readonly T[] {
  let kept = list;
  if (kept.length > 0 && fails([])) return [];
  for (let size = Math.ceil(kept.length / 2); size >= 1; size = size === 1 ? 0 : size >> 1) {
    for (let from = 0; from < kept.length; ) {
      const left = [...kept.slice(0, from), ...kept.slice(from + size)];
      if (fails(left)) kept = left;
      else from += size;
    }
  }
  return kept;
}
