// `sg-send --text`, `--bytes`, `--stream` and `--reply-to` between two real daemons, from the command
// line to the row at the other end; and what the command refuses, with its exit codes, queues nothing.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { EXIT } from "../../src/shared/base/errors.js";
import { MESSAGE_BYTES_MAX } from "../../src/shared/protocol/session/limits.js";
import { freePort, LOOPBACK, makeId, Place, type TestDaemon, until } from "./harness.js";
import type { Ran } from "./session-commands.js";
import { SessionPair, streamOf } from "./session-hosts.js";

const SG_SEND = fileURLToPath(new URL("../../src/main/sg-send.js", import.meta.url));
const MIB = 1 << 20;

/** Runs sg-send on the host of a daemon, however it ends. */
async function sgSend(
  from: TestDaemon,
  words: readonly string[],
  stdin: string | Uint8Array = "",
): Promise<Ran> {
  const running = promisify(execFile)(
    process.execPath,
    [SG_SEND, "--db", from.database, ...words],
    { cwd: from.directory },
  );
  // It may have ended before it read anything.
  running.child.stdin?.on("error", () => {});
  running.child.stdin?.end(stdin);
  try {
    return { code: 0, ...(await running) };
  } catch (thrown) {
    const { code, stdout, stderr } = thrown as Ran;
    assert.ok(typeof code === "number", String(thrown));
    return { code, stdout, stderr };
  }
}

/** The same, where it succeeds; what it says of the row. */
async function queued(
  from: TestDaemon,
  words: readonly string[],
  stdin?: string | Uint8Array,
): Promise<{ readonly status: string; readonly row_id: number }> {
  const { code, stdout, stderr } = await sgSend(from, words, stdin);
  assert.deepEqual([code, stderr], [EXIT.done, ""], words.join(" "));
  return JSON.parse(stdout) as { readonly status: string; readonly row_id: number };
}

interface Arrived {
  readonly type: string;
  readonly payload: Buffer;
  readonly stream: string | null;
  readonly sequence: number | null;
  readonly inReplyTo: string | null;
}

const arrivedAs = (at: TestDaemon, messageId: string): Arrived | undefined =>
  at.db
    .prepare(
      `SELECT typeof(payload) AS type, CAST(payload AS BLOB) AS payload, stream, sequence,
         in_reply_to AS inReplyTo FROM inbound_messages WHERE message_id = ?`,
    )
    .get(messageId) as Arrived | undefined;

test("text and bytes of the command line, of a file and of a pipe arrive as what they are", async (t) => {
  const { alice, bob } = await (await SessionPair.make(new Place(t))).start();
  const file = randomBytes(MIB);
  writeFileSync(join(alice.directory, "photo"), file);
  const noise = randomBytes(3_000);
  const json = makeId();
  const cases: readonly {
    readonly words: readonly string[];
    readonly payload?: string;
    readonly stdin?: string | Uint8Array;
    readonly type: "text" | "blob";
    readonly arrives: string | Uint8Array;
    readonly id?: string;
  }[] = [
    {
      words: ["--text"],
      payload: "no JSON, räksmörgås",
      type: "text",
      arrives: "no JSON, räksmörgås",
    },
    { words: ["--text"], stdin: "", type: "text", arrives: "" },
    {
      words: ["--text"],
      payload: "-",
      stdin: "two\nlines\n",
      type: "text",
      arrives: "two\nlines\n",
    },
    { words: ["--text"], stdin: "ä".repeat(300_000), type: "text", arrives: "ä".repeat(300_000) },
    { words: ["--bytes"], payload: "plain", type: "blob", arrives: "plain" },
    { words: ["--bytes"], stdin: "", type: "blob", arrives: "" },
    { words: ["--bytes"], stdin: noise, type: "blob", arrives: noise },
    { words: ["--bytes", "-f", "photo"], type: "blob", arrives: file },
    {
      words: [],
      payload: `{ "a":1.50,"message_id":"${json}"}`,
      type: "text",
      arrives: `{ "a":1.50,"message_id":"${json}"}`,
      id: json,
    },
  ];

  const ids: string[] = [];
  for (const { words, payload, stdin, id = makeId() } of cases) {
    ids.push(id);
    const line = [...words, "-m", id, "bob", "1", ...(payload === undefined ? [] : [payload])];
    assert.equal((await queued(alice, line, stdin)).status, "queued");
  }
  await alice.settled();

  for (const [i, { type, arrives, words }] of cases.entries()) {
    const found = arrivedAs(bob, ids[i] ?? "");
    const what = `${i}: ${words.join(" ")}`;
    assert.ok(found?.payload.equals(Buffer.from(arrives)), what);
    assert.deepEqual([found?.type, found?.stream, found?.inReplyTo], [type, null, null], what);
  }
  assert.equal(bob.count("inbound"), cases.length);
});

