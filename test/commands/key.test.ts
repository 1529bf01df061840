import assert from "node:assert/strict";
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { parsePrivateKey, publicKeyOf } from "../../src/main/identity.js";
import { base64Text } from "../../src/main/secrets.js";
import { EXIT } from "../../src/shared/base/errors.js";
import { folder, run } from "./programs.js";

const LINE = /^[A-Za-z0-9+/]{43}=\n$/;
const publicOf = (line: string): string =>
  `${base64Text(publicKeyOf(parsePrivateKey(line.trim(), "x")))}\n`;

test("a new key goes through a pipe, and its public half comes out", async (t) => {
  const directory = folder(t);
  const made = await run(t, "cli", ["key", "new"], { directory });
  assert.equal(made.code, EXIT.done, made.stderr);
  assert.match(made.stdout, LINE);

  const shown = await run(t, "cli", ["key", "public"], { directory, stdin: made.stdout });

  assert.equal(shown.code, EXIT.done, shown.stderr);
  assert.equal(shown.stdout, publicOf(made.stdout));
  const dash = await run(t, "cli", ["key", "public", "-"], { directory, stdin: made.stdout });
  assert.equal(dash.stdout, shown.stdout);
});

test("a key file is private, is not overwritten unless asked, and its public half is printed", async (t) => {
  const directory = folder(t);
  const path = join(directory, "identity");
  const line = ["key", "new", "--out", "identity"];

  const first = await run(t, "cli", line, { directory });
  const content = readFileSync(path, "utf8");
  assert.equal(first.stdout, publicOf(content));
  assert.equal(statSync(path).mode & 0o777, 0o600);

  const second = await run(t, "cli", line, { directory });
  assert.equal(second.code, EXIT.failed);
  assert.match(second.stderr, /identity exists.*--force/);
  assert.equal(readFileSync(path, "utf8"), content);

  const forced = await run(t, "cli", [...line, "--force"], { directory });
  assert.equal(forced.code, EXIT.done);
  assert.notEqual(readFileSync(path, "utf8"), content);
  assert.equal(statSync(path).mode & 0o777, 0o600);
  const shown = await run(t, "cli", ["key", "public", "identity"], { directory });
  assert.equal(shown.stdout, forced.stdout);
});

test("secrets are 32 bytes in base64, each another one", async (t) => {
  const directory = folder(t);
  const one = await run(t, "cli", ["key", "secret"], { directory });
  const file = await run(t, "cli", ["key", "secret", "-o", "s"], { directory });

  assert.match(one.stdout, LINE);
  assert.equal(file.stdout, "");
  assert.match(readFileSync(join(directory, "s"), "utf8"), LINE);
  assert.notEqual(one.stdout, readFileSync(join(directory, "s"), "utf8"));
});

test("what is no key is refused in one line that shows nothing of it", async (t) => {
  const directory = folder(t);
  writeFileSync(join(directory, "open"), "x", { mode: 0o644 });
  const table: readonly (readonly [readonly string[], string, number, RegExp])[] = [
    [["key", "public"], "SEKRET", EXIT.configuration, /standard input is not a private key/],
    [["key", "public"], "", EXIT.configuration, /standard input is not a private key/],
    [["key", "public"], "S".repeat(5_000), EXIT.configuration, /longer than a key/],
    [["key", "public", "none"], "", EXIT.configuration, /none does not exist/],
    [["key", "public", "open"], "", EXIT.permission, /chmod 600/],
    [["key", "puplic"], "", EXIT.usage, /does not know "puplic".*Did you mean public/],
    [["key"], "", EXIT.usage, /arguments are missing/],
    [["key", "new", "x"], "", EXIT.usage, /"x" is one argument too many.*key new/],
    [["key", "public", "--out", "x"], "", EXIT.usage, /key public does not take --out/],
    [["key", "show"], "", EXIT.configuration, /identity does not exist/],
    [
      ["key", "new", "-o", "no/x"],
      "",
      EXIT.failed,
      /cannot write \S*\/no\/x: .* Make its folder first/,
    ],
    [
      ["key", "new", "-o", "/sys/x"],
      "",
      EXIT.permission,
      /cannot write \/sys\/x: .* owns its folder/,
    ],
  ];

  for (const [line, stdin, code, why] of table) {
    const ended = await run(t, "cli", line, { directory, stdin });
    assert.equal(ended.code, code, line.join(" "));
    assert.match(ended.stderr, why);
    assert.equal(ended.stderr.trimEnd().split("\n").length, 1);
    assert.ok(!ended.stderr.includes("SEKRET"));
    assert.equal(ended.stdout, "");
  }
  assert.ok(!existsSync(join(directory, "x")));
});

test("show prints the public key of this host, and the next one beside it", async (t) => {
  const directory = folder(t);
  const environment = { SECUREDGRAM_CONFIG: "c.toml", SECUREDGRAM_SECRET: "a".repeat(64) };
  writeFileSync(join(directory, "c.toml"), 'next_identity_file = "two"\n');
  const one = await run(t, "cli", ["key", "new", "-o", "identity"], { directory });
  const two = await run(t, "cli", ["key", "new", "-o", "two"], { directory });

  const shown = await run(t, "cli", ["key", "show"], { directory, environment });
  assert.equal(shown.stdout, one.stdout, shown.stderr);
  assert.ok(shown.stderr.includes(two.stdout.trim()));
  const json = await run(t, "cli", ["key", "show", "--json"], { directory, environment });
  assert.deepEqual(JSON.parse(json.stdout), {
    v: 1,
    public_key: one.stdout.trim(),
    next_public_key: two.stdout.trim(),
    file: join(directory, "identity"),
  });
});
