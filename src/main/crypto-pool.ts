// Actor: N crypto workers. Packets are written straight into the open slab of their worker; a slab is
// posted when it is full or at the end of a tick, and comes back with outcomes. Credits are slabs: when
// all of a worker's are out, sealing waits and inbound is shed.

import { MessageChannel, type MessagePort, Worker } from "node:worker_threads";
import { assert } from "../shared/base/assert.js";
import { DaemonError, reasonOf } from "../shared/base/errors.js";
import { type OpenSink, type SealSink, TAG_ACK } from "../shared/protocol/slot.js";
import { type ControlHandle, controlOf } from "../shared/runtime/control.js";
import type {
  CryptoControl,
  IdentityPrivateKeys,
  InstalledPairKey,
  PeerKeys,
  RingKeys,
} from "../shared/runtime/messages.js";
import { SessionSink, type SlabSource } from "../shared/runtime/session-sink.js";
import {
  BODY_OFFSET_BYTES,
  datagramLengthOf,
  JOB,
  SLAB_BYTES,
  SlabTable,
  wordOf,
} from "../shared/runtime/slab.js";
import { SlabRoutes } from "../shared/runtime/slab-cursor.js";
import type { SendDone } from "./socket/datagram-socket.js";

/** Slabs of one worker at most: filling, travelling, being sent from. */
export const SLABS_PER_WORKER_MAX = 16;
/** With one slab under way, a second is worth a post from so many packets on, a third when it is full:
 * a post costs main 8 us whatever is in it, and takes one of few slabs. Source: ours; bench/channel. */
const POST_PACKETS_MIN = 32;
/** More workers than this gain nothing: main is the wall first. */
export const CRYPTO_WORKERS_MAX = 16;
/** Worst case of all slabs, bytes: 64 MiB. */
export const SLAB_MEMORY_BYTES_MAX = SLAB_BYTES * SLABS_PER_WORKER_MAX * CRYPTO_WORKERS_MAX;
assert(SLAB_MEMORY_BYTES_MAX <= 64 * 1_024 * 1_024, "slabs stay below 64 MiB");

const WORKER_URL = new URL("../workers/crypto.worker.js", import.meta.url);
const INLINE_URL = new URL("../workers/inline-crypto.js", import.meta.url);
const CONTROL_DEADLINE_MS = 10_000;
const TWO_32 = 2 ** 32;

/** A slab and what main keeps about it while a worker has it. */
export class PooledSlab {
  readonly table: SlabTable = SlabTable.allocate();
  /** Its number in its lane. */
  readonly index: number;
  readonly routes = new SlabRoutes();
  readonly lane: number;
  /** Called when a send is done; made once per slab. */
  done: SendDone | undefined;
  /** Sends not yet done; the slab is free when none is left. */
  outstanding = 0;

  constructor(lane: number, index: number) {
    this.lane = lane;
    this.index = index;
  }
}

/** The way to one worker: a thread, or the same work on this thread. */
interface Lane {
  /** Makes a slab known before it is posted for the first time. */
  readonly introduce: (slab: PooledSlab) => void;
  readonly post: (slab: PooledSlab) => void;
  readonly control: Pick<ControlHandle<CryptoControl>, "call">;
  readonly stop: () => Promise<void>;
  readonly free: PooledSlab[];
  readonly flying: PooledSlab[];
  made: number;
  filling: PooledSlab | undefined;
}

export class CryptoPool implements SealSink, OpenSink, SlabSource {
  readonly #lanes: Lane[] = [];
  readonly #onReturned: (slab: PooledSlab) => void;
  readonly #onLost: (error: DaemonError) => void;
  #slab: PooledSlab | undefined;
  #index = 0;
  #stopping = false;
  bytes: Uint8Array = new Uint8Array(0);
  bodyAt = 0;
  /** Jobs of sessions, written into the same slabs. */
  readonly sessions: SessionSink = new SessionSink(this);

  constructor(options: {
    /** Called with each slab that comes back; the caller releases it. */
    readonly onReturned: (slab: PooledSlab) => void;
    /** A worker died: its packets are lost, rows are not; the daemon stops and is started again. */
    readonly onLost: (error: DaemonError) => void;
  }) {
    this.#onReturned = options.onReturned;
    this.#onLost = options.onLost;
  }

  get workers(): number {
    return this.#lanes.length;
  }

