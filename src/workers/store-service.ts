// The store as db.worker.ts offers it: one job after another on one connection, so that everything
// written to the file by the daemon is in one order. Also keeps the time: looks for rows when another
// process committed, and tends what is due when nothing else is.

import { type ErrorData, errorData } from "../shared/base/errors.js";
import type { StampSpan } from "../shared/protocol/sealed-stamps.js";
import type {
  StoreJob,
  StoreOpened,
  StoreOptions,
  StoreResult,
} from "../shared/runtime/messages.js";
import { Reporter } from "../shared/runtime/reporter.js";
import { nap, writeTransaction } from "../shared/store/busy.js";
import type { Connection } from "../shared/store/driver.js";
import { restartLog, WAL_BYTES_KEPT } from "../shared/store/log-length.js";
import { openDatabaseFile } from "../shared/store/open.js";
import { SCHEMA_VERSION } from "../shared/store/schema.js";
import { storeError, writeFailure } from "../shared/store/sqlite-error.js";
import { randomBytes } from "./aead.js";
import { Inbox } from "./inbox.js";
import { OpenFiles } from "./open-files.js";
import { Outbox } from "./outbox.js";
import { payloadDigest } from "./payload-digest.js";
import { noteAllDown } from "./peer-records.js";
import { recover } from "./recover.js";
import { Retention } from "./retention.js";
import { writeSealed } from "./sealed-spans.js";
import { SessionStore } from "./session-store.js";
import { rowsOf, Settler } from "./settle.js";
import { Wake } from "./wake.js";

/** Wait for the write lock before a job is given back as busy, ms. */
const JOB_DEADLINE_MS = 500;
const OPEN_DEADLINE_MS = 10_000;
/** While an order waits: look at least this often, ms. Source: store.md, waking up. */
const POLL_MS = 25;
/** The same when nothing was heard for a while and both files are watched: less than 0.5 % of a core. */
const POLL_QUIET_MS = 250;
const QUIET_AFTER_MS = 1_000;
/** After an event of the WAL the commit is not visible yet: looks, and naps between them. */
const LOOKS = 4;
const LOOK_NAP_MS = 0.2;
/** Events this soon after a write of our own are most likely about that, ms: no naps for them. */
const OWN_WRITE_MS = 5;
/** Looks behind those, which do not hold up the thread, and the wait between them, ms. */
const LATER_LOOKS = 3;
const LATER_LOOK_MS = 1;
const TEND_MS = 1_000;
const TEND_SOON_MS = 20;
/** Unless the options say otherwise. */
const FILE_CHECK_MS = 60_000;
/** Longest wait for whoever reads or writes while the log is to begin anew, and between two tries, ms. */
const LOG_DEADLINE_MS = 100;
const LOG_PAUSE_MS_MAX = 60_000;
/** A log of this length means that a reader keeps it from being reset, bytes. */
const WAL_BYTES_ALARM = 256 * 1_024 * 1_024;

type Post = (result: StoreResult, transfer: readonly ArrayBuffer[]) => void;

/** Everything that exists while the database is open. */
interface Open {
  readonly db: Connection;
  readonly path: string;
  readonly files: OpenFiles;
  readonly fileCheckMs: number;
  readonly walBytesAlarm: number;
  readonly outbox: Outbox;
  readonly inbox: Inbox;
  readonly settler: Settler;
  readonly retention: Retention;
  readonly wake: Wake;
  readonly sessions: SessionStore;
}

export class StoreService {
  readonly #post: Post;
  readonly #reporter: Reporter;
  #open: Open | undefined;
  /** When this thread last wrote to the WAL, monotonic ms. */
  #wroteAt = Number.NEGATIVE_INFINITY;
  #laterLooks = 0;
  /** When another process, or a lease, last gave a sign, monotonic ms. */
  #heardAt = 0;
  #lookTimer: NodeJS.Timeout | undefined;
  #pollTimer: NodeJS.Timeout | undefined;
  #tendTimer: NodeJS.Timeout | undefined;
  #soon: NodeJS.Immediate | undefined;
  #fileCheckedAt = 0;
  #walAlarmed = false;
  #logPauseMs = 0;
  #logTriedAt = 0;

