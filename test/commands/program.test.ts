import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import fc from "fast-check";
import { expandWords, splitLine } from "../../src/main/commands/argv.js";
import type { OptionTable } from "../../src/main/commands/command.js";
import { DAEMON_OPTIONS } from "../../src/main/commands/daemon-options.js";
import { nearest } from "../../src/main/commands/nearest.js";
import { instantMs } from "../../src/main/commands/times.js";
import { VERSION } from "../../src/main/version.js";
import { DaemonError } from "../../src/shared/base/errors.js";
import { database, folder, run } from "./programs.js";

const SHARE = new URL(
  import.meta.url.includes("/dist/") ? "../../../share/" : "../../share/",
  import.meta.url,
);

describe("securedgram", { concurrency: 2 }, () => {
  test("without a command it shows its help on stderr and ends with 2", async (t) => {
    const ended = await run(t, "cli", [], { directory: folder(t) });

    assert.equal(ended.code, 2);
    assert.equal(ended.stdout, "");
    assert.match(ended.stderr, /^Usage: securedgram \[options\] COMMAND\n/);
    assert.match(ended.stderr, /\n {2}securedgram send /);
  });

  test("--help and --version go to stdout, before and behind a command", async (t) => {
    const directory = folder(t);
    const version = `(SecureDGram) ${VERSION}\n`;

    assert.match((await run(t, "cli", ["-h"], { directory })).stdout, /^Usage: securedgram /);
    assert.match(
      (await run(t, "cli", ["send", "-h"], { directory })).stdout,
      /^Usage: securedgram send /,
    );
    assert.match((await run(t, "sg-clean", ["--help"], { directory })).stdout, /^Usage: sg-clean /);
    assert.equal((await run(t, "cli", ["-V"], { directory })).stdout, `securedgram ${version}`);
    assert.equal(
      (await run(t, "sg-recv", ["--version"], { directory })).stdout,
      `sg-recv ${version}`,
    );
  });

  test("send, recv and clean are the sg- programs, options before the word or behind", async (t) => {
    const directory = folder(t);
    database(t, directory, "x.db");

    const sent = await run(t, "cli", ["--db", "x.db", "send", "-q", "h", "1", "{}"], { directory });
    const read = await run(t, "cli", ["recv", "-o", "-c", "--db=x.db"], { directory });
    const cleaned = await run(t, "cli", ["clean", "--db", "x.db", "1d"], { directory });

    assert.deepEqual(sent, { code: 0, stdout: "", stderr: "" });
    assert.equal(JSON.parse(read.stdout).dst_addr, "h");
    assert.match(cleaned.stdout, /Nothing to delete\./);
  });

  const refusals: readonly (readonly [string, readonly string[], string])[] = [
    ["unknown command", ["sned"], 'securedgram: unknown command "sned". Did you mean send?'],
    [
      "a word near to stop",
      ["top"],
      'securedgram: unknown command "top". Commands: start, stop, restart, status, poll, run, send, recv, clean, key, peer, doctor, demo, bench, completion.',
    ],
    ["a slip in stop", ["sotp"], 'securedgram: unknown command "sotp". Did you mean stop?'],
    [
      "unknown option",
      ["--prot", "1", "send"],
      'securedgram: unknown option "--prot". Did you mean --port?',
    ],
    [
      "option of the daemon",
      ["-p", "1", "recv"],
      'securedgram: unknown option "--port". Use --help to see all options.',
    ],
    [
      "bad argument of a command",
      ["send", "h", "x", "{}"],
      'securedgram: port "x" does not exist. Give a number from 1 to 65535.',
    ],
    [
      "unknown shell",
      ["completion", "cmd"],
      'securedgram: no completion for "cmd". Shells: bash, zsh, fish.',
    ],
  ];
  for (const [name, line, says] of refusals) {
    test(`${name} is refused in one line`, async (t) => {
      const ended = await run(t, "cli", line, { directory: folder(t) });

      assert.deepEqual(ended, { code: 2, stdout: "", stderr: `${says}\n` });
    });
  }

  test("completion knows commands, options and values of all programs", async (t) => {
    const directory = folder(t);
    const ask = async (program: "cli" | "sg-send", ...words: string[]) =>
      (await run(t, program, ["--get-yargs-completions", ...words], { directory })).stdout.split(
        "\n",
      );

    const commands = await ask("cli", "securedgram", "");
    const options = await ask("cli", "securedgram", "recv", "--");
    const values = await ask("sg-send", "sg-send", "--priority", "");

    assert.ok(["send", "recv", "clean"].every((name) => commands.includes(name)));
    assert.ok(options.includes("--follow") && !options.includes("--f"));
    assert.deepEqual(values, ["bulk", "normal", "high", "urgent", ""]);
  });

  test("the completion scripts in share are those that the program prints", async (t) => {
    const directory = folder(t);

    for (const [shell, file] of [
      ["bash", "securedgram.bash"],
      ["zsh", "_securedgram"],
      ["fish", "securedgram.fish"],
    ]) {
      const ended = await run(t, "cli", ["completion", shell], { directory });
      assert.equal(
        ended.stdout,
        readFileSync(new URL(`completions/${file}`, SHARE), "utf8"),
        shell,
      );
      assert.ok(
        ["securedgram", "sg-send", "sg-recv", "sg-clean"].every((name) =>
          ended.stdout.includes(name),
        ),
      );
    }
  });

  test("the version is that of the package", () => {
    const text = readFileSync(new URL("../package.json", SHARE), "utf8");

    assert.equal(VERSION, JSON.parse(text).version);
  });
});

