// The oldest row that a daemon is not through with, by destination: one step into the index of work.

import type { Destination } from "../src/client/outbox.js";
import type { Connection } from "../src/shared/store/driver.js";
import { WORKED } from "../src/shared/store/schema.js";

/** Looks for rows of usual priority without `not_before`, as producers of benches insert them. */
export function oldestWaiting(db: Connection): (to: Destination) => number | undefined {
  const oldest = db
    .prepare(
      `SELECT id FROM outbound_messages INDEXED BY outbound_work
       WHERE dst_addr = ? AND dst_port = ? AND priority = 1
         AND ${WORKED} AND not_before IS NULL
       ORDER BY id LIMIT 1`,
    )
    .pluck();
  return ({ address, port }) => oldest.get(address, port) as number | undefined;
}
