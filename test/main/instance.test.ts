import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import {
  chmodSync,
  chownSync,
  existsSync,
  linkSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
} from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import {
  findDaemon,
  holdInstanceLock,
  lockHolder,
  lockingPid,
  lockPathOf,
  pollDaemon,
  stopDaemon,
} from "../../src/main/instance.js";
import { factsOfPs, hasProc, processFacts } from "../../src/main/process-facts.js";
import { isRoot, makeFolder, put, refusal, startChild, until } from "./places.js";

const DEADLINE_MS = 10_000;

function place(t: TestContext) {
  const folder = makeFolder(t);
  const db = join(folder, "x.db");
  return { folder, db, pidFile: join(folder, "x.pid"), deadlineMs: DEADLINE_MS };
}

test("the second daemon on a database is refused, however its path is written", async (t) => {
  const { folder, db } = place(t);
  put(folder, "x.db", "");
  symlinkSync("x.db", join(folder, "link.db"));
  symlinkSync(folder, join(folder, "self"));
  const first = startChild(t, ["hold", db]);
  assert.equal(await first.line(), "held");
  for (const path of [db, join(folder, "link.db"), join(folder, "self/x.db")]) {
    assert.throws(
      () => holdInstanceLock(path),
      refusal("ERR_ALREADY_RUNNING", new RegExp(`process ${first.pid}.*securedgram stop`)),
    );
  }
  const other = holdInstanceLock(join(folder, "other.db"));
  other.release();
});

test("the lock goes with the process, even a killed one", async (t) => {
  const { db } = place(t);
  const first = startChild(t, ["hold", db]);
  await first.line();
  assert.equal(lockHolder(db)?.pid, first.pid);
  first.process.kill("SIGKILL");
  await first.ended;
  assert.equal(lockHolder(db), undefined);
  const lock = holdInstanceLock(db);
  t.after(() => lock.release());
  assert.equal(lockHolder(db)?.pid, process.pid);
});

test("a process cannot lose its lock by asking for it again", async (t) => {
  const { db } = place(t);
  const lock = holdInstanceLock(db);
  t.after(() => lock.release());
  assert.throws(() => holdInstanceLock(db), refusal("ERR_ALREADY_RUNNING", /already serves/));
  lockHolder(db);
  const second = startChild(t, ["hold", db]);
  assert.equal(await second.ended, 1);
  assert.match(second.errors(), new RegExp(`ERR_ALREADY_RUNNING.*${process.pid}`));
  lock.release();
  const third = startChild(t, ["hold", db]);
  assert.equal(await third.line(), "held");
});

test("the lock file is empty, private and alone, and its loss is noticed", (t) => {
  const { folder, db } = place(t);
  const before = process.umask(0);
  t.after(() => process.umask(before));
  const lock = holdInstanceLock(db);
  t.after(() => lock.release());
  const { mode, size } = statSync(lock.path);
  assert.deepEqual([mode & 0o7777, size], [0o600, 0]);
  assert.equal(existsSync(`${lock.path}-journal`), false);
  assert.equal(lock.isIntact(), true);
  renameSync(lock.path, join(folder, "moved"));
  assert.equal(lock.isIntact(), false);
  put(folder, "x.db-lock", "");
  assert.equal(lock.isIntact(), false);
});

test("a planted lock file is refused: link, second name, open mode, other owner", (t) => {
  const { folder, db } = place(t);
  const lockPath = lockPathOf(db);
  const victim = put(folder, "victim", "");
  const plants: readonly (readonly [() => void, RegExp])[] = [
    [() => symlinkSync(victim, lockPath), /symbolic link/],
    [() => linkSync(victim, lockPath), /second name/],
    [() => put(folder, "x.db-lock", "", 0o644), /open to other users/],
    [() => execFileSync("mkfifo", ["-m", "600", lockPath]), /no regular file/],
  ];
  if (isRoot) {
    put(folder, "x.db-lock", "");
    chownSync(lockPath, 65_534, 65_534);
    assert.throws(() => holdInstanceLock(db), refusal("ERR_FILE_MODE", /user id 65534/));
    rmSync(lockPath);
  }
  for (const [plant, why] of plants) {
    plant();
    assert.throws(() => holdInstanceLock(db), refusal("ERR_FILE_MODE", why));
    rmSync(lockPath);
  }
  put(folder, "x.db-lock", "no database at all ".repeat(100));
  assert.throws(() => holdInstanceLock(db), refusal("ERR_DB_OPEN", /not a database.*Remove it/));
  rmSync(lockPath);
  holdInstanceLock(db).release();
});

