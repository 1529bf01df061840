import assert from "node:assert/strict";
import {
  chownSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
} from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { readPidFile, writePidFile } from "../../src/main/pid-file.js";
import { isRoot, makeFolder, put, refusal } from "./places.js";

test("the pid file is one line that all may read, under any umask, and is removed", (t) => {
  const folder = makeFolder(t);
  const before = process.umask(0o077);
  t.after(() => process.umask(before));
  const path = join(folder, "x.pid");
  const file = writePidFile(path);
  assert.equal(readFileSync(path, "latin1"), `${process.pid}\n`);
  assert.equal(lstatSync(path).mode & 0o7777, 0o644);
  assert.equal(readPidFile(path)?.pid, process.pid);
  assert.deepEqual(readdirSync(folder), ["x.pid"]);
  file.remove();
  assert.equal(existsSync(path), false);
  assert.equal(readPidFile(path), undefined);
});

test("a stale or an empty pid file is replaced", (t) => {
  const folder = makeFolder(t);
  for (const content of ["4194304\n", ""]) {
    const path = put(folder, "x.pid", content, 0o644);
    writePidFile(path);
    assert.equal(readPidFile(path)?.pid, process.pid);
  }
});

test("a link planted at the path is refused, and its target is not touched", (t) => {
  const folder = makeFolder(t);
  const victim = put(folder, "victim", "precious");
  symlinkSync(victim, join(folder, "x.pid"));
  symlinkSync("nowhere", join(folder, "y.pid"));
  const refused = refusal("ERR_FILE_MODE", /symbolic link.*--pidfile/);
  assert.throws(() => writePidFile(join(folder, "x.pid")), refused);
  assert.throws(() => writePidFile(join(folder, "y.pid")), refused);
  assert.throws(() => readPidFile(join(folder, "x.pid")), refused);
  assert.equal(readFileSync(victim, "latin1"), "precious");
});

test("a second name of a file is replaced, the file itself is not written", (t) => {
  const folder = makeFolder(t);
  const victim = put(folder, "victim", "1\n");
  linkSync(victim, join(folder, "x.pid"));
  writePidFile(join(folder, "x.pid"));
  assert.equal(readFileSync(victim, "latin1"), "1\n");
});

test("a file that is no pid file, a folder and another user's file are not replaced", (t) => {
  const folder = makeFolder(t);
  const file = put(folder, "passwd", "root:x:0:0\n");
  mkdirSync(join(folder, "folder"));
  assert.throws(() => writePidFile(file), refusal("ERR_FILE_MODE", /holds no process id/));
  assert.throws(
    () => writePidFile(join(folder, "folder")),
    refusal("ERR_FILE_MODE", /no process id/),
  );
  assert.equal(readFileSync(file, "latin1"), "root:x:0:0\n");
  if (!isRoot) {
    t.diagnostic("not root: a file of another user cannot be made");
    return;
  }
  const foreign = put(folder, "foreign", "1\n");
  chownSync(foreign, 65_534, 65_534);
  assert.throws(() => writePidFile(foreign), refusal("ERR_FILE_MODE", /user id 65534/));
});

test("a missing folder is refused with what to do, and nothing is left behind", (t) => {
  const folder = makeFolder(t);
  const path = join(folder, "none/x.pid");
  assert.throws(() => writePidFile(path), refusal("ERR_PERMISSION", /ENOENT.*--pidfile/));
  assert.deepEqual(readdirSync(folder), []);
});

test("removing spares the file of a successor", (t) => {
  const folder = makeFolder(t);
  const path = join(folder, "x.pid");
  const ours = writePidFile(path);
  const theirs = writePidFile(path);
  ours.remove();
  assert.equal(readPidFile(path)?.pid, process.pid);
  theirs.remove();
  assert.equal(existsSync(path), false);
});
