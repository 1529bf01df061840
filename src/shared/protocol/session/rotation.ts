// How the pair key of two hosts changes, so that neither is ever stranded (docs/PROTOCOL.md, section
// of rotation; docs/KEYS.md for people). A ring holds the current key and at most one that comes and
// one that goes. What a host knows about each key is two facts that only ever become true, and survive
// restarts. Pure values: an event gives a new state, or the same object when nothing changed.
//
//   1  held(K) is durable before any packet of a session under K leaves this host.
//   2  A key that others replace is dropped only when used(K') holds for its replacement K'.
//   3  A key that was installed and never held is given up only while the daemon does not run.
//
// Then a host that dropped C has used(N); so the other sent a packet under N, has held(N) by 1, and by
// 3 did not give N up: N remains on both. And who gave N up has no held(N), so the other has no used(N)
// and by 2 still has C. test/protocol/rotation.test.ts walks every interleaving that fits a budget.

import { KEY_ROLE_NAMES, type KeyRoleName } from "./peer-config.js";

/** Names of the keys of a ring, by role (PairKeyParts.name). */
export interface RingNames {
  readonly current: string;
  readonly next: string | undefined;
  readonly previous: string | undefined;
}

/** What is known about one key. Wall clock, ms since the epoch; 0: not yet. */
export interface KeyFacts {
  /** The peer proved that it has the key: it named it, or answered or began a handshake under it. */
  readonly heldMs: number;
  /** A packet of the peer opened in a session under it. */
  readonly usedMs: number;
}

export interface RotationState {
  readonly ring: RingNames;
  /** By name of the key; of keys in the ring only. */
  readonly facts: Readonly<Record<string, KeyFacts>>;
}

export type RotationEvent =
  /** The configuration was read: at a start, at a reload. */
  | { readonly kind: "loaded"; readonly ring: RingNames }
  /** See {@link KeyFacts}. The new state is committed before anything under the key leaves. */
  | { readonly kind: "held" | "used"; readonly role: KeyRoleName; readonly wallMs: number };

/**
 * Where the change of a key stands. `none`: one key. `installed`: the next key is here, the peer has
 * not shown it. `confirmed`: it has; handshakes go under it. `proven`: traffic came under it; the old
 * key may go. `switched`: the new key is current, no traffic came under it yet. `retirable`: it did.
 */
export type RotationPhase =
  | "none"
  | "installed"
  | "confirmed"
  | "proven"
  | "switched"
  | "retirable";

const UNKNOWN: KeyFacts = { heldMs: 0, usedMs: 0 };
const VERSION = 1;
/** A state has three keys; its text is short. Longer text is not ours. */
const TEXT_CHARACTERS_MAX = 4_096;

/** The state of a ring about which nothing is known yet. */
export const initialRotation = (ring: RingNames): RotationState => ({ ring, facts: {} });

/** The state after an event; the same object when the event says nothing new. */
export function rotated(state: RotationState, event: RotationEvent): RotationState {
  if (event.kind === "loaded") return loaded(state, event.ring);
  const name = state.ring[event.role];
  if (name === undefined) return state;
  const known = factsOf(state, name);
  const { heldMs, usedMs } = known;
  const at = Math.max(1, event.wallMs);
  const facts: KeyFacts = {
    heldMs: heldMs > 0 ? heldMs : at,
    usedMs: usedMs > 0 || event.kind === "held" ? usedMs : at,
  };
  if (facts.heldMs === heldMs && facts.usedMs === usedMs) return state;
  return { ring: state.ring, facts: { ...state.facts, [name]: facts } };
}

function loaded(state: RotationState, ring: RingNames): RotationState {
  if (sameRing(state.ring, ring)) return state;
  const kept = namesOf(ring).filter((name) => Object.hasOwn(state.facts, name));
  return { ring, facts: Object.fromEntries(kept.map((name) => [name, state.facts[name]])) };
}

/**
 * The roles in the order in which handshakes try them, one after the other while none is answered;
 * all of them, so that a host that lost its facts is healed. The next key comes first once the peer
 * is known to hold it.
 */
export function sealingOrder(state: RotationState): readonly KeyRoleName[] {
  const { current, next, previous } = state.ring;
  const isHeld = next !== undefined && factsOf(state, next).heldMs > 0;
  const isShown = factsOf(state, current).heldMs > 0;
  const order: readonly KeyRoleName[] = isHeld
    ? ["next", "current", "previous"]
    : previous !== undefined && !isShown
      ? ["previous", "current", "next"]
      : ["current", "next", "previous"];
  return order.filter((role) => state.ring[role] !== undefined);
}

