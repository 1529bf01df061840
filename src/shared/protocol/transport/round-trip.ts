// How long a packet and its acknowledgement take. Belongs to a path: it survives a rekey, and
// begins anew when the peer roams. Source: RFC 9002 §5.

import { type Nanoseconds, nanoseconds } from "../../base/units.js";
import { GRANULARITY_NS, REORDER_ROUND_TRIPS, ROUND_TRIP_INITIAL_NS } from "./constants.js";

export class RoundTrip {
  #latestNs = 0;
  #smoothedNs: number;
  #variationNs: number;
  #minNs = 0;
  /** The path was broken for long: the next sample is the minimum, whatever came before. */
  #minStale = true;
  #firstSampleAt = nanoseconds(Number.POSITIVE_INFINITY);

  /** `initialNs`: what was measured of this peer before, or the assumption of the RFC. */
  constructor(initialNs: number = ROUND_TRIP_INITIAL_NS) {
    this.#smoothedNs = initialNs;
    this.#variationNs = initialNs / 2;
  }

  /** Takes a measured round trip; `ackDelayNs`: the part of it that the peer says it waited. */
  handleSample(now: Nanoseconds, sampleNs: number, ackDelayNs: number): void {
    this.#latestNs = sampleNs;
    if (this.#minStale || sampleNs < this.#minNs) this.#minNs = sampleNs;
    this.#minStale = false;
    if (!this.sampled) {
      this.#firstSampleAt = now;
      this.#smoothedNs = sampleNs;
      this.#variationNs = sampleNs / 2;
      return;
    }
    // What the peer claims must not make the round trip shorter than any that was seen.
    const adjustedNs = sampleNs >= this.#minNs + ackDelayNs ? sampleNs - ackDelayNs : sampleNs;
    this.#variationNs += (Math.abs(this.#smoothedNs - adjustedNs) - this.#variationNs) / 4;
    this.#smoothedNs += (adjustedNs - this.#smoothedNs) / 8;
  }

  /** Lets the next sample set the minimum: after persistent congestion. Source: RFC 9002 §5.2. */
  handlePersistentCongestion(): void {
    this.#minStale = true;
  }

  /** True once there was a sample; before, all values rest on the assumption. */
  get sampled(): boolean {
    return this.#firstSampleAt !== Number.POSITIVE_INFINITY;
  }
  /** When the first sample came; Infinity before. */
  get firstSampleAt(): Nanoseconds {
    return this.#firstSampleAt;
  }
  get latestNs(): number {
    return this.#latestNs;
  }
  /** Worth remembering for the next session with the peer. */
  get smoothedNs(): number {
    return this.#smoothedNs;
  }
  get variationNs(): number {
    return this.#variationNs;
  }
  get minNs(): number {
    return this.#minNs;
  }

  /** How late a packet may be, against one sent later, before it counts as lost, ns. */
  lossDelayNs(): number {
    const roundTripNs = Math.max(this.#latestNs, this.#smoothedNs);
    return Math.max(REORDER_ROUND_TRIPS * roundTripNs, GRANULARITY_NS);
  }

  /** Wait for an acknowledgement before a probe, without backoff, ns. */
  probeWaitNs(ackDelayMaxNs: number): number {
    return this.#smoothedNs + Math.max(4 * this.#variationNs, GRANULARITY_NS) + ackDelayMaxNs;
  }
}
