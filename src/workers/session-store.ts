// What sessions ask of the store, as store-service.ts offers it: deliveries, stamps, payloads, peers.

import { unreachable } from "../shared/base/assert.js";
import { NO_PEER_ID, type PeerEntry, PeerTable } from "../shared/protocol/session/peer-table.js";
import type {
  PeerStamps,
  SessionStoreJob,
  SessionStoreResult,
  StoreOpened,
} from "../shared/runtime/messages.js";
import type { Connection } from "../shared/store/driver.js";
import { writeFailure } from "../shared/store/sqlite-error.js";
import { Delivery, type Failure } from "./delivery.js";
import { InboundIds } from "./inbound-ids.js";
import { PayloadReader } from "./payload-reader.js";
import { PeerRecords } from "./peer-records.js";
import { SessionInbox } from "./session-inbox.js";
import type { SessionRoutes } from "./session-row.js";
import { SettledTombstones } from "./settled-tombstones.js";
import { Spool, spoolFolder } from "./spool.js";
import { type StampOrder, Stamps } from "./stamps.js";

type Job<K extends SessionStoreJob["kind"]> = Extract<SessionStoreJob, { kind: K }>;

export interface SessionStoreOptions {
  /** Of the database; its spool files lie beside it. */
  readonly path: string;
  readonly quotaBytes: number;
  /** Wait for the write lock before a job is given back as busy, ms. */
  readonly deadlineMs: number;
  /** Wall ms since the epoch. */
  readonly now: () => number;
  readonly report: (sentence: string) => void;
  readonly post: (result: SessionStoreResult, transfer: readonly ArrayBuffer[]) => void;
  /** The database was written to. */
  readonly wrote: () => void;
  /** The store must not go on. */
  readonly broke: (thrown: unknown) => void;
}

export class SessionStore implements SessionRoutes {
  readonly #options: SessionStoreOptions;
  readonly #inbox: SessionInbox;
  readonly #spool: Spool;
  readonly #settled: SettledTombstones;
  readonly #delivery: Delivery;
  readonly #stamps: Stamps;
  readonly #peers: PeerRecords;
  readonly #payloads: PayloadReader;
  #table = new PeerTable([]);
  #stampsWanted: StampOrder[] = [];
  #soon: NodeJS.Immediate | undefined;

