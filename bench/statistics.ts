// Middle values and percentiles of what was measured. Nothing is thrown away as an outlier.

/** The value below which the share `p` of the sorted values lies (nearest rank). NaN of none. */
export function percentile(values: readonly number[], p: number): number {
  if (values.length === 0) return Number.NaN;
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(p * sorted.length) - 1))];
}

export const median = (values: readonly number[]): number => percentile(values, 0.5);

/** "least to greatest" of the rounds of one measurement. */
export const spread = (values: readonly number[], digits: number): string =>
  `${Math.min(...values).toFixed(digits)} to ${Math.max(...values).toFixed(digits)}`;

/**
 * Measures every case once a round, in turn, so that a noisy minute of the machine falls on all of
 * them alike. Returns the results of each case, one a round.
 */
export async function interleaved<Case, Result>(
  cases: readonly Case[],
  rounds: number,
  measure: (of: Case, round: number) => Result | Promise<Result>,
): Promise<readonly (readonly Result[])[]> {
  const results: Result[][] = cases.map(() => []);
  for (let round = 0; round < rounds; round++) {
    for (const [i, one] of cases.entries()) results[i].push(await measure(one, round));
  }
  return results;
}
