// What the session core writes to and reads from without knowing slabs, workers or SQLite: the runtime
// implements these. Packets and messages go through cursors, one object each, valid until moved;
// handshakes are rare and may be objects.

/** No parent session: a handshake in datagrams of its own, not a rekey inside a session. */
export const NO_KEY_SLOT = 0xffff_ffff;

/** Which key of a peer's ring: the order in which a worker tries them. */
export const KEY_ROLE = { current: 0, next: 1, previous: 2 } as const;
export type KeyRole = (typeof KEY_ROLE)[keyof typeof KEY_ROLE];

// --- Packets ------------------------------------------------------------------------------------

/** Where packets are written that a crypto worker is to seal. */
export interface PacketSink {
  /** Makes room for a packet of at most so many bytes of frames; false when no credit is left. */
  packetRoom(affinity: number, frameBytesMax: number): boolean;
  /** Memory and offset of the frames of the packet that there is room for. */
  readonly bytes: Uint8Array;
  readonly bodyAt: number;
  /**
   * Completes the packet: header with the clear counter, `frameBytes` of frames. `tag` comes back with
   * the sealed packet; the core masks the counter then.
   */
  sealPacket(
    frameBytes: number,
    keySlot: number,
    remoteId: number,
    counterHigh: number,
    counterLow: number,
    tag: number,
    address: string,
    port: number,
  ): void;
  /** Gives the room back: there was nothing to write. */
  cancelPacket(): void;
}

/** Where packets go that a crypto worker is to open. */
export interface PacketOpenSink {
  /** Copies the datagram with its counter unmasked; false: no credit. */
  openPacket(
    affinity: number,
    datagram: Uint8Array,
    keySlot: number,
    counterHigh: number,
    counterLow: number,
    tag: number,
    address: string,
    port: number,
  ): boolean;
}

/** A packet that a worker sealed: `bytes[at .. at + length)` is the datagram, its counter still clear. */
export interface SealedSessionPacket {
  readonly bytes: Uint8Array;
  readonly at: number;
  readonly length: number;
  readonly tag: number;
  readonly address: string;
  readonly port: number;
}

/** A packet whose tag was right: `bytes[bodyAt .. bodyAt + bodyLength)` are its frames. */
export interface OpenedSessionPacket {
  readonly bytes: Uint8Array;
  readonly bodyAt: number;
  readonly bodyLength: number;
  readonly datagramLength: number;
  readonly counterHigh: number;
  readonly counterLow: number;
  readonly tag: number;
  readonly address: string;
  readonly port: number;
}

// --- Handshakes ---------------------------------------------------------------------------------

export interface HandshakeOrder {
  /** Index of the peer in the configuration; the worker holds its keys under it. */
  readonly peer: number;
  readonly affinity: number;
  /** Comes back with the result. */
  readonly tag: number;
  /** The session that a rekey travels in, or NO_KEY_SLOT. */
  readonly parentKeySlot: number;
  readonly address: string;
  readonly port: number;
}

/** Where handshakes go; each call is one job of the worker that owns the peer. False: no credit. */
export interface HandshakeSink {
  /** Message 1. The session's keys will lie in `keySlot` once the answer was read. */
  initiate(
    order: HandshakeOrder & {
      readonly role: KeyRole;
      readonly keySlot: number;
      readonly sessionId: number;
      readonly stampHigh: number;
      readonly stampLow: number;
      readonly payload: Uint8Array;
    },
  ): boolean;
  /** Reads message 1 or 2 in a datagram of its own; message 1 only if its stamp is above `accepted`. */
  readDatagram(
    order: HandshakeOrder & {
      readonly datagram: Uint8Array;
      readonly acceptedHigh: number;
      readonly acceptedLow: number;
    },
  ): boolean;
  /** Reads message 1 or 2 that came in a REKEY frame. */
  readRekey(
    order: HandshakeOrder & {
      readonly type: 1 | 2;
      readonly sessionId: number;
      readonly answers: number;
      readonly noise: Uint8Array;
    },
  ): boolean;
  /**
   * Message 2, to the initiation last read under this peer, if that is the one with session id
   * `remoteId`; its keys are installed in `keySlot`.
   */
  respond(
    order: HandshakeOrder & {
      readonly keySlot: number;
      readonly remoteId: number;
      readonly sessionId: number;
      readonly stampHigh: number;
      readonly stampLow: number;
      readonly payload: Uint8Array;
    },
  ): boolean;
  /** Wipes a session's keys, or an initiation that nobody answers any more. */
  forget(affinity: number, keySlot: number): void;
}

/** What a worker made of a handshake job. */
export interface HandshakeResult {
  /**
   * `initiated`, `responded`: the datagram (or, in a rekey, the Noise message) is ready to go.
   * `initiation`: message 1 was read. `completed`: message 2 was read, the keys are installed.
   * `stale`: authentic, and of no use: message 1 with a stamp not above `accepted`, or message 2 that
   * nobody waits for. `refused`: not authentic, or malformed.
   */
  readonly kind: "initiated" | "responded" | "initiation" | "completed" | "stale" | "refused";
  readonly peer: number;
  readonly tag: number;
  readonly parentKeySlot: number;
  /** Key of the ring that the handshake was read with or sealed with. */
  readonly role: KeyRole;
  /** Of `completed`, `responded`, `initiated`. */
  readonly keySlot: number;
  /** Session id that the other end chose (`initiation`, `completed`), and the one it answers. */
  readonly remoteId: number;
  readonly answers: number;
  readonly stampHigh: number;
  readonly stampLow: number;
  /** Noise payload of the other end (`initiation`, `completed`). The reader copies what it keeps. */
  readonly payload: Uint8Array;
  /** Datagram or Noise message to send (`initiated`, `responded`). */
  readonly message: Uint8Array;
  /** 16 bytes each, of the way out and the way in (`completed`, `responded`). The reader copies them. */
  readonly headerKeyOut: Uint8Array;
  readonly headerKeyIn: Uint8Array;
  readonly address: string;
  readonly port: number;
}

