import assert from "node:assert/strict";
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import {
  type Config,
  type ConfigInput,
  loadConfig,
  reloadConfig,
  wipeReadKeys,
  wipeSecrets,
} from "../../src/main/config.js";
import { newPrivateKey, publicKeyOf } from "../../src/main/identity.js";
import { base64Text } from "../../src/main/secrets.js";
import { peerEntry } from "../../src/main/session-peers.js";
import type { DaemonErrorCode } from "../../src/shared/base/errors.js";
import type { PeerConfig } from "../../src/shared/protocol/session/peer-config.js";
import { makeFolder, OTHER_SECRET, put, refusal, SECRET } from "./places.js";

const newPublic = (): string => base64Text(publicKeyOf(newPrivateKey()));
const OWN = newPrivateKey();
const NEXT = newPrivateKey();
const [ALPHA, BETA, GAMMA] = [newPublic(), newPublic(), newPublic()];

/** A folder with an identity, two secrets and the file. */
function arrange(t: TestContext, toml: string): ConfigInput {
  const cwd = makeFolder(t);
  const home = join(cwd, "securedgram");
  mkdirSync(home);
  put(home, "identity", `${base64Text(OWN)}\n`);
  put(home, "identity.next", `${base64Text(NEXT)}\n`);
  put(home, "secret", SECRET);
  put(home, "other", Buffer.from(OTHER_SECRET, "hex").toString("base64"));
  put(home, "securedgram.toml", toml);
  return { flags: {}, env: { XDG_CONFIG_HOME: cwd }, cwd };
}

const load = (t: TestContext, toml: string): Config => loadConfig(arrange(t, toml));
const peerOf = (t: TestContext, lines: string, head = ""): PeerConfig =>
  load(t, `${head}\n[[peer]]\nname = "alpha"\n${lines}\n`).peers[0].config;
const session = (lines = ""): string => `public_key = "${ALPHA}"\n${lines}`;

test("a public key makes a session peer, with the defaults of everything else", (t) => {
  const config = load(t, `[[peer]]\nname = "alpha"\n${session('address = "192.0.2.1"')}`);
  const peer = config.peers[0].config;

  assert.ok(peer.mode === "session");
  assert.equal(base64Text(peer.publicKey), ALPHA);
  assert.deepEqual(peer.places, [{ address: "192.0.2.1", port: 61_773 }]);
  assert.deepEqual(config.peers[0].addresses, [{ address: "192.0.2.1", port: undefined }]);
  assert.deepEqual(
    peer.ring.map(({ role, secret }) => [role, secret]),
    [["current", undefined]],
  );
  assert.equal(peer.hasSecret, false);
  assert.equal(peer.mtuBytes, undefined);
  assert.deepEqual(peer.padding, { kind: "none" });
  assert.equal(peer.keepaliveSeconds, undefined);
  assert.equal(peer.limits.messageBytesMax, 67_108_864);
  assert.ok(Object.isFrozen(peer));
  assert.deepEqual(config.rings, []);
  assert.deepEqual(config.identities?.current.publicKey, publicKeyOf(OWN));
  assert.equal(peerEntry(config.peers[0], true).publicKey, ALPHA);
});

test("all settings of a peer are read", (t) => {
  const peer = peerOf(
    t,
    session(`address = ["a.example:1", "[2001:db8::1]:2"]
secret_file = "secret"
mtu = 548
padding = 64
keepalive = 25
message_bytes_max = "1MiB"
credit_messages = 2048
credit_bytes = "4MiB"
mode = "auto"
auto_until = 2030-01-31`),
  );

  assert.ok(peer.mode === "auto");
  assert.deepEqual(
    peer.places.map(({ address, port }) => `${address} ${port}`),
    ["a.example 1", "2001:db8::1 2"],
  );
  assert.equal(peer.mtuBytes, 548);
  assert.deepEqual(peer.padding, { kind: "multiple", bytes: 64 });
  assert.equal(peer.keepaliveSeconds, 25);
  assert.deepEqual(peer.limits, {
    messageBytesMax: 1_048_576,
    creditMessages: 2_048,
    creditBytes: 4_194_304,
  });
  assert.equal(peer.untilWallMs, Date.UTC(2030, 1, 1));
  assert.equal(peer.hasSecret, true);
  assert.equal(peer.classicRing, 0);
});