test("a stream arrives in the order of the commands, and an answer names what it answers", async (t) => {
  const { alice, bob } = await (await SessionPair.make(new Place(t))).start();
  const stream = "ä".repeat(32);
  const priorities = ["bulk", "urgent", "normal", "high", "bulk", "urgent"];
  for (const [n, priority] of priorities.entries()) {
    const words = ["--text", "--stream", stream, "--priority", priority, "bob", "1", `${n}`];
    await queued(alice, words);
  }
  const [question, answer] = [makeId(), makeId()];
  await queued(alice, ["--text", "-m", question, "bob", "1", "how many?"]);
  await alice.settled();

  assert.deepEqual(streamOf(bob, stream), ["0", "1", "2", "3", "4", "5"]);
  const sequences = bob.db
    .prepare("SELECT sequence FROM inbound_messages WHERE stream = ? ORDER BY id")
    .pluck()
    .all(stream);
  assert.deepEqual(sequences, [1, 2, 3, 4, 5, 6]);

  const all = ["--bytes", "--stream", "answers", "--reply-to", ` ${question.toUpperCase()} `];
  await queued(bob, [...all, "-m", answer, "alice", "1"], Uint8Array.of(0, 255));
  // The message that it answers may be gone for long: nobody looks for it.
  const [unknown, late] = [makeId(), makeId()];
  await queued(bob, ["--text", "--reply-to", unknown, "-m", late, "alice", "1", "too late"]);
  await bob.settled();

  assert.deepEqual(arrivedAs(alice, answer), {
    type: "blob",
    payload: Buffer.of(0, 255),
    stream: "answers",
    sequence: 1,
    inReplyTo: question,
  });
  assert.equal(arrivedAs(alice, late)?.inReplyTo, unknown);
});

test("what only sessions take fails at once where classic is spoken, with the reason", async (t) => {
  const { alice, bob } = await (await SessionPair.make(new Place(t))).start();
  const port = String(await freePort());

  const classic = await queued(alice, ["--text", LOOPBACK, port, "no JSON"]);
  const session = await queued(alice, ["--text", "bob", port, "no JSON"]);
  await until(() => alice.state(session.row_id) === "acknowledged", "the row of the session");
  await until(() => alice.state(classic.row_id) === "send_failed", "the row of classic");

  assert.match(alice.outbound()[0]?.lastError ?? "", /JSON/);
  assert.equal(bob.count("inbound"), 1);
});

const ID = "0123456789abcdef01234567";
const { usage, failed } = EXIT;

test("what sg-send refuses has its exit code and one line, and queues nothing", async (t) => {
  const { alice, bob } = await (await SessionPair.make(new Place(t))).start();
  const to = ["bob", "1"] as const;
  const refusals: readonly (readonly [
    code: number,
    says: RegExp,
    words: readonly string[],
    stdin?: string | Uint8Array,
  ])[] = [
    [usage, /--text and --bytes exclude/, ["--text", "--bytes", ...to, "x"]],
    [usage, /--text and --json-lines exclude/, ["--text", "--json-lines", ...to], "{}\n"],
    [usage, /--bytes and --json-lines exclude/, ["--bytes", "--json-lines", ...to], "{}\n"],
    [usage, /--message-id and --json-lines/, ["-m", ID, "--json-lines", ...to], "{}\n"],
    [usage, /payload argument and --file/, ["--bytes", "-f", "x", ...to, "x"]],
    [usage, /stream .* 1 to 64 bytes/, ["--text", "--stream", "s".repeat(65), ...to, "x"]],
    [usage, /stream .* 1 to 64 bytes/, ["--text", "--stream", "ä".repeat(33), ...to, "x"]],
    [usage, /stream "" .* 1 to 64 bytes/, ["--bytes", "--stream", "", ...to, "x"]],
    [usage, /--reply-to "beef" is no message id/, ["--text", "--reply-to", "beef", ...to, "x"]],
    [usage, /is no message id/, ["--text", "--reply-to", "", ...to, "x"]],
    [usage, /is no message id/, ["--bytes", "--reply-to", `${ID}0`, ...to, "x"]],
    [usage, /is no message id/, ["--bytes", "--reply-to", "g".repeat(24), ...to, "x"]],
    [usage, /--stream needs a value/, ["--text", ...to, "x", "--stream"]],
    [failed, /not valid UTF-8.*--bytes/, ["--text", ...to], Uint8Array.of(0x66, 0xff)],
    [failed, /not 24 hex digits/, ["--bytes", "-m", "beef", ...to, "x"]],
    [failed, /not a JSON object/, ["--stream", "s", ...to, "no JSON"]],
    [failed, /more than 67108864 bytes/, ["--bytes", ...to], new Uint8Array(MESSAGE_BYTES_MAX + 1)],
    [failed, /ENOENT/, ["--bytes", "-f", "nowhere", ...to]],
  ];

  for (const [code, says, words, stdin] of refusals) {
    const ended = await sgSend(alice, words, stdin);
    const line = words.join(" ").slice(0, 80);
    assert.deepEqual([ended.code, ended.stdout], [code, ""], line);
    assert.match(ended.stderr, says, line);
    assert.match(ended.stderr, /^sg-send: [^\n]+\n$/, line);
  }
  assert.equal(alice.count("outbound"), 0);

  await queued(alice, ["--text", "--stream", "s".repeat(64), "--reply-to", ID, ...to, "x"]);
  await alice.settled();
  assert.equal(bob.count("inbound"), 1);
});
