import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { describe, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { MessagePages } from "../../src/client/message-pages.js";
import { CommitWatch } from "../../src/client/watch.js";
import { follow } from "../../src/main/commands/recv.js";
import type { Connection } from "../../src/shared/store/driver.js";
import { openDatabase } from "../../src/shared/store/open.js";
import {
  database,
  endOf,
  entryOf,
  folder,
  idOf,
  insertInbound,
  run,
  start,
  until,
} from "./programs.js";

const readCounts = (db: Connection): readonly number[] =>
  db.prepare("SELECT read_count FROM inbound_messages ORDER BY id").pluck().all() as number[];

const numbersOf = (text: string): readonly number[] =>
  (JSON.parse(text) as { payload: { n: number } }[]).map(({ payload }) => payload.n);

function insertOutbound(db: Connection, to: string, state: string): void {
  db.prepare(
    "INSERT INTO outbound_messages (dst_addr, dst_port, state, payload) VALUES (?, 61773, ?, '{}')",
  ).run(to, state);
}

describe("sg-recv", { concurrency: 2 }, () => {
  test("unread messages come newest first, pretty, and are marked", async (t) => {
    const directory = folder(t);
    const db = database(t, directory);
    insertInbound(db, { number: 1, readCount: 2 });
    insertInbound(db, { number: 2 });
    insertInbound(db, { number: 3, payload: '{"a":[],"b":{ },"c":[1,{"d":"x"}]}' });

    const ended = await run(t, "sg-recv", [], { directory });

    assert.equal(ended.stderr, "");
    const head = ended.stdout.slice(0, ended.stdout.indexOf('"received_at"'));
    const expected = `[
  {
    "id": 3,
    "message_id": "${idOf(3)}",
    "src_addr": "10.0.0.1",
    "src_port": 61773,
    "payload": {
      "a": [],
      "b": {},
      "c": [
        1,
        {
          "d": "x"
        }
      ]
    },
    "crypto_timestamp": "2026-01-02T03:04:05.000000006",
    "state": "ack_sent",
    "ack_sent": 1,
    "read_count": 0,
    `;
    assert.equal(head, expected);
    assert.deepEqual(
      JSON.parse(ended.stdout).map((row: { id: number }) => row.id),
      [3, 2],
    );
    assert.deepEqual(readCounts(db), [2, 1, 1]);
    const changed = db.prepare("SELECT updated_at FROM inbound_messages").pluck().all() as string[];
    assert.deepEqual(
      changed.map((text) => text > "2026-01-03"),
      [false, true, true],
    );
    assert.equal((await run(t, "sg-recv", [], { directory })).stdout, "[]\n");
  });

  test("-n bounds, 0 means all, and only what was printed is marked", async (t) => {
    const directory = folder(t);
    const db = database(t, directory);
    db.transaction(() => {
      for (let number = 1; number <= 300; number++) insertInbound(db, { number });
    })();

    const some = await run(t, "sg-recv", ["-n5"], { directory });
    const usual = await run(t, "sg-recv", [], { directory });
    const all = await run(t, "sg-recv", ["--limit", "0", "-r"], { directory });

    assert.deepEqual(numbersOf(some.stdout), [300, 299, 298, 297, 296]);
    assert.equal(numbersOf(usual.stdout).length, 20);
    assert.deepEqual(
      numbersOf(all.stdout),
      Array.from({ length: 300 }, (_, i) => 300 - i),
    );
    assert.equal(readCounts(db).filter((count) => count === 2).length, 25);
  });

  test("--no-mark looks and leaves no trace", async (t) => {
    const directory = folder(t);
    const db = database(t, directory);
    insertInbound(db, { number: 1 });

    const ended = await run(t, "sg-recv", ["--no-mark"], { directory });

    assert.deepEqual(numbersOf(ended.stdout), [1]);
    assert.deepEqual(readCounts(db), [0]);
  });

  test("filters: state, source, row, and read ones too", async (t) => {
    const directory = folder(t);
    const db = database(t, directory);
    insertInbound(db, { number: 1, from: "10.0.0.9" });
    insertInbound(db, { number: 2, state: "ack_failed" });
    insertInbound(db, { number: 3, readCount: 1 });
    const look = async (...line: string[]) =>
      numbersOf((await run(t, "sg-recv", ["--no-mark", ...line], { directory })).stdout);

    assert.deepEqual(await look("-s", "ack_failed"), [2]);
    assert.deepEqual(await look("--from", "10.0.0.9"), [1]);
    assert.deepEqual(await look("--since-id", "1", "--read-included"), [3, 2]);
    assert.deepEqual(await look("-r", "--state=ack_sent"), [3, 1]);
    assert.deepEqual(await look("--from", "' OR 1=1 --"), []);
  });

  test("-i gives one object, read or not, and marks it", async (t) => {
    const directory = folder(t);
    const db = database(t, directory);
    insertInbound(db, { number: 0xab, readCount: 1 });

    const ended = await run(t, "sg-recv", ["-i", ` ${idOf(0xab).toUpperCase()}`], { directory });
    const unknown = await run(t, "sg-recv", ["--id", idOf(1)], { directory });

    assert.equal(JSON.parse(ended.stdout).payload.n, 0xab);
    assert.deepEqual(readCounts(db), [2]);
    assert.equal(unknown.stdout, "[]\n");
  });

  test("-o shows what goes out and marks nothing", async (t) => {
    const directory = folder(t);
    const db = database(t, directory);
    insertOutbound(db, "10.0.0.2", "pending");
    insertOutbound(db, "10.0.0.3", "acknowledged");

    const all = await run(t, "sg-recv", ["-o"], { directory });
    const one = await run(t, "sg-recv", ["--outbound", "--to", "10.0.0.2"], { directory });

    const rows = JSON.parse(all.stdout) as Record<string, unknown>[];
    assert.deepEqual(
      rows.map(({ dst_addr }) => dst_addr),
      ["10.0.0.3", "10.0.0.2"],
    );
    assert.deepEqual(Object.keys(rows[0]), [
      ...["id", "message_id", "dst_addr", "dst_port", "payload", "state", "retry_count"],
      ...["created_at", "sent_at", "ack_received_at", "last_error", "updated_at"],
    ]);
    assert.equal(JSON.parse(one.stdout).length, 1);
    assert.equal(
      rows[0].updated_at,
      db.prepare("SELECT max(updated_at) FROM outbound_messages").pluck().get(),
    );
  });

  test("-c prints an object a line, -p the payload alone", async (t) => {
    const directory = folder(t);
    const db = database(t, directory);
    insertInbound(db, { number: 1, payload: '{\n "a" : 1,\r\n "b":[ ]}' });
    insertInbound(db, { number: 2, payload: '{"z":true}' });

    const both = await run(t, "sg-recv", ["-cp", "--no-mark"], { directory });
    const pretty = await run(t, "sg-recv", ["-p", "--no-mark"], { directory });
    const lines = await run(t, "sg-recv", ["--compact"], { directory });

    assert.equal(both.stdout, '{"z":true}\n{"a":1,"b":[]}\n');
    assert.equal(
      pretty.stdout,
      '[\n  {\n    "z": true\n  },\n  {\n    "a": 1,\n    "b": []\n  }\n]\n',
    );
    assert.deepEqual(
      lines.stdout
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line).id),
      [2, 1],
    );
    assert.deepEqual(readCounts(db), [1, 1]);
  });

  test("no token of a payload is changed, and no control character reaches the terminal", async (t) => {
    const directory = folder(t);
    const db = database(t, directory);
    const tokens = '{"n":12345678901234567890.10,"e":1E400,"k":{"x":1,"x":2},"9":0,"1":0}';
    insertInbound(db, { number: 1, payload: tokens });
    insertInbound(db, { number: 2, payload: '{"c":"\u009b31m\u007f\u202e\u2028"}' });
    insertInbound(db, { number: 3, payload: `${"[".repeat(100_000)}` });
    insertInbound(db, { number: 4, payload: Buffer.from('{"a":"\xff\x1b"}', "latin1") });
    insertInbound(db, { number: 5, payload: '"text"', from: "\u001b[2J\n10.0.0.1" });

    const ended = await run(t, "sg-recv", ["-c"], { directory });

    assert.doesNotMatch(ended.stdout.replaceAll("\n", ""), /[\p{Cc}\u202e\u2028]/u);
    assert.equal(ended.stdout.split("\n").length, 6);
    assert.ok(ended.stdout.includes(`"payload":${tokens},`));
    const rows = ended.stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    assert.equal(rows[3].payload.c, "\u009b31m\u007f\u202e\u2028");
    assert.equal(rows[2].payload, "[".repeat(100_000));
    assert.equal(rows[1].payload, '{"a":"\ufffd\u001b"}');
    assert.equal(rows[0].payload, '"text"');
    assert.equal(rows[0].src_addr, "\u001b[2J\n10.0.0.1");
  });

  test("a reader that goes away leaves the messages unread, and no word is said", async (t) => {
    const directory = folder(t);
    const db = database(t, directory);
    db.transaction(() => {
      const payload = `{"a":"${"x".repeat(60_000)}"}`;
      for (let number = 1; number <= 40; number++) insertInbound(db, { number, payload });
    })();
    const child = start(t, "sg-recv", ["-n", "0"], { directory });
    child.stdout?.destroy();

    const ended = await endOf(child);

    assert.equal(ended.stderr, "");
    assert.equal(ended.code, 1);
    assert.deepEqual(readCounts(db), Array(40).fill(0));
  });

  test("a disk without room for the output leaves the messages unread", async (t) => {
    const directory = folder(t);
    const db = database(t, directory);
    insertInbound(db, { number: 1 });

    const ended = spawnSync(
      "/bin/sh",
      ["-c", '"$0" "$1" > /dev/full', process.execPath, entryOf("sg-recv")],
      {
        cwd: directory,
        encoding: "utf8",
      },
    );

    assert.equal(ended.status, 1);
    assert.match(
      ended.stderr,
      /^sg-recv: cannot write the output: ENOSPC[^\n]* does not count as read[^\n]*\n$/,
    );
    assert.deepEqual(readCounts(db), [0]);
  });
});

