// The head of a spool file: what message it holds, and which of its bytes are on disk. Two slots, written
// in turn, each with a checksum: a write that a crash cut short costs what the last sync added, never
// the file. A slot is written behind the sync of the bytes that it lists.
//
// Slot, little-endian:
//   offset bytes name       meaning
//    0      8    magic      "sgspool1"
//    8      8    revision   u64, rises with each write; the valid slot with the greater one counts
//   16     32    peer       public key
//   48     12    messageId
//   60     16    digest16   first half of the digest of the whole
//   76      8    total      u64, bytes of the whole
//   84      8    boot       of the sender
//   92      4    ranges     how many
//   96    16n    each       start u64, end u64
//         32     checksum   BLAKE2b-256 of all in front of it

import { MESSAGE_ID_BYTES } from "../shared/protocol/constants.js";
import {
  BOOT_ID_BYTES,
  DIGEST_PIECE_BYTES,
  MESSAGE_BYTES_MAX,
} from "../shared/protocol/session/limits.js";
import { NumberRanges } from "../shared/protocol/session/number-ranges.js";
import { blake2b256 } from "./aead.js";

export const SPOOL_SLOT_BYTES = 8_192;
export const SPOOL_SLOTS = 2;
/** Both slots. Behind them the message begins. */
export const SPOOL_HEAD_BYTES = SPOOL_SLOTS * SPOOL_SLOT_BYTES;
/** Ranges that a slot lists; what is beyond is on disk too, and forgotten at a restart. */
export const SPOOL_RANGES_LISTED_MAX = 500;
/** Ranges of one file in memory. */
export const SPOOL_RANGES_MAX = 4_096;
export const PUBLIC_KEY_BYTES = 32;

const MAGIC = Buffer.from("sgspool1", "latin1");
const RANGES_AT = 96;
const RANGE_BYTES = 16;
const CHECKSUM_BYTES = 32;

/** What a spool file is about. */
export interface SpoolSubject {
  readonly peerKey: Buffer;
  readonly messageId: Buffer;
  readonly digest16: Buffer;
  /** Bytes, 1 to 64 MiB. */
  readonly total: number;
  readonly boot: Buffer;
}

export interface SpoolHead {
  readonly subject: SpoolSubject;
  readonly revision: bigint;
  readonly ranges: NumberRanges;
}

/** The bytes of a slot. */
export function encodeSpoolSlot({ subject, revision, ranges }: SpoolHead): Buffer {
  const count = Math.min(ranges.size, SPOOL_RANGES_LISTED_MAX);
  const checksumAt = RANGES_AT + count * RANGE_BYTES;
  const slot = Buffer.alloc(checksumAt + CHECKSUM_BYTES);
  MAGIC.copy(slot);
  slot.writeBigUInt64LE(revision, 8);
  subject.peerKey.copy(slot, 16);
  subject.messageId.copy(slot, 48);
  subject.digest16.copy(slot, 60);
  slot.writeBigUInt64LE(BigInt(subject.total), 76);
  subject.boot.copy(slot, 84);
  slot.writeUInt32LE(count, 92);
  for (let i = 0; i < count; i++) {
    slot.writeBigUInt64LE(BigInt(ranges.startOf(i)), RANGES_AT + i * RANGE_BYTES);
    slot.writeBigUInt64LE(BigInt(ranges.endOf(i)), RANGES_AT + i * RANGE_BYTES + 8);
  }
  slot.set(blake2b256(slot.subarray(0, checksumAt)), checksumAt);
  return slot;
}

/** The head that `bytes`, the first {@link SPOOL_HEAD_BYTES} of a file, state; undefined without one. */
export function decodeSpoolHead(bytes: Buffer): SpoolHead | undefined {
  let newest: SpoolHead | undefined;
  for (let i = 0; i < SPOOL_SLOTS; i++) {
    const head = decodeSlot(bytes.subarray(i * SPOOL_SLOT_BYTES, (i + 1) * SPOOL_SLOT_BYTES));
    if (head !== undefined && (newest === undefined || head.revision > newest.revision)) {
      newest = head;
    }
  }
  return newest;
}

function decodeSlot(slot: Buffer): SpoolHead | undefined {
  if (slot.length < RANGES_AT + CHECKSUM_BYTES || !MAGIC.equals(slot.subarray(0, 8))) {
    return undefined;
  }
  const count = slot.readUInt32LE(92);
  const checksumAt = RANGES_AT + count * RANGE_BYTES;
  if (count > SPOOL_RANGES_LISTED_MAX || checksumAt + CHECKSUM_BYTES > slot.length)
    return undefined;
  const checksum = slot.subarray(checksumAt, checksumAt + CHECKSUM_BYTES);
  if (!checksum.equals(blake2b256(slot.subarray(0, checksumAt)))) return undefined;
  const total = Number(slot.readBigUInt64LE(76));
  if (total < 1 || total > MESSAGE_BYTES_MAX) return undefined;
  const ranges = new NumberRanges(SPOOL_RANGES_MAX);
  for (let i = 0; i < count; i++) {
    const start = Number(slot.readBigUInt64LE(RANGES_AT + i * RANGE_BYTES));
    const end = Number(slot.readBigUInt64LE(RANGES_AT + i * RANGE_BYTES + 8));
    if (start >= end || end > total || !ranges.addRange(start, end)) return undefined;
  }
  const copy = (at: number, length: number): Buffer => Buffer.from(slot.subarray(at, at + length));
  return {
    subject: {
      peerKey: copy(16, PUBLIC_KEY_BYTES),
      messageId: copy(48, MESSAGE_ID_BYTES),
      digest16: copy(60, DIGEST_PIECE_BYTES),
      total,
      boot: copy(84, BOOT_ID_BYTES),
    },
    revision: slot.readBigUInt64LE(8),
    ranges,
  };
}
