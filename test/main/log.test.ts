import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  fstatSync,
  openSync,
  readFileSync,
  renameSync,
  statSync,
  symlinkSync,
} from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import fc from "fast-check";
import { createLog } from "../../src/main/log.js";
import { DescriptorSink, SyslogSink, stderrIsJournal } from "../../src/main/log-sinks.js";
import { SummaryLog } from "../../src/main/log-summary.js";
import { nanoseconds, seconds } from "../../src/shared/base/units.js";
import { isRoot, makeFolder, put, refusal, startChild, until } from "./places.js";

/** Naughty strings: each has ended a line, moved a cursor or hidden text in some log. */
const HOSTILE = [
  "a\nb",
  "a\r\nb",
  '"}\n{"level":"error","msg":"forged"}',
  "\u001b[2J\u001b[31mred\u001b[0m",
  "\u009b31m",
  "\u2028\u2029",
  "\u202Etxt.exe",
  "\u0000\u0007\b\t\v\f\u007f",
  "\ufeff\u200b",
  "\ud800",
  "\udfff\ud83d",
  "😀é漢字",
  "%s %d %j %o %",
  "__proto__",
  '\\u0041\\\\"',
  "#{7*7}",
  "`reboot`",
  "x".repeat(10_000),
  "",
];

function openLog(t: TestContext, level: "warn" | "info" | "debug" = "debug") {
  const path = join(makeFolder(t), "x.log");
  const log = createLog({ target: path, level });
  t.after(() => log.close());
  return { path, log, lines: () => readFileSync(path, "latin1").split("\n").slice(0, -1) };
}

const isPlain = (line: string): boolean => /^[\x20-\x7e]*$/.test(line);