describe("sg-recv --follow", { concurrency: 2 }, () => {
  test("prints within 100 ms of a commit, marks, and stops cleanly on INT", async (t) => {
    const directory = folder(t);
    const db = database(t, directory);
    insertInbound(db, { number: 1 });
    const child = start(t, "sg-recv", ["-f", "-c", "--interval", "60"], { directory });
    let out = "";
    let said = "";
    child.stdout?.on("data", (text) => (out += text));
    child.stderr?.on("data", (text) => (said += text));
    const ended = endOf(child);
    await until(() => said.includes("Following"), "it follows");

    const delays: number[] = [];
    for (let number = 2; number <= 21; number++) {
      const insertedAt = performance.now();
      insertInbound(db, { number });
      await until(() => out.includes(`"n":${number}}`), `row ${number} is printed`);
      delays.push(performance.now() - insertedAt);
      await until(() => readCounts(db)[number - 1] === 1, `row ${number} is marked`);
    }
    child.kill("SIGINT");

    assert.equal((await ended).code, 130);
    assert.equal(said, "Following new messages (since id 1). Press Ctrl+C to stop.\nStopped.\n");
    assert.equal(readCounts(db)[0], 0);
    delays.sort((a, b) => a - b);
    // Not of each: the machine may be busy with other tests. Without the watch each would take 60 s.
    assert.ok(delays[4] < 100, `a quarter of the rows within 100 ms: ${delays.join(" ")}`);
  });

  test("misses nothing that is committed while it prints and marks", async (t) => {
    const directory = folder(t);
    const db = database(t, directory);
    insertInbound(db, { number: 1 });
    const line = ["--follow", "--since-id", "0", "-cp", "--interval", "60"];
    const child = start(t, "sg-recv", line, { directory });
    let out = "";
    child.stdout?.on("data", (text) => (out += text));

    for (let number = 2; number <= 2_000; number++) {
      insertInbound(db, { number });
      // Bursts and pauses, so that commits fall on every step of the reader.
      if (number % 7 === 0) await delay(number % 3);
    }
    await until(() => out.split("\n").length === 2_001, "all rows are printed");

    const printed = out
      .trim()
      .split("\n")
      .map((text) => JSON.parse(text).n);
    assert.deepEqual(
      printed,
      Array.from({ length: 2_000 }, (_, i) => i + 1),
    );
    await until(() => readCounts(db).every((count) => count === 1), "each is marked once");
  });

  test("a commit between the query and the wait ends the wait", async (t) => {
    const directory = folder(t);
    const db = database(t, directory);
    const path = join(directory, "securedgram.db");
    const client = openDatabase(path, { role: "client", create: false });
    t.after(() => client.close());
    const watch = new CommitWatch([{ path, db: client }], 60_000);
    t.after(() => watch.close());
    const filter = { direction: "inbound", unreadOnly: true } as const;
    const nothing = { messageId: undefined, state: undefined, address: undefined };
    const mailbox = new MessagePages(client, { ...filter, ...nothing });
    const stop = new AbortController();
    const printed: number[] = [];
    let queries = 0;
    const following = follow({
      watch,
      since: 0,
      interruption: AbortSignal.any([stop.signal, AbortSignal.timeout(5_000)]),
      page(above) {
        const page = mailbox.page("oldest", above, Infinity, 10);
        queries += 1;
        if (queries === 1) insertInbound(db, { number: 1 });
        return page;
      },
      async print(page) {
        printed.push(...page.map(({ id }) => id));
        stop.abort();
      },
    });
    await following;

    assert.deepEqual(printed, [1]);
  });

  test("works by polling where the log cannot be watched", async (t) => {
    const directory = folder(t);
    const db = database(t, directory);
    const child = start(t, "sg-recv", ["-f", "--interval", "0.05", "-o", "-c"], { directory });
    let out = "";
    let said = "";
    child.stdout?.on("data", (text) => (out += text));
    child.stderr?.on("data", (text) => (said += text));
    await until(() => said.includes("Following"), "it follows");

    insertOutbound(db, "h", "pending");

    await until(() => out.includes('"dst_addr":"h"'), "the row is printed");
  });

  test("holds no read transaction while it waits", async (t) => {
    const directory = folder(t);
    const db = database(t, directory);
    const child = start(t, "sg-recv", ["-f", "-c"], { directory });
    let out = "";
    let said = "";
    child.stdout?.on("data", (text) => (out += text));
    child.stderr?.on("data", (text) => (said += text));
    await until(() => said.includes("Following"), "it follows");

    insertInbound(db, { number: 1 });
    await until(() => out.includes('"n":1}') && readCounts(db)[0] === 1, "the row is printed");

    await until(() => {
      const [result] = db.pragma("wal_checkpoint(TRUNCATE)") as { busy: number }[];
      return result.busy === 0;
    }, "the log can be reset");
  });
});

