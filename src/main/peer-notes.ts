// What `status` shows of session peers, as it changes; nothing depends on it. Also says once when a peer
// that should have moved to sessions by now did not.

import { type Nanoseconds, NS_PER_MS, NS_PER_SECOND } from "../shared/base/units.js";
import type { SessionLayer } from "../shared/protocol/session/session-layer.js";
import type { PeerNote } from "../shared/runtime/messages.js";
import type { Clock } from "./clock.js";
import type { PeerDirectory } from "./peer-directory.js";
import type { Store } from "./store.js";

/** Handshakes that went unanswered are written down together, not sooner than this, ns. */
const NOTE_DELAY_NS = 5 * NS_PER_SECOND;
/** Wait between two looks at what is overdue, ns. */
const LOOK_EVERY_NS = 60 * NS_PER_SECOND;

export class PeerNotes {
  readonly #layer: SessionLayer;
  readonly #directory: PeerDirectory;
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #onReport: (sentence: string) => void;
  #noteAt = Number.POSITIVE_INFINITY;
  #lookAt = 0;
  /** Handshakes without an answer, as last written. */
  readonly #unanswered = new Map<number, number>();
  readonly #overdue = new Set<number>();

  constructor(options: {
    readonly layer: SessionLayer;
    readonly directory: PeerDirectory;
    readonly store: Store;
    readonly clock: Clock;
    readonly onReport: (sentence: string) => void;
  }) {
    this.#layer = options.layer;
    this.#directory = options.directory;
    this.#store = options.store;
    this.#clock = options.clock;
    this.#onReport = options.onReport;
  }

  get deadline(): number {
    return this.#noteAt;
  }

  /** The configuration was read again: what is overdue by it is said again. */
  forget(): void {
    this.#overdue.clear();
    this.#lookAt = 0;
  }

  /** A handshake of some peer went unanswered. */
  unanswered(now: Nanoseconds): void {
    this.#noteAt = Math.min(this.#noteAt, now + NOTE_DELAY_NS);
  }

  pump(now: Nanoseconds, wallNs: number): void {
    if (now >= this.#noteAt) this.#noteUnanswered();
    if (now < this.#lookAt) return;
    this.#lookAt = now + LOOK_EVERY_NS;
    this.#look(wallNs / NS_PER_MS);
  }

  /** A session is confirmed. */
  sessionUp(peer: number): void {
    const { session, path, upAt } = this.#layer.peers[peer] ?? {};
    if (session === undefined || path === undefined || upAt === undefined) return;
    const wallMs = this.#clock.wallNs() / NS_PER_MS;
    const { place } = path;
    this.#unanswered.set(peer, 0);
    this.#store.order({
      kind: "note",
      peers: [
        {
          peer: this.#directory.keyOf(peer),
          boot: session.payload.boot,
          lastHandshakeAt: wallMs,
          sessionUpSince: wallMs - (this.#clock.now() - upAt) / NS_PER_MS,
          skewMs: Math.round(session.peerWallNs(this.#clock.now()) / NS_PER_MS - wallMs),
          endpoint: place === undefined ? "" : `${place.address} port ${place.port}`,
          handshakesUnanswered: 0,
        },
      ],
    });
  }

  /** Its session ended, and no other one took its place. */
  sessionDown(peer: number): void {
    const key = this.#directory.keyOf(peer);
    this.#store.order({ kind: "note", peers: [{ peer: key, sessionUpSince: null }] });
  }

  #noteUnanswered(): void {
    this.#noteAt = Number.POSITIVE_INFINITY;
    const peers = this.#layer.peers.flatMap(({ index, handshakes }): PeerNote[] => {
      const { unanswered } = handshakes;
      if (unanswered === (this.#unanswered.get(index) ?? 0)) return [];
      this.#unanswered.set(index, unanswered);
      return [{ peer: this.#directory.keyOf(index), handshakesUnanswered: unanswered }];
    });
    if (peers.length > 0) this.#store.order({ kind: "note", peers });
  }

  #look(wallMs: number): void {
    for (const { index } of this.#layer.peers) {
      const config = this.#directory.configOf(index);
      if (config?.mode !== "auto" || this.#overdue.has(index)) continue;
      if (wallMs < (config.untilWallMs ?? Number.POSITIVE_INFINITY)) continue;
      if (!this.#directory.isTentative(index)) continue;
      this.#overdue.add(index);
      this.#onReport(`peer ${config.name} still speaks classic, and its auto_until has passed`);
    }
  }
}
