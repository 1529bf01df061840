import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import type { Connection } from "../../src/shared/store/driver.js";
import { database, endOf, entryOf, folder, run, start, until } from "./programs.js";

const ID = "0123456789abcdef01234567";

interface OutboundRow {
  readonly id: number;
  readonly message_id: string | null;
  readonly dst_addr: string;
  readonly dst_port: number;
  readonly payload: string;
  readonly state: string;
  readonly priority: number;
  readonly stream: string | null;
  readonly in_reply_to: string | null;
  readonly not_before: string | null;
  readonly expires_at: string | null;
}

const rowsOf = (db: Connection): readonly OutboundRow[] =>
  db.prepare("SELECT * FROM outbound_messages ORDER BY id").all() as OutboundRow[];

describe("sg-send", { concurrency: 2 }, () => {
  test("a payload is queued byte for byte and reported as JSON", async (t) => {
    const directory = folder(t);
    const db = database(t, directory);
    const payload = ' { "b" : 1.50, "a":"\\u00e9 é" }\t';

    const ended = await run(t, "sg-send", ["10.0.0.2", "61773", payload], { directory });

    const text = `{
  "status": "queued",
  "row_id": 1,
  "message_id": null,
  "dst_addr": "10.0.0.2",
  "dst_port": 61773
}
`;
    assert.deepEqual(ended, { code: 0, stdout: text, stderr: "" });
    const [row] = rowsOf(db);
    assert.equal(row.payload, payload);
    assert.equal(row.message_id, null);
    assert.equal(row.state, "pending");
    assert.equal(row.priority, 1);
    assert.equal(statSync(join(directory, "securedgram.db-doorbell")).mode & 0o777, 0o600);
  });

  test("-m gives the message its id, lower-cased and trimmed, as its last member", async (t) => {
    const directory = folder(t);
    const db = database(t, directory);

    const line = ["-m", ` ${ID.toUpperCase()} `, "host.example", "1", '{"a": 1 }'];
    const ended = await run(t, "sg-send", line, { directory });

    assert.equal(JSON.parse(ended.stdout).message_id, ID);
    const [row] = rowsOf(db);
    assert.equal(row.message_id, ID);
    assert.equal(row.payload, `{"a": 1 ,"message_id":"${ID}"}`);
  });

  test("an id that the payload brings is the row's id", async (t) => {
    const directory = folder(t);
    const db = database(t, directory);
    const payload = `{"message_id":"${ID}"}`;

    const ended = await run(t, "sg-send", ["-m", ID, "host", "65535", payload], { directory });

    assert.equal(ended.code, 0);
    assert.equal(rowsOf(db)[0].payload, payload);
    const again = await run(t, "sg-send", ["host", "65535", payload], { directory });
    assert.equal(again.code, 1);
    assert.match(again.stderr, /already queued under this id/);
  });

  test("the payload may come from a file, from - or from a pipe", async (t) => {
    const directory = folder(t);
    const db = database(t, directory);
    writeFileSync(join(directory, "p.json"), '{"from":"file"}\n');
    const stdin = '{"from":"pipe"}';

    await run(t, "sg-send", ["-qfp.json", "h", "1"], { directory });
    await run(t, "sg-send", ["--file", "p.json", "h", "1", "-q"], { directory });
    await run(t, "sg-send", ["h", "1", "-"], { directory, stdin });
    await run(t, "sg-send", ["h", "1"], { directory, stdin });

    const payloads = rowsOf(db).map(({ payload }) => payload);
    assert.deepEqual(payloads, ['{"from":"file"}\n', '{"from":"file"}\n', stdin, stdin]);
  });

  test("-q is silent", async (t) => {
    const directory = folder(t);
    database(t, directory);

    const ended = await run(t, "sg-send", ["-q", "h", "1", "{}"], { directory });

    assert.deepEqual(ended, { code: 0, stdout: "", stderr: "" });
  });

  test("priority and times go into their columns", async (t) => {
    const directory = folder(t);
    const db = database(t, directory);
    const times = ["--not-before", "2090-01-01T10:00:00+02:00", "--expires=2090-01-02"];

    await run(t, "sg-send", ["--priority", "urgent", ...times, "h", "1", "{}"], { directory });
    const before = Date.now();
    await run(t, "sg-send", ["--priority", "bulk", "--expires", "2h", "h", "1", "{}"], {
      directory,
    });

    const [first, second] = rowsOf(db);
    assert.equal(first.priority, 3);
    assert.equal(first.not_before, "2090-01-01T08:00:00.000");
    assert.equal(first.expires_at, "2090-01-02T00:00:00.000");
    assert.equal(second.priority, 0);
    const expiresMs = Date.parse(`${second.expires_at}Z`);
    assert.ok(expiresMs >= before + 7_200_000 && expiresMs < before + 7_260_000);
  });

  test("stream and the id that is answered go into their columns", async (t) => {
    const directory = folder(t);
    const db = database(t, directory);
    const line = ["--stream", "ä".repeat(32), "--reply-to", ID.toUpperCase(), "beta", "1", "{}"];

    const ended = await run(t, "sg-send", line, { directory });

    assert.equal(ended.code, 0, ended.stderr);
    const [row] = rowsOf(db);
    assert.deepEqual([row.stream, row.in_reply_to], ["ä".repeat(32), ID]);
  });

  test("--text and --bytes take anything, as large as a session takes, and change nothing", async (t) => {
    const directory = folder(t);
    const db = database(t, directory);
    const large = Buffer.alloc(200_000, "no JSON\n");
    writeFileSync(join(directory, "large"), large);
    const odd = Buffer.from([0, 255, 10, 0]);
    const send = async (line: readonly string[], stdin?: Uint8Array): Promise<void> => {
      const ended = await run(t, "sg-send", line, { directory, ...(stdin && { stdin }) });
      assert.equal(ended.code, 0, ended.stderr);
    };

    await send(["--text", "beta", "1", ""]);
    await send(["--text", "-m", ID, "-f", "large", "beta", "1"]);
    await send(["--bytes", "beta", "1"], odd);
    await send(["--bytes", "beta", "1", "-"], large);

    const stored = db
      .prepare(
        `SELECT typeof(payload), CAST(payload AS BLOB), message_id FROM outbound_messages
         ORDER BY id`,
      )
      .raw()
      .all();
    assert.deepEqual(stored, [
      ["text", Buffer.alloc(0), null],
      ["text", large, ID],
      ["blob", odd, null],
      ["blob", large, null],
    ]);
  });

  test("the database is the flag's, else the environment's, else that of .env", async (t) => {
    const directory = folder(t);
    const byFlag = database(t, directory, "flag.db");
    const byVariable = database(t, directory, "variable.db");
    const byFile = database(t, directory, "file.db");
    writeFileSync(join(directory, ".env"), "# mine\nSECUREDGRAM_DB='file.db'\n");
    const environment = { SECUREDGRAM_DB: "variable.db" };
    const line = ["h", "1", "{}"];

    await run(t, "sg-send", ["--db", "flag.db", ...line], { directory, environment });
    await run(t, "sg-send", line, { directory, environment });
    await run(t, "sg-send", line, { directory });

    assert.deepEqual(
      [byFlag, byVariable, byFile].map((db) => rowsOf(db).length),
      [1, 1, 1],
    );
  });

  test("each line of --json-lines is a message, in order, blank ones skipped", async (t) => {
    const directory = folder(t);
    const db = database(t, directory);
    const lines = Array.from({ length: 1_500 }, (_, n) => `{"n":${n}}`);
    const stdin = `${lines.slice(0, 700).join("\n")}\r\n\n  \n${lines.slice(700).join("\n")}`;

    const ended = await run(t, "sg-send", ["--json-lines", "h", "9"], { directory, stdin });

    assert.equal(ended.stderr, "");
    const printed = ended.stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    assert.equal(printed.length, 1_500);
    assert.deepEqual(printed[1_499], {
      status: "queued",
      row_id: 1_500,
      message_id: null,
      dst_addr: "h",
      dst_port: 9,
    });
    const numbers = rowsOf(db).map(({ payload }) => JSON.parse(payload).n);
    assert.deepEqual(numbers, [...numbers.keys()]);
  });

  test("lines of --json-lines are queued while the pipe stays open", async (t) => {
    const directory = folder(t);
    const db = database(t, directory);
    const child = start(t, "sg-send", ["-q", "--json-lines", "h", "9"], { directory });
    const ended = endOf(child);

    child.stdin?.write('{"n":0}\n{"n":');
    await until(() => rowsOf(db).length === 1, "the whole line is queued");
    child.stdin?.end("1}");

    assert.equal((await ended).code, 0);
    assert.equal(rowsOf(db).length, 2);
  });

  test("a bad line stops --json-lines behind the good ones, and says how many", async (t) => {
    const directory = folder(t);
    const db = database(t, directory);
    const stdin = '{"n":0}\n{"n":1}\n{"n":\n{"n":3}\n';

    const ended = await run(t, "sg-send", ["-q", "--json-lines", "h", "9"], { directory, stdin });

    assert.equal(ended.code, 1);
    assert.equal(rowsOf(db).length, 2);
    assert.match(
      ended.stderr,
      /^sg-send: line 3: payload is not valid JSON \(byte 5\) \(messages queued so far: 2\)\. Correct it there\.\n$/,
    );
  });

  test("two senders and a process that holds the write lock all succeed", async (t) => {
    const directory = folder(t);
    const db = database(t, directory);
    const lines = Array.from({ length: 300 }, (_, n) => `{"n":${n}}`).join("\n");

    db.exec("BEGIN IMMEDIATE");
    db.prepare("INSERT INTO meta(key, value) VALUES ('test', 1)").run();
    const sends = [1, 2].map((port) =>
      run(t, "sg-send", ["-q", "--json-lines", "h", String(port)], { directory, stdin: lines }),
    );
    await new Promise((resolve) => setTimeout(resolve, 600));
    db.exec("COMMIT");
    const ended = await Promise.all(sends);

    assert.deepEqual(
      ended.map(({ code, stderr }) => `${code}${stderr}`),
      ["0", "0"],
    );
    assert.equal(rowsOf(db).length, 600);
  });

  test("the doorbell rings after each commit and stays one byte", async (t) => {
    const directory = folder(t);
    database(t, directory);
    const bell = join(directory, "securedgram.db-doorbell");

    await run(t, "sg-send", ["-q", "h", "1", "{}"], { directory });
    const first = statSync(bell);
    await run(t, "sg-send", ["-q", "h", "1", "{}"], { directory });
    const second = statSync(bell);

    assert.equal(second.size, 1);
    assert.ok(second.mtimeMs > first.mtimeMs);
    await run(t, "sg-send", ["-q", "h", "1", "{"], { directory });
    assert.equal(statSync(bell).mtimeMs, second.mtimeMs);
  });

  test("output that cannot be written does not look like a message that is not queued", async (t) => {
    const directory = folder(t);
    const db = database(t, directory);
    const sent = (words: readonly string[], input: string) =>
      spawnSync(
        "/bin/sh",
        ["-c", '"$0" "$@" > /dev/full', process.execPath, entryOf("sg-send"), ...words],
        { cwd: directory, encoding: "utf8", input },
      );

    const one = sent(["h", "1", "{}"], "");
    assert.equal(one.status, 1);
    assert.match(
      one.stderr,
      /^sg-send: row 1 is queued; cannot write the output: ENOSPC[^\n]*Do not send that again[^\n]*\n$/,
    );
    const two = sent(["--json-lines", "h", "1"], "{}\n{}\n");
    assert.match(two.stderr, /^sg-send: messages queued so far: 2; cannot write/);
    const silent = sent(["-q", "h", "1", "{}"], "");
    assert.deepEqual([silent.status, silent.stderr], [0, ""]);

    const child = start(t, "sg-send", ["h", "1", "{}"], { directory });
    child.stdout?.destroy();
    child.stdin?.end();
    const unread = await endOf(child);
    assert.equal(unread.code, 1);
    assert.match(unread.stderr, /^sg-send: row 5 is queued; nobody reads the output\. Do not/);
    assert.equal(rowsOf(db).length, 5);
  });

  test("hostile strings are data in every place", async (t) => {
    const directory = folder(t);
    const db = database(t, directory);
    const hostile = "'); DROP TABLE outbound_messages; --";
    const payload = JSON.stringify({
      [hostile]: "\u001b[31m\u0000",
      __proto__x: "$(id)",
      "": "\u202e",
    });

    const ended = await run(t, "sg-send", ["-q", "--", "0x10", "1", payload], { directory });
    const asHost = await run(t, "sg-send", ["h;\u001b[31m", "1", payload], { directory });
    const asFlag = await run(t, "sg-send", ["--\u001b[31m\nforged", "h", "1", "{}"], { directory });

    assert.equal(ended.code, 0);
    assert.equal(rowsOf(db)[0].payload, payload);
    assert.equal(rowsOf(db)[0].dst_addr, "0x10");
    for (const refused of [asHost, asFlag]) {
      assert.equal(refused.code, 2);
      assert.match(refused.stderr, /^[\x20-\x7e]*\n$/);
    }
  });
});
