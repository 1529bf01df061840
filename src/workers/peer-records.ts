// Peers with a public key, as the table keeps them: from when on only sessions are spoken with one, what
// `status` shows of it, and under which scope its ids are known. A peer that got a public key, or has
// another one than before, takes its scope with it before anything else of it is stored.

import type { PeerEntry } from "../shared/protocol/session/peer-table.js";
import type { PeerKnown, PeerNote } from "../shared/runtime/messages.js";
import { writeTransaction } from "../shared/store/busy.js";
import type { Connection, Statement } from "../shared/store/driver.js";
import { timeText } from "../shared/store/text-time.js";
import { BootTurns } from "./boot-turns.js";
import { ScopeRename } from "./scope-rename.js";

/**
 * Tombstones younger than this when their boot ends are kept long enough as they are, ms: a day that
 * they live beyond a message, without what {@link RENEWED_MS} may add.
 */
const YOUNG_MS = 23 * 3_600_000;
/** A boot that ends once more this soon has its tombstones not looked through again, ms. */
const RENEWED_MS = 3_600_000;
/** Keys that a peer may have had one after another while a batch waited. */
const MOVES_MAX = 4;
/** Boots of which that is known. */
const RENEWED_MAX = 1_024;

/** The year 2116: whoever stole a key may have used up all stamps of it, but not those of the next one. */
const STAMP_INHERITED_MAX = 2n ** 62n;

type KnownPeer = [publicKey: Buffer, name: string | null];

export class PeerRecords {
  readonly #db: Connection;
  readonly #now: () => number;
  readonly #rename: ScopeRename;
  readonly #ofName: Statement;
  readonly #known: Statement;
  readonly #enter: Statement;
  readonly #unname: Statement;
  readonly #inherit: Statement;
  readonly #inheritStamps: Statement;
  readonly #goClassic: Statement;
  readonly #isSession: Statement;
  readonly #silentSince: Statement;
  readonly #all: Statement;
  readonly #confirm: Statement;
  readonly #confirmed: Statement;
  readonly #note: Statement;
  readonly #up: Statement;
  readonly #down: Statement;
  readonly #bootOf: Statement;
  readonly #renewTombstones: Statement;
  readonly #renewedAt = new Map<string, number>();
  readonly #turns = new BootTurns();
  readonly #report: (sentence: string) => void;
  /** Scopes that became another one since the start. */
  readonly #movedTo = new Map<string, string>();
  #names = new Map<string, string>();
  /** Public keys of peers that the configuration says to speak classic with. */
  #classic: ReadonlySet<string> = new Set();
  /** What the last configuration asks for and is not done yet. */
  #entries: readonly PeerEntry[] = [];

