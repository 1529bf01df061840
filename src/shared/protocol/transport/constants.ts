// Numbers of the transport of a session: recovery, congestion, pacing, acknowledgements. What the
// RFC recommends stands first; ours, with its reason, beneath. Those of the path MTU are in mtu.ts.

import { assert } from "../../base/assert.js";
import { NS_PER_MS, NS_PER_SECOND } from "../../base/units.js";

// --- RFC 9002 ------------------------------------------------------------------------------------

/** Packets that may overtake another before it counts as lost. Source: RFC 9002 §6.1.1. */
export const REORDER_PACKETS = 3;
/** Round trips that a packet may be late before it counts as lost. Source: RFC 9002 §6.1.2. */
export const REORDER_ROUND_TRIPS = 9 / 8;
/** Granularity of the timers, ns. Source: RFC 9002 §6.1.2; Node's timers have it too. */
export const GRANULARITY_NS = NS_PER_MS;
/** Round trip assumed of a path that nothing is known of, ns. Source: RFC 9002 §6.2.2. */
export const ROUND_TRIP_INITIAL_NS = 333 * NS_PER_MS;
/** Probe timeouts that all losses must span before the path counts as broken. Source: §7.6.1. */
export const PERSISTENT_TIMEOUTS = 3;
/** Congestion window to begin with: so many datagrams, and about so many bytes. Source: §7.2. */
export const WINDOW_INITIAL_DATAGRAMS = 10;
export const WINDOW_INITIAL_BYTES = 14_720;
/** Congestion window at least, datagrams. Source: RFC 9002 §7.2. */
export const WINDOW_MIN_DATAGRAMS = 2;
/** What is left of the window after a loss. Source: RFC 9002 §7.3.2. */
export const WINDOW_LOSS_SHARE = 0.5;
/** Rate of sending over window by round trip. Source: RFC 9002 §7.7. */
export const PACING_SHARE = 1.25;
/** Ack-eliciting packets that draw an ACK. Source: RFC 9000 §13.2.2. */
export const ACK_THRESHOLD_PACKETS = 2;
/** Longest wait before an ACK, ns. Source: RFC 9000 §18.2. */
export const ACK_DELAY_NS = 25 * NS_PER_MS;
/** Packets that a probe timeout asks for. Source: RFC 9002 §6.2.4. */
export const PROBE_PACKETS = 2;

// --- Implementation ------------------------------------------------------------------------------

/** Ranges of received counters that are kept, and fit an ACK frame: 1 + 63. Source: our wire. */
export const ACK_RANGES_MAX = 64;
/**
 * Counters between the oldest outstanding packet and the next one. Source: ours; 65,507-byte
 * windows.
 */
export const SENT_PACKETS_MAX = 16_384;
/** Of these, kept for probes and packets of ACKs only. */
export const SENT_PACKETS_RESERVED = 256;
/** Records of sent packets that a session is born with; they double as they are needed. */
export const SENT_PACKETS_INITIAL = 256;
/** Longest wait between two probes, ns, unless one round trip is longer. Source: RFC 6298 §2.5. */
export const PROBE_WAIT_MAX_NS = 60 * NS_PER_SECOND;
/** Largest congestion window, bytes: 10 Gbit/s at 50 ms. */
export const WINDOW_MAX_BYTES = 2 ** 26;
/** Losses that are remembered in case the packets are acknowledged late after all. */
export const LATE_PACKETS_MAX = 128;
/** Burst of the pacer: datagrams, or ns at the full rate: a timer of Node that comes 1 ms late. */
export const PACING_BURST_DATAGRAMS = 10;
export const PACING_BURST_NS = 2 * NS_PER_MS;

assert(SENT_PACKETS_INITIAL <= SENT_PACKETS_MAX, "records grow");
assert(SENT_PACKETS_RESERVED < SENT_PACKETS_MAX / 4, "most records are for payload");
assert(
  (SENT_PACKETS_MAX & (SENT_PACKETS_MAX - 1)) === 0,
  "records lie in a ring of a power of two",
);
