import assert from "node:assert/strict";
import { statSync } from "node:fs";
import { join } from "node:path";
import { describe, type TestContext, test } from "node:test";
import { Purge, vacuum } from "../../src/main/client/purge.js";
import { parseArguments } from "../../src/main/commands/arguments.js";
import { cleanCommand } from "../../src/main/commands/clean.js";
import type { Io } from "../../src/main/commands/io.js";
import { type Connection, connect } from "../../src/shared/store/driver.js";
import { WAL_BYTES_KEPT } from "../../src/shared/store/log-length.js";
import { openDatabase } from "../../src/shared/store/open.js";
import { database, folder, insertInbound, run } from "./programs.js";

const OLD = "2026-01-01T00:00:00.000";
const BEFORE = ["--before", "2026-02-01"];

/** A database with a row of each state, old and new, read and unread. */
function filled(t: TestContext): { readonly directory: string; readonly db: Connection } {
  const directory = folder(t);
  const db = database(t, directory);
  let number = 0;
  for (const updatedAt of [OLD, "2026-02-01T00:00:00.000"]) {
    for (const state of ["received", "ack_sent", "ack_failed"]) {
      for (const readCount of [0, 1]) {
        number += 1;
        insertInbound(db, { number, state, readCount, updatedAt });
      }
    }
    for (const state of ["pending", "sending", "sent", "acknowledged", "send_failed"]) {
      db.prepare(
        `INSERT INTO outbound_messages (dst_addr, dst_port, state, updated_at, payload)
         VALUES ('h', 1, ?, ?, '{}')`,
      ).run(state, updatedAt);
    }
  }
  return { directory, db };
}

const left = (db: Connection): string => {
  const rows = db
    .prepare(
      `SELECT state FROM outbound_messages WHERE updated_at = ?
       UNION ALL
       SELECT state || read_count FROM inbound_messages WHERE updated_at = ?`,
    )
    .pluck()
    .all(OLD, OLD) as string[];
  return rows.join(" ");
};
const countAll = (db: Connection): number =>
  db
    .prepare(
      "SELECT (SELECT count(*) FROM outbound_messages) + (SELECT count(*) FROM inbound_messages)",
    )
    .pluck()
    .get() as number;

const KEPT = "pending sending sent received0 received1 ack_sent0 ack_failed0";

