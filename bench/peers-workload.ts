// The workload that every system gets in bench/peers.

export const BYTES = 200;
/** Rows of a transaction, or messages that are handed over at once. */
export const BATCH_MESSAGES = 512;
/** Of the others: four batches, each waited for when four are under way. */
export const UNDER_WAY_MESSAGES = 4 * BATCH_MESSAGES;
export const WARM_UP_MESSAGES = 20_480;
