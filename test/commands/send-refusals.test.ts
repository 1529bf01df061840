import assert from "node:assert/strict";
import { chmodSync, existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { database, folder, idOf, run } from "./programs.js";

const ID = "0123456789abcdef01234567";

interface Refusal {
  readonly name: string;
  readonly line: readonly string[];
  readonly stdin?: string | Uint8Array;
  readonly code: number;
  readonly says: string;
}

const LARGE = `{"a":"${"x".repeat(70_000)}"}`;
const REFUSALS: readonly Refusal[] = [
  {
    name: "wrong flag",
    line: ["--quite", "h", "1", "{}"],
    code: 2,
    says: 'sg-send: unknown option "--quite". Did you mean --quiet?',
  },
  {
    name: "wrong letter",
    line: ["-z", "h", "1", "{}"],
    code: 2,
    says: 'sg-send: unknown option "-z". Use --help to see all options.',
  },
  {
    name: "value for a flag",
    line: ["--quiet=1", "h", "1", "{}"],
    code: 2,
    says: "sg-send: --quiet takes no value. Write --quiet alone.",
  },
  {
    name: "no value",
    line: ["h", "1", "{}", "--db"],
    code: 2,
    says: "sg-send: --db needs a value. Use --help to see all options.",
  },
  {
    name: "no arguments",
    line: [],
    code: 2,
    says: "sg-send: arguments are missing. Usage: sg-send [options] DST_ADDR DST_PORT PAYLOAD|-",
  },
  {
    name: "too many arguments",
    line: ["h", "1", "{}", "x"],
    code: 2,
    says: 'sg-send: "x" is one argument too many. Usage: sg-send [options] DST_ADDR DST_PORT PAYLOAD|-',
  },
  {
    name: "text and bytes",
    line: ["--text", "--bytes", "h", "1", "x"],
    code: 2,
    says: "sg-send: --text and --bytes exclude each other. Give one of them.",
  },
  {
    name: "lines of bytes",
    line: ["--bytes", "--json-lines", "h", "1"],
    code: 2,
    says: "sg-send: --bytes and --json-lines exclude each other. Give one of them.",
  },
  {
    name: "text that is none",
    line: ["--text", "h", "1"],
    stdin: Uint8Array.of(0x66, 0xff),
    code: 1,
    says: "sg-send: payload is not valid UTF-8. Send it with --bytes.",
  },
  {
    name: "empty stream",
    line: ["--stream", "", "h", "1", "{}"],
    code: 2,
    says: 'sg-send: stream "" is no text of 1 to 64 bytes. Give a shorter name, or none.',
  },
  {
    name: "long stream",
    line: ["--stream", "ä".repeat(33), "h", "1", "{}"],
    code: 2,
    says: `sg-send: stream "${"ä".repeat(33)}" is no text of 1 to 64 bytes. Give a shorter name, or none.`,
  },
  {
    name: "answer to no id",
    line: ["--reply-to", "beef", "h", "1", "{}"],
    code: 2,
    says: 'sg-send: --reply-to "beef" is no message id. Give the 24 characters 0-9 a-f of the message that is answered.',
  },
  {
    name: "bytes under a wrong id",
    line: ["--bytes", "-m", "beef", "h", "1", "x"],
    code: 1,
    says: "sg-send: the message id is not 24 hex digits. Give 24 characters 0-9 a-f, or none and one is made.",
  },
  {
    name: "port 0",
    line: ["h", "0", "{}"],
    code: 2,
    says: 'sg-send: port "0" does not exist. Give a number from 1 to 65535.',
  },
  {
    name: "port too large",
    line: ["h", "65536", "{}"],
    code: 2,
    says: 'sg-send: port "65536" does not exist. Give a number from 1 to 65535.',
  },
  {
    name: "port in hex",
    line: ["h", "0x50", "{}"],
    code: 2,
    says: 'sg-send: port "0x50" does not exist. Give a number from 1 to 65535.',
  },
  {
    name: "empty host",
    line: ["", "1", "{}"],
    code: 2,
    says: 'sg-send: destination "" is no address. Give an IP address, a host name or the name of a peer.',
  },
  {
    name: "file and argument",
    line: ["-f", "p.json", "h", "1", "{}"],
    code: 2,
    says: "sg-send: there is a payload argument and --file. Give one of them.",
  },
  {
    name: "id for many",
    line: ["-m", ID, "--json-lines", "h", "1"],
    code: 2,
    says: "sg-send: --message-id and --json-lines exclude each other. Give one of them.",
  },
  {
    name: "wrong priority",
    line: ["--priority", "hihg", "h", "1", "{}"],
    code: 2,
    says: 'sg-send: --priority does not know "hihg". Did you mean high?',
  },
  {
    name: "wrong time",
    line: ["--expires", "tomorrow", "h", "1", "{}"],
    code: 2,
    says: 'sg-send: --expires "tomorrow" is no time. Write YYYY-MM-DD or YYYY-MM-DDTHH:MM:SS, UTC unless a zone follows, or a number and s, m, h, d or w (30s, 15m, 24h, 7d, 4w) from now.',
  },
  {
    name: "day that is not",
    line: ["--expires", "2090-02-30", "h", "1", "{}"],
    code: 2,
    says: 'sg-send: --expires "2090-02-30" is no time. Write YYYY-MM-DD or YYYY-MM-DDTHH:MM:SS, UTC unless a zone follows, or a number and s, m, h, d or w (30s, 15m, 24h, 7d, 4w) from now.',
  },
  {
    name: "time gone by",
    line: ["--expires", "2020-01-01", "h", "1", "{}"],
    code: 2,
    says: "sg-send: --expires 2020-01-01T00:00:00.000 is over. Give a time that is still to come.",
  },
  {
    name: "expires first",
    line: ["--expires", "1h", "--not-before", "2h", "h", "1", "{}"],
    code: 2,
    says: "sg-send: --expires comes before --not-before. Give the message time in between.",
  },
  {
    name: "bad JSON",
    line: ["h", "1", '{"a":}'],
    code: 1,
    says: "sg-send: payload is not valid JSON (byte 5). Correct it there.",
  },
  {
    name: "array",
    line: ["h", "1", "[]"],
    code: 1,
    says: "sg-send: payload is not a JSON object (byte 0). Write it as {...}.",
  },
  {
    name: "nothing",
    line: ["h", "1"],
    stdin: "",
    code: 1,
    says: "sg-send: payload is not a JSON object (byte 0). Write it as {...}.",
  },
  {
    name: "bad UTF-8",
    line: ["h", "1", "-"],
    stdin: Buffer.from('{"a":"\xff"}', "latin1"),
    code: 1,
    says: "sg-send: payload is not valid UTF-8 (byte 6). Write it in UTF-8.",
  },
  {
    name: "an ACK",
    line: ["h", "1", '{"type":"ACK"}'],
    code: 1,
    says: 'sg-send: payload says "type":"ACK", which only acknowledgements may say. Use another type.',
  },
  {
    name: "too large",
    line: ["h", "1", "-"],
    stdin: LARGE,
    code: 1,
    says: "sg-send: payload is more than 65471 bytes, the most a classic datagram carries. Shorten or split it; to a session peer, send it with --text or --bytes.",
  },
  {
    name: "bad id",
    line: ["-m", "xyz", "h", "1", "{}"],
    code: 1,
    says: "sg-send: the message id is not 24 hex digits. Give 24 characters 0-9 a-f, or none and one is made.",
  },
  {
    name: "id with a line end inside",
    line: ["-m", `${ID}\nff`, "h", "1", "{}"],
    code: 1,
    says: "sg-send: the message id is not 24 hex digits. Give 24 characters 0-9 a-f, or none and one is made.",
  },
  {
    name: "bad id inside",
    line: ["h", "1", '{"message_id":7}'],
    code: 1,
    says: "sg-send: payload message_id is not 24 lower-case hex digits in quotes. Correct it or leave it out.",
  },
  {
    name: "two ids",
    line: ["-m", ID, "h", "1", `{"message_id":"${idOf(1)}"}`],
    code: 1,
    says: `sg-send: payload message_id ${idOf(1)} does not match the row's message_id ${ID}. Make them equal or leave one out.`,
  },
  {
    name: "no such file",
    line: ["-f", "nowhere.json", "h", "1"],
    code: 1,
    says: "sg-send: cannot read the payload file \"nowhere.json\": ENOENT: no such file or directory, open 'nowhere.json'. Check the path.",
  },
  {
    name: "folder as file",
    line: ["-f", ".", "h", "1"],
    code: 1,
    says: 'sg-send: cannot read the payload file ".": EISDIR: illegal operation on a directory, read. Check the path.',
  },
];

describe("sg-send refuses in one line", { concurrency: 2 }, () => {
  for (const { name, line, stdin, code, says } of REFUSALS) {
    test(name, async (t) => {
      const directory = folder(t);
      const db = database(t, directory);

      const ended = await run(t, "sg-send", line, {
        directory,
        ...(stdin === undefined ? {} : { stdin }),
      });

      assert.deepEqual(ended, { code, stdout: "", stderr: `${says}\n` });
      assert.equal(db.prepare("SELECT count(*) FROM outbound_messages").pluck().get(), 0);
    });
  }

  test("a missing database, which it does not make", async (t) => {
    const directory = folder(t);

    const ended = await run(t, "sg-send", ["h", "1", "{}"], { directory });

    assert.equal(ended.code, 1);
    assert.match(
      ended.stderr,
      /^sg-send: Database not found at \/.*\/securedgram\.db; [^\n]+\.\n$/,
    );
    assert.equal(existsSync(join(directory, "securedgram.db")), false);
  });

  test("a folder, a text file and a readable file as database", async (t) => {
    const directory = folder(t);
    mkdirSync(join(directory, "folder.db"));
    writeFileSync(join(directory, "text.db"), "no database at all", { mode: 0o600 });
    database(t, directory, "open.db");
    chmodSync(join(directory, "open.db"), 0o644);

    for (const [name, code] of [
      ["folder.db", 77],
      ["text.db", 1],
      ["open.db", 77],
    ] as const) {
      const ended = await run(t, "sg-send", ["--db", name, "h", "1", "{}"], { directory });
      assert.equal(ended.code, code, name);
      assert.match(ended.stderr, /^sg-send: [^\n]+\.\n$/);
    }
  });

  test("--debug shows the trace, and nothing else does", async (t) => {
    const directory = folder(t);

    const ended = await run(t, "sg-send", ["--debug", "h", "1", "{}"], { directory });

    assert.match(ended.stderr, /\n {4}at /);
  });
});