describe("sg-recv refuses in one line", { concurrency: 2 }, () => {
  const refusals: readonly (readonly [string, readonly string[], string])[] = [
    ["wrong flag", ["--folow"], 'sg-recv: unknown option "--folow". Did you mean --follow?'],
    [
      "no number",
      ["-n", "many"],
      'sg-recv: --limit "many" does not fit. Give a whole number from 0 to 1000000000.',
    ],
    [
      "negative number",
      ["--since-id=-1"],
      'sg-recv: --since-id "-1" does not fit. Give a whole number from 0 to 9007199254740991.',
    ],
    [
      "interval of nothing",
      ["-f", "--interval", "0"],
      'sg-recv: --interval "0" does not fit. Give a number from 0.01 to 86400.',
    ],
    ["argument", ["x"], 'sg-recv: "x" is one argument too many. Usage: sg-recv [options]'],
    [
      "--from with -o",
      ["-o", "--from", "h"],
      "sg-recv: --from is about inbound messages. Use --to with --outbound.",
    ],
    [
      "--to without -o",
      ["--to", "h"],
      "sg-recv: --to is about outbound messages. Add --outbound, or use --from.",
    ],
    [
      "no such state",
      ["-o", "-s", "send_faild"],
      'sg-recv: there is no state "send_faild". Did you mean send_failed?',
    ],
    [
      "a state of the other direction",
      ["-s", "acknowledged"],
      'sg-recv: there is no state "acknowledged" (-o: outbound ones). States: received, ack_sent, ack_failed.',
    ],
  ];
  for (const [name, line, says] of refusals) {
    test(name, async (t) => {
      const directory = folder(t);
      database(t, directory);

      const ended = await run(t, "sg-recv", line, { directory });

      assert.deepEqual(ended, { code: 2, stdout: "", stderr: `${says}\n` });
    });
  }

  test("a missing database", async (t) => {
    const directory = folder(t);

    const ended = await run(t, "sg-recv", ["--db", join("no", "where.db")], { directory });

    assert.equal(ended.code, 1);
    assert.match(ended.stderr, /^sg-recv: [^\n]+where\.db[^\n]*\n$/);
  });
});
