// Stamps of handshakes, durable per peer: what was sent and what was accepted never falls, or an old
// handshake could be replayed after a crash. With them, what is known of a peer's keys: nothing leaves
// under a key before that is committed. Those asked for in one turn share a commit: after a start every
// peer wants one.

import type { PeerStamps } from "../shared/runtime/messages.js";
import { writeTransaction } from "../shared/store/busy.js";
import type { Connection, Statement } from "../shared/store/driver.js";

/** What a column of SQLite holds. A stamp above it is never reached, so the core does not use it. */
const STAMP_MAX = 2n ** 63n - 1n;

/** What is to be durable of a peer; `rotation` as in the job `stamp`. */
export interface StampOrder extends PeerStamps {
  readonly rotation?: string | undefined;
}

export class Stamps {
  readonly #db: Connection;
  readonly #raise: Statement;
  readonly #all: Statement;
  readonly #rotation: Statement;

  constructor(db: Connection) {
    this.#db = db;
    this.#raise = db
      .prepare(
        `INSERT INTO handshake_stamps(peer_key, sent, accepted) VALUES (?, ?, ?)
         ON CONFLICT(peer_key) DO UPDATE SET sent = max(sent, excluded.sent),
           accepted = max(accepted, excluded.accepted)
         RETURNING sent, accepted`,
      )
      .raw()
      .safeIntegers();
    this.#rotation = db.prepare(
      `INSERT INTO peers(public_key, rotation) VALUES (?, ?)
       ON CONFLICT(public_key) DO UPDATE SET rotation = excluded.rotation`,
    );
    this.#all = db
      .prepare("SELECT peer_key, sent, accepted FROM handshake_stamps")
      .raw()
      .safeIntegers();
  }

  all(): readonly PeerStamps[] {
    const rows = this.#all.all() as [Buffer, bigint, bigint][];
    return rows.map(([key, sent, accepted]) => ({ peer: key.toString("base64"), sent, accepted }));
  }

  /** Raises each in one transaction; returns what is durable now, in the order asked. */
  raise(wanted: readonly StampOrder[], deadlineMs: number): readonly PeerStamps[] {
    return writeTransaction(
      this.#db,
      () =>
        wanted.map(({ peer, sent, accepted, rotation }) => {
          const key = Buffer.from(peer, "base64");
          if (rotation !== undefined) this.#rotation.run(key, rotation);
          const row = this.#raise.get(key, bounded(sent), bounded(accepted));
          const [sentNow, acceptedNow] = row as [bigint, bigint];
          return { peer, sent: sentNow, accepted: acceptedNow };
        }),
      { deadlineMs },
    );
  }
}

const bounded = (stamp: bigint): bigint =>
  stamp < 0n ? 0n : stamp > STAMP_MAX ? STAMP_MAX : stamp;