test("a line is one JSON object with level, time, sentence and fields", (t) => {
  const { log, lines } = openLog(t);
  log.warn("the port is taken", { port: 7, name: "é", big: 5n, none: undefined, nan: Number.NaN });
  const { time, ...rest } = JSON.parse(lines()[0]);
  assert.match(time, /^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
  const expected = { level: "warn", port: 7, name: "é", big: "5", nan: "NaN" };
  assert.deepEqual(rest, { ...expected, msg: "the port is taken" });
});

test("no hostile text forges a line or sends a byte that is not printable", (t) => {
  const { log, lines } = openLog(t);
  const calls: ((text: string) => void)[] = [
    (text) => log.error(text),
    (text) => log.warn("w", { text }),
    (text) => log.info("i", { [text]: 1 }),
    (text) => log.debug("d", { nested: { text }, list: [text] }),
    (text) => log.warn("e", { reason: new Error(text) }),
  ];
  for (const text of HOSTILE) for (const call of calls) call(text);
  assert.equal(lines().length, HOSTILE.length * calls.length);
  for (const line of lines()) {
    assert.ok(isPlain(line), line);
    assert.ok(line.length < 8_192);
    assert.equal(typeof JSON.parse(line).msg, "string");
  }
});

test("no text at all forges a line, and what is short arrives whole", (t) => {
  const { log, lines } = openLog(t);
  let count = 0;
  fc.assert(
    fc.property(fc.string({ unit: "binary", maxLength: 200 }), (text) => {
      log.warn(text, { text, [text]: true });
      count += 1;
      const line = lines()[count - 1];
      assert.ok(isPlain(line));
      const parsed = JSON.parse(line);
      assert.equal(parsed.msg, text);
      assert.equal(parsed.level, "warn");
      if (text !== "text") assert.equal(parsed.text, text);
    }),
  );
  assert.equal(lines().length, count);
});

test("a field cannot take the place of what every line has", (t) => {
  const { log, lines } = openLog(t);
  log.warn("true", { level: "x", msg: "forged", time: 0, err: "y", __proto__: null });
  const parsed = JSON.parse(lines()[0]);
  assert.equal(parsed.level, "warn");
  assert.equal(parsed.msg, "true");
  assert.equal((lines()[0].match(/"msg":/g) ?? []).length, 1);
  assert.equal(parsed._msg_, "forged");
});

test("values are cut at 256 characters, fields at 64", (t) => {
  const { log, lines } = openLog(t);
  const many = Object.fromEntries(Array.from({ length: 200 }, (_, i) => [`f${i}`, i]));
  log.warn("s".repeat(999), { text: "x".repeat(257), fits: "y".repeat(256), ...many });
  const parsed = JSON.parse(lines()[0]);
  assert.equal(parsed.msg.length, 256);
  assert.equal(parsed.text.length, 256);
  assert.equal(parsed.fits, "y".repeat(256));
  assert.equal(Object.keys(parsed).length, 3 + 64);
});

test("what is below the level is not written", (t) => {
  for (const [level, expected] of [
    ["warn", 2],
    ["info", 3],
    ["debug", 4],
  ] as const) {
    const { log, lines } = openLog(t, level);
    for (const say of ["error", "warn", "info", "debug"] as const) log[say]("x");
    assert.equal(lines().length, expected, level);
  }
});

test("a log file is private under any umask", (t) => {
  const before = process.umask(0);
  t.after(() => process.umask(before));
  const { path } = openLog(t);
  assert.equal(statSync(path).mode & 0o7777, 0o600);
});

test("a reload finds a new file after a rename, and loses no line", (t) => {
  const { path, log, lines } = openLog(t);
  log.warn("one");
  renameSync(path, `${path}.1`);
  log.warn("two");
  log.reopen();
  log.warn("three");
  assert.match(lines().join(), /"three"/);
  assert.equal(lines().length, 1);
  assert.match(readFileSync(`${path}.1`, "latin1"), /"one"[\s\S]*"two"/);
});

test("a reload that finds a link goes on in the old file and says so", (t) => {
  const { path, log } = openLog(t);
  renameSync(path, `${path}.1`);
  symlinkSync("/etc/passwd", path);
  log.reopen();
  log.warn("after");
  const old = readFileSync(`${path}.1`, "latin1");
  assert.match(old, /symbolic link.*could not be opened anew/);
  assert.match(old, /"after"/);
});

test("a link, a pipe, a folder and a file that others write are refused as a log", (t) => {
  const folder = makeFolder(t);
  symlinkSync(put(folder, "real", ""), join(folder, "link"));
  execFileSync("mkfifo", [join(folder, "pipe")]);
  put(folder, "open", "", 0o622);
  const create = (name: string) => () => createLog({ target: join(folder, name), level: "warn" });
  assert.throws(create("link"), refusal("ERR_FILE_MODE", /symbolic link/));
  assert.throws(create("pipe"), refusal("ERR_PERMISSION", /pipe/));
  assert.throws(create("."), refusal("ERR_PERMISSION", /EISDIR/));
  assert.throws(create("open"), refusal("ERR_FILE_MODE", /chmod go-w/));
  assert.throws(create("none/x"), refusal("ERR_PERMISSION", /ENOENT/));
  chmodSync(join(folder, "open"), 0o644);
  assert.doesNotThrow(create("open"));
  if (!isRoot) return;
  chownSync(join(folder, "real"), 65_534, 65_534);
  assert.throws(create("real"), refusal("ERR_FILE_MODE", /chown 0/));
});

test("a full target costs lines and a count, not the daemon", (t) => {
  const log = createLog({ target: "/dev/full", level: "warn" });
  t.after(() => log.close());
  assert.doesNotThrow(() => {
    for (let i = 0; i < 100; i++) log.warn("nobody hears me");
  });
});

test("a sink says whether a line was taken; the journal gets its priority", (t) => {
  const folder = makeFolder(t);
  const full = new DescriptorSink("full", openSync("/dev/full", "w"), false);
  assert.equal(full.write("x\n", 4), false);
  const path = put(folder, "x", "");
  const journal = new DescriptorSink("x", openSync(path, "a"), true);
  assert.equal(journal.write("line\n", 3), true);
  assert.equal(readFileSync(path, "latin1"), "<3>line\n");
});

test("syslog gets every line with its priority before the log is closed", async (t) => {
  const folder = makeFolder(t);
  const out = join(folder, "out");
  const logger = put(
    folder,
    "logger",
    `#!/bin/sh\necho "$@" >${out}\nexec /bin/cat >>${out}\n`,
    0o700,
  );
  const sink = new SyslogSink(logger, () => assert.fail("it did not end by itself"));
  for (let i = 0; i < 1_000; i++)
    assert.equal(sink.write(`line ${i}\n`, i % 2 === 0 ? 3 : 6), true);
  await sink.close();
  const [words, ...lines] = readFileSync(out, "latin1").split("\n");
  assert.match(words, /-t securedgram -p daemon\..* --prio-prefix/);
  assert.deepEqual(
    [lines[0], lines[1], lines[999], lines.length],
    ["<3>line 0", "<6>line 1", "<6>line 999", 1_001],
  );
});

test("a logger that ends is reported once, and a reload starts another", async (t) => {
  const folder = makeFolder(t);
  const out = join(folder, "out");
  put(folder, "logger", "#!/bin/sh\nexit 1\n", 0o700);
  let lost = 0;
  const sink = new SyslogSink(join(folder, "logger"), () => {
    lost += 1;
  });
  await until(() => lost > 0, "the end of the logger");
  assert.equal(sink.write("x\n", 3), false);
  put(folder, "logger", `#!/bin/sh\nexec /bin/cat >${out}\n`, 0o700);
  sink.reopen();
  assert.equal(sink.write("y\n", 3), true);
  await sink.close();
  assert.equal(readFileSync(out, "latin1"), "<3>y\n");
  assert.equal(lost, 1);
});

test("stderr counts as the journal only when it is the very stream that systemd names", () => {
  const { dev, ino } = fstatSync(2, { bigint: true });
  assert.equal(stderrIsJournal(`${dev}:${ino}`), true);
  assert.equal(stderrIsJournal(`${dev}:${ino + 1n}`), false);
  assert.equal(stderrIsJournal(undefined), false);
});

test("stdout gets the line before the process ends by exit", async (t) => {
  const child = startChild(t, ["log", "stdout", "last\nwords"]);
  assert.equal(JSON.parse(await child.line()).msg, "last\nwords");
  assert.equal(await child.line(), "stdout");
  assert.equal(await child.ended, 0);
});

test("without a syslog the log goes to stderr, says so once, and the line arrives", async (t) => {
  const child = startChild(t, ["log", "syslog", "hear me"]);
  const target = await child.line();
  assert.equal(await child.ended, 0);
  if (target === "syslog") {
    t.diagnostic("this machine has a syslog: the way without one was not taken");
    return;
  }
  assert.equal(target, "stderr");
  const [first, second, ...rest] = child.errors().split("\n");
  assert.match(JSON.parse(first).msg, /no syslog/);
  assert.equal(JSON.parse(second).msg, "hear me");
  assert.deepEqual(rest, [""]);
});

test("a flood becomes one summary line in ten seconds, and none is counted twice", () => {
  const said: unknown[] = [];
  const log = { info: (_: string, fields?: unknown) => said.push(fields), warn: () => {} };
  const summary = new SummaryLog(log);
  summary.add(seconds(5), {});
  assert.deepEqual(said, []);
  summary.add(seconds(5), { replayed: 1, too_short: 0 });
  assert.deepEqual(said, [{ replayed: 1 }]);
  for (let i = 0; i < 1_000; i++) summary.add(nanoseconds(seconds(6) + i), { replayed: 2 });
  assert.equal(said.length, 1);
  summary.add(seconds(15), { not_authentic: 3 });
  assert.deepEqual(said[1], { replayed: 2_000, not_authentic: 3 });
  summary.add(seconds(30), {});
  assert.equal(said.length, 2);
  summary.add(seconds(31), { replayed: 1 });
  summary.add(seconds(32), { replayed: 1 });
  summary.flush(seconds(33));
  assert.deepEqual(said.slice(2), [{ replayed: 1 }, { replayed: 1 }]);
});
