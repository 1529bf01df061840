// How much may be under way on a path: one interface, so that another controller fits, and NewReno
// as in RFC 9002 §7. Belongs to a path; the packets of two sessions may share it during a rekey.

import { assert } from "../../base/assert.js";
import { type Nanoseconds, nanoseconds } from "../../base/units.js";
import {
  WINDOW_INITIAL_BYTES,
  WINDOW_INITIAL_DATAGRAMS,
  WINDOW_LOSS_SHARE,
  WINDOW_MAX_BYTES,
  WINDOW_MIN_DATAGRAMS,
} from "./constants.js";

export interface CongestionControl {
  /** Bytes that may be in flight. */
  readonly window: number;
  /** Bytes that are. */
  readonly bytesInFlight: number;
  /** True until a packet sent after the last reduction of the window is acknowledged. */
  readonly inRecovery: boolean;
  /** Set by whoever sends: there was room and nothing to fill it with, so ACKs prove nothing. */
  appLimited: boolean;

  onSent(bytes: number): void;
  onAcked(bytes: number, sentAt: Nanoseconds): void;
  /**
   * Packets left the flight without an ACK: lost (onCongestion may follow), or no longer of
   * interest.
   */
  onRemoved(bytes: number): void;
  /**
   * Packets were lost, the newest of them sent at `sentAt`. Returns whether this is a new event,
   * not one that the window was reduced for already.
   */
  onCongestion(now: Nanoseconds, sentAt: Nanoseconds, persistent: boolean): boolean;
  /** All losses of the last event turned out to be late packets: takes the reduction back. */
  onSpurious(): void;
  /** Another size of datagrams, bytes. */
  onMtu(bytes: number): void;
}

export class NewReno implements CongestionControl {
  #datagramBytes: number;
  #window: number;
  #threshold = Number.POSITIVE_INFINITY;
  #bytesInFlight = 0;
  /** Packets sent up to here belong to the last congestion event. */
  #recoveryStart = nanoseconds(-1);
  #inRecovery = false;
  #touched = false;
  /** Before the last reduction, while it can be taken back; 0: it cannot. */
  #windowBefore = 0;
  #thresholdBefore = 0;
  appLimited = false;

  constructor(datagramBytes: number) {
    this.#datagramBytes = datagramBytes;
    this.#window = initialWindow(datagramBytes);
  }

  get window(): number {
    return Math.floor(this.#window);
  }
  get bytesInFlight(): number {
    return this.#bytesInFlight;
  }
  get inRecovery(): boolean {
    return this.#inRecovery;
  }
  /** Window at which slow start ends; Infinity before the first loss. */
  get slowStartThreshold(): number {
    return this.#threshold;
  }

  onSent(bytes: number): void {
    this.#bytesInFlight += bytes;
  }

  onAcked(bytes: number, sentAt: Nanoseconds): void {
    this.onRemoved(bytes);
    if (sentAt <= this.#recoveryStart) return;
    this.#inRecovery = false;
    if (this.appLimited) return;
    this.#touched = true;
    if (this.#window < this.#threshold) this.#window += bytes;
    else this.#window += (this.#datagramBytes * bytes) / this.#window;
    if (this.#window > WINDOW_MAX_BYTES) this.#window = WINDOW_MAX_BYTES;
  }

  onRemoved(bytes: number): void {
    this.#bytesInFlight -= bytes;
    assert(this.#bytesInFlight >= 0, "bytes leave the flight once");
  }

  onCongestion(now: Nanoseconds, sentAt: Nanoseconds, persistent: boolean): boolean {
    const fresh = sentAt > this.#recoveryStart;
    this.#touched = true;
    if (fresh) {
      this.#windowBefore = this.#window;
      this.#thresholdBefore = this.#threshold;
      this.#recoveryStart = now;
      this.#inRecovery = true;
      this.#threshold = this.#window * WINDOW_LOSS_SHARE;
      this.#window = Math.max(this.#threshold, this.#windowMin);
    }
    if (persistent) {
      this.#windowBefore = 0;
      this.#window = this.#windowMin;
      this.#recoveryStart = nanoseconds(-1);
      this.#inRecovery = false;
    }
    return fresh;
  }

  onSpurious(): void {
    if (this.#windowBefore === 0) return;
    this.#window = Math.max(this.#window, this.#windowBefore);
    this.#threshold = Math.max(this.#threshold, this.#thresholdBefore);
    this.#windowBefore = 0;
    this.#inRecovery = false;
    this.#recoveryStart = nanoseconds(-1);
  }

  onMtu(bytes: number): void {
    this.#datagramBytes = bytes;
    if (!this.#touched) this.#window = initialWindow(bytes);
    this.#window = Math.max(this.#window, this.#windowMin);
  }

  get #windowMin(): number {
    return WINDOW_MIN_DATAGRAMS * this.#datagramBytes;
  }
}

function initialWindow(datagramBytes: number): number {
  const few = Math.max(WINDOW_INITIAL_BYTES, WINDOW_MIN_DATAGRAMS * datagramBytes);
  return Math.min(WINDOW_INITIAL_DATAGRAMS * datagramBytes, few);
}