  /** Starts the threads; 0 does their work on this thread with the same code. */
  async start(workers: number): Promise<void> {
    assert(workers <= CRYPTO_WORKERS_MAX, "the configuration bounds the workers");
    if (workers === 0) this.#lanes.push(await this.#inlineLane());
    for (let i = 0; i < workers; i++) this.#lanes.push(this.#workerLane(i));
  }

  /**
   * Installs key rings by the core's index. A peer's ring goes to the one worker that serves it, the
   * shared ring to all. The secrets given are wiped.
   */
  async installRings(rings: readonly (RingKeys | undefined)[], shared: number): Promise<void> {
    for (const [lane, { control }] of this.#lanes.entries()) {
      const served = rings.map((ring, index) =>
        index === shared || index % this.#lanes.length === lane ? ring : undefined,
      );
      await control.call("installRings", [served]);
    }
    for (const ring of rings) {
      for (const secret of [ring?.current, ring?.previous, ring?.next]) secret?.fill(0);
    }
  }

  /**
   * Installs our identities in every worker, and each peer's ring of pair keys, by the core's index,
   * in the one that serves it. Answers with what main may know of each pair key, in the order given.
   * The secrets given are wiped. Ends all handshakes under way; sessions go on.
   */
  async installPeers(
    identities: IdentityPrivateKeys,
    peers: readonly (PeerKeys | undefined)[],
  ): Promise<readonly (readonly InstalledPairKey[] | undefined)[]> {
    const installed: (readonly InstalledPairKey[] | undefined)[] = peers.map(() => undefined);
    try {
      for (const [lane, { control }] of this.#lanes.entries()) {
        const served = peers.map((keys, peer) => (this.laneOf(peer) === lane ? keys : undefined));
        const answers = await control.call("installPeers", [identities, served]);
        for (const [peer, answer] of answers.entries()) installed[peer] ??= answer;
      }
    } finally {
      for (const identity of identities) identity?.fill(0);
      for (const { secret } of peers.flatMap((keys) => keys ?? [])) secret?.fill(0);
    }
    return installed;
  }

  // --- SealSink, OpenSink -----------------------------------------------------------------------

  room(affinity: number, bodyLength: number): boolean {
    const slab = this.slabFor(affinity, datagramLengthOf(bodyLength));
    if (slab === undefined) return false;
    this.#slab = slab;
    this.#index = slab.table.add(datagramLengthOf(bodyLength));
    const { words } = slab.table;
    const word = wordOf(this.#index);
    words[word] = JOB.seal;
    words[word + 2] = bodyLength;
    this.bytes = slab.table.bytes;
    this.bodyAt = (words[word + 1] as number) + BODY_OFFSET_BYTES;
    return true;
  }

  seal(ring: number, wallNs: number, tag: number, address: string, port: number): void {
    const slab = this.#slab;
    assert(slab !== undefined, "room comes before seal");
    const { words } = slab.table;
    const word = wordOf(this.#index);
    const high = Math.floor(wallNs / TWO_32);
    words[word + 3] = ring;
    words[word + 5] = wallNs - high * TWO_32;
    words[word + 6] = high;
    words[word + 7] = tag;
    this.#route(slab, this.#index, address, port, tag);
    this.#slab = undefined;
  }

  open(
    affinity: number,
    datagram: Uint8Array,
    ring: number,
    otherRing: number,
    address: string,
    port: number,
  ): boolean {
    const slab = this.slabFor(affinity, datagram.length);
    if (slab === undefined) return false;
    const { words, bytes } = slab.table;
    const index = slab.table.add(datagram.length);
    const word = wordOf(index);
    words[word] = JOB.open;
    words[word + 3] = ring;
    words[word + 4] = otherRing;
    bytes.set(datagram, words[word + 1] as number);
    this.#route(slab, index, address, port, TAG_ACK);
    return true;
  }

  /**
   * Posts what has gathered: at once to a worker that has nothing to do, else when it is enough, or
   * when a slab comes back. So load makes slabs larger, not more.
   */
  flush(): void {
    this.sessions.flush();
    for (const lane of this.#lanes) this.#postIfWorth(lane);
  }

  /** Takes a slab back, emptied. */
  release(slab: PooledSlab): void {
    slab.table.reset();
    this.#lanes[slab.lane]?.free.push(slab);
  }

  /** Slabs that are not free: zero when nothing is under way. */
  get busy(): number {
    return this.#lanes.reduce(
      (sum, { made, free, filling }) =>
        // Room that was given back leaves a slab with nothing in it.
        sum + made - free.length - (filling?.table.entries === 0 ? 1 : 0),
      this.sessions.forgetting,
    );
  }

  /** Counters of all workers, added up. */
  async counters(): Promise<Record<string, number>> {
    const sum: Record<string, number> = {};
    for (const { control } of this.#lanes) {
      const counters = await control.call("counters", []);
      for (const [name, value] of Object.entries(counters)) sum[name] = (sum[name] ?? 0) + value;
    }
    return sum;
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await Promise.all(this.#lanes.map((lane) => lane.stop()));
    this.#lanes.length = 0;
  }

  // --- Lanes ------------------------------------------------------------------------------------

  laneOf(affinity: number): number {
    return affinity % this.#lanes.length;
  }

  slabFor(affinity: number, datagramLength: number): PooledSlab | undefined {
    const lane = this.#lanes[this.laneOf(affinity)];
    assert(lane !== undefined, "the pool is started before it is used");
    if (lane.filling !== undefined && !lane.filling.table.fits(datagramLength)) this.#post(lane);
    if (lane.filling === undefined) {
      lane.filling = lane.free.pop();
      if (lane.filling === undefined && lane.made < SLABS_PER_WORKER_MAX) {
        lane.made += 1;
        lane.filling = new PooledSlab(this.#lanes.indexOf(lane), lane.made - 1);
        lane.introduce(lane.filling);
      }
    }
    return lane.filling;
  }

  #route(slab: PooledSlab, index: number, address: string, port: number, tag: number): void {
    slab.routes.addresses[index] = address;
    slab.routes.ports[index] = port;
    slab.routes.tags[index] = tag;
  }

  #post(lane: Lane): void {
    const slab = lane.filling;
    if (slab === undefined || slab.table.entries === 0) return;
    lane.filling = undefined;
    lane.flying.push(slab);
    lane.post(slab);
  }

  #returned(lane: Lane, index: number): void {
    const slab = lane.flying.shift();
    assert(slab?.index === index, "a worker returns what it was given, in order");
    this.#onReturned(slab);
    this.#postIfWorth(lane);
  }

  #postIfWorth(lane: Lane): void {
    const flying = lane.flying.length;
    const gathered = lane.filling?.table.entries ?? 0;
    if (flying === 0 || (flying === 1 && gathered >= POST_PACKETS_MIN)) this.#post(lane);
  }

