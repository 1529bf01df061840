// Branded numbers and byte strings: a span cannot be passed where a length is wanted.
// Each brand has one maker; nothing else in the project casts into a brand.

declare const unit: unique symbol;
export type Branded<T, Name extends string> = T & { readonly [unit]: Name };

/** Monotonic instant or span, ns since the daemon started. A double: granularity 4 ns after a year. */
export type Nanoseconds = Branded<number, "Nanoseconds">;
export const nanoseconds = (value: number): Nanoseconds => value as Nanoseconds;

/** Wall clock, ns since the Unix epoch, 0 to 2^62 - 1. Only for stamps that are sent or stored. */
export type Stamp = Branded<bigint, "Stamp">;
export const stamp = (value: bigint): Stamp => value as Stamp;

/** Wall clock, ms since the Unix epoch. May jump either way; never used for timers. */
export type WallMilliseconds = Branded<number, "WallMilliseconds">;
export const wallMilliseconds = (value: number): WallMilliseconds => value as WallMilliseconds;

/** Index of a key ring in the order of the configuration; SHARED_RING is the secret of all. */
export type RingIndex = Branded<number, "RingIndex">;
export const ringIndex = (value: number): RingIndex => value as RingIndex;

/** Slot of an outbound message in the in-flight table of the core. */
export type Ticket = Branded<number, "Ticket">;
export const ticket = (value: number): Ticket => value as Ticket;

export const NS_PER_US = 1_000;
export const NS_PER_MS = 1_000_000;
export const NS_PER_SECOND = 1_000_000_000;
export const milliseconds = (value: number): Nanoseconds => nanoseconds(value * NS_PER_MS);
export const seconds = (value: number): Nanoseconds => nanoseconds(value * NS_PER_SECOND);
