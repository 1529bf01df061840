// "Did you mean": the known word closest to a mistyped one.

/** Edits that still count as a slip of the finger, for a word of this length. */
const slipsMax = (length: number): number => (length < 4 ? 1 : length < 9 ? 2 : 3);

/** The known word within reach of a slip, or the only one that begins with `word`; else undefined. */
export function nearest(word: string, known: readonly string[]): string | undefined {
  if (word === "" || word.length > 64) return undefined;
  const begins = known.filter((candidate) => candidate.startsWith(word));
  if (begins.length === 1) return begins[0];
  let best: string | undefined;
  let least = slipsMax(word.length) + 1;
  for (const candidate of known) {
    const distance = editDistance(word, candidate);
    if (distance < least) {
      least = distance;
      best = candidate;
    }
  }
  return best;
}

/** Optimal string alignment: insert, remove, replace, or swap two neighbours. */
function editDistance(a: string, b: string): number {
  let twoBack: number[] = [];
  let previous = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let row = 1; row <= a.length; row++) {
    const current = [row];
    for (let column = 1; column <= b.length; column++) {
      const same = a[row - 1] === b[column - 1];
      let cost = Math.min(
        current[column - 1] + 1,
        previous[column] + 1,
        previous[column - 1] + (same ? 0 : 1),
      );
      const swapped = a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1];
      if (row > 1 && column > 1 && swapped) cost = Math.min(cost, twoBack[column - 2] + 1);
      current.push(cost);
    }
    twoBack = previous;
    previous = current;
  }
  return previous[b.length];
}