const withSecret = 'address = "192.0.2.1"\nsecret_file = "secret"';

test("each refusal of a peer has a twin that is taken", (t) => {
  const shared = 'secret_file = "other"';
  const table: readonly {
    readonly bad: string;
    readonly good: string;
    readonly why: RegExp;
    readonly code?: DaemonErrorCode;
    readonly head?: string;
  }[] = [
    { bad: 'mode = "session"', good: session('mode = "session"'), why: /no public_key.*key show/ },
    { bad: 'mode = "auto"', good: session(`mode = "auto"\n${withSecret}`), why: /no public_key/ },
    { bad: 'address = "192.0.2.1"', good: withSecret, why: /no secret.*public_key/ },
    { bad: 'secret_file = "secret"', good: withSecret, why: /no address/ },
    {
      bad: session('mode = "classic"\naddress = "192.0.2.1"'),
      good: session(`mode = "classic"\n${withSecret}`),
      why: /no secret/,
    },
    {
      bad: session('mode = "auto"\naddress = "192.0.2.1"'),
      good: session(`mode = "auto"\n${withSecret}`),
      why: /mode auto and no secret for classic/,
    },
    { bad: `${withSecret}\nmtu = 1400`, good: session("mtu = 1400"), why: /mtu and no public_key/ },
    {
      bad: `${withSecret}\nnext_public_key = "${BETA}"`,
      good: session(`next_public_key = "${BETA}"`),
      why: /next_public_key and no public_key/,
    },
    {
      bad: session("auto_until = 2030-01-01"),
      good: session(`auto_until = 2030-01-01\nmode = "auto"\n${withSecret}`),
      why: /auto_until and mode session/,
    },
    {
      bad: session('id = "a"'),
      good: session(),
      why: /id, which sessions do not use/,
    },
    {
      bad: session(`secret_file = "secret"\nsecret = "${SECRET}"`),
      good: session(`secret = "${SECRET}"`),
      why: /both secret and secret_file/,
    },
    {
      bad: session('next_secret_file = "other"'),
      good: session('next_secret_file = "other"\nsecret_file = "secret"'),
      why: /no current one/,
    },
    {
      bad: session('secret_file = "secret"\nnext_secret_file = "secret"'),
      good: session('secret_file = "secret"\nnext_secret_file = "other"'),
      why: /same key as current and as next.*Remove/,
    },
    {
      bad: session(`next_public_key = "${ALPHA}"`),
      good: session(`next_public_key = "${BETA}"`),
      why: /peer alpha has the same public key twice/,
    },
    {
      bad: session(
        `secret_file = "secret"\nnext_secret_file = "other"\nnext_public_key = "${BETA}"`,
      ),
      good: session(`secret_file = "secret"\nnext_public_key = "${BETA}"`),
      why: /changes two keys at a time: its public key and the secret.*rotate/,
    },
    {
      bad: `public_key = "${base64Text(publicKeyOf(OWN))}"`,
      good: session(),
      why: /our own public key/,
    },
    {
      bad: `public_key = "${base64Text(publicKeyOf(NEXT))}"`,
      good: session(),
      head: 'next_identity_file = "identity.next"',
      why: /our own public key/,
    },
    {
      bad: session('secret_file = "secret"\nnext_secret_file = "other"'),
      good: session('secret_file = "secret"'),
      head: 'next_identity_file = "identity.next"',
      why: /two keys at a time: our identity and the secret/,
    },
    {
      bad: `public_key = "${"A".repeat(43)}="`,
      good: session(),
      code: "ERR_CONFIG_SECRET",
      why: /public_key of peer alpha leads everybody/,
    },
    {
      bad: `public_key = "${ALPHA.slice(1)}"`,
      good: session(),
      code: "ERR_CONFIG_SECRET",
      why: /not a public key: 44 characters/,
    },
    { bad: session('mode = "quic"'), good: session(), why: /mode.*classic, session or auto/ },
    { bad: session("mtu = 100"), good: session("mtu = 1200"), why: /mtu.*548/ },
    { bad: session('padding = "some"'), good: session('padding = "full"'), why: /padding/ },
    { bad: session("padding = 1"), good: session("padding = 2"), why: /padding/ },
    { bad: session("keepalive = 0"), good: session("keepalive = 1"), why: /keepalive/ },
    {
      bad: session('message_bytes_max = "65MiB"'),
      good: session('message_bytes_max = "64MiB"'),
      why: /message_bytes_max.*64MiB/,
    },
    { bad: session('mdoe = "auto"'), good: session(), why: /mdoe.*did you mean mode/i },
    {
      bad: session(`mode = "auto"\naddress = "192.0.2.1"`),
      good: session(`mode = "auto"\naddress = "192.0.2.1"\nsecret = "${SECRET}"`),
      why: /Add secret_file/,
    },
  ];

  for (const [i, { bad, good, why, code = "ERR_CONFIG", head = "" }] of table.entries()) {
    assert.throws(() => peerOf(t, bad, head), refusal(code, why), `row ${i + 1}: ${bad}`);
    assert.equal(peerOf(t, good, head).name, "alpha", `row ${i + 1}: ${good}`);
  }
  assert.ok(peerOf(t, session('mode = "auto"\naddress = "192.0.2.1"'), shared).mode === "auto");
});