  #workerLane(index: number): Lane {
    const data = new MessageChannel();
    const control = new MessageChannel();
    const worker = new Worker(WORKER_URL, {
      name: `crypto-${index}`,
      workerData: { data: data.port2, control: control.port2 },
      transferList: [data.port2, control.port2],
    });
    const lane = this.#lane(
      data.port1,
      controlOf<CryptoControl>(control.port1, worker, CONTROL_DEADLINE_MS),
      worker,
    );
    data.port1.on("message", (index: number) => this.#returned(lane, index));
    worker.on("error", (error) => this.#lost(index, reasonOf(error)));
    worker.on("exit", (code) => this.#lost(index, `exit code ${code}`));
    return lane;
  }

  #lane(port: MessagePort, control: ControlHandle<CryptoControl>, worker: Worker): Lane {
    return {
      introduce: ({ table }) => port.postMessage(table.memory),
      post: ({ index }) => port.postMessage(index),
      control,
      stop: async () => {
        await control.call("close", []);
        control.release();
        port.close();
        await worker.terminate();
      },
      free: [],
      flying: [],
      made: 0,
      filling: undefined,
    };
  }

  /** main holds only the address of the workers' code, here as with a thread. */
  async #inlineLane(): Promise<Lane> {
    const { inlineCrypto } = (await import(INLINE_URL.href)) as {
      inlineCrypto: () => { run: (table: SlabTable) => void; control: CryptoControl };
    };
    const { run, control } = inlineCrypto();
    const lane: Lane = {
      introduce: () => {},
      post: ({ table, index }) => {
        run(table);
        setImmediate(() => this.#returned(lane, index));
      },
      control: {
        call: (name, args) =>
          Promise.resolve((control[name] as (...all: typeof args) => never)(...args)),
      },
      stop: () => Promise.resolve(control.close()),
      free: [],
      flying: [],
      made: 0,
      filling: undefined,
    };
    return lane;
  }

  #lost(index: number, why: string): void {
    if (this.#stopping) return;
    this.#stopping = true;
    const message = `crypto worker ${index} died: ${why}`;
    this.#onLost(new DaemonError("ERR_WORKER", message, "start the daemon again; no row is lost"));
  }
}
