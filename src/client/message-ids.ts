// Ids of messages that our clients make, as the daemon makes them for rows without one: time-ordered, so
// that the table's index grows at its end (3.7 us a row against 15; docs/BENCHMARKS.md).

import { randomFillSync } from "node:crypto";
import { MESSAGE_ID_BYTES } from "../shared/protocol/constants.js";

const CLOCK_BYTES = 6;
const RANDOM_BYTES = MESSAGE_ID_BYTES - CLOCK_BYTES;
/** Ids for which random bytes are fetched at a time. */
const POOL_IDS = 1_024;

const pool = new Uint8Array(POOL_IDS * RANDOM_BYTES);
let poolLeft = 0;
const id = Buffer.alloc(MESSAGE_ID_BYTES);

/** A new id: 24 lower-case hex digits, 6 bytes of the clock in ms and 6 random ones. */
export function freshMessageId(): string {
  if (poolLeft === 0) {
    randomFillSync(pool);
    poolLeft = POOL_IDS;
  }
  poolLeft -= 1;
  id.writeUIntBE(Date.now(), 0, CLOCK_BYTES);
  const from = poolLeft * RANDOM_BYTES;
  for (let i = 0; i < RANDOM_BYTES; i++) id[CLOCK_BYTES + i] = pool[from + i];
  return id.toString("hex");
}
