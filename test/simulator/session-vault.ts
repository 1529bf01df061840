// What is sealed in a run of sessions, for all hosts: packets and handshake messages, each found again by
// its exact bytes and by nothing else. So forging is impossible by construction.

import { TAG_BYTES } from "../../src/shared/protocol/constants.js";

/** A handshake message as its writer meant it. */
export interface Greeting {
  readonly type: 1 | 2;
  readonly from: number;
  readonly to: number;
  readonly sessionId: number;
  /** Of message 2: the session id that it answers, and the ephemeral key that it was made for. */
  readonly answers: number;
  readonly answersEphemeral: number;
  /** Stands for the ephemeral key of the writer: no two messages share one. */
  readonly ephemeral: number;
  readonly stampHigh: number;
  readonly stampLow: number;
  /** Session that carries a rekey, by its number here; -1: a datagram of its own. */
  readonly parent: number;
  /** Session that message 2 makes. */
  readonly session: number;
  readonly payload: Uint8Array;
  readonly headerKeys: readonly [initiator: Uint8Array, responder: Uint8Array];
}

interface Entry {
  readonly key: number;
  readonly bytes: Buffer;
  readonly greeting: Greeting | undefined;
}

/** In place of the number of a key, for what handshakes are sealed with. */
const GATE_KEY = 0xffff_ffff;

export class SessionVault {
  readonly #entries: Entry[] = [];
  #numbers = 0;

  /** A number that nothing had before: of a session, or of an ephemeral key. */
  fresh(): number {
    this.#numbers += 1;
    return this.#numbers;
  }

  /** Makes the tag at the end of a packet, and keeps a copy of all of it. */
  seal(key: number, packet: Uint8Array): void {
    this.#tag(key, packet, packet.length - TAG_BYTES);
    this.#entries.push({ key, bytes: Buffer.from(packet), greeting: undefined });
  }

  opens(key: number, packet: Uint8Array): boolean {
    const entry = this.#find(packet, packet.length - TAG_BYTES);
    return entry?.greeting === undefined && entry?.key === key && entry.bytes.equals(packet);
  }

  /** Makes the tag at `tagAt` of a handshake message; what is behind it is not covered. */
  greet(message: Uint8Array, tagAt: number, greeting: Greeting): void {
    this.#tag(GATE_KEY, message, tagAt);
    const bytes = Buffer.from(message.subarray(0, tagAt + TAG_BYTES));
    this.#entries.push({ key: GATE_KEY, bytes, greeting });
  }

  greeting(message: Uint8Array, tagAt: number): Greeting | undefined {
    if (tagAt < 0) return undefined;
    const entry = this.#find(message, tagAt);
    const covered = message.subarray(0, tagAt + TAG_BYTES);
    return entry?.greeting !== undefined && entry.bytes.equals(covered)
      ? entry.greeting
      : undefined;
  }

  #find(bytes: Uint8Array, tagAt: number): Entry | undefined {
    return this.#entries[new DataView(bytes.buffer, bytes.byteOffset + tagAt).getUint32(0)];
  }

  #tag(key: number, bytes: Uint8Array, tagAt: number): void {
    const view = new DataView(bytes.buffer, bytes.byteOffset + tagAt, TAG_BYTES);
    const number = this.#entries.length;
    view.setUint32(0, number);
    view.setUint32(4, Math.imul(number, 0x9e37_79b1) >>> 0);
    view.setUint32(8, Math.imul(key ^ number, 0x85eb_ca6b) >>> 0);
    view.setUint32(12, Math.imul(number, 0xc2b2_ae35) >>> 0);
  }
}
