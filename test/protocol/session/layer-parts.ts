import { KEY_ROLE_NAMES } from "../../../src/shared/protocol/session/peer-config.js";
import type { SpeakingPeerConfig } from "../../../src/shared/protocol/session/peer-surroundings.js";
import {
  type HandshakeResult,
  KEY_ROLE,
  NO_KEY_SLOT,
  type SessionRow,
} from "../../../src/shared/protocol/session/ports.js";
import type { RingNames } from "../../../src/shared/protocol/session/rotation.js";
import { SipHash } from "../../../src/shared/protocol/session/siphash.js";

/** What is sealed in the world, by its exact bytes. */
export interface Sealed {
  readonly key: string;
  readonly plain: Uint8Array;
}
export interface Greeting {
  readonly type: 1 | 2;
  readonly from: number;
  readonly to: number;
  /** Pair key that it goes under. */
  readonly keyName: string;
  readonly sessionId: number;
  readonly answers: number;
  readonly stamp: bigint;
  readonly payload: Uint8Array;
  readonly keys: string;
  readonly headers: readonly [Uint8Array, Uint8Array];
}

/** A row that is not final. */
export interface WaitingRow {
  readonly peer: number;
  readonly payload: Uint8Array;
  readonly more: Partial<SessionRow>;
}

export const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

export class Random {
  #state: number;
  constructor(seed: number) {
    this.#state = (seed * 2_654_435_761 + 1) >>> 0;
  }
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }
  readonly bytes = (into: Uint8Array): void => {
    for (let i = 0; i < into.length; i++) into[i] = Math.floor(this.next() * 256);
  };
}

export interface WorldOptions {
  readonly seed: number;
  /** Decides what happens to a datagram: delays in ms, one for each copy; none: lost. */
  readonly network?: (random: Random, bytes: number) => readonly number[];
  readonly storeDelayMs?: number;
  /** Default: 2. */
  readonly hosts?: number;
  /** Peers that the first host has beside the hosts, and of which it never hears. */
  readonly absentPeers?: number;
  /** Longest message that any host takes, bytes. */
  readonly messageBytesMax?: number;
}

/** A ring of one key, as every pair has it at first. */
export const FIRST_RING: RingNames = { current: "01", next: undefined, previous: undefined };

/** The index that host `to` has as a peer of host `from`, and back. */
export const peerOf = (from: number, to: number): number => (to < from ? to : to - 1);
export const hostOf = (from: number, peer: number): number => (peer < from ? peer : peer + 1);

export interface Stored {
  readonly id: string;
  readonly payload: Uint8Array;
  readonly stream: string;
  readonly sequence: number;
  readonly gapFirst: number;
  readonly gapLast: number;
}

/** A digest for the tests: of the id and the payload, 32 bytes. */
export function digestOf(id: string, payload: Uint8Array): Uint8Array {
  const digest = new Uint8Array(32);
  const hash = new SipHash(new Uint8Array(16).fill(9));
  hash.hash(payload, 0, payload.length);
  const view = new DataView(digest.buffer);
  view.setUint32(0, hash.low, true);
  view.setUint32(4, hash.high, true);
  digest.set(Buffer.from(id, "hex"), 8);
  return digest;
}

export function publicKeyOf(host: number): Uint8Array {
  const key = new Uint8Array(32).fill((host % 250) + 1);
  key[31] = (key[31] as number) ^ Math.floor(host / 250);
  return key;
}

/** Hint key of what a host sends to another. */
export const hintOf = (from: number, to: number): Uint8Array =>
  new Uint8Array(16).fill(from + 1).fill(to + 1, 8);

/** Public id of a pair key. */
export const keyIdOf = (name: string): Uint8Array =>
  new TextEncoder().encode(name.padEnd(8)).slice(0, 8);

export function peerConfig(
  host: number,
  names: RingNames,
  messageBytesMax = 64 * 1_024 * 1_024,
): SpeakingPeerConfig {
  return {
    mode: "session",
    name: `host${host}`,
    publicKey: publicKeyOf(host),
    nextPublicKey: undefined,
    previousPublicKey: undefined,
    ring: KEY_ROLE_NAMES.flatMap((role) => {
      const name = names[role];
      const parts = { own: "current", peer: "current", secret: role } as const;
      return name === undefined ? [] : [{ role, name, ...parts }];
    }),
    hasSecret: false,
    places: [],
    mtuBytes: undefined,
    padding: { kind: "none" },
    keepaliveSeconds: undefined,
    limits: {
      messageBytesMax,
      creditMessages: undefined,
      creditBytes: undefined,
    },
  };
}

/** What a handshake job says of itself in its answer. */
export type Order = Pick<HandshakeResult, "peer" | "tag" | "parentKeySlot" | "address" | "port">;

/** What a worker has to say of a job, and the job. */
export type GivenResult = Partial<HandshakeResult> &
  Pick<HandshakeResult, "kind"> & { readonly order: Order };

export function resultOf({ order, ...given }: GivenResult): HandshakeResult {
  const none = new Uint8Array(0);
  return {
    peer: order.peer,
    tag: order.tag,
    parentKeySlot: order.parentKeySlot,
    address: order.address,
    port: order.port,
    role: KEY_ROLE.current,
    keySlot: NO_KEY_SLOT,
    remoteId: 0,
    answers: 0,
    stampHigh: 0,
    stampLow: 0,
    payload: none,
    message: none,
    headerKeyOut: none,
    headerKeyIn: none,
    ...given,
  };
}
