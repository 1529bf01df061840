import assert from "node:assert/strict";
import { readFileSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import {
  newPrivateKey,
  pairKeyName,
  parsePrivateKey,
  parsePublicKey,
  publicKeyOf,
  readIdentityFile,
} from "../../src/main/identity.js";
import { base64Text, parseBase64 } from "../../src/main/secrets.js";
import { projectRoot } from "../project.js";
import { makeFolder, put, refusal } from "./places.js";

const places = (base: string) => ({ base, credentials: undefined });
const bytes32 = fc.uint8Array({ minLength: 32, maxLength: 32 });
const PRIVATE = Uint8Array.from({ length: 32 }, (_, i) => i + 1);

interface Group {
  readonly tests: readonly { readonly public: string; readonly flags: readonly string[] }[];
}
/** Public keys of Wycheproof, with what is special about each. */
const known = (
  JSON.parse(
    readFileSync(join(projectRoot(), "test/vectors/wycheproof/x25519_test.json"), "utf8"),
  ) as { readonly testGroups: readonly Group[] }
).testGroups.flatMap(({ tests }) => tests);

test("32 bytes survive their base64, whatever they are", () => {
  fc.assert(
    fc.property(bytes32, (bytes) => {
      assert.deepEqual(parseBase64(base64Text(bytes)), bytes);
      assert.deepEqual(parseBase64(Buffer.from(base64Text(bytes))), bytes);
    }),
  );
});

test("text that is not the one base64 of 32 bytes is none", () => {
  const good = base64Text(PRIVATE);
  const bad = [
    "",
    good.slice(0, -1),
    `${good}=`,
    `=${good.slice(1)}`,
    good.replace(/.=$/, "B="),
    good.replace(/.{2}$/, "=="),
    good.replace(/^./, "-"),
    good.replace(/^./, " "),
    good.replace(/^./, "\u0141"),
    "A".repeat(44),
  ];

  assert.ok(parseBase64(good) !== undefined);
  for (const text of bad) assert.equal(parseBase64(text), undefined, text);
  fc.assert(
    fc.property(fc.string({ unit: "binary", minLength: 44, maxLength: 44 }), (text) => {
      const read = parseBase64(text);
      assert.ok(read === undefined || base64Text(read) === text);
    }),
  );
});

test("public keys of small order or in a second spelling are refused, all others taken", () => {
  let refused = 0;
  for (const { public: hex, flags } of known) {
    const text = Buffer.from(hex, "hex").toString("base64");
    const isBad = flags.includes("LowOrderPublic") || flags.includes("NonCanonicalPublic");
    if (!isBad) {
      assert.equal(base64Text(parsePublicKey(` ${text}\n`, "x")), text, hex);
      continue;
    }
    refused += 1;
    assert.throws(
      () => parsePublicKey(text, "public_key of peer x"),
      refusal("ERR_CONFIG_SECRET", /^public_key of peer x .*key show/),
      hex,
    );
  }
  assert.ok(refused > 30);
});

test("a private key is 44 characters of base64 and not zero; a refusal shows nothing of it", () => {
  const good = base64Text(PRIVATE);

  assert.deepEqual(parsePrivateKey(good, "x"), PRIVATE);
  for (const text of [good.slice(1), "A".repeat(43).concat("="), `${good.slice(0, 42)}==`, ""]) {
    assert.throws(
      () => parsePrivateKey(text, "x"),
      (error) =>
        refusal("ERR_CONFIG_SECRET", /^x .*key new/)(error) &&
        !String(error).includes(text.slice(4, 12) || "impossible"),
    );
  }
});

test("a new private key is clamped, has a public half, and is never the same twice", () => {
  const keys = Array.from({ length: 20 }, newPrivateKey);

  for (const key of keys) {
    assert.equal(key[0] & 7, 0);
    assert.equal(key[31] & 0xc0, 0x40);
    assert.deepEqual(parsePublicKey(base64Text(publicKeyOf(key)), "x"), publicKeyOf(key));
  }
  assert.equal(new Set(keys.map(base64Text)).size, keys.length);
});

test("an identity is read from a private file, and from no other", (t) => {
  const folder = makeFolder(t);
  const line = `${base64Text(PRIVATE)}\n`;
  put(folder, "good", line);
  put(folder, "open", line, 0o644);
  symlinkSync("good", join(folder, "link"));

  const { privateKey, publicKey } = readIdentityFile("good", places(folder));
  assert.deepEqual(privateKey, PRIVATE);
  assert.deepEqual(publicKey, publicKeyOf(PRIVATE));
  assert.throws(
    () => readIdentityFile("open", places(folder)),
    refusal("ERR_FILE_MODE", /chmod 600/),
  );
  assert.throws(
    () => readIdentityFile("link", places(folder)),
    refusal("ERR_FILE_MODE", /symbolic link/),
  );
  assert.throws(
    () => readIdentityFile("none", places(folder)),
    refusal("ERR_CONFIG", /identity file .*none does not exist/),
  );
});

test("a credential of systemd is found before a file beside the configuration", (t) => {
  const credentials = makeFolder(t);
  const base = makeFolder(t);
  const other = newPrivateKey();
  put(credentials, "identity", base64Text(PRIVATE));
  put(base, "identity", base64Text(other));

  assert.deepEqual(readIdentityFile("identity", { base, credentials }).privateKey, PRIVATE);
  assert.deepEqual(readIdentityFile("identity", places(base)).privateKey, other);
});

test("the name of a pair key differs with each of its three keys", () => {
  const [a, b] = [newPrivateKey(), newPrivateKey()];
  const found = [
    pairKeyName(a, b, undefined),
    pairKeyName(b, a, undefined),
    pairKeyName(a, b, PRIVATE),
    pairKeyName(a, b, a),
  ];

  assert.equal(new Set(found).size, found.length);
  assert.equal(pairKeyName(a, b, PRIVATE), found[2]);
  for (const name of found) assert.match(name, /^[0-9a-f]{32}$/);
});
