// What each peer has waiting in a lane towards the store, and how much of the lane may be its own: so much
// that one which never pauses leaves room for all others, whatever they send.

/** A peer may have so many times what is free. Source: Choudhury and Hahne, 1998. */
const FREE_TIMES = 7;
const PEERS_INITIAL = 16;

/** What one peer has in one batch. */
interface Share {
  readonly peer: number;
  readonly rows: number;
  readonly bytes: number;
}
export type BatchShares = readonly Share[];

export class LaneShares {
  readonly #rowsMax: number;
  readonly #bytesMax: number;
  #rows = 0;
  #bytes = 0;
  /** By peer: all that waits, and what of it is in the batch that is being written. */
  #rowsOf = new Float64Array(PEERS_INITIAL);
  #bytesOf = new Float64Array(PEERS_INITIAL);
  #batchRowsOf = new Float64Array(PEERS_INITIAL);
  #batchBytesOf = new Float64Array(PEERS_INITIAL);
  /** Peers with a record in that batch. */
  #inBatch: number[] = [];

  constructor(rowsMax: number, bytesMax: number) {
    this.#rowsMax = rowsMax;
    this.#bytesMax = bytesMax;
  }

  /** Whether a peer may have more waiting than it has. */
  admits(peer: number): boolean {
    if (peer >= this.#rowsOf.length) this.#grow(peer);
    const rowsFree = 1 - this.#rows / this.#rowsMax;
    const bytesFree = 1 - this.#bytes / this.#bytesMax;
    const free = FREE_TIMES * Math.min(rowsFree, bytesFree);
    if (this.#rowsOf[peer] > free * this.#rowsMax) return false;
    return this.#bytesOf[peer] <= free * this.#bytesMax;
  }

  /** A record of so many bytes of a peer waits that `admits` let pass. */
  add(peer: number, bytes: number): void {
    this.#rows += 1;
    this.#bytes += bytes;
    this.#rowsOf[peer] += 1;
    this.#bytesOf[peer] += bytes;
    if (this.#batchRowsOf[peer] === 0) this.#inBatch.push(peer);
    this.#batchRowsOf[peer] += 1;
    this.#batchBytesOf[peer] += bytes;
  }

  /** The batch is complete; what is in it, for `gone`. */
  close(): BatchShares {
    const shares = this.#inBatch.map((peer) => {
      const share = { peer, rows: this.#batchRowsOf[peer], bytes: this.#batchBytesOf[peer] };
      this.#batchRowsOf[peer] = 0;
      this.#batchBytesOf[peer] = 0;
      return share;
    });
    this.#inBatch = [];
    return shares;
  }

  /** A batch waits no more. */
  gone(shares: BatchShares): void {
    for (const { peer, rows, bytes } of shares) {
      this.#rows -= rows;
      this.#bytes -= bytes;
      this.#rowsOf[peer] -= rows;
      this.#bytesOf[peer] -= bytes;
    }
  }

  #grow(peer: number): void {
    let size = this.#rowsOf.length;
    while (size <= peer) size *= 2;
    this.#rowsOf = grown(this.#rowsOf, size);
    this.#bytesOf = grown(this.#bytesOf, size);
    this.#batchRowsOf = grown(this.#batchRowsOf, size);
    this.#batchBytesOf = grown(this.#batchBytesOf, size);
  }
}

function grown(from: Float64Array, size: number): Float64Array<ArrayBuffer> {
  const to = new Float64Array(size);
  to.set(from);
  return to;
}
