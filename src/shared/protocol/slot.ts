// What the core writes to and reads from without knowing slabs: the runtime implements these over
// shared memory. All are cursors: one object each, moved from packet to packet, valid until moved.

/** No second ring to try. */
export const NO_RING = 0xffff_ffff;
/** Tag of a sealed packet that carries an ACK; any other tag is a ticket. */
export const TAG_ACK = 0xffff_ffff;

/** Where bodies are written that a crypto worker is to seal. */
export interface SealSink {
  /** Makes room for a body in the open slab of that worker; false when no credit is left. */
  room(affinity: number, bodyLength: number): boolean;
  /** Memory and offset of the room just made; the caller writes exactly `bodyLength` bytes. */
  readonly bytes: Uint8Array;
  readonly bodyAt: number;
  /** Completes the job. `wallNs`: stamp of the envelope, ns since the epoch. */
  seal(ring: number, wallNs: number, tag: number, address: string, port: number): void;
}

/** Where datagrams go that a crypto worker is to open. */
export interface OpenSink {
  /** Copies the datagram, to be tried with the keys of `ring`, then of `otherRing`; false: no credit. */
  open(
    affinity: number,
    datagram: Uint8Array,
    ring: number,
    otherRing: number,
    address: string,
    port: number,
  ): boolean;
}

/** A packet that a worker sealed. `bytes[at .. at + length)` is the datagram. */
export interface SealedPacket {
  readonly bytes: Uint8Array;
  readonly at: number;
  readonly length: number;
  readonly tag: number;
  readonly address: string;
  readonly port: number;
}

/** A packet that authenticated, and what the worker read in it. */
export interface OpenedPacket {
  readonly bytes: Uint8Array;
  /** Offset of the 12-byte nonce. */
  readonly nonceAt: number;
  readonly stampLow: number;
  readonly stampHigh: number;
  /** The ring whose key opened it. */
  readonly ring: number;
  readonly datagramLength: number;
  readonly messageIdAt: number;
  readonly digestAt: number;
  readonly bodyAt: number;
  readonly bodyLength: number;
  readonly address: string;
  readonly port: number;
}

/** Where opened messages wait for the store. */
export interface StoreSink {
  /** False while the queue towards the store is full, or the store halts. */
  readonly accepting: boolean;
  append(packet: OpenedPacket, scope: string, suspect: boolean): boolean;
}

/** A batch of rows from the store; `next` moves to the following row. */
export interface LeasedRows {
  next(): boolean;
  readonly bytes: Uint8Array;
  readonly rowId: number;
  /** Wall ms since the epoch. */
  readonly expiresAt: number;
  readonly destination: { readonly address: string; readonly port: number };
  readonly generation: number;
  readonly attempts: number;
  readonly ticket: number;
  readonly released: boolean;
  readonly messageIdAt: number;
  readonly payloadAt: number;
  readonly payloadLength: number;
}
