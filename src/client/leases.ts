// Which inbox has which message in hand, among all processes of this host. A lease lapses when its
// holder gave no sign of life for its span; times are of the monotonic clock, which all processes of a
// host share, so that setting the wall clock ends no lease.

import type { Connection, Statement } from "../shared/store/driver.js";
import { writePatiently } from "./patience.js";

/** How long to wait for the lock of the file, which nobody holds for more than a moment, ms. */
const LOCK_DEADLINE_MS = 5_000;
/** Holder of messages that were given back and rest. */
const NOBODY = "";
const VALID = "until > @now AND until <= @now + span";

/** What may be leased: a row, and the key of its stream where order is to be kept. */
export interface Leasable {
  readonly id: number;
  readonly stream: string | null;
}

/** What others have in hand, and what was given back and rests. */
export interface Taken {
  readonly ids: ReadonlySet<number>;
  /** Keys of streams whose messages have to wait for those. */
  readonly streams: readonly string[];
  /** Ms until the first of their leases lapses; Infinity without one. */
  readonly lapsesInMs: number;
}

export interface Holder {
  /** Unique on this host. */
  readonly name: string;
  readonly consumer: string;
  readonly spanMs: number;
}

export class Leases {
  readonly #db: Connection;
  readonly #holder: Holder;
  readonly #others: Statement;
  readonly #insert: Statement;
  readonly #purge: Statement;
  readonly #renew: Statement;
  readonly #renewed: Statement;
  readonly #release: Statement;
  readonly #rest: Statement;

  constructor(db: Connection, holder: Holder) {
    this.#db = db;
    this.#holder = holder;
    this.#others = db
      .prepare(`SELECT id, stream, until FROM leases WHERE holder <> @name AND ${VALID}`)
      .raw();
    this.#insert = db.prepare(
      `INSERT OR REPLACE INTO leases(id, holder, consumer, until, span, stream)
       VALUES (?, ?, ?, ?, ?, ?)`,
    );
    this.#purge = db.prepare(`DELETE FROM leases WHERE NOT (${VALID})`);
    this.#renew = db.prepare("UPDATE leases SET until = @now + span WHERE holder = @name");
    this.#renewed = db.prepare("SELECT id FROM leases WHERE holder = @name").pluck();
    this.#release = db.prepare("DELETE FROM leases WHERE id = ? AND holder = ?");
    this.#rest = db.prepare(
      `UPDATE leases SET holder = '${NOBODY}', until = ?, span = ? WHERE id = ? AND holder = ?`,
    );
  }

  /** What others have in hand now. */
  taken(): Taken {
    const now = monotonicMs();
    const { name } = this.#holder;
    const rows = this.#others.all({ name, now }) as [number, string | null, number][];
    const ids = new Set<number>();
    const streams = new Set<string>();
    let lapsesAt = Infinity;
    for (const [id, stream, until] of rows) {
      ids.add(id);
      if (stream !== null) streams.add(stream);
      lapsesAt = Math.min(lapsesAt, until);
    }
    return { ids, streams: [...streams], lapsesInMs: lapsesAt - now };
  }

  /**
   * Leases what `choose` takes of the rest, as one step among all processes. `choose` may run twice, and
   * reads the messages after it was called.
   */
  take<Row extends Leasable>(choose: (taken: Taken) => readonly Row[]): Promise<readonly Row[]> {
    const { name, consumer, spanMs } = this.#holder;
    return this.#write(() => {
      const now = monotonicMs();
      this.#purge.run({ now });
      const rows = choose(this.taken());
      for (const { id, stream } of rows) {
        this.#insert.run(id, name, consumer, now + spanMs, spanMs, stream);
      }
      return rows;
    });
  }

  /** Prolongs all that we have in hand; returns the ids of what that is. */
  renew(): Promise<ReadonlySet<number>> {
    const { name } = this.#holder;
    return this.#write(() => {
      const now = monotonicMs();
      // What has lapsed may be in other hands already, or be taken in this moment.
      this.#purge.run({ now });
      this.#renew.run({ now, name });
      return new Set(this.#renewed.all({ name }) as number[]);
    });
  }

  /** Gives up leases: the messages are done, or free at once. */
  async release(ids: Iterable<number>): Promise<void> {
    const { name } = this.#holder;
    await this.#write(() => {
      for (const id of ids) this.#release.run(id, name);
    });
  }

  /** Gives messages back that are free for all after a rest, ms each. */
  async rest(rests: ReadonlyMap<number, number>): Promise<void> {
    const { name } = this.#holder;
    await this.#write(() => {
      const now = monotonicMs();
      for (const [id, ms] of rests) this.#rest.run(now + ms, ms, id, name);
    });
  }

  #write<T>(work: () => T): Promise<T> {
    return writePatiently(this.#db, work, LOCK_DEADLINE_MS);
  }
}

/** Ms since the host started, or since some other instant that all its processes agree on. */
export const monotonicMs = (): number => Number(process.hrtime.bigint() / 1_000n) / 1_000;