describe("sg-clean", { concurrency: 2 }, () => {
  test("deletes old rows in final states, inbound ones only when read, and leaves tombstones", async (t) => {
    const { directory, db } = filled(t);

    const ended = await run(t, "sg-clean", ["-y", ...BEFORE], { directory });

    assert.deepEqual(ended, {
      code: 0,
      stderr: "",
      stdout: `Cutoff: 2026-02-01 00:00:00 UTC (messages last updated before this time)

  Outbound: 2 rows to delete
    acknowledged: 1
    send_failed: 1
  Inbound: 2 rows to delete
    ack_failed: 1
    ack_sent: 1

  Outbound: 2 rows deleted
  Inbound: 2 rows deleted

Total: 4 rows deleted.
Running VACUUM to reclaim disk space...
VACUUM complete.
`,
    });
    assert.equal(left(db), KEPT);
    assert.equal(countAll(db), 18);
    assert.equal(db.prepare("SELECT count(*) FROM tombstones").pluck().get(), 2);
  });

  test("an age counts back from now, in s, m, h, d and w", async (t) => {
    const { directory, db } = filled(t);
    insertInbound(db, {
      number: 99,
      readCount: 1,
      updatedAt: new Date().toISOString().slice(0, 23),
    });

    for (const age of ["30s", "15m", "24h", "7d", "4w"]) {
      const ended = await run(t, "sg-clean", ["--dry-run", "--inbound-only", age], { directory });
      assert.match(ended.stdout, / {2}Inbound: 4 rows to delete\n/, age);
    }
    const all = await run(t, "sg-clean", ["--dry-run", "--inbound-only", "0s"], { directory });
    const none = await run(t, "sg-clean", ["5000w"], { directory });

    assert.match(all.stdout, / {2}Inbound: 5 rows to delete\n/);
    assert.match(none.stdout, /\n\nNothing to delete\.\n$/);
  });

  test("--dry-run only counts", async (t) => {
    const { directory, db } = filled(t);

    const ended = await run(t, "sg-clean", ["--dry-run", ...BEFORE], { directory });

    assert.match(ended.stdout, /\n\n\(dry run - no rows were deleted\)\n$/);
    assert.equal(countAll(db), 22);
  });

  test("asks, and only y or yes means yes", async (t) => {
    const { directory, db } = filled(t);

    for (const stdin of ["", "\n", "n\n", "no y\n"]) {
      const ended = await run(t, "sg-clean", BEFORE, { directory, stdin });
      assert.equal(ended.code, 0);
      assert.match(ended.stdout, /\n\nCancelled\.\n$/);
      assert.match(ended.stderr, /^Delete 4 rows\? \[y\/N\] /);
      assert.equal(countAll(db), 22);
    }
    const ended = await run(t, "sg-clean", BEFORE, { directory, stdin: "Y\n" });

    assert.match(ended.stdout, /Total: 4 rows deleted\./);
    assert.equal(countAll(db), 18);
  });

  const selections: readonly (readonly [string, readonly string[], string])[] = [
    [
      "--outbound-only",
      ["--outbound-only"],
      "pending sending sent received0 received1 ack_sent0 ack_sent1 ack_failed0 ack_failed1",
    ],
    [
      "--inbound-only",
      ["--inbound-only"],
      "pending sending sent acknowledged send_failed received0 received1 ack_sent0 ack_failed0",
    ],
    ["--include-unread", ["--include-unread"], "pending sending sent received0 received1"],
    [
      "-s of one state",
      ["-s", "pending"],
      "sending sent acknowledged send_failed received0 received1 ack_sent0 ack_sent1 ack_failed0 ack_failed1",
    ],
    [
      "-s of unread ones",
      ["--state=ack_sent", "--include-unread"],
      "pending sending sent acknowledged send_failed received0 received1 ack_failed0 ack_failed1",
    ],
    ["--all-states", ["--all-states"], ""],
  ];
  for (const [name, line, kept] of selections) {
    test(`${name} selects what it says`, async (t) => {
      const { directory, db } = filled(t);

      const ended = await run(t, "sg-clean", ["-y", "--no-vacuum", ...line, ...BEFORE], {
        directory,
      });

      assert.equal(ended.code, 0);
      assert.equal(left(db), kept);
      assert.equal(ended.stdout.includes("VACUUM"), false);
      assert.equal(ended.stderr.startsWith("DANGEROUS"), name === "--all-states");
    });
  }
});

describe("sg-clean beside a daemon", () => {
  test("many rows go in pieces between which others can write", async (t) => {
    const directory = folder(t);
    const db = database(t, directory);
    db.transaction(() => {
      for (let number = 1; number <= 7_000; number++) {
        insertInbound(db, { number, readCount: 1, updatedAt: OLD });
      }
    })();
    const client = openDatabase(join(directory, "securedgram.db"), {
      role: "client",
      create: false,
    });
    t.after(() => client.close());
    const rule = { cutoff: "2026-02-01", state: undefined, includeUnread: false };

    let over = false;
    const deleting = new Purge(client, "inbound", rule).delete().finally(() => {
      over = true;
    });
    const seen = new Set<number>();
    while (!over) {
      // Throws when the lock is held: this connection does not wait.
      db.exec("BEGIN IMMEDIATE; COMMIT");
      seen.add(countAll(db));
      await new Promise((resolve) => setImmediate(resolve));
    }

    assert.equal(await deleting, 7_000);
    assert.deepEqual([...seen], [5_000, 3_000, 1_000]);
    assert.equal(db.prepare("SELECT count(*) FROM tombstones").pluck().get(), 7_000);
  });

  test("a long log is begun anew on the way, and cut: no daemon need be there for that", async (t) => {
    const directory = folder(t);
    const db = database(t, directory);
    db.pragma("wal_autocheckpoint = 0");
    db.transaction(() => {
      for (let number = 1; number <= 5_000; number++) {
        insertInbound(db, { number, readCount: 1, updatedAt: OLD });
      }
    })();
    const path = join(directory, "securedgram.db");
    const walBytes = (): number => statSync(`${path}-wal`).size;
    const fill = db.prepare(
      "INSERT INTO outbound_messages(dst_addr, dst_port, payload) VALUES ('h', 1, zeroblob(8388608))",
    );
    while (walBytes() <= WAL_BYTES_KEPT) fill.run();
    const client = openDatabase(path, { role: "client", create: false });
    t.after(() => client.close());
    const rule = { cutoff: "2026-02-01", state: undefined, includeUnread: false };

    assert.equal(await new Purge(client, "inbound", rule).delete(), 5_000);

    assert.ok(walBytes() <= WAL_BYTES_KEPT, `${walBytes()} bytes`);
  });

  test("a busy database costs the VACUUM, not the cleaning", async (t) => {
    const { directory, db } = filled(t);
    const said: string[] = [];
    const printed: string[] = [];
    const io: Io = {
      program: "sg-clean",
      environment: {},
      directory,
      stdinIsTerminal: false,
      stderrIsTerminal: false,
      stdinBytes: () => undefined,
      stdin: () => assert.fail("-y asks nothing"),
      write: async (text) => {
        printed.push(String(text));
        if (String(text).startsWith("Running VACUUM")) db.exec("BEGIN IMMEDIATE");
      },
      say: (line) => said.push(line),
      prompt: () => undefined,
      interruption: () => assert.fail("it ends by itself"),
    };
    const line = ["-y", "--db", join(directory, "securedgram.db"), ...BEFORE];
    const code = await cleanCommand.run(argumentsOf(line), io);
    db.exec("COMMIT");

    assert.equal(code, 0);
    assert.equal(countAll(db), 18);
    assert.equal(printed.at(-1), "Running VACUUM to reclaim disk space...\n");
    assert.match(said.join("\n"), /^VACUUM skipped: the database is in use\. [^\n]+$/);
  });

  test("a file that allows it gives its pages back step by step", async (t) => {
    const directory = folder(t);
    const db = connect(join(directory, "steps.db"), {});
    t.after(() => db.close());
    db.exec("PRAGMA auto_vacuum = INCREMENTAL; CREATE TABLE rows(value)");
    db.exec(
      "INSERT INTO rows WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000) SELECT randomblob(4000) FROM n",
    );
    db.exec("DELETE FROM rows");
    const before = Number(db.pragma("page_count", { simple: true }));

    await vacuum(db, 1_000);

    assert.ok(before > 3_000);
    assert.equal(db.pragma("freelist_count", { simple: true }), 0);
  });
});

