// One end of a session without its core: the crypto pool of the daemon, one peer, one session. Makes the
// session by a true handshake, seals full packets as main would, and opens what comes.

import { CryptoPool, type PooledSlab } from "../src/main/crypto-pool.js";
import { publicKeyOf } from "../src/main/identity.js";
import {
  CounterMask,
  counterHigh,
  counterLow,
  PACKET_HEADER_BYTES,
  PACKET_OVERHEAD_BYTES,
} from "../src/shared/protocol/session/packet.js";
import {
  type HandshakeResult,
  KEY_ROLE,
  NO_KEY_SLOT,
} from "../src/shared/protocol/session/ports.js";
import {
  handshakeResult,
  isHandshakeOutcome,
  SESSION_OUTCOME,
  SessionCursor,
} from "../src/shared/runtime/session-slab.js";
import { wordOf } from "../src/shared/runtime/slab.js";

const KEY_SLOT = 1;
const SESSION_ID = 7;
const STAMP = { stampHigh: 1, stampLow: 2, payload: Uint8Array.of(1, 1) } as const;

export interface EndEvents {
  /** A handshake datagram is to leave; its memory is the receiver's. */
  readonly onHandshake: (message: Uint8Array) => void;
  /**
   * Packets of a slab were sealed: each is to be sent, then `release` to be called. The memory stays
   * until then.
   */
  readonly onSealed: (slab: PooledSlab, packets: number) => void;
  /** So many packets were opened, with so many bytes of frames; they are gone when this returns. */
  readonly onOpened: (packets: number, bytes: number) => void;
  /** The other end's packets can be read, ours be sealed. */
  readonly onSession: () => void;
  readonly onLost: (error: Error) => void;
}

export class CryptoEnd {
  readonly #pool: CryptoPool;
  readonly #place: { readonly address: string; readonly port: number };
  readonly #events: EndEvents;
  #maskOut: CounterMask | undefined;
  #maskIn: CounterMask | undefined;
  #cursor: SessionCursor | undefined;
  #remoteId = 0;
  #counter = 0;

  private constructor(
    place: { readonly address: string; readonly port: number },
    events: EndEvents,
  ) {
    this.#place = place;
    this.#events = events;
    this.#pool = new CryptoPool({
      onReturned: (slab) => this.#returned(slab),
      onLost: events.onLost,
    });
  }

  /** `place`: where the other end is. `privateKey` is wiped. */
  static async start(options: {
    readonly place: { readonly address: string; readonly port: number };
    readonly workers: number;
    readonly privateKey: Uint8Array;
    readonly peerPrivateKey: Uint8Array;
    readonly events: EndEvents;
  }): Promise<CryptoEnd> {
    const { place, workers, privateKey, peerPrivateKey, events } = options;
    const end = new CryptoEnd(place, events);
    await end.#pool.start(workers);
    const ring = {
      role: KEY_ROLE.current,
      own: KEY_ROLE.current,
      peerPublicKey: publicKeyOf(peerPrivateKey),
      secret: undefined,
    };
    await end.#pool.installPeers([privateKey, undefined, undefined], [[ring]]);
    return end;
  }

  get hasSession(): boolean {
    return this.#maskOut !== undefined;
  }

  /** Begins the handshake. */
  shake(): void {
    this.#pool.sessions.initiate({
      ...this.#order,
      role: KEY_ROLE.current,
      keySlot: KEY_SLOT,
      sessionId: SESSION_ID,
      ...STAMP,
    });
    this.#pool.flush();
  }

  /** Copies the payload behind a packet's header and has it sealed; false: no slab is free. */
  seal(payload: Uint8Array): boolean {
    const sink = this.#pool.sessions;
    if (!sink.packetRoom(0, payload.length)) return false;
    sink.bytes.set(payload, sink.bodyAt);
    const { address, port } = this.#place;
    const counter = this.#counter++;
    const [high, low] = [counterHigh(counter), counterLow(counter)];
    sink.sealPacket(payload.length, KEY_SLOT, this.#remoteId, high, low, 0, address, port);
    return true;
  }

  /** Takes a datagram; false: no slab is free. */
  take(datagram: Uint8Array): boolean {
    const mask = this.#maskIn;
    const { address, port } = this.#place;
    if (mask === undefined || datagram.length < PACKET_HEADER_BYTES + PACKET_OVERHEAD_BYTES + 64) {
      return this.#pool.sessions.readDatagram({
        ...this.#order,
        datagram,
        acceptedHigh: 0,
        acceptedLow: 0,
      });
    }
    mask.read(datagram, 0, datagram.length);
    const { high, low } = mask;
    return this.#pool.sessions.openPacket(0, datagram, KEY_SLOT, high, low, 0, address, port);
  }

  flush(): void {
    this.#pool.flush();
  }

  release(slab: PooledSlab): void {
    this.#pool.release(slab);
  }

  stop(): Promise<void> {
    return this.#pool.stop();
  }

  get #order() {
    return {
      ...this.#place,
      peer: 0,
      affinity: 0,
      tag: 0,
      parentKeySlot: NO_KEY_SLOT,
    };
  }

  #returned(slab: PooledSlab): void {
    const { table, routes } = slab;
    const mask = this.#maskOut;
    this.#cursor ??= new SessionCursor(table, routes);
    let [sealed, opened, openedBytes] = [0, 0, 0];
    for (let index = 0; index < table.entries; index++) {
      const code = table.words[wordOf(index)];
      if (isHandshakeOutcome(code)) {
        this.#handshake(handshakeResult(table, routes, index));
        continue;
      }
      const packet = this.#cursor.move(table, routes, index);
      if (code === SESSION_OUTCOME.sealedPacket && mask !== undefined) {
        mask.mask(packet.bytes, packet.at, packet.length);
        sealed += 1;
      } else if (code === SESSION_OUTCOME.openedPacket) {
        opened += 1;
        openedBytes += packet.bodyLength;
      } else {
        this.#events.onLost(new Error(`a packet came out as ${code}`));
      }
    }
    if (opened > 0) this.#events.onOpened(opened, openedBytes);
    if (sealed > 0) this.#events.onSealed(slab, sealed);
    else this.#pool.release(slab);
    this.#pool.flush();
  }

  #handshake(result: HandshakeResult): void {
    const { kind, message, remoteId } = result;
    if (kind === "initiated" || kind === "responded") {
      this.#events.onHandshake(Uint8Array.from(message));
    }
    if (kind === "initiation") {
      this.#remoteId = remoteId;
      this.#pool.sessions.respond({
        ...this.#order,
        keySlot: KEY_SLOT,
        remoteId,
        sessionId: SESSION_ID,
        ...STAMP,
      });
    }
    if (kind === "completed") this.#remoteId = remoteId;
    if (kind !== "completed" && kind !== "responded") return;
    this.#maskOut = new CounterMask(result.headerKeyOut);
    this.#maskIn = new CounterMask(result.headerKeyIn);
    this.#events.onSession();
  }
}

/** Every packet of a slab whose packets are all sealed: its place in `slab.table.bytes`. */
export function eachSealed(
  slab: PooledSlab,
  cursor: SessionCursor,
  visit: (bytes: Uint8Array, at: number, length: number) => void,
): void {
  const { table, routes } = slab;
  for (let index = 0; index < table.entries; index++) {
    if (table.words[wordOf(index)] !== SESSION_OUTCOME.sealedPacket) continue;
    const packet = cursor.move(table, routes, index);
    visit(packet.bytes, packet.at, packet.length);
  }
}