export function rotationPhase(state: RotationState): RotationPhase {
  const { current, next, previous } = state.ring;
  if (next !== undefined) {
    const { heldMs, usedMs } = factsOf(state, next);
    return usedMs > 0 ? "proven" : heldMs > 0 ? "confirmed" : "installed";
  }
  if (previous === undefined) return "none";
  return factsOf(state, current).usedMs > 0 ? "retirable" : "switched";
}

/** What is known about a key, by name. */
export const factsOf = (state: RotationState, name: string): KeyFacts =>
  Object.hasOwn(state.facts, name) ? state.facts[name] : UNKNOWN;

/**
 * Why a ring must not replace that of the state: the peer might be left without a key that we have.
 * Undefined: it may. `unproven`: an older key would go, and no newer one that stays has carried
 * traffic. `relied`: a newer key would go that the peer has shown to hold. `foreign`: none would stay.
 */
export function ringFault(
  state: RotationState,
  ring: RingNames,
): "unproven" | "relied" | "foreign" | undefined {
  const before = byAge(state.ring);
  const after = new Set(namesOf(ring));
  if (!before.some((name) => after.has(name))) return "foreign";
  for (let i = 0; i < before.length; i++) {
    if (after.has(before[i])) continue;
    const newer = before.slice(i + 1).filter((name) => after.has(name));
    if (newer.length === 0) {
      if (factsOf(state, before[i]).heldMs > 0) return "relied";
    } else if (!newer.some((name) => factsOf(state, name).usedMs > 0)) {
      return "unproven";
    }
  }
  return undefined;
}

/** The state as text, for the database. */
export function rotationText(state: RotationState): string {
  const { ring, facts } = state;
  const known = namesOf(ring).filter((name) => Object.hasOwn(facts, name));
  return JSON.stringify({
    v: VERSION,
    ring: KEY_ROLE_NAMES.map((role) => ring[role] ?? null),
    facts: known.map((name) => [name, facts[name].heldMs, facts[name].usedMs]),
  });
}

/** Reads what {@link rotationText} wrote; undefined for other text. */
export function parseRotation(text: string): RotationState | undefined {
  if (text.length > TEXT_CHARACTERS_MAX) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  const parts = objectOf(value);
  if (parts === undefined || parts["v"] !== VERSION) return undefined;
  const names = parts["ring"];
  const entries = parts["facts"];
  if (!Array.isArray(names) || names.length !== KEY_ROLE_NAMES.length) return undefined;
  const [current, next, previous] = names.map((name) => (name === null ? undefined : name));
  if (!isName(current) || ![next, previous].every((name) => name === undefined || isName(name))) {
    return undefined;
  }
  const ring: RingNames = { current, next, previous };
  const facts = Array.isArray(entries) ? readFacts(entries, ring) : undefined;
  return facts === undefined ? undefined : { ring, facts };
}

function readFacts(
  entries: readonly unknown[],
  ring: RingNames,
): Readonly<Record<string, KeyFacts>> | undefined {
  const names = namesOf(ring);
  const facts: Record<string, KeyFacts> = {};
  for (const entry of entries) {
    if (!Array.isArray(entry) || entry.length !== 3) return undefined;
    const [name, heldMs, usedMs] = entry;
    if (!names.includes(name) || !isTime(heldMs) || !isTime(usedMs)) return undefined;
    facts[name] = { heldMs, usedMs };
  }
  return facts;
}

const objectOf = (value: unknown): Readonly<Record<string, unknown>> | undefined =>
  typeof value === "object" && value !== null ? { ...value } : undefined;
const isName = (value: unknown): value is string =>
  typeof value === "string" && /^[0-9a-f]{1,64}$/.test(value);
const isTime = (value: unknown): value is number =>
  typeof value === "number" && Number.isSafeInteger(value) && value >= 0;

const namesOf = (ring: RingNames): readonly string[] =>
  byAge(ring).filter((name, i, all) => all.indexOf(name) === i);

/** Oldest first. */
const byAge = ({ current, next, previous }: RingNames): readonly string[] =>
  [previous, current, next].filter((name) => name !== undefined);

const sameRing = (a: RingNames, b: RingNames): boolean =>
  KEY_ROLE_NAMES.every((role) => a[role] === b[role]);
