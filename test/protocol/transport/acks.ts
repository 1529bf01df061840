// ACK frames for tests, without bytes: from lists of ranges, and from what a receiver kept.

import { assert } from "../../../src/shared/base/assert.js";
import { type Nanoseconds, NS_PER_MS, nanoseconds } from "../../../src/shared/base/units.js";
import type { AckRanges } from "../../../src/shared/protocol/transport/ack-ranges.js";
import type { AckReader } from "../../../src/shared/protocol/transport/ack-reader.js";
import { FATE } from "../../../src/shared/protocol/transport/packet-fates.js";
import type { Recovery } from "../../../src/shared/protocol/transport/recovery.js";
import { NO_ACKS, PACKET } from "../../../src/shared/protocol/transport/sent-packets.js";

export const ms = (value: number): Nanoseconds => nanoseconds(value * NS_PER_MS);

export const DATA = PACKET.eliciting | PACKET.inFlight;

/** A frame of ranges, newest first, each [first, last]. */
export function ackOf(ranges: readonly (readonly [number, number])[], delayUs = 0): AckReader {
  let at = 0;
  return {
    delayUs,
    get rangeFirst() {
      return ranges[at][0];
    },
    get rangeLast() {
      return ranges[at][1];
    },
    next: () => ++at < ranges.length,
  };
}

/** Acknowledges exactly these counters. */
export function ackCounters(...counters: readonly number[]): AckReader {
  return ackOf(rangesOf(counters));
}

/** Counters as ranges, newest first. */
export function rangesOf(counters: Iterable<number>): [number, number][] {
  const ranges: [number, number][] = [];
  for (const counter of [...new Set(counters)].sort((a, b) => b - a)) {
    const newest = ranges.at(-1);
    if (newest !== undefined && newest[0] === counter + 1) newest[0] = counter;
    else ranges.push([counter, counter]);
  }
  return ranges;
}

/**
 * What a receiver would write, through the fields of the frame and back, as RFC 9000 §19.3 says.
 */
export function writtenBy(ranges: AckRanges, now: Nanoseconds): [AckReader, [number, number][]] {
  assert(ranges.rewind(), "an ACK has a range");
  const written: [number, number][] = [[ranges.largest - ranges.length, ranges.largest]];
  while (ranges.next()) {
    const last = written[written.length - 1][0] - ranges.gap - 2;
    written.push([last - ranges.length, last]);
  }
  return [ackOf(written, ranges.delayUs(now)), written];
}

/** Everything that became of contents since the last look. */
export function fatesOf(recovery: Recovery): { acked: number[]; lost: number[] } {
  const acked: number[] = [];
  const lost: number[] = [];
  for (let fate = recovery.pollFate(); fate !== FATE.none; fate = recovery.pollFate()) {
    (fate === FATE.acked ? acked : lost).push(recovery.fateContent);
  }
  return { acked, lost };
}

/** Sends packets of 1,200 bytes whose content is their counter, at one instant. */
export function send(recovery: Recovery, now: Nanoseconds, ...counters: readonly number[]): void {
  for (const counter of counters) recovery.handleSent(now, counter, 1_200, DATA, counter, NO_ACKS);
}
