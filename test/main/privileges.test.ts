import assert from "node:assert/strict";
import { chmodSync } from "node:fs";
import { userInfo } from "node:os";
import { test } from "node:test";
import { dropPrivileges } from "../../src/main/privileges.js";
import { isRoot, makeFolder, put, refusal, SECRET, startChild } from "./places.js";

/** A line of /proc/PID/status as words. */
const line = (status: string, name: string): readonly string[] =>
  (new RegExp(`^${name}:\\s*(.*)$`, "m").exec(status)?.[1] ?? "").trim().split(/\s+/);

test("root becomes the user for good: ids, groups and capabilities", async (t) => {
  if (!isRoot) {
    t.diagnostic("NOT ROOT: the drop itself was not tested, only its refusals");
    return;
  }
  const child = startChild(t, ["drop", "nobody", "default"]);
  const dropped = JSON.parse(await child.line());
  const status: string = JSON.parse(await child.line());
  const { uid, gid } = dropped;
  assert.equal(dropped.changed, true);
  assert.ok(uid > 0 && gid > 0);
  assert.deepEqual(line(status, "Uid"), Array(4).fill(String(uid)));
  assert.deepEqual(line(status, "Gid"), Array(4).fill(String(gid)));
  assert.deepEqual(line(status, "Groups"), [String(gid)]);
  for (const set of ["CapEff", "CapPrm", "CapInh", "CapAmb"]) {
    assert.match(line(status, set)[0], /^0+$/, set);
  }
});

test("after the drop root's secret files are closed", async (t) => {
  if (!isRoot) {
    t.diagnostic("NOT ROOT: not tested");
    return;
  }
  const folder = makeFolder(t);
  chmodSync(folder, 0o755);
  const path = put(folder, "secret", SECRET);
  const child = startChild(t, ["dropAndRead", "nobody", path]);
  assert.equal(await child.ended, 77);
  assert.match(child.errors(), /ERR_PERMISSION .*cannot be read/);
});

test("io_uring, which would keep root's rights, is refused", async (t) => {
  const env = { ...process.env, UV_USE_IO_URING: "1" };
  const child = startChild(t, ["drop", isRoot ? "nobody" : "root", "explicit"], { env });
  assert.equal(await child.ended, 77);
  assert.match(child.errors(), isRoot ? /UV_USE_IO_URING is set/ : /only root can become/);
});

test("an unknown user, and what is no name of a user, is refused", async (t) => {
  for (const user of ["no-such-user-here", "-u", "a b", "", "$(id)", "../x"]) {
    assert.throws(
      () => dropPrivileges(user, true),
      refusal("ERR_CONFIG", /there is no user.*--user/),
    );
  }
  const child = startChild(t, ["drop", "no-such-user-here", "explicit"]);
  assert.equal(await child.ended, 78);
});

test("who is not root stays who they are, unless they asked for another user", async (t) => {
  if (isRoot) {
    const child = startChild(t, ["dropTwice", "nobody", "root"]);
    assert.equal(JSON.parse(await child.line()).changed, false);
    assert.equal(JSON.parse(await child.line()).changed, false);
    assert.equal(await child.ended, 77);
    assert.match(child.errors(), /only root can become user root/);
    return;
  }
  assert.equal(dropPrivileges("nobody", false).changed, false);
  assert.equal(dropPrivileges(userInfo().username, true).changed, false);
  assert.throws(() => dropPrivileges("root", true), refusal("ERR_PERMISSION", /only root/));
});

test("root that is told to stay root does, with a warning", (t) => {
  if (!isRoot) {
    t.diagnostic("NOT ROOT: not tested");
    return;
  }
  const { changed, warning } = dropPrivileges("root", true);
  assert.equal(changed, false);
  assert.match(warning ?? "", /runs as root/);
});