  constructor(post: Post) {
    this.#post = post;
    this.#reporter = new Reporter(
      (sentence) => post({ kind: "reported", sentence }, []),
      () => performance.now(),
    );
  }

  // --- Control ------------------------------------------------------------------------------------

  open(options: StoreOptions): StoreOpened | { readonly error: ErrorData } {
    try {
      const { path, synchronous, pagesMax, quotaBytes, lifeSeconds } = options;
      const opened = openDatabaseFile(path, {
        role: "daemon",
        create: true,
        synchronous,
        pagesMax,
        digestOf: payloadDigest,
      });
      const { db } = opened;
      const recovered = recover(db, Date.now(), OPEN_DEADLINE_MS);
      const now = (): number => Date.now();
      const report = (sentence: string): void => this.#reporter.report(sentence);
      const sessions = this.#sessionStore(db, opened.path, quotaBytes);
      const outbox = new Outbox(db, {
        now,
        monotonic: () => performance.now(),
        randomBytes,
        report,
        lifeSeconds,
        routes: sessions,
      });
      this.#open = {
        db,
        path: opened.path,
        files: new OpenFiles(opened.path),
        fileCheckMs: options.fileCheckMs ?? FILE_CHECK_MS,
        walBytesAlarm: options.walBytesAlarm ?? WAL_BYTES_ALARM,
        outbox,
        inbox: new Inbox(db, {
          digestOf: payloadDigest,
          report,
          now,
          quotaBytes,
          spooledOf: (scope) => sessions.spooledOf(scope),
        }),
        settler: new Settler(db, outbox.lanes, now),
        retention: new Retention(db, { now, monotonic: () => performance.now(), report }),
        wake: new Wake(opened.path, {
          onDoorbell: () => {
            this.#heard();
            this.#answer();
          },
          onWal: () => this.#walChanged(),
          report,
        }),
        sessions,
      };
      const left = this.#open.sessions.load();
      this.#open.wake.start();
      this.#tendLater(TEND_MS);
      return { schemaVersion: SCHEMA_VERSION, migrated: opened.migrated, ...recovered, ...left };
    } catch (thrown) {
      this.close();
      return { error: errorData(storeError(options.path, thrown)) };
    }
  }

  #sessionStore(db: Connection, path: string, quotaBytes: number): SessionStore {
    return new SessionStore(db, {
      path,
      quotaBytes,
      deadlineMs: JOB_DEADLINE_MS,
      now: () => Date.now(),
      report: (sentence) => this.#reporter.report(sentence),
      post: (result, transfer) => this.#post(result, transfer),
      wrote: () => {
        this.#wroteAt = performance.now();
      },
      broke: (thrown) => this.#break(thrown),
    });
  }

  counters(): Readonly<Record<string, number>> {
    const open = this.#open;
    if (open === undefined) return {};
    return {
      rows_out: open.outbox.lanes.outRows.size,
      destinations_known: open.outbox.lanes.destinations.size,
      tombstones_evicted: open.retention.evicted,
    };
  }

  /** Checkpoints and closes; what comes afterwards is ignored. `sealed`: see StoreControl. */
  close(sealed?: readonly StampSpan[]): { readonly error: ErrorData } | undefined {
    const open = this.#open;
    this.#stop();
    if (open === undefined) return undefined;
    try {
      if (sealed !== undefined) writeSealed(open.db, sealed, JOB_DEADLINE_MS);
    } catch {
      // The reservation stays: acknowledgements are ignored a little longer after the next start.
    }
    try {
      writeTransaction(open.db, () => noteAllDown(open.db), { deadlineMs: JOB_DEADLINE_MS });
    } catch {
      // The next start says so.
    }
    try {
      open.db.pragma("wal_checkpoint(TRUNCATE)");
    } catch {
      // A reader is in the way: the log is replayed at the next start.
    }
    try {
      open.files.check(open.db);
      return undefined;
    } catch (thrown) {
      return { error: errorData(storeError(open.path, thrown)) };
    } finally {
      open.db.close();
    }
  }

  // --- Jobs ---------------------------------------------------------------------------------------

  handle(job: StoreJob): void {
    const open = this.#open;
    if (open === undefined) return;
    switch (job.kind) {
      case "lease":
        open.outbox.order(job);
        this.#answer();
        return;
      case "limit":
        open.outbox.limit(job.address, job.port, job.rowsMax);
        this.#answer();
        return;
      case "store":
        this.#guarded("store", () => {
          open.sessions.settlePeers();
          const scopes = job.batch.scopes.map((scope) => open.sessions.scopeNow(scope));
          const batch = { ...job.batch, scopes };
          open.inbox.store(batch, JOB_DEADLINE_MS);
          this.#post({ kind: "stored", batch }, [batch.bytes]);
        });
        return;
      case "settle":
        this.#guarded("settle", () => {
          const rows = open.settler.settle(job.settlement, JOB_DEADLINE_MS);
          if (rows < rowsOf(job.settlement)) open.outbox.wantWalk();
          open.outbox.takeBack(job.settlement.givenBack);
          this.#post({ kind: "settled", rows }, []);
        });
        this.#answer();
        return;
      case "reserve":
        this.#guarded("reserve", () => {
          writeSealed(open.db, job.spans, JOB_DEADLINE_MS);
          this.#post({ kind: "reserved", stamp: job.stamp }, []);
        });
        return;
      case "configure":
        open.outbox.configure(job.lifeSeconds);
        open.inbox.configure(job.quotaBytes);
        open.sessions.configure(job.quotaBytes);
        return;
      default:
        try {
          open.sessions.handle(job);
        } catch (thrown) {
          this.#break(thrown);
        }
    }
  }

  /** Runs a job that writes; says busy or full, or that the store must not go on. */
  #guarded(job: "store" | "settle" | "reserve", run: () => void): void {
    try {
      run();
      this.#wroteAt = performance.now();
    } catch (thrown) {
      const code = writeFailure(thrown);
      if (code === "broken") this.#break(thrown);
      else this.#post({ kind: "failed", job, code }, []);
    }
  }

  /** A failed sync, a damaged file, or a bug: what is on disk is unknown, so nothing goes on. */
  #break(thrown: unknown): void {
    const open = this.#open;
    if (open === undefined) return;
    this.#stop();
    try {
      open.db.close();
    } catch {
      // It is broken already.
    }
    this.#post({ kind: "broken", error: errorData(storeError(open.path, thrown)) }, []);
  }

  #stop(): void {
    this.#open?.wake.stop();
    this.#open?.sessions.close();
    this.#open = undefined;
    clearTimeout(this.#pollTimer);
    clearTimeout(this.#tendTimer);
    clearImmediate(this.#soon);
    clearTimeout(this.#lookTimer);
    this.#lookTimer = undefined;
    this.#pollTimer = undefined;
    this.#tendTimer = undefined;
    this.#soon = undefined;
  }

  // --- Time ---------------------------------------------------------------------------------------

  /** Answers the order that waits, or arranges to look again. */
  #answer(): void {
    const open = this.#open;
    if (open === undefined || !open.outbox.waiting) return;
    try {
      const leased = open.outbox.poll();
      if (leased !== undefined) {
        this.#wroteAt = performance.now();
        this.#post(leased, [leased.batch.bytes]);
      }
    } catch (thrown) {
      // A read that found a lock in its way is tried again at the next look.
      if (writeFailure(thrown) !== "busy") return this.#break(thrown);
    }
    if (!open.outbox.waiting) return;
    if (open.outbox.busy) {
      this.#soon ??= setImmediate(() => {
        this.#soon = undefined;
        this.#answer();
      });
    } else {
      this.#pollLater(open);
    }
  }

  #pollLater(open: Open): void {
    this.#pollTimer ??= setTimeout(() => {
      this.#pollTimer = undefined;
      this.#answer();
    }, this.#pollDelay(open));
  }

  /** A commit that takes long to sync is found by polling: quick polls follow every sign of life. */
  #pollDelay({ wake }: Open): number {
    const quiet = performance.now() - this.#heardAt > QUIET_AFTER_MS;
    return quiet && wake.watching ? POLL_QUIET_MS : POLL_MS;
  }

  /** From quick polls to slow ones is a matter of waiting; back it goes at once. */
  #heard(): void {
    this.#heardAt = performance.now();
    if (this.#pollTimer === undefined) return;
    clearTimeout(this.#pollTimer);
    this.#pollTimer = undefined;
  }

  #walChanged(): void {
    const open = this.#open;
    if (open === undefined || !open.outbox.waiting) return;
    const own = performance.now() - this.#wroteAt < OWN_WRITE_MS;
    if (!own) this.#heard();
    for (let looks = own ? 1 : LOOKS; ; looks--) {
      if (open.outbox.changed()) return this.#answer();
      if (looks === 1) break;
      nap(LOOK_NAP_MS);
    }
    this.#laterLooks = LATER_LOOKS;
    this.#lookLater();
    this.#pollLater(open);
  }

  /** Looks once more in a moment: the commit behind an event can take as long as a sync. */
  #lookLater(): void {
    if (this.#lookTimer !== undefined || this.#laterLooks === 0) return;
    this.#lookTimer = setTimeout(() => {
      this.#lookTimer = undefined;
      this.#laterLooks -= 1;
      if (this.#open?.outbox.waiting !== true) return;
      if (this.#open.outbox.changed()) this.#answer();
      else this.#lookLater();
    }, LATER_LOOK_MS);
  }

  #tendLater(delayMs: number): void {
    this.#tendTimer = setTimeout(() => this.#tend(), delayMs);
  }

  #tend(): void {
    const open = this.#open;
    if (open === undefined) return;
    let more = false;
    try {
      more = open.outbox.tend();
      more = open.retention.step(0) || more;
      more = open.sessions.tend() || more;
      this.#boundLog(open);
      this.#checkFile(open);
    } catch (thrown) {
      if (writeFailure(thrown) === "broken") return this.#break(thrown);
    }
    this.#reporter.flush();
    this.#tendLater(more ? TEND_SOON_MS : TEND_MS);
  }

  /** A reader may be in the way for hours: the pauses between two tries grow. */
  #boundLog({ db, files }: Open): void {
    const now = performance.now();
    if (now - this.#logTriedAt < this.#logPauseMs || files.logBytes <= WAL_BYTES_KEPT) return;
    this.#logTriedAt = now;
    const done = restartLog(db, LOG_DEADLINE_MS);
    this.#logPauseMs = done ? 0 : Math.min(LOG_PAUSE_MS_MAX, 2 * this.#logPauseMs + TEND_MS);
  }

  /** The paths must still name the files that are open, or messages go where nobody looks. */
  #checkFile({ db, files, fileCheckMs, walBytesAlarm, wake }: Open): void {
    const now = performance.now();
    if (now - this.#fileCheckedAt < fileCheckMs) return;
    this.#fileCheckedAt = now;
    wake.start();
    files.check(db);
    const walBytes = files.logBytes;
    if (walBytes > walBytesAlarm && !this.#walAlarmed) {
      const mebibytes = Math.round(walBytes / 1_048_576);
      this.#reporter.report(
        `the write-ahead log has ${mebibytes} MiB: a program keeps a read transaction open`,
      );
    }
    this.#walAlarmed = walBytes > walBytesAlarm;
  }
}
