// A peer with a true identity that says whatever it likes: real handshakes and real packets over a plain
// UDP socket, by the workers' own cryptography, and frames that nobody checks before they leave.

import { randomBytes, randomInt } from "node:crypto";
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { FRAME } from "../../src/shared/protocol/session/frame-type.js";
import {
  decodeHandshakePayload,
  encodeHandshakePayload,
} from "../../src/shared/protocol/session/handshake-payload.js";
import {
  CounterMask,
  counterHigh,
  counterLow,
  PACKET_HEADER_BYTES,
  PACKET_OVERHEAD_BYTES,
} from "../../src/shared/protocol/session/packet.js";
import {
  type HandshakeResult,
  KEY_ROLE,
  NO_KEY_SLOT,
} from "../../src/shared/protocol/session/ports.js";
import { SessionSink } from "../../src/shared/runtime/session-sink.js";
import {
  handshakeResult,
  SESSION_OUTCOME,
  SessionCursor,
} from "../../src/shared/runtime/session-slab.js";
import { SlabTable } from "../../src/shared/runtime/slab.js";
import { SlabRoutes } from "../../src/shared/runtime/slab-cursor.js";
import { inlineCrypto } from "../../src/workers/inline-crypto.js";
import { LOOPBACK, type Place, until } from "./harness.js";
import type { Identity } from "./session-hosts.js";

const KEY_SLOT = 1;
const PEER = { peer: 0, affinity: 0, tag: 0, parentKeySlot: NO_KEY_SLOT } as const;
/** Behind a fault its daemon rests for 5 s, then for 10, and so on. */
const HANDSHAKE_MS_MAX = 30_000;
const HANDSHAKE_AGAIN_MS = 500;

/** A session of the rogue: what it needs to seal and to open. */
interface Open {
  readonly localId: number;
  readonly remoteId: number;
  readonly maskOut: CounterMask;
  readonly maskIn: CounterMask;
  counter: number;
}

export interface RogueOptions {
  readonly identity: Identity;
  /** Of the daemon that it speaks with. */
  readonly publicKey: string;
  /** 64 hex digits, or "". */
  readonly secret: string;
  readonly port: number;
}

export class RoguePeer {
  readonly #socket: Socket;
  readonly #to: number;
  readonly #crypto = inlineCrypto();
  readonly #table = SlabTable.allocate();
  readonly #routes = new SlabRoutes();
  readonly #sink: SessionSink;
  #boot = randomBytes(8);
  #stamp = BigInt(Date.now()) * 1_000_000n;
  #session: Open | undefined;
  #initiatedAs = 0;
  /** Handshake datagrams and packets that it sent, and packets of its session that came and opened. */
  readonly sent: Buffer[] = [];
  /** Whether `sent` grows. */
  keeps = true;
  /** Messages 2 that made a session, while they are kept. */
  readonly answers: Buffer[] = [];
  keepsAnswers = false;
  handshakes = 0;
  packetsSent = 0;
  packetsOpened = 0;
  /** The daemon closed the session. */
  isClosed = false;

