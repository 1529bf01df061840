// One of many hosts that bench/crowd plays in one process: the session core as the daemon runs it, with
// cryptography on the calling thread, a socket of its own, and no table behind it. What it gets it
// digests, counts and acknowledges; what it sends comes in batches that its process hands it.

import { randomFillSync } from "node:crypto";
import { systemClock } from "../src/main/clock.js";
import { newPrivateKey, publicKeyOf } from "../src/main/identity.js";
import { DgramSocket } from "../src/main/socket/dgram.js";
import { MESSAGE_ID_BYTES } from "../src/shared/protocol/constants.js";
import type { FrameSinks } from "../src/shared/protocol/session/frame-handler.js";
import { MESSAGE_BYTES_MAX, MESSAGE_DIGEST_BYTES } from "../src/shared/protocol/session/limits.js";
import type { SessionPeerConfig } from "../src/shared/protocol/session/peer-config.js";
import {
  DELIVERED,
  type DeliveredRecord,
  type DeliverySink,
  KEY_ROLE,
  type MessageDelivery,
  type SessionRow,
} from "../src/shared/protocol/session/ports.js";
import { SessionLayer } from "../src/shared/protocol/session/session-layer.js";
import { SettlementQueue } from "../src/shared/protocol/settlement.js";
import { type OpenSlab, SessionSink } from "../src/shared/runtime/session-sink.js";
import {
  handshakeResult,
  SESSION_OUTCOME,
  SessionCursor,
} from "../src/shared/runtime/session-slab.js";
import { SlabTable } from "../src/shared/runtime/slab.js";
import { SlabRoutes } from "../src/shared/runtime/slab-cursor.js";
import { inlineCrypto } from "../src/workers/inline-crypto.js";
import { sessionDigest } from "../src/workers/session-digest.js";

const LOOPBACK = "127.0.0.1";
const NAME = "daemon";
const PAIR_NAME = "00".repeat(16);
const LIFE_MS = 86_400_000;
const NO_STREAM = new Uint8Array(0);
/** A message of a batch: its id, digest and payload. */
const DIGEST_AT = MESSAGE_ID_BYTES;
const PAYLOAD_AT = DIGEST_AT + MESSAGE_DIGEST_BYTES;

/** Jobs of one member at a time lie in the first of them, which is empty whenever another one's turn
 * comes; what it has to say about those that are done goes into the other. */
const slabs = [0, 1].map(() => ({ table: SlabTable.allocate(), routes: new SlabRoutes() }));
const cursor = new SessionCursor(slabs[0].table, slabs[0].routes);
const digest = new Uint8Array(MESSAGE_DIGEST_BYTES);
const digestWords = new Int32Array(digest.buffer);

/** Messages that a member is to send, in memory that stays as it is until all are acknowledged. */
export class CrowdBatch {
  readonly bytes: Uint8Array;
  readonly messages: number;
  readonly #payloadBytes: number;

  constructor(messages: number, payloadBytes: number) {
    this.messages = messages;
    this.#payloadBytes = payloadBytes;
    this.bytes = new Uint8Array(messages * (PAYLOAD_AT + payloadBytes));
  }