  /** `now`: wall ms since the epoch. */
  constructor(db: Connection, now: () => number, report: (sentence: string) => void) {
    this.#db = db;
    this.#now = now;
    this.#report = report;
    this.#rename = new ScopeRename(db);
    this.#ofName = db.prepare("SELECT public_key, name FROM peers WHERE name = ?").raw();
    this.#known = db.prepare("SELECT name FROM peers WHERE public_key = ?").raw();
    this.#enter = db.prepare(
      `INSERT INTO peers(public_key, name) VALUES (?, ?)
       ON CONFLICT(public_key) DO UPDATE SET name = excluded.name WHERE name IS NOT excluded.name`,
    );
    this.#unname = db.prepare("UPDATE peers SET name = NULL WHERE public_key = ?");
    this.#inherit = db.prepare(
      `UPDATE peers SET (session_since, session_up_since, rotation, boot) =
         (SELECT coalesce(peers.session_since, other.session_since),
            coalesce(peers.session_up_since, other.session_up_since),
            coalesce(peers.rotation, other.rotation), coalesce(peers.boot, other.boot)
          FROM peers AS other WHERE other.public_key = ?)
       WHERE public_key = ?`,
    );
    // Handshakes of the peer under its next key count for it when that becomes the current one.
    this.#inheritStamps = db.prepare(
      `INSERT INTO handshake_stamps(peer_key, sent, accepted)
         SELECT ?, min(sent, ${STAMP_INHERITED_MAX}), min(accepted, ${STAMP_INHERITED_MAX})
         FROM handshake_stamps WHERE peer_key = ?
       ON CONFLICT(peer_key) DO UPDATE SET sent = max(sent, excluded.sent),
         accepted = max(accepted, excluded.accepted)`,
    );
    this.#goClassic = db.prepare(
      `UPDATE peers SET session_since = NULL, session_up_since = NULL
       WHERE (public_key = ? OR name = ?) AND session_since IS NOT NULL`,
    );
    this.#isSession = db
      .prepare(
        `SELECT 1 FROM peers
         WHERE (public_key = ? OR name = ?) AND session_since IS NOT NULL LIMIT 1`,
      )
      .pluck();
    this.#silentSince = db.prepare(
      `UPDATE peers SET classic_since = CASE WHEN ? > 0 THEN coalesce(classic_since, ?) END
       WHERE public_key = ?`,
    );
    this.#all = db.prepare("SELECT public_key, name, rotation FROM peers").raw();
    this.#confirm = db.prepare(
      `INSERT INTO peers(public_key, session_since) VALUES (?, ?)
       ON CONFLICT(public_key) DO UPDATE
         SET session_since = coalesce(session_since, excluded.session_since),
           classic_since = NULL`,
    );
    this.#confirmed = db
      .prepare("SELECT public_key FROM peers WHERE session_since IS NOT NULL")
      .pluck();
    this.#note = db.prepare(
      `UPDATE peers SET boot = coalesce(?, boot),
         last_handshake_at = coalesce(?, last_handshake_at), skew_ms = coalesce(?, skew_ms),
         endpoint = coalesce(?, endpoint),
         handshakes_unanswered = coalesce(?, handshakes_unanswered),
         session_up_since = CASE WHEN ? THEN ? ELSE session_up_since END
       WHERE public_key = ?`,
    );
    this.#up = db
      .prepare("SELECT public_key FROM peers WHERE session_up_since IS NOT NULL")
      .pluck();
    this.#down = db.prepare("UPDATE peers SET session_up_since = NULL WHERE public_key = ?");
    this.#bootOf = db.prepare("SELECT boot FROM peers WHERE public_key = ?").pluck();
    this.#renewTombstones = db.prepare(
      "UPDATE OR FAIL tombstones SET deleted_at = ? WHERE peer = ? AND boot = ? AND deleted_at < ?",
    );
  }

  /** What people call the peer with this scope. */
  nameOf(scope: string): string {
    return this.#names.get(scope) ?? scope;
  }

  /** Takes a configuration over. What that writes is done by {@link settle}. */
  adopt(entries: readonly PeerEntry[]): void {
    this.#entries = entries;
    this.#classic = new Set(
      entries.flatMap(({ publicKey, mode }) => (mode === "classic" ? (publicKey ?? []) : [])),
    );
    this.#names = new Map();
    for (const { publicKey, name } of entries) {
      this.#movedTo.delete(name);
      if (publicKey === undefined) continue;
      this.#names.set(publicKey, name);
      this.#movedTo.set(name, publicKey);
      this.#movedTo.delete(publicKey);
    }
  }

  /**
   * The scope by now of what main gathered under this one: a batch may be older than the configuration,
   * and what it holds must be known to the peer that sends it again.
   */
  scopeNow(scope: string): string {
    let now = scope;
    for (let steps = 0; steps < MOVES_MAX; steps++) now = this.#movedTo.get(now) ?? now;
    return now;
  }

  /** Scopes of the peers that are configured. */
  get scopes(): ReadonlySet<string> {
    return new Set(this.#names.keys());
  }

  /**
   * Enters the peers and moves their scopes. Called in front of every job that stores: throws when the
   * lock is not to be had, and goes on at the next call.
   */
  settle(deadlineMs: number): void {
    if (this.#entries.length === 0) return;
    for (const { name, publicKey, mode } of this.#entries) {
      if (publicKey !== undefined) this.#enterPeer(name, publicKey, deadlineMs);
      if (mode !== "classic") continue;
      // On purpose: the other host returned to the older daemon.
      const key = publicKey === undefined ? null : Buffer.from(publicKey, "base64");
      if (this.#isSession.get(key, name) === undefined) continue;
      writeTransaction(this.#db, () => this.#goClassic.run(key, name), { deadlineMs });
    }
    for (const key of this.#up.all() as Buffer[]) {
      if (this.#names.has(key.toString("base64"))) continue;
      writeTransaction(this.#db, () => this.#down.run(key), { deadlineMs });
    }
    this.#entries = [];
  }

  #enterPeer(name: string, publicKey: string, deadlineMs: number): void {
    const key = Buffer.from(publicKey, "base64");
    const known = this.#known.get(key) as [string | null] | undefined;
    const before = (this.#ofName.all(name) as KnownPeer[]).filter(([other]) => !other.equals(key));
    const scopes = new Map<string, Buffer | undefined>([[name, undefined]]);
    for (const [other] of before) {
      // Another peer of the configuration has that key: names were exchanged, not keys.
      const scope = other.toString("base64");
      if (known === undefined && !this.#names.has(scope)) scopes.set(scope, other);
    }
    for (const from of scopes.keys()) {
      this.#movedTo.set(from, publicKey);
      if (this.#rename.due(from)) this.#rename.run(from, publicKey, deadlineMs);
    }
    if (known?.[0] === name && before.length === 0) return;
    writeTransaction(
      this.#db,
      () => {
        this.#enter.run(key, name);
        for (const other of scopes.values()) {
          if (other === undefined) continue;
          this.#inherit.run(other, key);
          this.#inheritStamps.run(key, other);
        }
        for (const [other] of before) this.#unname.run(other);
      },
      { deadlineMs },
    );
  }

  /** All that is known. */
  all(): readonly PeerKnown[] {
    const rows = this.#all.all() as [Buffer, string | null, string | null][];
    return rows.map(([key, name, rotation]) => ({
      peer: key.toString("base64"),
      name: name ?? undefined,
      rotation: rotation ?? undefined,
    }));
  }

  /** Public keys, in base64, of peers with which only sessions are spoken. */
  sessionSince(): readonly string[] {
    return (this.#confirmed.all() as Buffer[]).map((key) => key.toString("base64"));
  }

  /**
   * Commits that only sessions are spoken with the peer. Not when the configuration says classic by now:
   * a session that was confirmed a moment ago must not undo that.
   */
  confirm(publicKey: string, deadlineMs: number): void {
    if (this.#classic.has(publicKey)) return;
    const key = Buffer.from(publicKey, "base64");
    const now = timeText(this.#now());
    writeTransaction(this.#db, () => this.#confirm.run(key, now), { deadlineMs });
  }

  /** Writes what `status` shows. */
  note(notes: readonly PeerNote[], deadlineMs: number): void {
    if (notes.length === 0) return;
    const renewed: string[] = [];
    writeTransaction(
      this.#db,
      () => {
        for (const note of notes) {
          const at = note.lastHandshakeAt;
          if (note.boot !== undefined) this.#bootBegins(note.peer, note.boot, renewed);
          this.#note.run(
            note.boot === undefined ? null : Buffer.from(note.boot),
            at === undefined ? null : timeText(at),
            note.skewMs === undefined ? null : Math.round(note.skewMs),
            note.endpoint ?? null,
            note.handshakesUnanswered ?? null,
            note.sessionUpSince === undefined ? 0 : 1,
            typeof note.sessionUpSince === "number" ? timeText(note.sessionUpSince) : null,
            Buffer.from(note.peer, "base64"),
          );
          const unanswered = note.handshakesUnanswered;
          if (unanswered === undefined) continue;
          const now = timeText(this.#now());
          this.#silentSince.run(unanswered, now, Buffer.from(note.peer, "base64"));
        }
      },
      { deadlineMs },
    );
    if (this.#renewedAt.size + renewed.length > RENEWED_MAX) this.#renewedAt.clear();
    for (const name of renewed) this.#renewedAt.set(name, this.#now());
    for (const { peer, boot } of notes) {
      if (boot !== undefined && this.#turns.begins(peer, boot, this.#now())) {
        this.#report(clonedSentence(this.nameOf(peer)));
      }
    }
  }

  /**
   * What the boot before had no receipt for comes again in this one: what is kept because of it is kept
   * for a whole life from now on, see retention.ts.
   */
  #bootBegins(peer: string, boot: Uint8Array, renewed: string[]): void {
    const before = this.#bootOf.get(Buffer.from(peer, "base64")) as Buffer | null | undefined;
    if (!(before instanceof Uint8Array) || before.equals(boot)) return;
    const now = this.#now();
    const name = `${peer} ${before.toString("hex")}`;
    const ago = now - (this.#renewedAt.get(name) ?? Number.NEGATIVE_INFINITY);
    if (ago >= 0 && ago < RENEWED_MS) return;
    this.#renewTombstones.run(timeText(now), peer, before, timeText(now - YOUNG_MS));
    renewed.push(name);
  }
}

const clonedSentence = (peer: string): string =>
  `peer ${peer} runs twice: two processes with its key take turns, as when its disk was copied and both ` +
  "hosts are up; stop one of them, or give it a key of its own (securedgram key new)";

/** No session is up: at the start of the daemon, and at its end. Runs inside a transaction. */
export function noteAllDown(db: Connection): void {
  db.exec("UPDATE peers SET session_up_since = NULL WHERE session_up_since IS NOT NULL");
}