  private constructor(socket: Socket, options: RogueOptions) {
    this.#socket = socket;
    this.#to = options.port;
    const open = { table: this.#table, routes: this.#routes };
    this.#sink = new SessionSink({
      laneOf: () => 0,
      slabFor: () => open,
    });
    const key = (text: string) => Uint8Array.from(Buffer.from(text, "base64"));
    const secret =
      options.secret === "" ? undefined : Uint8Array.from(Buffer.from(options.secret, "hex"));
    this.#crypto.control.installPeers(
      [key(options.identity.privateKey), undefined, undefined],
      [
        [
          {
            role: KEY_ROLE.current,
            own: KEY_ROLE.current,
            peerPublicKey: key(options.publicKey),
            secret,
          },
        ],
      ],
    );
    socket.on("message", (datagram) => this.#take(datagram));
  }

  static async make(place: Place, options: RogueOptions): Promise<RoguePeer> {
    const socket = createSocket({ type: "udp4", sendBufferSize: 1 << 20 });
    socket.bind(0, LOOPBACK);
    await once(socket, "listening");
    const rogue = new RoguePeer(socket, options);
    place.after(() => {
      socket.close();
      rogue.#crypto.control.close();
    });
    return rogue;
  }

  /** What it sends from here on is of another process: its daemon forgives the first fault. */
  restart(): void {
    this.#boot = randomBytes(8);
  }

  /** Makes a session, again and again until one is there. */
  async shake(): Promise<void> {
    this.#session = undefined;
    this.isClosed = false;
    const end = performance.now() + HANDSHAKE_MS_MAX;
    while (this.#session === undefined) {
      if (performance.now() > end) throw new Error("the daemon answered no handshake");
      await this.send(this.initiation());
      const isThere = (): boolean => this.#session !== undefined;
      await until(isThere, "an answer", HANDSHAKE_AGAIN_MS).catch(() => {});
    }
  }

  /** A fresh message 1. `payload`: the Noise payload, when it is not to be an honest one. */
  initiation(payload?: Uint8Array): Buffer {
    this.#stamp += 1n + BigInt(randomInt(1_000));
    this.handshakes += 1;
    this.#initiatedAs = randomInt(1, 2 ** 32);
    this.#sink.initiate({
      ...PEER,
      address: LOOPBACK,
      port: this.#to,
      role: KEY_ROLE.current,
      keySlot: KEY_SLOT,
      sessionId: this.#initiatedAs,
      stampHigh: Number(this.#stamp >> 32n),
      stampLow: Number(this.#stamp & 0xffff_ffffn),
      payload: payload ?? this.#payload(),
    });
    return Buffer.from(this.#run().message);
  }

  /** A packet of the session around these frames; `skip` leaves out so many counters. */
  packet(frames: Uint8Array, skip = 0): Buffer {
    const session = this.#session;
    if (session === undefined) throw new Error("a handshake comes first");
    session.counter += skip;
    const { counter } = session;
    session.counter += 1;
    this.#sink.packetRoom(0, frames.length);
    this.#sink.bytes.set(frames, this.#sink.bodyAt);
    const at = this.#sink.bodyAt - PACKET_HEADER_BYTES;
    const length = frames.length + PACKET_OVERHEAD_BYTES;
    this.#sink.sealPacket(
      frames.length,
      KEY_SLOT,
      session.remoteId,
      counterHigh(counter),
      counterLow(counter),
      session.localId,
      LOOPBACK,
      this.#to,
    );
    this.#crypto.run(this.#table);
    session.maskOut.mask(this.#table.bytes, at, length);
    const datagram = Buffer.from(this.#table.bytes.subarray(at, at + length));
    this.#table.reset();
    return datagram;
  }

  /** Resolves when the datagram left. */
  send(datagram: Uint8Array): Promise<void> {
    this.packetsSent += 1;
    if (this.keeps) this.sent.push(Buffer.from(datagram));
    return new Promise((resolve) => {
      this.#socket.send(datagram, this.#to, LOOPBACK, () => resolve());
    });
  }

  #payload(): Uint8Array {
    return encodeHandshakePayload(
      {
        boot: this.#boot,
        wallNs: BigInt(Date.now()) * 1_000_000n,
        accepted: 0n,
        messageBytesMax: 1 << 20,
        datagramBytesMax: 1_500,
        ackDelayMs: 25,
        creditMessages: 1_024,
        creditBytes: 1 << 20,
      },
      randomInt(256),
    );
  }

  /** Runs the one job of the slab; its memory is wiped once the caller has what it copied. */
  #run(): HandshakeResult {
    this.#crypto.run(this.#table);
    const result = handshakeResult(this.#table, this.#routes, 0);
    const copy = {
      ...result,
      payload: Uint8Array.from(result.payload),
      headerKeyOut: Uint8Array.from(result.headerKeyOut),
      headerKeyIn: Uint8Array.from(result.headerKeyIn),
    };
    this.#table.reset();
    return copy;
  }

  #take(datagram: Buffer): void {
    const session = this.#session;
    if (session !== undefined && datagram.readUInt32BE(0) === session.localId) {
      this.#open(session, datagram);
      return;
    }
    if (session !== undefined) return;
    this.#sink.readDatagram({
      ...PEER,
      address: LOOPBACK,
      port: this.#to,
      datagram,
      acceptedHigh: 0xffff_ffff,
      acceptedLow: 0xffff_ffff,
    });
    const result = this.#run();
    if (result.kind !== "completed" || result.answers !== this.#initiatedAs) return;
    const payload = decodeHandshakePayload(result.payload);
    if (payload === undefined) return;
    if (this.keepsAnswers) this.answers.push(Buffer.from(datagram));
    this.#session = {
      localId: this.#initiatedAs,
      remoteId: result.remoteId,
      maskOut: new CounterMask(result.headerKeyOut),
      maskIn: new CounterMask(result.headerKeyIn),
      counter: 0,
    };
  }

  #open(session: Open, datagram: Buffer): void {
    session.maskIn.read(datagram, 0, datagram.length);
    const { high, low } = session.maskIn;
    this.#sink.openPacket(0, datagram, KEY_SLOT, high, low, session.localId, LOOPBACK, this.#to);
    this.#crypto.run(this.#table);
    if (this.#table.codeOf(0) === SESSION_OUTCOME.openedPacket) {
      const packet = new SessionCursor(this.#table, this.#routes).move(
        this.#table,
        this.#routes,
        0,
      );
      this.packetsOpened += 1;
      const { bytes, bodyAt, bodyLength } = packet;
      // CLOSE travels alone.
      if (bytes[bodyAt] === FRAME.close && bodyLength <= 3) this.isClosed = true;
    }
    this.#table.reset();
  }
}
