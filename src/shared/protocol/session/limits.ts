// Numbers of the session layer that are not about cryptography or loss recovery. First group: fixed by
// the wire. Second group: ours to choose, each with its source; relations are asserted beneath.

import { assert } from "../../base/assert.js";
import { NS_PER_MS, NS_PER_SECOND } from "../../base/units.js";

// --- Specification -----------------------------------------------------------------------------

/** Longest message that any configuration may allow, bytes. Source: issue of the sessions, 64 MiB. */
export const MESSAGE_BYTES_MAX = 64 * 1_024 * 1_024;
/** A message up to this is reassembled in memory, a longer one in a file, bytes. */
export const MESSAGE_IN_MEMORY_BYTES_MAX = 256 * 1_024;
/** Released messages of one peer without receipt at most. */
export const UNFINISHED_MESSAGES_MAX = 65_536;
/** Ranges of numbers that a receiver remembers above what is settled. */
export const NUMBER_RANGES_MAX = 8_192;
/** A number so far above what is settled is a fault. */
export const NUMBER_SPAN_NUMBERS = 2 ** 32;
/** Digest of a message, bytes; what of it travels with pieces, and with receipts. */
export const MESSAGE_DIGEST_BYTES = 32;
export const DIGEST_PIECE_BYTES = 16;
export const DIGEST_RECEIPT_BYTES = 8;
export const BOOT_ID_BYTES = 8;
/** Receipts of one frame at most. */
export const RECEIPTS_PER_FRAME_MAX = 64;
/** Bytes of a large message beyond those that HAVE said are on disk. */
export const TRANSFER_AHEAD_BYTES = 4 * 1_024 * 1_024;
/** A spool file is synced, and HAVE sent, each so many bytes. */
export const SPOOL_SYNC_BYTES = 1_024 * 1_024;
/** Name of a stream, bytes of UTF-8. */
export const STREAM_BYTES_MAX = 64;

// --- Implementation ----------------------------------------------------------------------------

/** Receipts that wait or are not acknowledged, of one peer: more than it can have messages. */
export const RECEIPTS_QUEUED_MAX = 2 * UNFINISHED_MESSAGES_MAX;
/** Reassembly in memory, all peers together, bytes. */
export const REASSEMBLY_BYTES_MAX = 64 * 1_024 * 1_024;
/** What all peers together may have unfinished here: shared out among them as credit, bytes. */
export const CREDIT_BYTES_ALL = 256 * 1_024 * 1_024;
export const CREDIT_BYTES_MIN = 512 * 1_024;
export const CREDIT_BYTES_MAX = 8 * 1_024 * 1_024;
export const CREDIT_MESSAGES_MIN = 1_024;
export const CREDIT_MESSAGES_MAX = 16_384;
/** Streams of one peer and boot that are remembered; a new one beyond is refused for a while. */
export const STREAMS_MAX = 16_384;
/** Streams with a number that is not settled, beyond which a sender waits with a new one. */
export const STREAMS_IN_USE_MAX = STREAMS_MAX / 2;
/** SETTLED is sent when it rose by so many numbers, or so long after it rose, ns. */
export const SETTLED_STEP_NUMBERS = 1_024;
export const SETTLED_DELAY_NS = 200 * NS_PER_MS;
/** Wait of a message that was refused for a while: at first, at most, ns. */
export const REFUSED_DELAY_FIRST_NS = NS_PER_SECOND;
export const REFUSED_DELAY_MAX_NS = 3_600 * NS_PER_SECOND;
/** Rows that a peer without a session may have out of the table. */
export const ROWS_WITHOUT_SESSION = 16;
/** Rows that a peer with a session may have out of the table. Source: 100,000 a second at 80 ms. */
export const ROWS_IN_SESSION_MAX = 8_192;

assert(MESSAGE_IN_MEMORY_BYTES_MAX <= CREDIT_BYTES_MIN, "any message in memory fits the credit");
assert(ROWS_IN_SESSION_MAX < UNFINISHED_MESSAGES_MAX, "rows are bounded before numbers are");
assert(ROWS_IN_SESSION_MAX <= STREAMS_IN_USE_MAX, "rows alone never make a sender wait");
assert(SPOOL_SYNC_BYTES * 2 <= TRANSFER_AHEAD_BYTES, "a transfer goes on while a sync runs");
