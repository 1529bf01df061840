// Tells a host that was copied, both copies running, from one that restarts: a process that ended never
// comes back, so a boot that another one followed and that begins again lives beside it.

/** Boots remembered of a peer, and peers: a restart takes one boot. */
const BOOTS_MAX = 8;
const PEERS_MAX = 4_096;
/** How often one peer's turns are told, ms. */
const TELL_MS = 600_000;

interface Boots {
  /** As hex, in the order in which they began; the one that is up last. */
  readonly names: string[];
  toldAt: number;
}

export class BootTurns {
  readonly #of = new Map<string, Boots>();

  /**
   * A session with this boot of a peer, 8 bytes, is up. True when another one was in between, and that
   * was not told in the last 10 minutes. `now`: wall ms.
   */
  begins(peer: string, boot: Uint8Array, now: number): boolean {
    const name = Buffer.from(boot).toString("hex");
    const boots = this.#of.get(peer) ?? this.#enter(peer);
    const { names } = boots;
    if (names.at(-1) === name) return false;
    const at = names.indexOf(name);
    if (at >= 0) names.splice(at, 1);
    names.push(name);
    if (names.length > BOOTS_MAX) names.shift();
    if (at < 0 || Math.abs(now - boots.toldAt) < TELL_MS) return false;
    boots.toldAt = now;
    return true;
  }

  #enter(peer: string): Boots {
    if (this.#of.size >= PEERS_MAX) this.#of.clear();
    const boots: Boots = { names: [], toldAt: Number.NEGATIVE_INFINITY };
    this.#of.set(peer, boots);
    return boots;
  }
}
