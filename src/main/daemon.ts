// Composition root: builds the actors, gives them the real clock and random source, starts them in
// order (socket, privileges, workers, store, core) and stops them in reverse. Knows nothing of argv.

import { randomFillSync } from "node:crypto";
import { DaemonError } from "../shared/base/errors.js";
import { type Nanoseconds, NS_PER_MS, NS_PER_SECOND } from "../shared/base/units.js";
import { BODY_BYTES_UNFRAGMENTED } from "../shared/protocol/constants.js";
import { Endpoint, type ProtocolConfig } from "../shared/protocol/endpoint.js";
import { Counters } from "../shared/runtime/counters.js";
import type { RingKeys, StoreOpened, StoreOptions } from "../shared/runtime/messages.js";
import { Reporter } from "../shared/runtime/reporter.js";
import { systemClock } from "./clock.js";
import { Connector } from "./connector.js";
import { CryptoPool } from "./crypto-pool.js";
import { SummaryLog } from "./log-summary.js";
import { reachOf } from "./reach.js";
import { Scheduler } from "./scheduler.js";
import type { SessionSettings } from "./session-settings.js";
import { SessionControl } from "./session-start.js";
import { chooseSocket, type SocketChoice } from "./socket/choose-socket.js";
import type { DatagramSocket, SocketWish } from "./socket/datagram-socket.js";
import { Store } from "./store.js";

/** What a reload may change. */
export interface DaemonSettings {
  readonly protocol: ProtocolConfig;
  /** Keys of `protocol.rings`, one by one. Wiped once they are installed. */
  readonly keys: readonly RingKeys[];
  /** Undefined when no peer is configured. Its keys are wiped, too. */
  readonly sessions: SessionSettings | undefined;
  readonly lifeSeconds: number;
  readonly quotaBytes: number;
}

export interface DaemonLog {
  error(sentence: string, fields?: Readonly<Record<string, unknown>>): void;
  warn(sentence: string, fields?: Readonly<Record<string, unknown>>): void;
  info(sentence: string, fields?: Readonly<Record<string, unknown>>): void;
}

export interface DaemonOptions {
  readonly address: string;
  /** 0 lets the kernel choose. */
  readonly port: number;
  /** Which socket is wanted; "auto" when nobody says. */
  readonly socket?: SocketWish;
  readonly cryptoWorkers: number;
  readonly store: Omit<StoreOptions, "lifeSeconds" | "quotaBytes">;
  readonly settings: DaemonSettings;
  /** How long `stop` waits for what is in flight, ms. */
  readonly drainMs: number;
  /** Runs between binding and the first thread: pid file, privileges, the instance lock. */
  readonly afterBind: () => void;
  /** Runs about once a minute: throws when something the daemon rests on was taken away. */
  readonly check?: () => void;
  readonly log: DaemonLog;
  /** Something ended the daemon from within; called once. */
  readonly onFatal: (error: DaemonError) => void;
}

/** Wait between two looks at whether a stop may go on, ms. */
const DRAIN_LOOK_MS = 5;
/** After this long with nothing moving, a stop leaves what is in flight to the next start, ms. */
const DRAIN_STILL_MS = 500;
/** The last receipts may take so long, ms: a path may hold them up. */
const RECEIPTS_MS_MAX = 250;
/** And then words of farewell, which only a host without a core holds up. */
const FAREWELL_MS_MAX = 1_000;
/** Wait between two looks at the counters, ns. */
const COUNT_EVERY_NS = NS_PER_SECOND;
/** Wait between two checks of what the daemon rests on, ns. */
const CHECK_EVERY_NS = 60 * NS_PER_SECOND;

export class Daemon {
  readonly counters = new Counters();
  readonly #options: DaemonOptions;
  /** Which socket it is, and why. */
  readonly socketChoice: SocketChoice;
  readonly #socket: DatagramSocket;
  #pool: CryptoPool | undefined;
  #store: Store | undefined;
  #endpoint: Endpoint | undefined;
  #scheduler: Scheduler | undefined;
  #connector: Connector | undefined;
  #opened: StoreOpened | undefined;
  #sessions: SessionControl | undefined;
  readonly #summary: SummaryLog;
  /** A peer with the keys can close session after session: not a line for each. */
  readonly #reporter: Reporter;
  #countAt = 0;
  #checkAt = 0;
  #warned = false;
  #counted: Readonly<Record<string, number>> = {};
  #ended = false;

