// Numbers of the protocol. First group: fixed by the wire, a change breaks other hosts.
// Second group: ours to choose, each with its source; relations are asserted beneath.

import { assert } from "../base/assert.js";
import { NS_PER_MS, NS_PER_SECOND } from "../base/units.js";

// --- Specification -----------------------------------------------------------------------------

/** Random nonce in front of every envelope, bytes. Source: RFC 8439 section 2.8. */
export const NONCE_BYTES = 12;
/** Poly1305 tag behind every envelope, bytes. Source: RFC 8439 section 2.8. */
export const TAG_BYTES = 16;
/** Stamp at the head of every plaintext: ns since the epoch, big-endian. Source: classic. */
export const STAMP_BYTES = 8;
/** What an envelope adds to its body, bytes. */
export const ENVELOPE_OVERHEAD_BYTES = NONCE_BYTES + STAMP_BYTES + TAG_BYTES;
/** Largest UDP payload over IPv4, bytes: 65,535 - 20 - 8. */
export const DATAGRAM_BYTES_MAX = 65_507;
/** Largest body of an envelope, bytes. */
export const BODY_BYTES_MAX = DATAGRAM_BYTES_MAX - ENVELOPE_OVERHEAD_BYTES;
/** Largest body that an Ethernet path carries in one piece over IPv4: 1,500 - 20 - 8 - 36. */
export const BODY_BYTES_UNFRAGMENTED = 1_500 - 28 - ENVELOPE_OVERHEAD_BYTES;
/** Shortest datagram worth a key: an envelope around `{}`. */
export const DATAGRAM_BYTES_MIN = ENVELOPE_OVERHEAD_BYTES + 2;
/** Message id, bytes; 24 hex digits in JSON. Source: classic. */
export const MESSAGE_ID_BYTES = 12;
/** Stamps of this or more are refused: 2^62 ns is the year 2116, and 2^63 does not bind in SQLite. */
export const STAMP_HIGH_WORD_LIMIT = 2 ** 30;

// --- Implementation ----------------------------------------------------------------------------

/** Outbound messages in flight at most, all destinations together. Source: wire.md 3.4 (65,536). */
export const IN_FLIGHT_MESSAGES_MAX = 65_536;
/** ACKs that wait for a slab at most; beyond, the peer's retransmission draws the next one. */
export const QUEUE_ACKS_MAX = 16_384;
/** Nonces remembered at most, in each of the two sets. Source: 30 s at 35,000 a second. */
export const NONCE_ENTRIES_MAX = 2 ** 20;
/** Destinations remembered at most; idle ones make room. */
export const DESTINATIONS_MAX = 16_384;
/** Rows of one destination in flight: to begin with, at least, at most. Source: ours; bench/pipeline. */
export const WINDOW_ROWS_INITIAL = 256;
export const WINDOW_ROWS_MIN = 16;
export const WINDOW_ROWS_MAX = 4_096;
/** Rows of a destination that does not answer: one to probe with, and few to hold. */
export const WINDOW_ROWS_DOWN = 4;
/** Unanswered sends in a row, with nothing heard, after which a destination counts as down. */
export const DOWN_AFTER_TIMEOUTS = 3;
/** First wait for an ACK while the round trip is unknown, ns. */
export const RETRY_FIRST_NS = NS_PER_SECOND;
/** Bounds of the first wait when the round trip is known, ns. */
export const RETRY_FIRST_MIN_NS = 250 * NS_PER_MS;
export const RETRY_FIRST_MAX_NS = 5 * NS_PER_SECOND;
/** Longest wait between two tries of one message, ns. */
export const RETRY_MAX_NS = 3_600 * NS_PER_SECOND;
/** Longest wait between two probes of a destination that is down, ns: a datagram a minute. */
export const PROBE_MAX_NS = 60 * NS_PER_SECOND;
/** Share of a delay that is drawn at random, so that hosts do not beat in step. */
export const RETRY_JITTER_SHARE = 0.2;
/** Room in front of "now" for which sealing is made durable at once, ns. Bounds the deaf time for
 * ACKs after a crash. */
export const SEAL_RESERVE_NS = 2 * NS_PER_SECOND;
/** Wait after a reservation that the store could not make, ns. Source: ours; the store's own pause. */
export const SEAL_RESERVE_RETRY_NS = 250 * NS_PER_MS;
/** Spans of stamps that may have been sealed, on disk and in memory; the closest two are joined. */
export const SEALED_SPANS_MAX = 16;
/** Wall time in which nothing was sealed, beyond which a new span begins, ns. Shorter steps of the
 * clock are bridged, and cost as much time without ACKs should it go back. */
export const SEALED_GAP_NS = 60 * NS_PER_SECOND;
/** A wall clock that fell by more than this was set back, ns; less is slewing. */
export const CLOCK_STEP_NS = NS_PER_SECOND;

assert(BODY_BYTES_MAX === 65_471, "body limit follows from the datagram limit");
assert(WINDOW_ROWS_MAX <= IN_FLIGHT_MESSAGES_MAX / 4, "one destination cannot fill the table");
assert(WINDOW_ROWS_DOWN < WINDOW_ROWS_MIN, "a destination that is down holds less than a slow one");
assert(RETRY_FIRST_MIN_NS < RETRY_FIRST_MAX_NS && RETRY_FIRST_MAX_NS < RETRY_MAX_NS, "waits grow");
