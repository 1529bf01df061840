// Every message that crosses a thread, and the registry of channels. Types only, no behaviour.
// Jobs are imperatives and go to a worker; results are past participles and come back.
// The crypto port carries slabs both ways (slab.ts); rows travel as bytes in batches.

import type { ErrorData } from "../base/errors.js";
import type { StampSpan } from "../protocol/sealed-stamps.js";
import type { SpoolFound as IncomingFile } from "../protocol/session/incoming-files.js";
import type { PeerEntry } from "../protocol/session/peer-table.js";
import type { KeyRole, PayloadOrder } from "../protocol/session/ports.js";
import type { Settlement } from "../protocol/settlement.js";
import type { DeliveryBatch } from "./delivery-batch.js";
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
  /** Makes durable which stamps may have been sealed; answered by `reserved` with the same `stamp`. */
  | { readonly kind: "reserve"; readonly stamp: bigint; readonly spans: readonly StampSpan[] }
  /** Settings that a reload may change. No answer. */
  | { readonly kind: "configure"; readonly lifeSeconds: number; readonly quotaBytes: number }
  | SessionStoreJob;

/** What sessions ask of the store. `peer` is a peer's public key in base64: the scope of its ids. */
export type SessionStoreJob =
  /** Answered by `delivered` with the same batch, whatever happened. */
  | { readonly kind: "deliver"; readonly batch: DeliveryBatch }
  /**
   * Raises the stamps of a peer, ns since the epoch; 0 leaves one as it is. `rotation`: JSON, where the
   * change of its keys stands, in the same commit. Answered by `stamped`.
   */
  | {
      readonly kind: "stamp";
      readonly peer: string;
      readonly sent: bigint;
      readonly accepted: bigint;
      readonly rotation?: string | undefined;
    }
  /** From now on only sessions are spoken with the peer. Answered by `confirmed`. */
  | { readonly kind: "confirm"; readonly peer: string }
  /** A piece of an outbound row's payload. Answered by `read`. */
  | ({ readonly kind: "payload" } & PayloadOrder)
  /** All peers of the configuration, at the start and when it changes, before any other job. */
  | { readonly kind: "peers"; readonly peers: readonly PeerEntry[] }
  /** What `status` shows of peers. No answer; nothing depends on it. */
  | { readonly kind: "note"; readonly peers: readonly PeerNote[] };

/** What is known of a peer; absent: unchanged. */
export interface PeerNote {
  readonly peer: string;
  /** 8 bytes, of its newest confirmed session. */
  readonly boot?: Uint8Array;
  /** Wall ms since the epoch. */
  readonly lastHandshakeAt?: number;
  /** Since when a session is up, wall ms since the epoch; null: none is. */
  readonly sessionUpSince?: number | null;
  /** How far its clock is ahead of ours, ms. */
  readonly skewMs?: number;
  /** Address and port. */
  readonly endpoint?: string;
  /** Handshakes without an answer since the last session. */
  readonly handshakesUnanswered?: number;
}

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
  | SessionStoreResult
  /** The store must not go on (a failed sync, a damaged file): the daemon stops, non-zero. */
  | { readonly kind: "broken"; readonly error: ErrorData }
  /** Something a person should hear once: conflict, eviction, bad row. Bounded by the worker. */
  | { readonly kind: "reported"; readonly sentence: string };

export type SessionStoreResult =
  /**
   * An outcome and a digest in each record of a message or piece. `failure`: the store halted; the
   * records from there on have it as their outcome, and nothing of them was done.
   */
  | {
      readonly kind: "delivered";
      readonly batch: DeliveryBatch;
      readonly failure: "busy" | "full" | undefined;
    }
  /** What is durable now. A stamp that is not reached here must not be used. */
  | {
      readonly kind: "stamped";
      readonly peer: string;
      readonly sent: bigint;
      readonly accepted: bigint;
      /** As in the job. */
      readonly rotation?: string | undefined;
      /** Set: nothing was written, try again later. */
      readonly failure: "busy" | "full" | undefined;
    }
  /** `failure`: nothing was written, try again later. */
  | {
      readonly kind: "confirmed";
      readonly peer: string;
      readonly failure: "busy" | "full" | undefined;
    }
  /** `bytes` undefined: the row is gone, or of another generation by now. */
  | ({ readonly kind: "read"; readonly bytes: Uint8Array<ArrayBuffer> | undefined } & PayloadOrder);

