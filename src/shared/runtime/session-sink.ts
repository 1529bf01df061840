// Writes the jobs of sessions into slabs, for the pool of crypto workers and for the simulator. Room
// for a packet is taken for the most it may become, and shrunk when it is complete. A session's keys
// are wiped even when no slab is free now: `forget` waits, in front of all later jobs of its worker.

import { assert } from "../base/assert.js";
import { DATAGRAM_BYTES_MAX } from "../protocol/constants.js";
import {
  PACKET_BYTES_MIN,
  PACKET_HEADER_BYTES,
  PACKET_OVERHEAD_BYTES,
  putCounter,
  putPacketHeader,
} from "../protocol/session/packet.js";
import {
  type HandshakeOrder,
  type HandshakeSink,
  NO_KEY_SLOT,
  type PacketOpenSink,
  type PacketSink,
} from "../protocol/session/ports.js";
import {
  HANDSHAKE_DATA,
  HANDSHAKE_OVERHEAD_BYTES_MAX,
  HANDSHAKE_PAYLOAD_BYTES_MAX,
  SESSION_JOB,
  SESSION_WORD,
} from "./session-slab.js";
import { type SlabTable, wordOf } from "./slab.js";
import type { SlabRoutes } from "./slab-cursor.js";

/** A slab that is being filled, and the routes that stay on main. */
export interface OpenSlab {
  readonly table: SlabTable;
  readonly routes: SlabRoutes;
}

/** Where slabs come from. */
export interface SlabSource {
  /** Which worker serves an affinity. */
  laneOf(affinity: number): number;
  /** The open slab of that worker, with room for a datagram so long; undefined: no credit. */
  slabFor(affinity: number, datagramLength: number): OpenSlab | undefined;
}

type Initiate = Parameters<HandshakeSink["initiate"]>[0];
type ReadDatagram = Parameters<HandshakeSink["readDatagram"]>[0];
type ReadRekey = Parameters<HandshakeSink["readRekey"]>[0];
type Respond = Parameters<HandshakeSink["respond"]>[0];

export class SessionSink implements PacketSink, PacketOpenSink, HandshakeSink {
  readonly #source: SlabSource;
  /** Key slots to forget, by lane, that found no slab. */
  readonly #forgetting: { readonly affinity: number; readonly keySlot: number }[][] = [];
  #waiting = 0;
  #slab: OpenSlab | undefined;
  #index = 0;
  bytes: Uint8Array = new Uint8Array(0);
  bodyAt = 0;

  constructor(source: SlabSource) {
    this.#source = source;
  }

  /** Key slots that no slab was free to forget with; zero unless all slabs are out. */
  get forgetting(): number {
    return this.#waiting;
  }

  // --- Packets ----------------------------------------------------------------------------------

  packetRoom(affinity: number, frameBytesMax: number): boolean {
    const length = frameBytesMax + PACKET_OVERHEAD_BYTES;
    assert(length <= DATAGRAM_BYTES_MAX, "a packet fits a datagram");
    const slab = this.#slabFor(affinity, length);
    if (slab === undefined) return false;
    const { table } = slab;
    this.#slab = slab;
    this.#index = table.add(length);
    this.bytes = table.bytes;
    this.bodyAt = table.words[wordOf(this.#index) + SESSION_WORD.at] + PACKET_HEADER_BYTES;
    return true;
  }

  sealPacket(
    frameBytes: number,
    keySlot: number,
    remoteId: number,
    counterHigh: number,
    counterLow: number,
    tag: number,
    address: string,
    port: number,
  ): void {
    const slab = this.#slab;
    assert(slab !== undefined, "room comes before a packet is sealed");
    const { table } = slab;
    table.shrink(this.#index, frameBytes + PACKET_OVERHEAD_BYTES);
    const word = wordOf(this.#index);
    putPacketHeader(
      table.bytes,
      this.bodyAt - PACKET_HEADER_BYTES,
      remoteId,
      counterHigh,
      counterLow,
    );
    packetWords(table, word, SESSION_JOB.sealPacket, frameBytes, keySlot);
    counterWords(table, word, counterHigh, counterLow, tag);
    route(slab, this.#index, address, port, tag);
    this.#slab = undefined;
  }

  cancelPacket(): void {
    assert(this.#slab !== undefined, "room comes before it is given back");
    this.#slab.table.cancel(this.#index);
    this.#slab = undefined;
  }

  openPacket(
    affinity: number,
    datagram: Uint8Array,
    keySlot: number,
    counterHigh: number,
    counterLow: number,
    tag: number,
    address: string,
    port: number,
  ): boolean {
    assert(datagram.length >= PACKET_BYTES_MIN, "the core drops what is too short");
    const slab = this.#slabFor(affinity, datagram.length);
    if (slab === undefined) return false;
    const { table } = slab;
    const index = table.add(datagram.length);
    const word = wordOf(index);
    const at = table.words[word + SESSION_WORD.at];
    table.bytes.set(datagram, at);
    putCounter(table.bytes, at, counterHigh, counterLow);
    const frameBytes = datagram.length - PACKET_OVERHEAD_BYTES;
    packetWords(table, word, SESSION_JOB.openPacket, frameBytes, keySlot);
    counterWords(table, word, counterHigh, counterLow, tag);
    route(slab, index, address, port, tag);
    return true;
  }

  // --- Handshakes -------------------------------------------------------------------------------

  initiate(order: Initiate): boolean {
    return this.#handshake(SESSION_JOB.initiate, order, order.payload, {
      keySlot: order.keySlot,
      role: order.role,
      id: order.sessionId,
      answers: 0,
      high: order.stampHigh,
      low: order.stampLow,
    });
  }

  readDatagram(order: ReadDatagram): boolean {
    return this.#handshake(SESSION_JOB.readDatagram, order, order.datagram, {
      keySlot: NO_KEY_SLOT,
      role: 0,
      id: 0,
      answers: 0,
      high: order.acceptedHigh,
      low: order.acceptedLow,
    });
  }

  readRekey(order: ReadRekey): boolean {
    return this.#handshake(SESSION_JOB.readRekey, order, order.noise, {
      keySlot: NO_KEY_SLOT,
      role: order.type,
      id: order.sessionId,
      answers: order.answers,
      high: 0,
      low: 0,
    });
  }