  constructor(options: DaemonOptions) {
    this.#options = options;
    this.socketChoice = chooseSocket(options.socket ?? "auto");
    this.#socket = this.socketChoice.make();
    this.#summary = new SummaryLog(options.log);
    this.#reporter = new Reporter(
      (sentence) => options.log.warn(sentence),
      () => systemClock.now() / NS_PER_MS,
      "sessions",
    );
  }

  get port(): number {
    return this.#socket.port;
  }
  get receiveBufferBytes(): number {
    return this.#socket.receiveBufferBytes;
  }
  /** Messages leased and not settled. */
  get inFlight(): number {
    return (this.#endpoint?.inFlight ?? 0) + (this.#sessions?.sessions.inFlight ?? 0);
  }

  /** Binds, drops what must be dropped, opens the database and begins to work. */
  async start(): Promise<StoreOpened> {
    const { settings } = this.#options;
    await this.#socket.start(this.#options.address, this.#options.port);
    this.#socket.onError = (error) => this.#fatal(error);
    try {
      this.#options.afterBind();
      const pool = this.#startPool();
      await pool.start(this.#options.cryptoWorkers);
      const store = this.#startStore();
      const opened = await store.open({ ...this.#options.store, ...storeSettings(settings) });
      await this.#serve(pool, store, opened);
      return opened;
    } catch (error) {
      await this.#tearDown();
      throw error;
    }
  }

  /** Applies new secrets and settings; nothing in flight is lost. Wipes the keys it is given. */
  async reload(settings: DaemonSettings): Promise<void> {
    const [pool, endpoint] = [this.#pool, this.#endpoint];
    if (pool === undefined || endpoint === undefined || this.#ended) return;
    const indexes = endpoint.configure(systemClock.now(), settings.protocol);
    await pool.installRings(...ringTable(settings, indexes));
    await this.#configureSessions(settings);
    this.#store?.configure(settings.lifeSeconds, settings.quotaBytes);
    this.#scheduler?.wake();
  }

  /** Takes no new rows, waits a bounded time for what is in flight, then ends every actor. */
  async stop(): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    const endMs = Date.now() + this.#options.drainMs;
    await this.#drain(endMs);
    await this.#farewell(endMs);
    this.#countAt = 0;
    this.#summarise(systemClock.now());
    this.#summary.flush(systemClock.now());
    await this.#tearDown();
  }

  /** Ends at once, as after a fault: what is not committed was not acknowledged. */
  async abandon(): Promise<void> {
    this.#ended = true;
    this.#scheduler?.stop();
    await this.#store?.abandon();
  }

  // --- Start ------------------------------------------------------------------------------------

  #startPool(): CryptoPool {
    this.#pool = new CryptoPool({
      onReturned: (slab) => this.#scheduler?.handleSlab(slab),
      onLost: (error) => this.#fatal(error),
    });
    return this.#pool;
  }

  #startStore(): Store {
    const { log } = this.#options;
    this.#store = new Store({
      counters: this.counters,
      now: () => systemClock.now(),
      events: {
        onProgress: () => this.#scheduler?.wake(),
        onReport: (sentence) => log.warn(sentence),
        onState: (state) =>
          state === "well" ? log.warn(STORE_STATES.well) : log.error(STORE_STATES[state]),
        onBroken: (error) => this.#fatal(error),
      },
    });
    return this.#store;
  }

  async #serve(pool: CryptoPool, store: Store, opened: StoreOpened): Promise<void> {
    const { settings, log } = this.#options;
    const clock = systemClock;
    const endpoint = new Endpoint({
      now: clock.now(),
      wallNs: clock.wallNs(),
      seeds: randomSeeds(),
      uniform: Math.random,
      reach: reachOf(this.#options.address, this.#socket),
      config: settings.protocol,
      sealed: opened.sealed,
    });
    this.#endpoint = endpoint;
    await pool.installRings(
      ...ringTable(
        settings,
        settings.protocol.rings.map((_, i) => i),
      ),
    );
    const connector = new Connector({
      now: () => clock.now(),
      family: this.#socket.family,
      events: {
        onResolved: (host, address) => {
          endpoint.handleResolved(clock.now(), host, address);
          this.#sessions?.sessions.handleResolved(clock.now(), host, address);
          this.#scheduler?.wake();
        },
        onUnknown: (host, why) => {
          log.warn("a host name is not known; its rows wait", { host, why });
          this.#scheduler?.wake();
        },
      },
    });
    this.#connector = connector;
    this.#opened = opened;
    const scheduler = new Scheduler({
      endpoint,
      pool,
      store,
      socket: this.#socket,
      connector,
      counters: this.counters,
      clock,
    });
    this.#scheduler = scheduler;
    await this.#configureSessions(settings);
    scheduler.onTick = (now) => {
      this.#summarise(now);
      this.#check(now);
    };
    store.serve(endpoint);
    for (const { messageId, address, port } of opened.unacknowledged) {
      const id = Uint8Array.from(Buffer.from(messageId, "hex"));
      const ring = endpoint.ringOf(address, port);
      if (id.length === 12 && ring !== undefined) endpoint.handleStored(id, 0, ring, address, port);
    }
    scheduler.start();
  }

  /** Begins the sessions with the first peer that is configured; they go on without any. */
  async #configureSessions({ sessions: settings }: DaemonSettings): Promise<void> {
    if (this.#sessions === undefined && settings !== undefined) {
      const [pool, store, endpoint] = [this.#pool, this.#store, this.#endpoint];
      const opened = this.#opened;
      if (pool === undefined || store === undefined || endpoint === undefined || !opened) return;
      this.#sessions = new SessionControl({
        ...{ opened, pool, store, endpoint, counters: this.counters, clock: systemClock },
        send: (message, address, port) =>
          this.#socket.send(message, 0, message.length, address, port, () => {}),
        resolve: (host) => this.#connector?.resolve(host),
        onProgress: () => this.#scheduler?.wake(),
        onReport: (sentence) => this.#reporter.report(sentence),
      });
      if (this.#scheduler !== undefined) this.#scheduler.sessions = this.#sessions.sessions;
    }
    await this.#sessions?.configure(settings);
  }

  // --- End --------------------------------------------------------------------------------------

  async #drain(endMs: number): Promise<void> {
    const scheduler = this.#scheduler;
    if (scheduler === undefined) return;
    scheduler.drain();
    let { inFlight } = this;
    let movedAt = Date.now();
    await lookUntil(endMs, () => {
      if (this.inFlight !== inFlight) {
        inFlight = this.inFlight;
        movedAt = Date.now();
      }
      const still = inFlight === 0 || Date.now() - movedAt > DRAIN_STILL_MS;
      return scheduler.idle && still;
    });
  }

  /** Sessions are closed behind their last receipts: the other ends know that we are gone. */
  async #farewell(endMs: number): Promise<void> {
    const sessions = this.#sessions?.sessions;
    if (sessions === undefined) return;
    const isSaid = (): boolean => !sessions.answering && (this.#pool?.busy ?? 0) === 0;
    await lookUntil(Math.min(endMs, Date.now() + RECEIPTS_MS_MAX), isSaid);
    sessions.stop();
    await lookUntil(Date.now() + FAREWELL_MS_MAX, isSaid);
  }

  async #tearDown(): Promise<void> {
    this.#scheduler?.stop();
    // Slabs that are still out hold stamps given before this one.
    const sealed = this.#endpoint?.endSealing();
    this.#connector?.stop();
    await this.#socket.stop();
    await this.#pool?.stop();
    await this.#store?.stop(sealed);
  }

  #fatal(error: DaemonError): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#options.onFatal(error);
  }

  // --- Talk -------------------------------------------------------------------------------------

  #check(now: Nanoseconds): void {
    if (now < this.#checkAt) return;
    this.#checkAt = now + CHECK_EVERY_NS;
    try {
      this.#options.check?.();
    } catch (error) {
      if (!(error instanceof DaemonError)) throw error;
      this.#fatal(error);
    }
  }

  /** Once: classic cannot fragment, and a path that drops IP fragments never delivers these. */
  #warnOfFragments(): void {
    if (this.#warned || (this.#endpoint?.messagesAboveMtu ?? 0) === 0) return;
    this.#warned = true;
    const bytes = BODY_BYTES_UNFRAGMENTED;
    this.#options.log.warn("messages above the usual path MTU are sent as IP fragments", { bytes });
  }

  /** Hands what was counted since the last look to the summary, which says it now and then. */
  #summarise(now: Nanoseconds): void {
    if (now < this.#countAt) return;
    this.#countAt = now + COUNT_EVERY_NS;
    const all = this.counters.snapshot();
    const deltas: Record<string, number> = {};
    for (const [name, value] of Object.entries(all)) {
      deltas[name] = value - (this.#counted[name] ?? 0);
    }
    this.#counted = all;
    this.#warnOfFragments();
    this.#reporter.flush();
    this.#summary.add(now, deltas);
  }
}