test("the kernel's list of locks is read exactly", () => {
  const dev = 0xfe00n;
  const line = (
    pid: string,
    id: string,
    kind = "POSIX  ADVISORY  WRITE",
    range = "1073741824 1073742335",
  ) => `1: ${kind} ${pid} ${id} ${range}`;
  const table: readonly (readonly [string, number | undefined])[] = [
    [line("12", "fe:00:77"), 12],
    [line("12", "fe:00:77", "POSIX  ADVISORY  WRITE", "0 EOF"), 12],
    [line("12", "fe:00:78"), undefined],
    [line("12", "fe:01:77"), undefined],
    [line("12", "00:fe:77"), undefined],
    [line("0", "fe:00:77"), undefined],
    [line("-1", "fe:00:77"), undefined],
    [line("12", "fe:00:77", "POSIX  ADVISORY  READ "), undefined],
    [line("12", "fe:00:77", "FLOCK  ADVISORY  WRITE"), undefined],
    [line("12", "fe:00:77", "-> POSIX  ADVISORY  WRITE"), undefined],
    [line("12", "fe:00:77", "POSIX  ADVISORY  WRITE", "120 122"), undefined],
    ["", undefined],
  ];
  for (const [text, pid] of table) assert.equal(lockingPid(dev, 77n, `x\n${text}\n`), pid, text);
});

test("stop ends the daemon and waits for its end", async (t) => {
  const where = place(t);
  const child = startChild(t, ["hold", where.db]);
  await child.line();
  const holder = await stopDaemon(where);
  assert.equal(holder.pid, child.pid);
  assert.ok(Math.abs(Date.now() - (holder.startedAtMs ?? 0)) < 60_000);
  assert.equal(await child.ended, "SIGTERM");
  await assert.rejects(stopDaemon(where), refusal("ERR_NOT_RUNNING", /no daemon serves.*start/));
});

test("stop reports a daemon that does not end, and kills it only when told to", async (t) => {
  const where = { ...place(t), deadlineMs: 200 };
  const child = startChild(t, ["holdDeaf", where.db]);
  await child.line();
  await assert.rejects(stopDaemon(where), refusal("ERR_TIMEOUT", /has not ended in 0\.2 s/));
  assert.equal(lockHolder(where.db)?.pid, child.pid);
  await stopDaemon({ ...where, force: true });
  assert.equal(await child.ended, "SIGKILL");
});

test("poll waits for the end, and is done at once when none runs", async (t) => {
  const where = place(t);
  assert.equal(await pollDaemon(where), undefined);
  const child = startChild(t, ["hold", where.db]);
  await child.line();
  await assert.rejects(pollDaemon(where, 50), refusal("ERR_TIMEOUT", /still runs/));
  const polling = pollDaemon(where);
  child.process.kill("SIGTERM");
  assert.equal((await polling)?.pid, child.pid);
});

test("a pid file that names another program is not believed", async (t) => {
  const where = place(t);
  const victim = startChild(t, ["stay"]);
  await victim.line();
  put(where.folder, "x.pid", `${victim.pid}\n`, 0o644);
  assert.equal(findDaemon(where), undefined);
  await assert.rejects(
    stopDaemon(where),
    refusal("ERR_NOT_RUNNING", new RegExp(`process ${victim.pid} in .* is another program`)),
  );
  assert.equal(victim.process.exitCode, null);
  assert.notEqual(processFacts(victim.pid), undefined);
});

