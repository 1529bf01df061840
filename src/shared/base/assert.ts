// Programmer errors. On in production: the thread that fails dies and the daemon says so.

/** Throws when a condition that the code itself guarantees does not hold. `why` names the guarantee. */
export function assert(condition: boolean, why: string): asserts condition {
  if (!condition) throw new Error(`assertion failed: ${why}`);
}

/** Marks the arm of a closed union that cannot be reached; a new member makes it a type error. */
export function unreachable(value: never): never {
  throw new Error(`unreachable: ${String(value)}`);
}