/** What the program makes of a line, for a command that runs in this process. */
const argumentsOf = (line: readonly string[]): Parameters<typeof cleanCommand.run>[0] =>
  parseArguments("sg-clean", cleanCommand, line) as Parameters<typeof cleanCommand.run>[0];

describe("sg-clean refuses in one line", { concurrency: 2 }, () => {
  const AGE =
    "Write a number and s, m, h, d or w (30s, 15m, 24h, 7d, 4w); or YYYY-MM-DD or YYYY-MM-DDTHH:MM:SS, UTC unless a zone follows.";
  const refusals: readonly (readonly [string, readonly string[], string])[] = [
    [
      "no age",
      [],
      "sg-clean: the age is missing. Say how old: sg-clean 7d, or --before 2026-01-31.",
    ],
    ["bare number", ["7"], `sg-clean: "7" is no age. ${AGE}`],
    ["wrong suffix", ["7y"], `sg-clean: "7y" is no age. ${AGE}`],
    ["age before all time", ["999999999999w"], `sg-clean: "999999999999w" is no age. ${AGE}`],
    ["wrong time", ["--before", "2026-13-01"], `sg-clean: "2026-13-01" is no age. ${AGE}`],
    [
      "two ages",
      ["7d", "--before", "2026-01-01"],
      "sg-clean: there is an AGE and --before. Give one of them.",
    ],
    [
      "both only",
      ["7d", "--outbound-only", "--inbound-only"],
      "sg-clean: --outbound-only and --inbound-only exclude each other. Give one of them.",
    ],
    [
      "state and all",
      ["7d", "-s", "sent", "--all-states"],
      "sg-clean: --state and --all-states exclude each other. Give one of them.",
    ],
    [
      "unknown state",
      ["7d", "-s", "acknowleged"],
      'sg-clean: there is no state "acknowleged". Did you mean acknowledged?',
    ],
    [
      "state of the other table",
      ["7d", "--inbound-only", "-s", "sent"],
      'sg-clean: there is no state "sent". States: received, ack_sent, ack_failed.',
    ],
    [
      "wrong flag",
      ["--dry-rum", "7d"],
      'sg-clean: unknown option "--dry-rum". Did you mean --dry-run?',
    ],
  ];
  for (const [name, line, says] of refusals) {
    test(name, async (t) => {
      const { directory, db } = filled(t);

      const ended = await run(t, "sg-clean", line, { directory, stdin: "y\n" });

      assert.deepEqual(ended, { code: 2, stdout: "", stderr: `${says}\n` });
      assert.equal(countAll(db), 22);
    });
  }
});