test("a pid file that names nobody, or holds no pid, stops nobody", async (t) => {
  const where = place(t);
  for (const content of ["4194304000\n", "0\n", "1"]) {
    put(where.folder, "x.pid", content, 0o644);
    await assert.rejects(stopDaemon(where), refusal("ERR_NOT_RUNNING", /no daemon/));
  }
  for (const content of ["-1\n", "1 2\n", "x", "", "1".repeat(40)]) {
    put(where.folder, "x.pid", content, 0o644);
    await assert.rejects(stopDaemon(where), refusal("ERR_FILE_MODE", /holds no process id/));
  }
});

test("stop leaves a process alone that is not the lock file owner's", async (t) => {
  const where = place(t);
  const child = startChild(t, ["hold", where.db]);
  await child.line();
  if (!isRoot) {
    t.diagnostic("not root: the lock file was not given to another user, only to a second name");
  } else {
    chownSync(lockPathOf(where.db), 65_534, 65_534);
    await assert.rejects(stopDaemon(where), refusal("ERR_PERMISSION", /does not look like/));
    chownSync(lockPathOf(where.db), 0, 0);
  }
  linkSync(lockPathOf(where.db), join(where.folder, "second"));
  await assert.rejects(stopDaemon(where), refusal("ERR_PERMISSION", /does not look like/));
  rmSync(join(where.folder, "second"));
  assert.equal(lockHolder(where.db)?.pid, child.pid);
  await stopDaemon(where);
});

test("stop leaves a program alone that locked the file and is not ours", async (t) => {
  const where = place(t);
  const holder = startChild(t, ["holdAs", where.db, "sleeper"]);
  await holder.line();
  await assert.rejects(stopDaemon(where), refusal("ERR_PERMISSION", /does not look like/));
  assert.equal(holder.process.exitCode, null);
});

test("root finds and stops the daemon that became another user", async (t) => {
  const where = place(t);
  if (!isRoot) {
    t.diagnostic("not root: a daemon that changes its user cannot be started");
    return;
  }
  chmodSync(where.folder, 0o755);
  chownSync(where.folder, 65_534, 65_534);
  const child = startChild(t, ["dropAndHold", "nobody", where.db]);
  await child.line();
  assert.equal(statSync(lockPathOf(where.db)).uid, 65_534);
  assert.equal((await stopDaemon(where)).pid, child.pid);
});

test("a process is known by its start, not by its number alone", async (t) => {
  const child = startChild(t, ["stay"]);
  await child.line();
  const facts = processFacts(child.pid);
  assert.match(facts?.command ?? "", /child\.js stay/);
  assert.equal(facts?.uid, process.geteuid?.());
  assert.notEqual(facts?.startKey, processFacts(process.pid)?.startKey);
  assert.equal(processFacts(child.pid)?.startKey, facts?.startKey);
  assert.equal(processFacts(0), undefined);
  assert.equal(processFacts(-1), undefined);
});

test("the remains of a process that nobody waited for do not count as running", async (t) => {
  const script = "sleep 0.05 & echo $!; exec sleep 60";
  const parent = spawn("/bin/sh", ["-c", script], { stdio: ["ignore", "pipe", "ignore"] });
  t.after(() => parent.kill("SIGKILL"));
  let pid = 0;
  parent.stdout.once("data", (chunk: Buffer) => {
    pid = Number(chunk.toString());
  });
  await until(() => pid > 0 && processFacts(pid) === undefined, "the end of the sleep");
  assert.equal(parent.exitCode, null);
  if (hasProc()) assert.match(readFileSync(`/proc/${pid}/stat`, "latin1"), /\) Z /);
});

test("without /proc, ps says the same", async (t) => {
  if (!existsSync("/bin/ps")) {
    t.diagnostic("there is no ps on this machine");
    return;
  }
  const facts = factsOfPs(process.pid);
  const known = processFacts(process.pid);
  assert.equal(facts?.uid, known?.uid);
  assert.ok(Math.abs((facts?.startedAtMs ?? 0) - (known?.startedAtMs ?? 0)) < 3_000);
  assert.equal(factsOfPs(4_194_304), undefined);
});
