import assert from "node:assert/strict";
import { chmodSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { loadConfig } from "../../src/main/config.js";
import { newPrivateKey, publicKeyOf } from "../../src/main/identity.js";
import { holdInstanceLock } from "../../src/main/instance.js";
import { base64Text } from "../../src/main/secrets.js";
import { EXIT } from "../../src/shared/base/errors.js";
import { speaksSession } from "../../src/shared/protocol/session/peer-config.js";
import {
  initialRotation,
  rotated,
  rotationText,
} from "../../src/shared/protocol/session/rotation.js";
import { type Connection, connect } from "../../src/shared/store/driver.js";
import { projectRoot } from "../project.js";
import { database, type Ended, folder, run } from "./programs.js";

const newPublic = (): string => base64Text(publicKeyOf(newPrivateKey()));
const [ALPHA, BETA] = [newPublic(), newPublic()];
const HEAD = "# Ours, do not touch.\nport = 6000 # odd\n";

class Host {
  readonly directory: string;
  readonly #t: TestContext;

  constructor(t: TestContext, toml = HEAD) {
    this.#t = t;
    this.directory = folder(t);
    this.write("c.toml", toml);
    this.write("identity", `${base64Text(newPrivateKey())}\n`);
  }

  write(name: string, content: string): void {
    writeFileSync(join(this.directory, name), content, { mode: 0o600 });
  }

  get toml(): string {
    return readFileSync(join(this.directory, "c.toml"), "utf8");
  }

  run(line: string, stdin = ""): Promise<Ended> {
    const words = line.split(" ").filter((word) => word !== "");
    const environment = { SECUREDGRAM_CONFIG: "c.toml" };
    return run(this.#t, "cli", words, { directory: this.directory, stdin, environment });
  }

  async does(line: string, stdin = ""): Promise<Ended> {
    const ended = await this.run(line, stdin);
    assert.equal(ended.code, EXIT.done, `${line}: ${ended.stderr}`);
    return ended;
  }

  async refuses(line: string, why: RegExp, code: number = EXIT.configuration): Promise<void> {
    const before = this.toml;
    const ended = await this.run(line);
    assert.equal(ended.code, code, `${line}: ${ended.stderr}`);
    assert.match(ended.stderr, why);
    assert.equal(ended.stderr.trimEnd().split("\n").length, 1, ended.stderr);
    assert.equal(this.toml, before);
    assert.deepEqual(
      readdirSync(this.directory).filter((name) => name.includes(".new-")),
      [],
    );
  }

  /** Writes into the database what a daemon would after such events. */
  note(db: Connection, name: string, kind: "held" | "used"): void {
    const input = {
      flags: { config: "c.toml" },
      env: {},
      cwd: this.directory,
    };
    const { peers } = loadConfig(input);
    const config = peers.map((each) => each.config).find((each) => each.name === name);
    assert.ok(config !== undefined && speaksSession(config));
    const nameOf = (role: string) => config.ring.find((each) => each.role === role)?.name;
    const ring = {
      current: nameOf("current") ?? "",
      next: nameOf("next"),
      previous: nameOf("previous"),
    };
    const role = ring.next === undefined ? "current" : "next";
    const state = rotated(initialRotation(ring), { kind, role, wallMs: 1 });
    db.prepare("INSERT OR REPLACE INTO peers(public_key, name, rotation) VALUES (?, ?, ?)").run(
      config.publicKey,
      name,
      rotationText(state),
    );
  }
}

const peerBlock = (name: string, key: string, more = ""): string =>
  `[[peer]]\nname = "${name}"\npublic_key = "${key}"\n${more}`;

test("a peer is added, listed, shown and removed; the file is otherwise as it was", async (t) => {
  const host = new Host(t, `${HEAD}\n# old friends\n${peerBlock("beta", BETA)}`);
  const before = host.toml;

  const added = await host.does(`peer add alpha -k ${ALPHA} -a 192.0.2.1:6000 -a alpha.example`);
  assert.match(added.stderr, /it holds from the next start of the daemon/);
  assert.equal(
    host.toml,
    `${before}\n[[peer]]\nname = "alpha"\npublic_key = "${ALPHA}"\naddress = ["192.0.2.1:6000", "alpha.example"]\n`,
  );
  assert.equal(statSync(join(host.directory, "c.toml")).mode & 0o777, 0o600);
  const listed = await host.does("peer list");
  assert.match(
    listed.stdout,
    /^beta +session .*\nalpha +session .*192\.0\.2\.1:6000 alpha\.example\n$/,
  );
  const shown = JSON.parse((await host.does("peer show alpha --json")).stdout);
  assert.equal(shown.public_key, ALPHA);
  assert.equal(shown.mode, "session");

  await host.does("peer remove alpha");
  assert.equal(host.toml, before);
});

test("a file keeps its mode, its comments and its line ends", async (t) => {
  const host = new Host(t, HEAD.replaceAll("\n", "\r\n"));
  chmodSync(join(host.directory, "c.toml"), 0o640);

  await host.does(`peer add alpha -k ${ALPHA}`);

  assert.match(
    host.toml,
    /^# Ours, do not touch\.\r\n.*odd\r\n\r\n\[\[peer\]\]\r\nname = "alpha"\r\n/,
  );
  assert.equal(statSync(join(host.directory, "c.toml")).mode & 0o777, 0o640);
});

test("what the daemon would refuse is not written", async (t) => {
  const host = new Host(t, `${HEAD}${peerBlock("alpha", ALPHA)}`);

  await host.refuses(`peer add alpha -k ${BETA}`, /has a peer "alpha".*nothing is overwritten/);
  await host.refuses(`peer add beta -k ${ALPHA}`, /the same public key twice/);
  await host.refuses("peer add beta -k nonsense", /not a public key/);
  await host.refuses(`peer add beta -k ${BETA} -m auto -a 192.0.2.1`, /no secret for classic/);
  await host.refuses("peer add beta", /has no address/);
  await host.refuses(`peer add b\u00e4ta -k ${BETA}`, /NAME does not fit/, EXIT.usage);
  await host.refuses(`peer add beta -k ${BETA} --secret-file none`, /none does not exist/);
  await host.refuses(`peer add beta -k ${BETA} --json`, /does not take --json/, EXIT.usage);
  await host.refuses("peer show alhpa", /no peer "alhpa".*Did you mean alpha/);
  await host.refuses("peer remove gamma", /no peer "gamma"/);
  await host.does(`peer add beta -k ${BETA}`);
});

test("a file that is written in another way is left to its owner", async (t) => {
  const inline = `peer = [ { name = "alpha", public_key = "${ALPHA}" } ]\n`;
  const host = new Host(t, inline);

  await host.refuses(`peer add beta -k ${BETA}`, /by hand/);
  await host.refuses("peer remove alpha", /by hand/);
});

test("the secret of a pair changes in two phases, on both hosts", async (t) => {
  const hosts = { a: new Host(t), b: new Host(t) };
  const { a, b } = hosts;
  const keys = {
    a: (await a.does("key show")).stdout.trim(),
    b: (await b.does("key show")).stdout.trim(),
  };
  const secret = (await a.does("key secret")).stdout;
  for (const [host, name, key] of [
    [a, "b", keys.b],
    [b, "a", keys.a],
  ] as const) {
    host.write("pair", secret);
    await host.does(`peer add ${name} -k ${key} --secret-file pair`);
  }
  const db = database(t, a.directory);

  const started = await a.does("peer rotate b");
  assert.match(started.stdout, /^[A-Za-z0-9+/]{43}=\n$/);
  assert.match(started.stderr, /peer rotate NAME --install -/);
  assert.equal(statSync(join(a.directory, "b.secret")).mode & 0o777, 0o600);
  assert.match(a.toml, /secret_file = "pair"\nnext_secret_file = "b\.secret"\n/);
  await b.does("peer rotate a --install -", started.stdout);
  assert.equal(readFileSync(join(b.directory, "a.secret"), "utf8"), started.stdout);
  await a.refuses("peer rotate b", /changes already/);
  const files = readdirSync(b.directory);
  await b.refuses("peer rotate a --install pair", /changes already/);
  assert.deepEqual(readdirSync(b.directory), files);

  assert.match((await a.does("peer status")).stdout, /the peer has not shown it/);
  await a.refuses(
    "peer rotate b --finish",
    /not been heard under the new key \(installed\)/,
    EXIT.tryLater,
  );
  a.note(db, "b", "held");
  assert.match((await a.does("peer status b")).stdout, /no traffic under it yet/);
  await a.refuses("peer rotate b --finish", /\(confirmed\)/, EXIT.tryLater);
  await a.refuses("peer rotate b --abandon", /has the next key/);
  a.note(db, "b", "used");
  assert.match((await a.does("peer status")).stdout, /finish it/);
  const finished = await a.does("peer rotate b --finish");

  assert.match(a.toml, /secret_file = "b\.secret"\n$/);
  assert.ok(!a.toml.includes("next_secret_file"));
  assert.match(finished.stderr, /pair is no longer used/);
  const next = await a.does("peer rotate b");
  assert.notEqual(next.stdout, started.stdout);
  assert.match(a.toml, /next_secret_file = "b\.secret\.2"/);
});

test("a next secret that is the current one is refused, and leaves no file behind", async (t) => {
  const host = new Host(t);
  host.write("pair", `${base64Text(newPrivateKey())}\n`);
  await host.does(`peer add b -k ${BETA} --secret-file pair`);
  const files = readdirSync(host.directory);

  await host.refuses("peer rotate b --install pair", /the same key as current and as next/);

  assert.deepEqual(readdirSync(host.directory), files);
});

test("a rotation that nobody relies on can be abandoned, with the daemon stopped", async (t) => {
  const host = new Host(t);
  host.write("pair", `${base64Text(newPrivateKey())}\n`);
  await host.does(`peer add b -k ${BETA} --secret-file pair`);
  const before = host.toml;
  database(t, host.directory);
  await host.does("peer rotate b");
  const lock = holdInstanceLock(join(host.directory, "securedgram.db"));
  t.after(() => lock.release());

  await host.refuses("peer rotate b --abandon", /the daemon runs/, EXIT.failed);
  lock.release();
  await host.does("peer rotate b --abandon");

  assert.equal(host.toml, before);
});

test("a forced finish keeps the old key as the previous one until it may go", async (t) => {
  const host = new Host(t);
  host.write("pair", `${base64Text(newPrivateKey())}\n`);
  await host.does(`peer add b -k ${BETA} --secret-file pair`);
  const db = database(t, host.directory);
  await host.does("peer rotate b");

  await host.does("peer rotate b --finish --force");
  assert.match(host.toml, /secret_file = "b\.secret"\nprevious_secret_file = "pair"\n/);
  assert.match((await host.does("peer status")).stdout, /switched/);
  await host.refuses("peer rotate b --finish", /\(switched\)/, EXIT.tryLater);
  await host.refuses(
    "peer rotate b --finish --force",
    /\(switched\).*kept for it.*remove the peer/,
    EXIT.tryLater,
  );
  await host.refuses("peer rotate b --abandon", /no next key: it is the current one already/);
  host.note(db, "b", "used");
  await host.does("peer rotate b --finish");

  assert.ok(!host.toml.includes("previous_secret_file"));
});

test("our identity changes once every peer was heard under the next one", async (t) => {
  const host = new Host(t, `${HEAD}${peerBlock("a", ALPHA)}${peerBlock("b", BETA)}`);
  const db = database(t, host.directory);
  const old = (await host.does("key show")).stdout;

  const started = await host.does("peer rotate --identity");
  assert.notEqual(started.stdout, old);
  assert.match(started.stderr, /peer rotate NAME --public-key .*\n.*peers: a, b/);
  assert.match(host.toml, /odd\nnext_identity_file = "identity\.2"\n/);
  await host.refuses("peer rotate a", /changes already/);
  await host.refuses("peer rotate a --finish", /our identity that changes/);
  host.note(db, "a", "used");
  await host.refuses(
    "peer rotate --identity --finish",
    /no traffic under the new identity from: b\./,
    EXIT.tryLater,
  );
  host.note(db, "b", "used");
  await host.does("peer rotate --identity --finish");

  assert.match(host.toml, /identity_file = "identity\.2"\n/);
  assert.equal((await host.does("key show")).stdout, started.stdout);
});

test("the peer's next public key is installed, and takes over once it was heard", async (t) => {
  const host = new Host(t, `${HEAD}${peerBlock("a", ALPHA)}`);
  const db = database(t, host.directory);

  await host.refuses("peer rotate a --public-key nonsense", /not a public key/);
  await host.refuses(`peer rotate a --public-key ${ALPHA}`, /same public key twice/);
  await host.does(`peer rotate a --public-key ${BETA}`);
  await host.refuses("peer rotate a --finish", /not been heard/, EXIT.tryLater);
  host.note(db, "a", "used");
  await host.does("peer rotate a --finish");

  assert.equal(host.toml, `${HEAD}${peerBlock("a", BETA)}`);
});

test("status and doctor say what the daemon wrote, and manage without a database", async (t) => {
  const auto = `mode = "auto"\naddress = "192.0.2.1"\nsecret = "${"1".repeat(64)}"\nauto_until = 2026-01-01\n`;
  const host = new Host(t, `${HEAD}${peerBlock("a", ALPHA, auto)}${peerBlock("b", BETA)}`);

  const none = await host.run("peer status --json");
  assert.equal(none.code, EXIT.failed, "a peer that is classic after its date is an error");
  const [first, second] = JSON.parse(none.stdout).peers;
  assert.deepEqual([first.speaks, first.overdue, first.rotation], ["classic", true, "none"]);
  assert.deepEqual([second.speaks, second.lastHandshakeAt], ["session", null]);

  const db = database(t, host.directory);
  db.prepare(
    `INSERT INTO peers(public_key, name, session_since, last_handshake_at, skew_ms, endpoint,
       classic_since, handshakes_unanswered)
     VALUES (?, 'a', NULL, NULL, NULL, NULL, '2026-02-01T00:00:00.000', 14),
            (?, 'b', '2026-02-01T00:00:00.000', '2026-02-01T00:00:00.000', -120000, '192.0.2.7:1', NULL, 0)`,
  ).run(Buffer.from(ALPHA, "base64"), Buffer.from(BETA, "base64"));

  const { stdout } = await host.run("peer status");
  assert.match(
    stdout,
    /^a +classic +.*14 handshakes unanswered since 2026-02-01T00:00:00\.000; auto_until/m,
  );
  assert.match(
    stdout,
    /^b +session +last handshake \d+ s ago; at 192\.0\.2\.7:1; its clock -120000 ms$/m,
  );
  const doctor = JSON.parse((await host.run("doctor --json")).stdout).findings as {
    about: string;
    verdict: string;
    found: string;
  }[];
  const about = (name: string) => doctor.filter((each) => each.about === name);
  assert.equal(about("identity")[0].verdict, "ok");
  assert.match(about("session peers")[0].found, /^2; 1 without a secret/);
  assert.equal(about("peer a")[0].verdict, "trouble");
  assert.match(about("peer b")[0].found, /differ by 120 s/);
});

test("a database of an older program has nothing to say about peers", async (t) => {
  const host = new Host(t, `${HEAD}${peerBlock("a", ALPHA)}`);
  const path = join(host.directory, "securedgram.db");
  host.write("securedgram.db", "");
  const db = connect(path, {});
  db.exec(readFileSync(join(projectRoot(), "test/fixtures/schema-1.sql"), "utf8"));
  db.exec("PRAGMA user_version = 1");
  db.close();

  const status = await host.does("peer status");

  assert.match(status.stdout, /^a +session +no handshake yet\n$/);
});
