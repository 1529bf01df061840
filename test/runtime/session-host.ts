// A host of sessions without a core: its sink, one slab, and the crypto work on this thread. Orders go
// in as main would give them; what comes back is copied out before the slab is emptied.

import assert from "node:assert/strict";
import {
  type HandshakeResult,
  type KeyRole,
  NO_KEY_SLOT,
} from "../../src/shared/protocol/session/ports.js";
import type { PairKeySource, PeerKeys } from "../../src/shared/runtime/messages.js";
import { SessionSink } from "../../src/shared/runtime/session-sink.js";
import {
  handshakeResult,
  isHandshakeOutcome,
  SESSION_OUTCOME,
  SessionCursor,
} from "../../src/shared/runtime/session-slab.js";
import { SlabTable } from "../../src/shared/runtime/slab.js";
import { SlabRoutes } from "../../src/shared/runtime/slab-cursor.js";
import { KeyRings } from "../../src/workers/key-rings.js";
import { SecretPool } from "../../src/workers/noise-primitives.js";
import { SessionWork } from "../../src/workers/session-work.js";
import { SlabWork } from "../../src/workers/slab-work.js";
import { publicOf } from "./handshake-model.js";

const PLACE = { address: "192.0.2.1", port: 4_700 };
const SLABS_TESTED_BYTES = 16 * 1_024;

/** A packet as it came back: the datagram when it was sealed, the frames when it was opened. */
export interface SeenPacket {
  readonly code: number;
  readonly datagram: Uint8Array;
  readonly frames: Uint8Array;
  readonly counterHigh: number;
  readonly counterLow: number;
  readonly tag: number;
  readonly aligned: boolean;
}