  /** New ids, and payloads of printable bytes. */
  fill(): this {
    const { bytes } = this;
    randomFillSync(bytes);
    for (let i = 0; i < this.messages; i++) {
      const at = i * (PAYLOAD_AT + this.#payloadBytes);
      const payload = bytes.subarray(at + PAYLOAD_AT, at + PAYLOAD_AT + this.#payloadBytes);
      payload.fill(0x78);
      const head = { flags: 0, stream: NO_STREAM, bytes, messageIdAt: at, inReplyToAt: at };
      sessionDigest(bytes.subarray(at + DIGEST_AT, at + PAYLOAD_AT), head, payload);
    }
    return this;
  }

  payloadOf(i: number): Uint8Array {
    const at = i * (PAYLOAD_AT + this.#payloadBytes) + PAYLOAD_AT;
    return this.bytes.subarray(at, at + this.#payloadBytes);
  }

  rowOf(i: number, rowId: number): SessionRow {
    const at = i * (PAYLOAD_AT + this.#payloadBytes);
    return {
      bytes: this.bytes,
      rowId,
      generation: 0,
      attempts: 0,
      expiresAt: Date.now() + LIFE_MS,
      priority: 1,
      flags: 0,
      messageIdAt: at,
      inReplyToAt: at,
      digestAt: at + DIGEST_AT,
      stream: "",
      released: false,
      total: this.#payloadBytes,
      inBatch: true,
      payloadAt: at + PAYLOAD_AT,
    };
  }
}

export interface MemberEvents {
  /** It is to get a turn soon. */
  readonly onInput: (member: CrowdMember) => void;
  /** The payload of a row that is to be sent again. */
  readonly payloadOf: (rowId: number) => Uint8Array;
  /** Rows that the daemon acknowledged. */
  readonly onAcknowledged: (rowIds: Float64Array) => void;
}

export class CrowdMember implements DeliverySink {
  readonly index: number;
  readonly publicKey: Uint8Array;
  readonly #privateKey = newPrivateKey();
  readonly #socket: DgramSocket;
  readonly #events: MemberEvents;
  readonly #crypto = inlineCrypto();
  readonly #settlements = new SettlementQueue();
  readonly #sink = new SessionSink({
    laneOf: () => 0,
    slabFor: (_affinity, length) => (slabs[0].table.fits(length) ? slabs[0] : undefined),
  });
  readonly #sinks: FrameSinks = { delivery: this, handshake: this.#sink };
  #layer: SessionLayer | undefined;
  #arrived: { readonly datagram: Uint8Array; readonly port: number }[] = [];
  #delivered: DeliveredRecord[] = [];
  /** Whether a session is there. */
  isUp = false;
  /** Messages that came, each counted when it was digested. */
  received = 0;
  readonly accepting = true;

  private constructor(index: number, socket: DgramSocket, events: MemberEvents) {
    this.index = index;
    this.#socket = socket;
    this.#events = events;
    this.publicKey = publicKeyOf(this.#privateKey);
    socket.receive((datagram, _address, port) => {
      this.#arrived.push({ datagram: Uint8Array.from(datagram), port });
      events.onInput(this);
    });
  }

  static async make(index: number, events: MemberEvents): Promise<CrowdMember> {
    const socket = new DgramSocket();
    await socket.start(LOOPBACK, 0);
    return new CrowdMember(index, socket, events);
  }

  get port(): number {
    return this.#socket.port;
  }

  /** Knows the daemon from here on, and calls it. */
  begin(daemonKey: Uint8Array, port: number): void {
    const now = systemClock.now();
    const installed = this.#crypto.control.installPeers(
      [Uint8Array.from(this.#privateKey), undefined, undefined],
      [
        [
          {
            role: KEY_ROLE.current,
            own: KEY_ROLE.current,
            peerPublicKey: daemonKey,
            secret: undefined,
          },
        ],
      ],
    ) as readonly (readonly { readonly hintKey?: Uint8Array }[])[];
    this.#layer = new SessionLayer({
      now,
      random: (into) => void randomFillSync(into),
      uniform: Math.random,
      settlements: this.#settlements,
      ownPublicKey: this.publicKey,
      peers: [
        { config: configOf(daemonKey, port), stamps: { sent: 0n, accepted: 0n }, spools: [] },
      ],
      events: {
        onReport: (sentence) => {
          throw new Error(sentence);
        },
      },
    });
    this.#layer.handleHintKeys(
      installed.map((keys) => keys.flatMap(({ hintKey }) => hintKey ?? [])),
    );
    this.#layer.handlePlaces(now, 0, [{ address: LOOPBACK, port }]);
    this.#layer.announce(now, 0);
    this.#events.onInput(this);
  }

  /** Sends a batch; its rows are `firstRow` and those behind it. */
  send(batch: CrowdBatch, firstRow: number): void {
    const [now, wallNs] = [systemClock.now(), systemClock.wallNs()];
    for (let i = 0; i < batch.messages; i++) {
      this.#layer?.handleRow(now, wallNs, 0, batch.rowOf(i, firstRow + i));
    }
    this.#events.onInput(this);
  }

  /** Does what there is to do; returns when time is the next input, monotonic ns. */
  turn(): number {
    const layer = this.#layer;
    if (layer === undefined) return Number.POSITIVE_INFINITY;
    for (const { datagram, port } of this.#arrived.splice(0)) {
      if (!slabs[0].table.fits(datagram.length)) this.#work(layer);
      const now = systemClock.now();
      layer.handleDatagram(now, datagram, LOOPBACK, port, this.#sink, this.#sink);
    }
    this.#work(layer);
    do this.#write(layer);
    while (this.#work(layer));
    return layer.pollDeadline();
  }

  // --- Steps --------------------------------------------------------------------------------------

  #write(layer: SessionLayer): void {
    const [now, wallNs] = [systemClock.now(), systemClock.wallNs()];
    layer.handleTimeout(now, wallNs, this.#sink);
    for (const record of this.#delivered.splice(0)) layer.handleDelivered(record, this);
    for (let stamps = layer.pollStamp(); stamps !== undefined; stamps = layer.pollStamp()) {
      layer.handleStamped(now, stamps, this.#sink);
    }
    for (let read = layer.pollRead(); read !== undefined; read = layer.pollRead()) {
      const { rowId, offset, length, tag } = read;
      const bytes = this.#events.payloadOf(rowId).slice(offset, offset + length);
      layer.handleRead(now, tag, offset, bytes);
    }
    while (layer.pollSeal(now, wallNs, this.#sink));
    while (layer.pollConfirmed() !== undefined) this.isUp = true;
    while (layer.pollLost() !== undefined) this.isUp = layer.peers[0]?.session !== undefined;
    while (layer.pollUnanswered() !== undefined);
    this.#sink.flush();
    this.#settle(layer);
  }

  #settle(layer: SessionLayer): void {
    if (this.#settlements.size === 0) return;
    const { acknowledged, failed } = this.#settlements.take();
    if (failed.length > 0) throw new Error(`a message failed: ${failed[0].reason}`);
    layer.handleTaken();
    layer.handleCommitted(systemClock.now());
    if (acknowledged.rowIds.length > 0) this.#events.onAcknowledged(acknowledged.rowIds);
  }

  /** Lets the worker do what lies in the slab; false: nothing did. */
  #work(layer: SessionLayer): boolean {
    const [done] = slabs;
    const { table } = done;
    if (table.entries === 0) return false;
    slabs.reverse();
    this.#crypto.run(table);
    for (let index = 0; index < table.entries; index++) this.#visit(layer, done, index);
    table.reset();
    return true;
  }

  #visit(layer: SessionLayer, { table, routes }: OpenSlab, index: number): void {
    const [now, wallNs] = [systemClock.now(), systemClock.wallNs()];
    const packet = cursor.move(table, routes, index);
    switch (table.codeOf(index)) {
      case SESSION_OUTCOME.sealedPacket: {
        const { bytes, at, length, address, port } = packet;
        if (!layer.handleSealed(packet)) return;
        return this.#send(Uint8Array.from(bytes.subarray(at, at + length)), address, port);
      }
      case SESSION_OUTCOME.openedPacket:
        layer.handleOpened(now, wallNs, packet, this.#sinks);
        return;
      case SESSION_OUTCOME.refusedPacket:
      case SESSION_OUTCOME.unsealedPacket:
      case SESSION_OUTCOME.unopenedPacket:
      case SESSION_OUTCOME.forgotten:
        return;
      default: {
        const result = handshakeResult(table, routes, index);
        if (!layer.handleHandshake(now, wallNs, result, this.#sink)) return;
        this.#send(result.message, result.address, result.port);
      }
    }
  }

  /** What the kernel refuses is lost, as on any path. */
  #send(datagram: Uint8Array, address: string, port: number): void {
    this.#socket.send(datagram, 0, datagram.length, address, port, () => {});
  }

  // --- DeliverySink -------------------------------------------------------------------------------

  message(delivery: MessageDelivery): boolean {
    const { bytes, flags, messageIdAt, inReplyToAt, payloadAt, payloadLength } = delivery;
    const payload = bytes.subarray(payloadAt, payloadAt + payloadLength);
    sessionDigest(digest, { flags, stream: NO_STREAM, bytes, messageIdAt, inReplyToAt }, payload);
    this.received += 1;
    this.#delivered.push({
      peer: 0,
      token: delivery.token,
      number: delivery.number,
      outcome: DELIVERED.inserted,
      digestLow: digestWords[0],
      digestHigh: digestWords[1],
      offset: 0,
      payloadLength,
    });
    return true;
  }

  piece(): boolean {
    throw new Error("nothing so large is sent here");
  }
  settled(): boolean {
    return true;
  }
  drop(): boolean {
    return true;
  }
}

const configOf = (publicKey: Uint8Array, port: number): SessionPeerConfig => ({
  name: NAME,
  mode: "session",
  publicKey,
  nextPublicKey: undefined,
  previousPublicKey: undefined,
  ring: [{ role: "current", name: PAIR_NAME, own: "current", peer: "current", secret: undefined }],
  hasSecret: false,
  places: [{ address: LOOPBACK, port }],
  mtuBytes: undefined,
  padding: { kind: "none" },
  keepaliveSeconds: undefined,
  limits: {
    messageBytesMax: MESSAGE_BYTES_MAX,
    creditMessages: undefined,
    creditBytes: undefined,
  },
});