/** Looks, at least once after a moment, until a condition holds or the time is over. */
async function lookUntil(endMs: number, isDone: () => boolean): Promise<void> {
  do {
    await new Promise((resolve) => setTimeout(resolve, DRAIN_LOOK_MS));
  } while (!isDone() && Date.now() < endMs);
}

const STORE_STATES = {
  busy: "another process holds the database's write lock; nothing is acknowledged until it lets go",
  full: "the disk is full; nothing is acknowledged until there is room",
  well: "the database takes writes again",
} as const;

const storeSettings = ({ lifeSeconds, quotaBytes }: DaemonSettings) => ({
  lifeSeconds,
  quotaBytes,
});

/** Keys by the core's ring index, and which index is the shared ring. */
function ringTable(
  settings: DaemonSettings,
  indexes: readonly number[],
): [readonly (RingKeys | undefined)[], number] {
  const table: (RingKeys | undefined)[] = new Array(Math.max(0, ...indexes.map((i) => i + 1)));
  let shared = -1;
  settings.protocol.rings.forEach(({ name }, i) => {
    const index = indexes[i] as number;
    table[index] = settings.keys[i];
    if (name === "") shared = index;
  });
  return [Array.from(table), shared];
}

function randomSeeds(): readonly [number, number] {
  const seeds = randomFillSync(new Uint32Array(2));
  return [seeds[0] as number, seeds[1] as number];
}
