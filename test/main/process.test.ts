import assert from "node:assert/strict";
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { checkNodeVersion, unsafeSwitch } from "../../src/main/process.js";
import { hasProc } from "../../src/main/process-facts.js";
import { notifySystemd } from "../../src/main/systemd.js";
import { makeFolder, refusal, startChild, until } from "./places.js";

/** Listening TCP sockets of a process, as their lines in /proc. */
function listening(pid: number): readonly string[] {
  const sockets = new Set(
    readdirSync(`/proc/${pid}/fd`).map((fd) => {
      try {
        return /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1];
      } catch {
        return undefined;
      }
    }),
  );
  return ["tcp", "tcp6"]
    .flatMap((name) => readFileSync(`/proc/${pid}/net/${name}`, "latin1").split("\n"))
    .filter((line) => {
      const fields = line.trim().split(/\s+/);
      return fields[3] === "0A" && sockets.has(fields[9]);
    });
}

test("SIGUSR1 opens no debugger", async (t) => {
  if (!hasProc()) {
    t.diagnostic("no /proc: listening sockets cannot be counted");
    return;
  }
  const hardened = startChild(t, ["harden"]);
  assert.equal(await hardened.line(), "umask 77");
  const bare = startChild(t, ["stay"]);
  await bare.line();
  for (let i = 0; i < 5; i++) hardened.process.kill("SIGUSR1");
  bare.process.kill("SIGUSR1");
  await until(
    () => listening(bare.pid).length > 0,
    "the debugger of a process that is not hardened",
  );
  assert.deepEqual(listening(hardened.pid), []);
  assert.equal(hardened.process.exitCode, null);
  assert.equal(hardened.errors(), "");
});

test("a debugger and switches that dump memory are refused, from NODE_OPTIONS too", async (t) => {
  const bad = [
    "--inspect=127.0.0.1:0",
    "--report-on-signal",
    "--report-uncaught-exception",
    "--heapsnapshot-signal=SIGUSR2",
  ];
  for (const word of bad) {
    const direct = startChild(t, ["harden"], { switches: [word] });
    const env = { ...process.env, NODE_OPTIONS: `--no-warnings "${word}"` };
    const inherited = startChild(t, ["harden"], { env });
    for (const child of [direct, inherited]) {
      assert.equal(await child.ended, 78, word);
      assert.match(child.errors(), /ERR_CONFIG Node was started with --/, word);
    }
  }
  const fine = startChild(t, ["harden"], {
    switches: ["--no-warnings", "--max-old-space-size=100"],
  });
  assert.equal(await fine.line(), "umask 77");
});

test("unsafe switches are known in all spellings, safe ones pass", () => {
  for (const word of [
    "--inspect",
    "--inspect-brk=1",
    "--inspect_port=0",
    "--report-on-fatalerror",
    "--report-signal=SIGHUP",
    "--heapsnapshot-near-heap-limit=1",
    "--abort-on-uncaught-exception",
  ]) {
    assert.notEqual(unsafeSwitch([word], undefined), undefined, word);
    assert.notEqual(unsafeSwitch([], `--no-warnings  ${word}`), undefined, word);
  }
  for (const word of [
    "--enable-source-maps",
    "--disable-sigusr1",
    "--report-exclude-env",
    "--max-old-space-size=9",
  ]) {
    assert.equal(unsafeSwitch([word], word), undefined, word);
  }
  assert.equal(unsafeSwitch([], ""), undefined);
});

test("a Node before 20.19 is refused", () => {
  for (const version of ["20.19.0", "20.20.2", "22.0.0", "26.10.0", "100.0.0"]) {
    assert.doesNotThrow(() => checkNodeVersion(version), version);
  }
  for (const version of ["20.18.9", "18.99.0", "0.12.1", "x"]) {
    assert.throws(
      () => checkNodeVersion(version),
      refusal("ERR_NODE_VERSION", /too old.*20\.19/),
      version,
    );
  }
});

test("without systemd nothing is sent, and a socket that nobody reads harms nothing", async (t) => {
  assert.equal(await notifySystemd("READY", undefined, {}), false);
  const env = { NOTIFY_SOCKET: join(makeFolder(t), "none") };
  const before = performance.now();
  assert.equal(await notifySystemd("RELOADING", "again\n", env), false);
  assert.ok(performance.now() - before < 10_000);
});
