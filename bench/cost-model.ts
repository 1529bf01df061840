// What a message costs each thread says how many fit into a second on other machines: all of them
// together may use the cores there are, and no thread can use more than one.

/** CPU us a message by "process thread". */
export type ThreadCosts = ReadonlyMap<string, number>;

export interface Prediction {
  readonly perSecond: number;
  /** What is full first: "cores", or a thread. */
  readonly wall: string;
}

/** A pool shares its work; all other threads are single. "V8 and libuv" are several. */
const isPool = (name: string): boolean => name.endsWith("crypto");
const isMany = (name: string): boolean => name.endsWith("V8 and libuv");

/**
 * Messages a second where `names` share `cores`. `use`: how much of a core was in use when all were full,
 * 0 to 1; `waits`: us a message that a thread is held up by the disk, by its name.
 */
export function predict(
  costs: ThreadCosts,
  names: readonly string[],
  cores: number,
  use: number,
  waits: ThreadCosts = new Map(),
): Prediction {
  const costOf = (name: string): number => costs.get(name) ?? 0;
  const sum = names.reduce((all, name) => all + costOf(name), 0);
  let best: Prediction = { perSecond: (1e6 * use * cores) / sum, wall: "cores" };
  for (const name of names) {
    if (isMany(name)) continue;
    const threads = isPool(name) ? Math.max(1, cores - 1) : 1;
    const us = costOf(name) / threads + (waits.get(name) ?? 0);
    const perSecond = (1e6 * use) / us;
    if (perSecond < best.perSecond) best = { perSecond, wall: name };
  }
  return best;
}

/** Messages a second where each group of threads has cores of its own: that of the slowest. */
export function predictGroups(
  costs: ThreadCosts,
  groups: readonly { readonly names: readonly string[]; readonly cores: number }[],
  use: number,
  waits?: ThreadCosts,
): Prediction {
  const each = groups.map(({ names, cores }) => predict(costs, names, cores, use, waits));
  return each.reduce((least, one) => (one.perSecond < least.perSecond ? one : least));
}