describe("command lines", () => {
  const TABLE = {
    quiet: { kind: "flag", short: "q", summary: "" },
    file: { kind: "text", short: "f", placeholder: "FILE", summary: "" },
    "no-mark": { kind: "flag", summary: "" },
  } as const satisfies OptionTable;

  const lines: readonly (readonly [string, readonly string[], readonly string[]])[] = [
    ["-qfx a", ["--quiet", "--file=x"], ["a"]],
    ["-f x -q a b", ["--file=x", "--quiet"], ["a", "b"]],
    ["a -fx=y --no-mark", ["--file=x=y", "--no-mark"], ["a"]],
    ["--file=-q -f=z", ["--file=-q", "--file=z"], []],
    ["--file -q", ["--file=-q"], []],
    ["a - -- -q --file", [], ["a", "-", "-q", "--file"]],
  ];
  for (const [line, options, positionals] of lines) {
    test(`"${line}" is read as getopt would`, () => {
      assert.deepEqual(expandWords(line.split(" "), TABLE), { options, positionals });
    });
  }

  test("the older order, options before the command, is understood with short forms", () => {
    const line = "-vdp5000 -s start --db x.db -r 3 start -l stdout --port 1".split(" ");

    assert.deepEqual(splitLine(line, DAEMON_OPTIONS), {
      before: [
        "--verbose",
        "--debug",
        "--port=5000",
        "--secret=start",
        "--db=x.db",
        "--max-retries=3",
      ],
      command: "start",
      after: ["-l", "stdout", "--port", "1"],
    });
  });

  test("any words are read or refused as usage, nothing else", () => {
    const word = fc.oneof(
      fc.string(),
      fc.constantFrom(
        "--",
        "-",
        "-q",
        "-f",
        "--file",
        "--__proto__",
        "--constructor=1",
        "--quiet=",
      ),
      fc.string().map((text) => `--${text}`),
      fc.string().map((text) => `-${text}`),
    );
    fc.assert(
      fc.property(fc.array(word), (line) => {
        try {
          const { options, positionals } = expandWords(line, TABLE);
          return options.length + positionals.length <= line.join(" ").length + 1;
        } catch (error) {
          return (
            error instanceof DaemonError &&
            error.code === "ERR_USAGE" &&
            !/\p{Cc}/u.test(error.message)
          );
        }
      }),
    );
  });

  test("the nearest word is one slip away, or the only one that begins so", () => {
    assert.equal(nearest("folow", ["follow", "from"]), "follow");
    assert.equal(nearest("mess", ["message-id", "file"]), "message-id");
    assert.equal(nearest("xyz", ["message-id", "file"]), undefined);
  });

  test("times are UTC unless they carry a zone", () => {
    const at = Date.UTC(2026, 0, 2, 3, 4, 5);

    assert.equal(instantMs("2026-01-02T03:04:05"), at);
    assert.equal(instantMs("2026-01-02 03:04:05Z"), at);
    assert.equal(instantMs("2026-01-02T05:04:05+02:00"), at);
    assert.equal(instantMs("2026-01-01T22:34:05-0430"), at);
    assert.equal(instantMs("2026-01-02"), Date.UTC(2026, 0, 2));
    for (const text of [
      "",
      "2026",
      "2026-01-02T25:00",
      "2026-01-02T03:04:05+99:00",
      "2026-01-02-01:00",
    ]) {
      assert.equal(instantMs(text), undefined, text);
    }
  });
});