test("two peers cannot have one public key, also where one of them has it as its next", (t) => {
  const two = (first: string, second: string) =>
    `[[peer]]\nname = "alpha"\n${first}\n[[peer]]\nname = "beta"\n${second}\n`;
  const key = (value: string) => `public_key = "${value}"`;

  for (const second of [key(ALPHA), `${key(BETA)}\nprevious_public_key = "${ALPHA}"`]) {
    assert.throws(
      () => load(t, two(key(ALPHA), second)),
      refusal("ERR_CONFIG", /peers alpha and beta have the same public key/),
    );
  }
  assert.equal(load(t, two(key(ALPHA), key(BETA))).peers.length, 2);
});

test("names and addresses are no one's twice, sessions or not", (t) => {
  const two = (second: string) =>
    `[[peer]]\nname = "alpha"\naddress = "192.0.2.1"\n${session()}\n[[peer]]\n${second}`;
  const key = `public_key = "${BETA}"`;

  assert.throws(() => load(t, two(`name = "alpha"\n${key}`)), refusal("ERR_CONFIG", /two peers/));
  assert.throws(
    () => load(t, two(`name = "beta"\n${key}\naddress = "192.0.2.1"`)),
    refusal("ERR_CONFIG", /both have 192\.0\.2\.1/),
  );
  assert.equal(load(t, two(`name = "beta"\n${key}\naddress = "192.0.2.2"`)).peers.length, 2);
});

test("session peers without an identity are refused, classic ones need none", (t) => {
  const input = arrange(t, `[[peer]]\nname = "alpha"\n${session()}`);
  rmSync(join(input.cwd, "securedgram", "identity"));

  assert.throws(() => loadConfig(input), refusal("ERR_CONFIG", /identity does not exist.*key new/));
  put(
    join(input.cwd, "securedgram"),
    "securedgram.toml",
    `[[peer]]\nname = "alpha"\n${withSecret}`,
  );
  assert.equal(loadConfig(input).identities, undefined);
  put(join(input.cwd, "securedgram"), "securedgram.toml", 'secret_file = "secret"');
  const named = {
    ...input,
    env: { ...input.env, SECUREDGRAM_IDENTITY: "securedgram/identity.next" },
  };
  assert.deepEqual(loadConfig(named).identities?.current.publicKey, publicKeyOf(NEXT));
});

