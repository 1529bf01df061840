import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { chmodSync, chownSync, linkSync, mkdirSync, symlinkSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import {
  parseSecret,
  readSecretFile,
  wipe,
  wipeEnvironmentSecret,
} from "../../src/main/secrets.js";
import { DaemonError } from "../../src/shared/base/errors.js";
import { isRoot, makeFolder, put, refusal, SECRET } from "./places.js";

const places = (base: string) => ({ base, credentials: undefined });
const HEX = SECRET.toLowerCase();

test("64 hex digits of either case are 32 bytes", () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), fc.boolean(), (bytes, upper) => {
      fc.pre(bytes.some((byte) => byte !== 0));
      const digits = Buffer.from(bytes).toString("hex");
      assert.deepEqual(parseSecret(upper ? digits.toUpperCase() : digits, "x"), bytes);
    }),
  );
});

test("a short, long, all-zero or mistyped secret is refused without being shown", () => {
  const bad = [
    HEX.slice(1),
    `${HEX}0`,
    HEX.replace("f", "g"),
    "0".repeat(64),
    `${HEX.slice(2)}é`,
    "",
  ];
  for (const digits of bad) {
    assert.throws(
      () => parseSecret(digits, "SECUREDGRAM_SECRET"),
      (error) =>
        refusal("ERR_CONFIG_SECRET", /^SECUREDGRAM_SECRET .*openssl/)(error) &&
        error instanceof DaemonError &&
        !/[0-9a-f]{6}/i.test(error.message.replace("SECUREDGRAM_SECRET", "")),
    );
  }
});

test("any text but 64 hex digits is a refusal, never an exception of another kind", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary", maxLength: 80 }), (text) => {
      fc.pre(!/^[0-9a-f]{64}$/i.test(text));
      assert.throws(() => parseSecret(text, "x"), refusal("ERR_CONFIG_SECRET", /^x /));
    }),
  );
});

test("a private file is read, white space around the digits too", (t) => {
  const folder = makeFolder(t);
  put(folder, "a", `\n ${SECRET}\r\n`);
  put(folder, "b", SECRET, 0o400);
  assert.equal(Buffer.from(readSecretFile("a", places(folder))).toString("hex"), HEX);
  assert.equal(readSecretFile(join(folder, "b"), places("/")).length, 32);
});

test("a file that others can read or write is refused with the remedy", (t) => {
  const folder = makeFolder(t);
  for (const mode of [0o640, 0o604, 0o620, 0o602, 0o610, 0o644, 0o666, 0o777]) {
    put(folder, "secret", SECRET, mode);
    assert.throws(
      () => readSecretFile("secret", places(folder)),
      refusal("ERR_FILE_MODE", /chmod (600|go-w) /),
      mode.toString(8),
    );
  }
});

test("a link, a folder, a pipe, a missing and an endless file are refused", (t) => {
  const folder = makeFolder(t);
  put(folder, "real", SECRET);
  symlinkSync("real", join(folder, "link"));
  mkdirSync(join(folder, "folder"));
  execFileSync("mkfifo", ["-m", "600", join(folder, "pipe")]);
  put(folder, "long", SECRET.padEnd(5_000));
  const read = (name: string) => () => readSecretFile(name, places(folder));
  assert.throws(read("link"), refusal("ERR_FILE_MODE", /symbolic link/));
  assert.throws(read("folder"), refusal("ERR_FILE_MODE", /no regular file/));
  assert.throws(read("pipe"), refusal("ERR_FILE_MODE", /no regular file/));
  assert.throws(read("missing"), refusal("ERR_CONFIG", /does not exist/));
  assert.throws(read("/dev/zero"), refusal("ERR_FILE_MODE", /no regular file/));
  assert.throws(read("long"), refusal("ERR_CONFIG", /too long/));
});

test("a folder above that others can write is refused as well", (t) => {
  const folder = makeFolder(t);
  mkdirSync(join(folder, "open/closed"), { recursive: true, mode: 0o700 });
  put(join(folder, "open/closed"), "a", SECRET);
  assert.equal(readSecretFile("a", places(join(folder, "open/closed"))).length, 32);

  chmodSync(join(folder, "open"), 0o777);
  assert.throws(
    () => readSecretFile("a", places(join(folder, "open/closed"))),
    refusal("ERR_FILE_MODE", /chmod go-w .*open$/),
  );
  chmodSync(join(folder, "open"), 0o1777);
  assert.equal(readSecretFile("a", places(join(folder, "open/closed"))).length, 32);
});

test("44 characters of base64 are a secret as well", () => {
  const text = Buffer.from(HEX, "hex").toString("base64");
  assert.equal(Buffer.from(parseSecret(text, "x")).toString("hex"), HEX);
  assert.throws(
    () => parseSecret(`${text.slice(0, 42)}==`, "x"),
    refusal("ERR_CONFIG_SECRET", /base64/),
  );
  assert.throws(
    () => parseSecret(`${"A".repeat(43)}=`, "x"),
    refusal("ERR_CONFIG_SECRET", /all zeros/),
  );
});

test("a folder that others can write is refused, with the sticky bit it will do", (t) => {
  const folder = makeFolder(t);
  put(folder, "secret", SECRET);
  for (const mode of [0o770, 0o702, 0o777]) {
    chmodSync(folder, mode);
    assert.throws(
      () => readSecretFile("secret", places(folder)),
      refusal("ERR_FILE_MODE", /chmod go-w/),
    );
  }
  chmodSync(folder, 0o1777);
  assert.equal(readSecretFile("secret", places(folder)).length, 32);
});

test("another user's file is refused, root's and our own are not", (t) => {
  const folder = makeFolder(t);
  const path = put(folder, "secret", SECRET);
  assert.equal(readSecretFile("secret", places(folder)).length, 32);
  if (!isRoot) {
    t.diagnostic("not root: a file of another user cannot be made, so only our own was read");
    return;
  }
  chownSync(path, 65_534, 65_534);
  assert.throws(() => readSecretFile("secret", places(folder)), refusal("ERR_FILE_MODE", /chown/));
});

test("a relative name is looked for among the credentials first", (t) => {
  const folder = makeFolder(t);
  const credentials = makeFolder(t);
  put(folder, "shared", "11".repeat(32));
  put(credentials, "shared", SECRET, isRoot ? 0o440 : 0o400);
  put(credentials, "open", SECRET, 0o444);
  const found = { base: folder, credentials };
  assert.equal(Buffer.from(readSecretFile("shared", found)).toString("hex"), HEX);
  assert.throws(() => readSecretFile("open", found), refusal("ERR_FILE_MODE", /read by other/));
  const upwards = `../${folder.slice(dirname(folder).length + 1)}/shared`;
  assert.throws(
    () => readSecretFile(upwards, { base: "/nonexistent", credentials }),
    /does not exist/,
  );
});

test("a second name of a private file changes nothing, its mode goes with it", (t) => {
  const folder = makeFolder(t);
  linkSync(put(folder, "a", SECRET), join(folder, "b"));
  assert.equal(readSecretFile("b", places(folder)).length, 32);
});

test("wiping leaves zeros, and no secret in the environment", () => {
  const secret = parseSecret(SECRET, "x");
  wipe(secret);
  assert.deepEqual(secret, new Uint8Array(32));
  process.env["SECUREDGRAM_SECRET"] = SECRET;
  wipeEnvironmentSecret();
  assert.equal(process.env["SECUREDGRAM_SECRET"], undefined);
});