export class SessionHost {
  readonly work = new SessionWork();
  readonly #slab = { table: SlabTable.allocate(), routes: new SlabRoutes() };
  readonly #slabWork = new SlabWork(new KeyRings(), this.work);
  readonly sink = new SessionSink({ laneOf: () => 0, slabFor: () => this.#slab });
  handshakes: HandshakeResult[] = [];
  packets: SeenPacket[] = [];

  /** Lets the worker do all jobs, and takes the outcomes out. */
  run(): void {
    const { table, routes } = this.#slab;
    this.#slabWork.run(table);
    const cursor = new SessionCursor(table, routes);
    for (let index = 0; index < table.entries; index++) {
      const code = table.codeOf(index);
      if (isHandshakeOutcome(code))
        this.handshakes.push(kept(handshakeResult(table, routes, index)));
      else if (code !== SESSION_OUTCOME.forgotten) {
        this.packets.push(seen(code, cursor.move(table, routes, index)));
      }
    }
    table.reset();
    const rest = table.bytes.subarray(8, SLABS_TESTED_BYTES);
    assert.ok(
      rest.every((byte) => byte === 0),
      "a released slab holds nothing",
    );
  }

  /** Gives one handshake order; returns its result. */
  handshake(order: (sink: SessionSink) => boolean): HandshakeResult {
    assert.ok(order(this.sink));
    this.run();
    const result = this.handshakes.pop();
    assert.ok(result && this.handshakes.length === 0);
    return result;
  }

  initiate(options: {
    readonly keySlot: number;
    readonly sessionId: number;
    readonly stamp?: bigint;
    readonly role?: KeyRole;
    readonly peer?: number;
    readonly parentKeySlot?: number;
    readonly payload?: Uint8Array;
  }): HandshakeResult {
    return this.handshake((sink) =>
      sink.initiate({
        ...common(options),
        role: options.role ?? 0,
        keySlot: options.keySlot,
        sessionId: options.sessionId,
        ...stampWords(options.stamp ?? 1n),
        payload: options.payload ?? Uint8Array.of(1, 1, 7),
      }),
    );
  }

  read(datagram: Uint8Array, accepted = 0n, peer = 0): HandshakeResult {
    const { stampHigh: acceptedHigh, stampLow: acceptedLow } = stampWords(accepted);
    return this.handshake((sink) =>
      sink.readDatagram({ ...common({ peer }), datagram, acceptedHigh, acceptedLow }),
    );
  }

  readRekey(
    parentKeySlot: number,
    type: 1 | 2,
    sessionId: number,
    answers: number,
    noise: Uint8Array,
  ): HandshakeResult {
    return this.handshake((sink) =>
      sink.readRekey({ ...common({ parentKeySlot }), type, sessionId, answers, noise }),
    );
  }

  respond(options: {
    readonly keySlot: number;
    readonly sessionId: number;
    readonly remoteId: number;
    readonly stamp?: bigint;
    readonly parentKeySlot?: number;
    readonly payload?: Uint8Array;
  }): HandshakeResult {
    return this.handshake((sink) =>
      sink.respond({
        ...common(options),
        keySlot: options.keySlot,
        sessionId: options.sessionId,
        remoteId: options.remoteId,
        ...stampWords(options.stamp ?? 1n),
        payload: options.payload ?? Uint8Array.of(1, 1, 8),
      }),
    );
  }

  seal(keySlot: number, remoteId: number, counter: bigint, frames: Uint8Array): SeenPacket {
    assert.ok(this.sink.packetRoom(0, 1_400));
    this.sink.bytes.set(frames, this.sink.bodyAt);
    const { stampHigh, stampLow } = stampWords(counter);
    this.sink.sealPacket(
      frames.length,
      keySlot,
      remoteId,
      stampHigh,
      stampLow,
      9,
      PLACE.address,
      PLACE.port,
    );
    return this.#packet();
  }

  open(keySlot: number, datagram: Uint8Array, counter: bigint): SeenPacket {
    const { stampHigh, stampLow } = stampWords(counter);
    assert.ok(
      this.sink.openPacket(0, datagram, keySlot, stampHigh, stampLow, 9, PLACE.address, PLACE.port),
    );
    return this.#packet();
  }

  forget(keySlot: number): void {
    this.sink.forget(0, keySlot);
    this.run();
  }

  #packet(): SeenPacket {
    this.run();
    const packet = this.packets.pop();
    assert.ok(packet && this.packets.length === 0);
    return packet;
  }
}

/** Two hosts that know each other, each as the other's peer 0. */
export function pairOfHosts(
  options: { readonly secret?: Uint8Array; readonly a?: Uint8Array; readonly b?: Uint8Array } = {},
): readonly [a: SessionHost, b: SessionHost] {
  const [a, b] = [options.a ?? privateKey(0x11), options.b ?? privateKey(0x22)];
  const hosts = [new SessionHost(), new SessionHost()] as const;
  for (const [host, own, peer] of [
    [hosts[0], a, b],
    [hosts[1], b, a],
  ] as const) {
    const ring = [
      source({ peer: publicOf(peer), ...(options.secret && { secret: options.secret }) }),
    ];
    host.work.install([Uint8Array.from(own)], [ring]);
  }
  return hosts;
}

export const privateKey = (fill: number): Uint8Array => new Uint8Array(32).fill(fill);

export const source = (options: {
  readonly peer: Uint8Array;
  readonly secret?: Uint8Array;
  readonly role?: KeyRole;
  readonly own?: KeyRole;
}): PairKeySource => ({
  role: options.role ?? 0,
  own: options.own ?? 0,
  peerPublicKey: Uint8Array.from(options.peer),
  secret: options.secret === undefined ? undefined : Uint8Array.from(options.secret),
});
export type { PeerKeys };

/** A session between the hosts, made by a handshake in datagrams that the first one begins. */
export function session(
  [from, to]: readonly [SessionHost, SessionHost],
  keySlots: readonly [number, number] = [1, 2],
  ids: readonly [number, number] = [0x0a0a_0a0a, 0xb0b0_b0b0],
): readonly [HandshakeResult, HandshakeResult] {
  const first = from.initiate({ keySlot: keySlots[0], sessionId: ids[0] });
  assert.equal(first.kind, "initiated");
  assert.equal(to.read(first.message).kind, "initiation");
  const second = to.respond({ keySlot: keySlots[1], sessionId: ids[1], remoteId: ids[0] });
  assert.equal(second.kind, "responded");
  const completed = from.read(second.message);
  assert.equal(completed.kind, "completed");
  return [completed, second];
}

/** Every slot of locked memory that is handed out while `work` runs, and afterwards. */
export function watchSecrets(): { readonly slots: Uint8Array[]; readonly stop: () => void } {
  const slots: Uint8Array[] = [];
  const take = SecretPool.prototype.take;
  SecretPool.prototype.take = function watched(this: SecretPool): Uint8Array | undefined {
    const slot = take.call(this);
    if (slot !== undefined) slots.push(slot);
    return slot;
  };
  return {
    slots,
    stop: () => {
      SecretPool.prototype.take = take;
    },
  };
}

export const stampWords = (stamp: bigint) => ({
  stampHigh: Number(stamp >> 32n),
  stampLow: Number(stamp & 0xffff_ffffn),
});

const common = ({ peer = 0, parentKeySlot = NO_KEY_SLOT }) => ({
  peer,
  affinity: peer,
  tag: 5,
  parentKeySlot,
  ...PLACE,
});

const kept = (result: HandshakeResult): HandshakeResult => ({
  ...result,
  payload: Uint8Array.from(result.payload),
  headerKeyOut: Uint8Array.from(result.headerKeyOut),
  headerKeyIn: Uint8Array.from(result.headerKeyIn),
});

function seen(code: number, packet: SessionCursor): SeenPacket {
  const { bytes, at, length, bodyAt, bodyLength, counterHigh, counterLow, tag } = packet;
  return {
    code,
    datagram: Uint8Array.from(bytes.subarray(at, at + length)),
    frames: Uint8Array.from(bytes.subarray(bodyAt, bodyAt + bodyLength)),
    counterHigh,
    counterLow,
    tag,
    aligned: bodyAt % 8 === 0,
  };
}