test("an identity is one key in one role", (t) => {
  const peer = `[[peer]]\nname = "alpha"\n${session()}`;

  assert.throws(
    () => load(t, `next_identity_file = "identity"\n${peer}`),
    refusal("ERR_CONFIG", /identity_file and next_identity_file hold the same key/),
  );
  const { identities, peers } = load(t, `next_identity_file = "identity.next"\n${peer}`);
  assert.deepEqual(identities?.next?.publicKey, publicKeyOf(NEXT));
  const { config } = peers[0];
  assert.ok(config.mode === "session");
  assert.deepEqual(
    config.ring.map(({ role, own, peer: theirs }) => [role, own, theirs]),
    [
      ["current", "current", "current"],
      ["next", "next", "current"],
    ],
  );
});

test("classic peers, session peers and those in between each have their ring", (t) => {
  const toml = `secret_file = "other"
[[peer]]
name = "old"
${withSecret}
[[peer]]
name = "new"
public_key = "${ALPHA}"
[[peer]]
name = "both"
address = "192.0.2.3"
public_key = "${BETA}"
mode = "auto"
[[peer]]
name = "parked"
address = "192.0.2.4"
public_key = "${GAMMA}"
mode = "classic"
secret = "${"1".repeat(64)}"`;

  const { rings, peers } = load(t, toml);

  assert.deepEqual(
    rings.map(({ name }) => name),
    ["", "old", "parked"],
  );
  assert.deepEqual(
    peers.map(({ config }) => [
      config.name,
      config.mode,
      "classicRing" in config && config.classicRing,
    ]),
    [
      ["old", "classic", 1],
      ["new", "session", false],
      ["both", "auto", 0],
      ["parked", "classic", 2],
    ],
  );
  assert.equal(peerEntry(peers[3], false).publicKey, GAMMA);
});

test("a reload names what changed of identity and peers, and nothing else", (t) => {
  const peers = (alpha: string, beta = "") =>
    `[[peer]]\nname = "alpha"\n${session(alpha)}\n[[peer]]\nname = "beta"\npublic_key = "${BETA}"\n${beta}`;
  const input = arrange(t, peers(""));
  const home = join(input.cwd, "securedgram");
  const first = loadConfig(input);

  assert.deepEqual(reloadConfig(first, input).changed, []);
  put(home, "securedgram.toml", peers("mtu = 1300"));
  assert.deepEqual(reloadConfig(first, input).changed, ["peer alpha"]);
  put(home, "securedgram.toml", peers("", 'secret_file = "secret"'));
  assert.deepEqual(reloadConfig(first, input).changed, ["peer beta"]);
  put(home, "securedgram.toml", `next_identity_file = "identity.next"\n${peers("")}`);
  assert.deepEqual(reloadConfig(first, input).changed, ["identity", "peer alpha", "peer beta"]);
});

test("a secret from the environment outlives what a reload reads anew", (t) => {
  const input = arrange(t, `[[peer]]\nname = "alpha"\n${session('secret_file = "secret"')}`);
  const config = loadConfig({ ...input, env: { ...input.env, SECUREDGRAM_SECRET: OTHER_SECRET } });

  wipeReadKeys(config);

  assert.ok(config.rings[0].keys.current.some((byte) => byte !== 0));
  assert.ok(config.identities?.current.privateKey.every((byte) => byte === 0));
  assert.ok(config.peers[0].secrets.current?.every((byte) => byte === 0));
  assert.deepEqual(reloadConfig(config, input).changed, []);
});

test("all keys are gone once a configuration is wiped", (t) => {
  const config = load(
    t,
    `next_identity_file = "identity.next"\n[[peer]]\nname = "alpha"\n${session('secret_file = "secret"')}`,
  );
  const { identities, peers } = config;
  const held = [
    identities?.current.privateKey,
    identities?.next?.privateKey,
    peers[0].secrets.current,
  ];
  assert.ok(held.every((key) => key?.some((byte) => byte !== 0)));

  wipeSecrets(config);

  assert.ok(held.every((key) => key?.every((byte) => byte === 0)));
});
