// Every message that crosses a thread, and the registry of channels. Types only, no behaviour.
// Jobs are imperatives and go to a worker; results are past participles and come back.
// The crypto port carries slabs both ways (slab.ts); rows travel as bytes in batches.

import type { ErrorData } from "../base/errors.js";
import type { Settlement } from "../protocol/settlement.js";
import type { InboundBatch } from "./inbound-batch.js";
import type { OutboundBatch } from "./outbound-batch.js";

export type { Settlement };

export type StoreJob =
  /**
   * A standing order: answered by one `leased` as soon as there is a row, or a row of `again` was looked up.
   * A new order replaces the one that waits.
   */
  | {
      readonly kind: "lease";
      readonly rowsMax: number;
      readonly bytesMax: number;
      /** Rows already in flight whose payload is wanted once more, and their tickets. */
      readonly again: { readonly rowIds: Float64Array; readonly tickets: Uint32Array };
    }
  /** How many rows of one destination may be out at a time; 0 leaves them in the table. */
  | {
      readonly kind: "limit";
      readonly address: string;
      readonly port: number;
      readonly rowsMax: number;
    }
  /** One transaction; answered by `stored` with the same batch, or by `failed`. */
  | { readonly kind: "store"; readonly batch: InboundBatch }
  /** One transaction; answered by `settled`, or by `failed`. */
  | { readonly kind: "settle"; readonly settlement: Settlement }
  /** Makes durable that stamps up to this one may have been sealed; answered by `reserved`. */
  | { readonly kind: "reserve"; readonly stamp: bigint }
  /** Settings that a reload may change. No answer. */
  | { readonly kind: "configure"; readonly lifeSeconds: number; readonly quotaBytes: number };

export type StoreResult =
  /** `gone`: tickets whose row was deleted, finalised or re-addressed by its owner; forget them. */
  | { readonly kind: "leased"; readonly batch: OutboundBatch; readonly gone: Uint32Array }
  | { readonly kind: "stored"; readonly batch: InboundBatch }
  | { readonly kind: "settled"; readonly rows: number }
  | { readonly kind: "reserved"; readonly stamp: bigint }
  /** The job had no effect. `busy` and `full`: try again later. */
  | {
      readonly kind: "failed";
      readonly job: "store" | "settle" | "reserve";
      readonly code: "busy" | "full";
    }
  /** The store must not go on (a failed sync, a damaged file): the daemon stops, non-zero. */
  | { readonly kind: "broken"; readonly error: ErrorData }
  /** Something a person should hear once: conflict, eviction, bad row. Bounded by the worker. */
  | { readonly kind: "reported"; readonly sentence: string };

export interface StoreOptions {
  readonly path: string;
  /** Life of a message whose row says nothing, seconds. */
  readonly lifeSeconds: number;
  /** Payload bytes that one peer may have in inbound_messages; beyond, no ACK. */
  readonly quotaBytes: number;
  /** PRAGMA max_page_count, to test a full disk; 0 leaves SQLite's own. */
  readonly pagesMax: number;
  /** PRAGMA synchronous; anything but FULL exists to prove that the power-loss test can fail. */
  readonly synchronous: "FULL" | "NORMAL";
}

/** What `open` found; shown by `status`, logged once. */
export interface StoreOpened {
  readonly schemaVersion: number;
  readonly migrated: boolean;
  readonly recoveredRows: number;
  /** Greatest stamp that an earlier run may have sealed, ns since the epoch; 0 in a new file. */
  readonly sealedUntil: bigint;
  /** Rows of state 'received' left by an older daemon: ACKed once. */
  readonly unacknowledged: readonly {
    readonly messageId: string;
    readonly address: string;
    readonly port: number;
  }[];
}

/** Control calls of the DB worker, over comlink on a port of their own. */
export interface StoreControl {
  open(options: StoreOptions): StoreOpened | { readonly error: ErrorData };
  counters(): Readonly<Record<string, number>>;
  /** Checkpoints and closes. The port is dead afterwards. */
  close(): void;
}

/** One key ring as configuration: 32-byte secrets, or what to derive them from. */
export interface RingKeys {
  /** Seals, and opens. */
  readonly current: Uint8Array;
  readonly previous: Uint8Array | undefined;
  readonly next: Uint8Array | undefined;
  /** When set, each secret above is a master: HKDF-SHA-512 with this info gives the key. */
  readonly pairInfo: Uint8Array | undefined;
}

/**
 * Control calls of a crypto worker. `installRings` copies into locked memory and wipes what it was
 * given; the index is that of the core, `undefined` a ring that this worker does not serve.
 */
export interface CryptoControl {
  installRings(rings: readonly (RingKeys | undefined)[]): { readonly installed: number };
  counters(): Readonly<Record<string, number>>;
  close(): void;
}

export interface Channels {
  storeJobs: StoreJob;
  storeResults: StoreResult;
}