  respond(order: Respond): boolean {
    return this.#handshake(SESSION_JOB.respond, order, order.payload, {
      keySlot: order.keySlot,
      role: 0,
      id: order.sessionId,
      answers: order.remoteId,
      high: order.stampHigh,
      low: order.stampLow,
    });
  }

  forget(affinity: number, keySlot: number): void {
    // In the middle of a packet the last entry must stay the last.
    const slab = this.#slab === undefined ? this.#slabFor(affinity, 0) : undefined;
    if (slab !== undefined) return forgetEntry(slab.table, keySlot);
    const lane = this.#source.laneOf(affinity);
    this.#forgetting[lane] ??= [];
    this.#forgetting[lane].push({ affinity, keySlot });
    this.#waiting += 1;
  }

  /** Writes what waits to be forgotten, as far as there are slabs; called with each flush. */
  flush(): void {
    if (this.#waiting === 0) return;
    for (const waiting of this.#forgetting) {
      const first = waiting?.[0];
      if (first !== undefined) this.#slabFor(first.affinity, 0);
    }
  }

  // --- Entries ----------------------------------------------------------------------------------

  #handshake(code: number, order: HandshakeOrder, input: Uint8Array, words: Words): boolean {
    const writes = code === SESSION_JOB.initiate || code === SESSION_JOB.respond;
    assert(
      input.length <= (writes ? HANDSHAKE_PAYLOAD_BYTES_MAX : DATAGRAM_BYTES_MAX),
      "a handshake fits a datagram, and a REKEY frame",
    );
    const length =
      HANDSHAKE_DATA.bytes + input.length + (writes ? HANDSHAKE_OVERHEAD_BYTES_MAX : 0);
    const slab = this.#slabFor(order.affinity, length);
    if (slab === undefined) return false;
    const { table } = slab;
    const index = table.add(length);
    const word = wordOf(index);
    const at = table.words[word + SESSION_WORD.at];
    packetWords(table, word, code, input.length, words.keySlot);
    counterWords(table, word, words.high, words.low, order.tag);
    table.words[word + SESSION_WORD.parentKeySlot] = order.parentKeySlot;
    table.words[word + SESSION_WORD.peer] = order.peer;
    table.words[word + SESSION_WORD.role] = words.role;
    table.words[word + SESSION_WORD.id] = words.id;
    table.words[(at + HANDSHAKE_DATA.answers) >> 2] = words.answers;
    table.bytes.set(input, at + HANDSHAKE_DATA.bytes);
    route(slab, index, order.address, order.port, order.tag);
    return true;
  }

  /** What waits to be forgotten by that worker goes first: its key slot may be used again. */
  #slabFor(affinity: number, datagramLength: number): OpenSlab | undefined {
    assert(this.#slab === undefined, "a packet is completed or cancelled before the next job");
    if (this.#waiting > 0) {
      const waiting = this.#forgetting[this.#source.laneOf(affinity)] ?? [];
      while (waiting.length > 0) {
        const slab = this.#source.slabFor(affinity, 0);
        if (slab === undefined) return undefined;
        forgetEntry(slab.table, (waiting.shift() as (typeof waiting)[number]).keySlot);
        this.#waiting -= 1;
      }
    }
    return this.#source.slabFor(affinity, datagramLength);
  }
}

interface Words {
  readonly keySlot: number;
  readonly role: number;
  readonly id: number;
  readonly answers: number;
  readonly high: number;
  readonly low: number;
}

function packetWords(
  { words }: SlabTable,
  word: number,
  code: number,
  length: number,
  keySlot: number,
): void {
  words[word] = code;
  words[word + SESSION_WORD.length] = length;
  words[word + SESSION_WORD.keySlot] = keySlot;
}

function counterWords(
  { words }: SlabTable,
  word: number,
  high: number,
  low: number,
  tag: number,
): void {
  words[word + SESSION_WORD.low] = low;
  words[word + SESSION_WORD.high] = high;
  words[word + SESSION_WORD.tag] = tag;
}

function forgetEntry(table: SlabTable, keySlot: number): void {
  packetWords(table, wordOf(table.add(0)), SESSION_JOB.forget, 0, keySlot);
}

function route(slab: OpenSlab, index: number, address: string, port: number, tag: number): void {
  slab.routes.addresses[index] = address;
  slab.routes.ports[index] = port;
  slab.routes.tags[index] = tag;
}