  constructor(db: Connection, options: SessionStoreOptions) {
    const { path, quotaBytes, now, report } = options;
    this.#options = options;
    const ids = new InboundIds(db);
    this.#inbox = new SessionInbox(db, ids);
    this.#spool = new Spool({ folder: spoolFolder(path), now });
    this.#settled = new SettledTombstones(db);
    this.#stamps = new Stamps(db);
    this.#peers = new PeerRecords(db, now, report);
    this.#payloads = new PayloadReader(db, now);
    this.#delivery = new Delivery(db, {
      inbox: this.#inbox,
      ids,
      spool: this.#spool,
      settled: this.#settled,
      report,
      nameOf: (scope) => this.#peers.nameOf(scope),
      now,
      quotaBytes,
    });
  }

  /** What an earlier run left. Called once. */
  load(): Pick<StoreOpened, "stamps" | "spools" | "sessionSince" | "peers"> {
    return {
      stamps: this.#stamps.all(),
      spools: this.#spool.load((scope, id) => this.#inbox.isStored(scope, id)),
      sessionSince: this.#peers.sessionSince(),
      peers: this.#peers.all(),
    };
  }

  configure(quotaBytes: number): void {
    this.#delivery.configure(quotaBytes);
  }

  /** Bytes that the unfinished large messages of a peer will have. */
  spooledOf(scope: string): number {
    return this.#spool.bytesOf(scope);
  }

  /** In front of whatever stores under the scope of a peer; throws when the lock is not to be had. */
  settlePeers(): void {
    this.#peers.settle(this.#options.deadlineMs);
  }
  /** See PeerRecords. Behind {@link settlePeers}. */
  scopeNow(scope: string): string {
    return this.#peers.scopeNow(scope);
  }

  peerOf(address: string, port: number): string | undefined {
    const peer = this.#table.ofDestination(address, port);
    return peer === NO_PEER_ID ? undefined : this.#table.entries[peer]?.publicKey;
  }

  payload(rowId: number, generation: number): Uint8Array | undefined {
    return this.#payloads.whole(rowId, generation);
  }

  /** Throws when the store must not go on. */
  handle(job: SessionStoreJob): void {
    switch (job.kind) {
      case "deliver":
        return this.#deliver(job);
      case "stamp":
        return this.#stamp(job);
      case "confirm":
        return this.#confirm(job);
      case "payload":
        return this.#read(job);
      case "peers":
        this.#adopt(job.peers);
        return;
      case "note":
        this.#attempt(() => this.#peers.note(job.peers, this.#options.deadlineMs));
        return;
      default:
        unreachable(job);
    }
  }

  /** Now and then; true when there is more to do at once. */
  tend(): boolean {
    this.#spool.tend();
    this.#payloads.tend();
    return this.#settled.tend(0);
  }

  close(): void {
    clearImmediate(this.#soon);
    this.#soon = undefined;
    this.#spool.close();
  }

  /** What this thread committed counts, whatever main had heard of it when it asked. */
  #adopt(peers: readonly PeerEntry[]): void {
    this.#peers.adopt(peers);
    this.#spool.keepOnly(this.#peers.scopes);
    // A lock in the way costs nothing yet: every job that stores tries again.
    this.#attempt(() => this.settlePeers());
    const confirmed = new Set(this.#peers.sessionSince());
    this.#table = new PeerTable(
      peers.map((entry) =>
        entry.publicKey !== undefined && confirmed.has(entry.publicKey)
          ? { ...entry, sessionSince: true }
          : entry,
      ),
    );
  }

  #deliver(job: Job<"deliver">): void {
    let failure = this.#attempt(() => this.settlePeers());
    const peers = job.batch.peers.map((peer) => ({ ...peer, scope: this.scopeNow(peer.scope) }));
    const batch = { ...job.batch, peers };
    if (failure === undefined) failure = this.#delivery.apply(batch, this.#options.deadlineMs);
    else this.#delivery.refuse(batch, failure);
    this.#options.wrote();
    this.#options.post({ kind: "delivered", batch, failure }, [batch.bytes]);
  }

  /** Waits for the others of this turn: they share a commit. */
  #stamp({ kind: _kind, ...order }: Job<"stamp">): void {
    this.#stampsWanted.push(order);
    this.#soon ??= setImmediate(() => {
      this.#soon = undefined;
      try {
        this.#raise();
      } catch (thrown) {
        this.#options.broke(thrown);
      }
    });
  }

  #raise(): void {
    const wanted = this.#stampsWanted;
    this.#stampsWanted = [];
    let durable: readonly PeerStamps[] = wanted;
    const failure = this.#attempt(() => {
      this.settlePeers();
      durable = this.#stamps.raise(wanted, this.#options.deadlineMs);
    });
    for (const [i, { rotation }] of wanted.entries()) {
      this.#options.post({ kind: "stamped", ...durable[i], rotation, failure }, []);
    }
  }

  #confirm({ peer }: Job<"confirm">): void {
    const failure = this.#attempt(() => this.#peers.confirm(peer, this.#options.deadlineMs));
    const index = this.#table.ofKey(peer);
    if (failure === undefined && index !== NO_PEER_ID) this.#table.confirmed(index);
    this.#options.post({ kind: "confirmed", peer, failure }, []);
  }

  #read({ kind, ...order }: Job<"payload">): void {
    const bytes = this.#payloads.read(order);
    const transfer = bytes === undefined ? [] : [bytes.buffer];
    this.#options.post({ ...order, kind: "read", bytes }, transfer);
  }

  /** Runs what writes; why it did not, or undefined. Throws when the store must not go on. */
  #attempt(write: () => void): Failure | undefined {
    try {
      write();
      this.#options.wrote();
      return undefined;
    } catch (thrown) {
      const failure = writeFailure(thrown);
      if (failure === "broken") throw thrown;
      return failure;
    }
  }
}
