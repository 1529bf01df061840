// Which keys one peer and we share, and what is known of each: the ring of the configuration, the facts
// of rotation.ts, and what of them is committed. Says which key the next handshake goes under, and which
// sessions may speak: none under a key whose possession by the peer is not durable.

import { KEY_ID_BYTES, type KeysFrame, type RingKey } from "./frame-control.js";
import { KEY_ROLE_NAMES, type PairKeyParts } from "./peer-config.js";
import { KEY_ROLE, type KeyRole } from "./ports.js";
import {
  factsOf,
  initialRotation,
  type RingNames,
  type RotationState,
  rotated,
  rotationText,
  sealingOrder,
} from "./rotation.js";

/** Names of a configured ring by role. */
export function ringNamesOf(ring: readonly PairKeyParts[]): RingNames {
  const nameOf = (role: PairKeyParts["role"]): string | undefined =>
    ring.find((part) => part.role === role)?.name;
  return { current: nameOf("current") ?? "", next: nameOf("next"), previous: nameOf("previous") };
}

export class PeerKeys {
  #state: RotationState;
  /** What the database has, and what it was asked to take. */
  #committed: RotationState | undefined;
  #ordered: RotationState | undefined;
  #ids: readonly RingKey[] = [];
  /** Ids of the keys that the peer named last, in this run of it. */
  #named: Uint8Array[] = [];
  #boot: Uint8Array | undefined;
  /** Attempts since the last session. */
  #turn = 0;

  /** `stored`: what an earlier run committed. */
  constructor(stored: RotationState | undefined, ring: RingNames) {
    this.#committed = stored;
    this.#state = rotated(stored ?? initialRotation(ring), { kind: "loaded", ring });
  }

  /** The configuration was read again. */
  configure(ring: RingNames): void {
    this.#state = rotated(this.#state, { kind: "loaded", ring });
    this.#turn = 0;
  }

  /** Public ids of the keys that a worker holds. The peer may have named a new one before we had it. */
  install(ids: readonly RingKey[], wallMs: number): void {
    this.#ids = ids;
    for (const id of this.#named) this.#recognise(id, wallMs);
  }

  has(name: string): boolean {
    return KEY_ROLE_NAMES.some((role) => this.#state.ring[role] === name);
  }
  /** "": the ring has none of that role. */
  nameOf(role: KeyRole): string {
    return this.#state.ring[KEY_ROLE_NAMES[role]] ?? "";
  }

  // --- Attempts ---------------------------------------------------------------------------------

  /** The key of the next attempt: one after the other while none is answered. */
  nextRole(): KeyRole {
    const order = sealingOrder(this.#state);
    const role = order[this.#turn % order.length] as (typeof order)[number];
    this.#turn += 1;
    return KEY_ROLE[role];
  }
  /** The next attempt begins a new round of the keys: it may go to another address. */
  get anew(): boolean {
    return this.#turn > 0 && this.#turn % sealingOrder(this.#state).length === 0;
  }
  /**
   * A session with this boot of the peer is confirmed: the next attempt begins with the best key again.
   * Of two sessions at once KEYS may have come in the other one, so what was named stays; unless the
   * peer was started anew, and may have given up a key meanwhile.
   */
  answered(boot: Uint8Array): void {
    this.#turn = 0;
    const before = this.#boot;
    if (before?.every((byte, i) => byte === boot[i]) === true) return;
    this.#boot = boot;
    this.#named = [];
  }

  // --- Facts ------------------------------------------------------------------------------------

  /** The peer showed that it holds a key. */
  held(role: KeyRole, wallMs: number): void {
    this.#learn("held", this.nameOf(role), wallMs);
  }
  /** A packet of the peer opened in a session under the key. */
  used(name: string, wallMs: number): void {
    this.#learn("used", name, wallMs);
  }
  /** KEYS: what the peer's ring has of ours. */
  handleKeys(keys: KeysFrame, wallMs: number): void {
    this.#named = [];
    while (keys.next()) {
      const id = keys.bytes.slice(keys.keyIdAt, keys.keyIdAt + KEY_ID_BYTES);
      this.#named.push(id);
      this.#recognise(id, wallMs);
    }
  }

  #recognise(id: Uint8Array, wallMs: number): void {
    const ours = this.#ids.find((key) => key.id.every((byte, i) => byte === id[i]));
    if (ours !== undefined) this.held(ours.role, wallMs);
  }

  #learn(kind: "held" | "used", name: string, wallMs: number): void {
    const role = KEY_ROLE_NAMES.find((each) => this.#state.ring[each] === name);
    if (role !== undefined) {
      this.#state = rotated(this.#state, { kind, role, wallMs: Math.floor(wallMs) });
    }
  }

  // --- What is committed ------------------------------------------------------------------------

  /** True when sessions under the key may speak: the database knows that the peer holds it. */
  isDurable(role: KeyRole): boolean {
    const { current, next, previous } = this.#committed?.ring ?? { current: undefined };
    const name = this.nameOf(role);
    if (this.#committed === undefined || ![current, next, previous].includes(name)) return false;
    return factsOf(this.#committed, name).heldMs > 0;
  }

  /** Text that the database should have; one at a time, so that an older one never follows. */
  pollText(): string | undefined {
    const isNews = Object.keys(this.#state.facts).length > 0 || this.#committed !== undefined;
    if (this.#ordered !== undefined || this.#state === this.#committed || !isNews) return undefined;
    this.#ordered = this.#state;
    return rotationText(this.#state);
  }
  /** The text that was polled last is committed. */
  handleCommitted(): void {
    this.#committed = this.#ordered ?? this.#committed;
    this.#ordered = undefined;
  }
}