// --- Rows out -----------------------------------------------------------------------------------

/** One leased row for a session peer, at the cursor of a batch. */
export interface SessionRow {
  readonly bytes: Uint8Array;
  readonly rowId: number;
  readonly generation: number;
  readonly attempts: number;
  /** Wall ms since the epoch. */
  readonly expiresAt: number;
  /** 0 bulk, 1 normal, 2 high, 3 urgent. */
  readonly priority: number;
  /** Flags of MESSAGE that belong to the message: ordered, bytes, reply. */
  readonly flags: number;
  readonly messageIdAt: number;
  readonly inReplyToAt: number;
  /** 32 bytes. */
  readonly digestAt: number;
  readonly stream: string;
  /** Whether an earlier run released it: it may have been delivered. */
  readonly released: boolean;
  /** Bytes of the whole message. */
  readonly total: number;
  /** The payload, when it lies in the batch; a large one is read in pieces (pollRead). */
  readonly inBatch: boolean;
  readonly payloadAt: number;
}

/** A piece of a large payload, or of a row whose batch was given back. */
export interface PayloadOrder {
  readonly rowId: number;
  readonly generation: number;
  readonly offset: number;
  readonly length: number;
  /** Comes back with the bytes. */
  readonly tag: number;
}

// --- Messages in --------------------------------------------------------------------------------

/** Where a packet came from, and when it was sent. */
export interface Arrival {
  readonly address: string;
  readonly port: number;
  /** The sender's wall clock as estimated, ns since the epoch. */
  readonly sentWallNs: number;
}

/** Outcome of a record that was handed to the store. */
export const DELIVERED = {
  pending: 0,
  inserted: 1,
  known: 2,
  conflict: 3,
  quota: 4,
  full: 5,
  busy: 6,
  /** A piece of a large message is on disk. */
  spooled: 7,
  /** The last piece made the message whole, and its digest was wrong: nothing of it is left. */
  corrupt: 8,
  /** An earlier message of its stream was refused: this one must not be stored in front of it. */
  held: 9,
} as const;
export type Delivered = (typeof DELIVERED)[keyof typeof DELIVERED];

/** Where messages and pieces wait for the store; in one order for each peer. */
export interface DeliverySink {
  /** False while the queue towards the store is full, or the store halts. */
  readonly accepting: boolean;
  /**
   * A whole message. `token` comes back with the outcome and the first 8 bytes of the digest. The bytes
   * are copied. False: no room.
   */
  message(delivery: MessageDelivery): boolean;
  /** A piece of a message above 256 KiB, for its spool file. */
  piece(delivery: PieceDelivery): boolean;
  /** Every number of this boot below `below` is settled: tombstones go, behind what was handed before. */
  settled(peer: number, boot: Uint8Array, below: number): boolean;
  /** What of a spool file is no longer wanted. */
  drop(peer: number, messageId: Uint8Array): boolean;
}

export interface MessageDelivery {
  /** Index of the peer; the store knows its public key. */
  peer: number;
  /** Comes back with the outcome: a whole number below 2^53. */
  token: number;
  /** 8 bytes, of the sender. */
  boot: Uint8Array;
  number: number;
  flags: number;
  stream: string;
  sequence: number;
  /**
   * Of an ordered message: it is the next one to commit, whatever was refused before. Behind a refusal
   * the store holds up everything of its stream, until a message that says so.
   */
  resume: boolean;
  /** First and last sequence that never came in front of this message; 0 and 0 without a gap. */
  gapFirst: number;
  gapLast: number;
  bytes: Uint8Array;
  messageIdAt: number;
  inReplyToAt: number;
  payloadAt: number;
  payloadLength: number;
  /** Sender's wall clock as estimated, ns since the epoch. */
  sentWallNs: number;
  address: string;
  port: number;
}

/**
 * A piece of a large message. The first one of a message that is stored already is answered with
 * `known`. `last`: no data, all of it was handed before; it becomes a row now.
 */
export interface PieceDelivery extends MessageDelivery {
  total: number;
  offset: number;
  /** First 16 bytes of the digest of the whole. */
  digest16At: number;
  last: boolean;
}

/** What the store made of a record, at the cursor of a batch that came back. */
export interface DeliveredRecord {
  readonly peer: number;
  readonly token: number;
  readonly number: number;
  readonly outcome: Delivered;
  /** First 8 bytes of the digest, as two little-endian words, signed. */
  readonly digestLow: number;
  readonly digestHigh: number;
  /** Of a piece: the bytes that are on disk now, synced, since the outcome before. */
  readonly offset: number;
  readonly payloadLength: number;
}