/** Greatest stamps of a peer that may be on the wire or in its handshakes, ns since the epoch. */
export interface PeerStamps {
  /** Public key in base64. */
  readonly peer: string;
  readonly sent: bigint;
  readonly accepted: bigint;
}

/** What the table says of a peer with a public key. */
export interface PeerKnown {
  /** Public key in base64. */
  readonly peer: string;
  /** Undefined: another key goes by that name now. */
  readonly name: string | undefined;
  /** JSON: where a change of keys stands. */
  readonly rotation: string | undefined;
}

/** A large message of which an earlier run has bytes on disk; `ranges` ascend. */
export interface SpoolFound extends IncomingFile {
  /** Public key in base64. */
  readonly peer: string;
  /** 8 bytes, of the sender's run that began it. */
  readonly boot: Uint8Array;
}

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
  /** Wait between two looks at whether the path still names the open file, ms; default a minute. */
  readonly fileCheckMs?: number;
  /** Length of the log that is reported, bytes; default 256 MiB. */
  readonly walBytesAlarm?: number;
}

/** What `open` found; shown by `status`, logged once. */
export interface StoreOpened {
  readonly schemaVersion: number;
  readonly migrated: boolean;
  readonly recoveredRows: number;
  /** Stamps that earlier runs may have sealed; none in a new file. */
  readonly sealed: readonly StampSpan[];
  /** Rows of state 'received' left by an older daemon: ACKed once. */
  readonly unacknowledged: readonly {
    readonly messageId: string;
    readonly address: string;
    readonly port: number;
  }[];
  readonly stamps: readonly PeerStamps[];
  readonly spools: readonly SpoolFound[];
  /** Public keys, in base64, of peers with which only sessions are spoken. */
  readonly sessionSince: readonly string[];
  /** Peers that the table knows. */
  readonly peers: readonly PeerKnown[];
}

/** Control calls of the DB worker, over comlink on a port of their own. */
export interface StoreControl {
  open(options: StoreOptions): StoreOpened | { readonly error: ErrorData };
  counters(): Readonly<Record<string, number>>;
  /**
   * Checkpoints and closes. The port is dead afterwards. `sealed`: the stamps that were really sealed,
   * which take the place of a reservation; nothing may be sealed any more. The error says that the file
   * was lost meanwhile, and where its content is.
   */
  close(sealed?: readonly StampSpan[]): { readonly error: ErrorData } | undefined;
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

/** Our identities by KeyRole: X25519 private keys of 32 bytes. `current` is there if any is. */
export type IdentityPrivateKeys = readonly (Uint8Array | undefined)[];

/** What one pair key is derived from. */
export interface PairKeySource {
  /** Place in the peer's ring, one of each at most. */
  readonly role: KeyRole;
  /** Which of our identities. */
  readonly own: KeyRole;
  /** 32 bytes. */
  readonly peerPublicKey: Uint8Array;
  /** 32 bytes; undefined when the pair shares none. */
  readonly secret: Uint8Array | undefined;
}

/** The ring of a session peer. */
export type PeerKeys = readonly PairKeySource[];

/** What main learns of an installed pair key; the rest stays in locked memory of the worker. */
export interface InstalledPairKey {
  readonly role: KeyRole;
  /**
   * SipHash key of the hints on datagrams of the peer, 16 bytes. Undefined: refused, and not
   * installed, since the peer's public key is our own or leads everybody to the same secret.
   */
  readonly hintKey: Uint8Array | undefined;
  /** Names the pair key inside a session, 8 bytes; undefined when it was refused. */
  readonly keyId: Uint8Array | undefined;
}

/**
 * Control calls of a crypto worker. `installRings` and `installPeers` copy into locked memory and wipe
 * what they were given; the index is that of the core, `undefined` what this worker does not serve.
 * `installPeers` ends all handshakes that are under way, since a role may name another key now;
 * sessions go on. It answers with the keys of each peer in the order given.
 */
export interface CryptoControl {
  installRings(rings: readonly (RingKeys | undefined)[]): { readonly installed: number };
  installPeers(
    identities: IdentityPrivateKeys,
    peers: readonly (PeerKeys | undefined)[],
  ): readonly (readonly InstalledPairKey[] | undefined)[];
  counters(): Readonly<Record<string, number>>;
  close(): void;
}

export interface Channels {
  storeJobs: StoreJob;
  storeResults: StoreResult;
}
