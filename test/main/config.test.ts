import assert from "node:assert/strict";
import { chmodSync, chownSync, mkdirSync, renameSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import {
  type ConfigInput,
  loadConfig,
  loadPlaces,
  reloadConfig,
  wipeSecrets,
} from "../../src/main/config.js";
import { pairInfo } from "../../src/main/peers.js";
import { cryptoWorkersDefault } from "../../src/main/settings.js";
import { isRoot, makeFolder, OTHER_SECRET, put, refusal, SECRET, startChild } from "./places.js";

const HEX = SECRET.toLowerCase();
const hex = (bytes: Uint8Array | undefined): string => Buffer.from(bytes ?? []).toString("hex");

interface Given {
  readonly flags?: ConfigInput["flags"];
  readonly env?: ConfigInput["env"];
  readonly dotEnv?: string;
  readonly toml?: string;
}

/** A folder with the files; no configuration of this machine is ever looked at. */
function arrange(t: TestContext, given: Given): ConfigInput & { readonly cwd: string } {
  const cwd = makeFolder(t);
  const { flags = {}, env = {}, dotEnv, toml } = given;
  if (dotEnv !== undefined) put(cwd, ".env", dotEnv);
  mkdirSync(join(cwd, "securedgram"));
  if (toml !== undefined) put(join(cwd, "securedgram"), "securedgram.toml", toml);
  return { flags, env: { XDG_CONFIG_HOME: cwd, ...env }, cwd };
}

const withSecret = { SECUREDGRAM_SECRET: SECRET };
const refuses = (t: TestContext, given: Given, code: Parameters<typeof refusal>[0], why: RegExp) =>
  assert.throws(() => loadConfig(arrange(t, given)), refusal(code, why));

test("with a secret and nothing else all settings have their defaults", (t) => {
  const input = arrange(t, { env: withSecret });
  const { rings, ...config } = loadConfig(input);
  assert.deepEqual(config, {
    user: "nobody",
    log: "syslog",
    pidFile: join(input.cwd, "securedgram.pid"),
    address: "0.0.0.0",
    port: 61_773,
    socket: "auto",
    windowSeconds: 10,
    maxRetries: undefined,
    retryIntervalSeconds: undefined,
    db: join(input.cwd, "securedgram.db"),
    ratePerSecond: 0,
    burst: 64,
    cryptoWorkers: cryptoWorkersDefault(),
    lifeSeconds: 604_800,
    quotaBytes: 8_589_934_592,
    drainSeconds: 10,
    receiveCpuShare: 0.5,
    strangerCpuShare: 0.05,
    strangersCpuShare: 0.25,
    userIsExplicit: false,
    logLevel: "warn",
    peers: [],
    identities: undefined,
    keyFiles: [],
    secretOrigin: "environment",
    file: undefined,
    warnings: [],
  });
  assert.equal(rings.length, 1);
  assert.equal(rings[0].name, "");
  assert.equal(hex(rings[0].keys.current), HEX);
});

test("one core in four is left to main and the database", () => {
  const table = [1, 2, 3, 4, 5, 6, 64].map((cores) => cryptoWorkersDefault(cores));
  assert.deepEqual(table, [1, 1, 2, 3, 4, 4, 4]);
});

test("each variable of the older daemon is read from the environment", (t) => {
  const input = arrange(t, {
    env: {
      ...withSecret,
      SECUREDGRAM_USER: "mail",
      SECUREDGRAM_LOG: "log/x.log",
      SECUREDGRAM_PIDFILE: "/run/x.pid",
      SECUREDGRAM_ADDRESS: "0:0::1",
      SECUREDGRAM_PORT: "6000",
      SECUREDGRAM_WINDOW: "2.5",
      SECUREDGRAM_MAX_RETRIES: "0",
      SECUREDGRAM_RETRY_INTERVAL: "7",
      SECUREDGRAM_DB: "a.db",
    },
  });
  const config = loadConfig(input);
  assert.equal(config.user, "mail");
  assert.equal(config.userIsExplicit, true);
  assert.equal(config.log, join(input.cwd, "log/x.log"));
  assert.equal(config.pidFile, "/run/x.pid");
  assert.equal(config.address, "::1");
  assert.equal(config.port, 6_000);
  assert.equal(config.windowSeconds, 2.5);
  assert.equal(config.maxRetries, 0);
  assert.equal(config.retryIntervalSeconds, 7);
  assert.equal(config.db, join(input.cwd, "a.db"));
});

test("a flag wins over the environment, that over .env, that over the file", (t) => {
  const sources: Given = {
    flags: { port: "1" },
    env: { ...withSecret, SECUREDGRAM_PORT: "2" },
    dotEnv: "SECUREDGRAM_PORT=3\n",
    toml: "port = 4\n",
  };
  const { flags: _flags, ...noFlag } = sources;
  const inOrder = [
    sources,
    noFlag,
    { ...noFlag, env: withSecret },
    { env: withSecret, toml: sources.toml ?? "" },
    { env: { ...withSecret, SECUREDGRAM_PORT: "" }, toml: sources.toml ?? "" },
  ];
  const ports = inOrder.map((given) => loadConfig(arrange(t, given)).port);
  assert.deepEqual(ports, [1, 2, 3, 4, 4]);
});

test("the file is --config, then SECUREDGRAM_CONFIG, then that of XDG_CONFIG_HOME", (t) => {
  const input = arrange(t, { env: withSecret, toml: "port = 3" });
  put(input.cwd, "a.toml", "port = 1");
  put(input.cwd, "b.toml", "port = 2");
  const env = { ...input.env, SECUREDGRAM_CONFIG: "b.toml" };
  assert.equal(loadConfig({ ...input, env, flags: { config: "a.toml" } }).port, 1);
  assert.equal(loadConfig({ ...input, env }).port, 2);
  const found = loadConfig(input);
  assert.equal(found.port, 3);
  assert.equal(found.file, join(input.cwd, "securedgram/securedgram.toml"));
  assert.throws(
    () => loadConfig({ ...input, flags: { config: "none.toml" } }),
    refusal("ERR_CONFIG", /none\.toml does not exist.*--config/),
  );
});

test("units of time and size are understood, numbers of the file too", (t) => {
  const toml = 'life = "4w"\nquota = "512 MiB"\nrate = 1.5\ncrypto_workers = 0\nmax_retries = 3';
  const config = loadConfig(arrange(t, { env: withSecret, toml }));
  assert.equal(config.lifeSeconds, 2_419_200);
  assert.equal(config.quotaBytes, 536_870_912);
  assert.equal(config.ratePerSecond, 1.5);
  assert.equal(config.cryptoWorkers, 0);
  assert.equal(config.maxRetries, 3);
  assert.match(config.warnings[0], /life is above 7d/);
});

test("relative paths start at the file that names them, defaults where systemd made room", (t) => {
  const input = arrange(t, { env: withSecret, toml: 'db = "x.db"' });
  assert.equal(loadConfig(input).db, join(input.cwd, "securedgram/x.db"));
  const env = { ...withSecret, STATE_DIRECTORY: "/var/lib/s:/x", RUNTIME_DIRECTORY: "/run/s" };
  const config = loadConfig(arrange(t, { env }));
  assert.equal(config.db, "/var/lib/s/securedgram.db");
  assert.equal(config.pidFile, "/run/s/securedgram.pid");
});

test("a value that does not fit is refused with its place and what would fit", (t) => {
  const bad: readonly (readonly [Record<string, string>, RegExp])[] = [
    [{ SECUREDGRAM_PORT: "65536" }, /SECUREDGRAM_PORT is "65536".*0 to 65535/],
    [{ SECUREDGRAM_PORT: "0x10" }, /whole number/],
    [{ SECUREDGRAM_PORT: "1e3" }, /whole number/],
    [{ SECUREDGRAM_PORT: "6 0" }, /whole number/],
    [{ SECUREDGRAM_ADDRESS: "localhost" }, /IP address/],
    [{ SECUREDGRAM_WINDOW: "0" }, /0\.1 to 86400 seconds/],
    [{ SECUREDGRAM_WINDOW: "-1" }, /seconds/],
    [{ SECUREDGRAM_WINDOW: "NaN" }, /seconds/],
    [{ SECUREDGRAM_MAX_RETRIES: "1.5" }, /whole number/],
    [{ SECUREDGRAM_RETRY_INTERVAL: "Infinity" }, /seconds/],
    [{ SECUREDGRAM_DB: "a\0b" }, /a file/],
    [{ SECUREDGRAM_PORT: `1\u001b[31m\n${"9".repeat(500)}` }, /^[\x20-\x7e]{1,200}$/],
  ];
  for (const [env, why] of bad) refuses(t, { env: { ...withSecret, ...env } }, "ERR_CONFIG", why);
  for (const toml of [
    "port = true",
    "port = [1]",
    "life = 'soon'",
    "life = '0s'",
    "quota = '1 XB'",
  ]) {
    refuses(t, { env: withSecret, toml }, "ERR_CONFIG", /It takes a/);
  }
  refuses(t, { env: withSecret, flags: { port: "x" } }, "ERR_CONFIG", /^--port is "x"/);
});

test("an unknown key of the file is refused with the nearest known one", (t) => {
  const unknown: readonly (readonly [string, RegExp])[] = [
    ["prot = 1", /unknown key "prot".*mean port\?/],
    ["[pear]\nname='a'", /Did you mean (peer|pair)\?/],
    ["[[peer]]\nname='a'\naddress='h'\nsecret_fil='x'", /\(peer 1\).*secret_file\?/],
    ["[pair]\nid='a'\nmaster_file='x'\nmasterfile='x'", /\(pair\).*master_file\?/],
    ["xyzzyplugh = 1", /Known here: user, log/],
    ["__proto__ = 1", /unknown key|not valid TOML/],
  ];
  for (const [toml, why] of unknown) refuses(t, { env: withSecret, toml }, "ERR_CONFIG", why);
});

test("a file that is no TOML is refused by its line, which is not shown", (t) => {
  const toml = `port = 1\nsecret = ${HEX}\n`;
  refuses(t, { env: withSecret, toml }, "ERR_CONFIG", /line 2, column \d+ is not valid TOML/);
  assert.throws(
    () => loadConfig(arrange(t, { toml })),
    (error) => error instanceof Error && !error.message.includes(HEX.slice(0, 8)),
  );
});

test("no secret and no peer is refused with the way to make one", (t) => {
  refuses(t, {}, "ERR_CONFIG", /^no secret .*openssl rand -hex 32.*SECUREDGRAM_SECRET.*600/);
  refuses(t, { env: { SECUREDGRAM_SECRET: "" } }, "ERR_CONFIG", /^no secret/);
});

test("the shared secret comes from a flag, .env, the file or a secret file", (t) => {
  const flag = loadConfig(arrange(t, { flags: { secret: SECRET } }));
  assert.equal(flag.secretOrigin, "flag");
  assert.match(flag.warnings[0], /visible to other users/);
  const dotEnv = loadConfig(arrange(t, { dotEnv: `SECUREDGRAM_SECRET="${SECRET}"\n` }));
  assert.equal(hex(dotEnv.rings[0].keys.current), HEX);
  const inline = loadConfig(arrange(t, { toml: `secret = "${SECRET}"` }));
  assert.equal(hex(inline.rings[0].keys.current), HEX);
  const input = arrange(t, {
    toml: "secret_file='now'\nprevious_secret_file='old'\nnext_secret_file='new'",
  });
  const folder = join(input.cwd, "securedgram");
  put(folder, "now", SECRET);
  put(folder, "old", "11".repeat(32));
  put(folder, "new", "22".repeat(32));
  const { keys } = loadConfig(input).rings[0];
  assert.deepEqual(
    [hex(keys.current), hex(keys.previous), hex(keys.next), keys.pairInfo],
    [HEX, "11".repeat(32), "22".repeat(32), undefined],
  );
  refuses(t, { toml: "secret='a'\nsecret_file='b'" }, "ERR_CONFIG", /both secret and/);
  refuses(t, { toml: "next_secret_file='b'" }, "ERR_CONFIG", /no current one/);
});

test("a bad secret is named by where it stands and not shown", (t) => {
  const short = HEX.slice(0, 60);
  const where: readonly (readonly [Given, RegExp])[] = [
    [{ flags: { secret: short } }, /^--secret has 60 characters/],
    [{ env: { SECUREDGRAM_SECRET: short } }, /^SECUREDGRAM_SECRET has 60/],
    [{ dotEnv: `SECUREDGRAM_SECRET=${short}` }, /^SECUREDGRAM_SECRET in .*\.env has 60/],
    [{ toml: `secret = "${short}"` }, /^secret in .*\.toml has 60/],
  ];
  for (const [given, why] of where) refuses(t, given, "ERR_CONFIG_SECRET", why);
});

test("a readable or linked .env or file with a secret is refused, without one it is not", (t) => {
  const dotEnv = arrange(t, { dotEnv: `SECUREDGRAM_SECRET=${SECRET}` });
  chmodSync(join(dotEnv.cwd, ".env"), 0o644);
  assert.throws(
    () => loadConfig(dotEnv),
    refusal("ERR_FILE_MODE", /\.env holds a secret.*chmod 600/),
  );
  const toml = arrange(t, { toml: `secret = "${SECRET}"` });
  chmodSync(join(toml.cwd, "securedgram/securedgram.toml"), 0o640);
  assert.throws(() => loadConfig(toml), refusal("ERR_FILE_MODE", /toml holds a secret.*chmod 600/));
  const peer = `[[peer]]\nname='a'\naddress='h'\nsecret="${SECRET}"`;
  const inPeer = arrange(t, { toml: peer });
  chmodSync(join(inPeer.cwd, "securedgram/securedgram.toml"), 0o640);
  assert.throws(() => loadConfig(inPeer), refusal("ERR_FILE_MODE", /toml holds a secret/));
  const linked = arrange(t, { dotEnv: `SECUREDGRAM_SECRET=${SECRET}` });
  renameSync(join(linked.cwd, ".env"), join(linked.cwd, "real"));
  symlinkSync("real", join(linked.cwd, ".env"));
  assert.throws(() => loadConfig(linked), refusal("ERR_FILE_MODE", /symbolic link/));

  const open = arrange(t, { env: withSecret, dotEnv: "SECUREDGRAM_PORT=5", toml: "burst = 9" });
  chmodSync(join(open.cwd, ".env"), 0o644);
  chmodSync(join(open.cwd, "securedgram/securedgram.toml"), 0o644);
  assert.equal(loadConfig(open).port, 5);
  assert.equal(loadConfig(open).burst, 9);
});

test("a .env or file that others can write, or wrote, is refused even without a secret", (t) => {
  for (const [name, given] of [
    [".env", { dotEnv: "SECUREDGRAM_PORT=5" }],
    ["securedgram/securedgram.toml", { toml: "port = 5" }],
  ] as const) {
    const input = arrange(t, { env: withSecret, ...given });
    chmodSync(join(input.cwd, name), 0o666);
    assert.throws(() => loadConfig(input), refusal("ERR_FILE_MODE", /chmod go-w/));
    chmodSync(join(input.cwd, name), 0o644);
    assert.equal(loadConfig(input).port, 5);
    if (!isRoot) continue;
    chownSync(join(input.cwd, name), 65_534, 65_534);
    assert.throws(() => loadConfig(input), refusal("ERR_FILE_MODE", /belongs to user id 65534/));
  }
  if (!isRoot) t.diagnostic("not root: files of another user could not be made");
});

test("a mistyped variable in .env is a warning with the right name", (t) => {
  const { warnings } = loadConfig(
    arrange(t, { env: withSecret, dotEnv: "SECUREDGRAM_PROT=5\nOTHER=1\n" }),
  );
  assert.equal(warnings.length, 1);
  assert.match(warnings[0], /"SECUREDGRAM_PROT".*mean SECUREDGRAM_PORT\?/);
});

// --- Peers -------------------------------------------------------------------------------------

const PEERS = `
[[peer]]
name = "alpha"
address = "192.0.2.1:6000"
secret_file = "alpha"
previous_secret_file = "beta"

[[peer]]
name = "beta"
address = ["2001:DB8::1", "Beta.Example"]
port = 7000
id = "host-b"

[pair]
id = "host-a"
master_file = "master"
next_master_file = "master2"
`;

function withPeers(t: TestContext, toml = PEERS, given: Given = {}): ConfigInput {
  const input = arrange(t, { ...given, toml });
  const folder = join(input.cwd, "securedgram");
  put(folder, "alpha", "aa".repeat(32));
  put(folder, "beta", "bb".repeat(32));
  put(folder, "master", "cc".repeat(32));
  put(folder, "master2", "dd".repeat(32));
  return input;
}

test("peers become rings with their addresses and secrets, the shared ring first", (t) => {
  const { rings } = loadConfig(withPeers(t, PEERS, { env: withSecret }));
  assert.deepEqual(
    rings.map(({ name, addresses }) => ({ name, addresses })),
    [
      { name: "", addresses: [] },
      { name: "alpha", addresses: [{ address: "192.0.2.1", port: 6_000 }] },
      {
        name: "beta",
        addresses: [
          { address: "2001:db8::1", port: 7_000 },
          { address: "beta.example", port: 7_000 },
        ],
      },
    ],
  );
  const [, alpha, beta] = rings;
  assert.equal(hex(alpha.keys.current), "aa".repeat(32));
  assert.equal(hex(alpha.keys.previous), "bb".repeat(32));
  assert.equal(hex(beta.keys.current), "cc".repeat(32));
  assert.equal(hex(beta.keys.next), "dd".repeat(32));
  assert.deepEqual(beta.keys.pairInfo, pairInfo("host-a", "host-b"));
});

test("peers alone are enough, a shared secret is not needed", (t) => {
  const { rings, secretOrigin } = loadConfig(withPeers(t));
  assert.deepEqual(
    rings.map(({ name }) => name),
    ["alpha", "beta"],
  );
  assert.equal(secretOrigin, "none");
});

test("peers that could be taken for each other are refused", (t) => {
  const peer = (name: string, address: string, secret: string) =>
    `[[peer]]\nname='${name}'\naddress='${address}'\n${secret}\n`;
  const a = peer("a", "192.0.2.1", "secret_file='alpha'");
  const pair = "[pair]\nid='me'\nmaster_file='master'\n";
  const bad: readonly (readonly [string, RegExp])[] = [
    [a + peer("a", "192.0.2.2", "secret_file='beta'"), /two peers are named a/],
    [
      a + peer("b", "::ffff:192.0.2.1", "secret_file='beta'"),
      /peers a and b both have 192\.0\.2\.1/,
    ],
    [a + peer("b", "a", "secret_file='beta'"), /a is one peer's name and b's address/],
    [a + peer("b", "192.0.2.2", "secret_file='alpha'"), /b and peer a have the same secret/],
    [a + peer("b", "h", "secret_file='beta'\nnext_secret_file='alpha'"), /the same secret/],
    [peer("a", "192.0.2.1", "id='x'") + peer("b", "h", "id='x'") + pair, /the same secret/],
    [a + peer("b", "h", "id='x'") + pair.replace("'master'", "'alpha'"), /the same secret/],
    [peer("a", "h", "id='me'") + pair, /has our own id/],
    [peer("a", "h", "id='x'"), /no \[pair\] table/],
    [peer("a", "h", ""), /peer a has no secret.*secret_file/],
    [peer("a", "h", "id='x'\nsecret_file='alpha'") + pair, /more than one of/],
    [peer("a", "h", "id='x'\nnext_secret_file='alpha'") + pair, /id and secret files/],
    [peer("192.0.2.9", "h", "secret_file='alpha'"), /is an IP address/],
    [peer("a", "1.2.3.256", "secret_file='alpha'"), /"1\.2\.3\.256", which is none/],
    [peer("a", "h:1", "secret_file='alpha'\nport=2"), /port 1 in its address and port 2/],
    [peer("", "h", "secret_file='alpha'"), /peer 1, name does not fit/],
    ["[[peer]]\nname='a'\nsecret_file='alpha'\n", /peer a has no address/],
    ["[peer]\nname='a'\n", /\[\[peer\]\]/],
    ["[pair]\nid='a'\n", /pair, master_file/],
  ];
  for (const [toml, why] of bad) {
    const code = /same secret/.test(why.source) ? "ERR_CONFIG_SECRET" : "ERR_CONFIG";
    assert.throws(() => loadConfig(withPeers(t, toml)), refusal(code, why), toml);
  }
  const good = a + peer("b", "192.0.2.1:7", "secret_file='beta'");
  assert.equal(loadConfig(withPeers(t, good)).rings.length, 2);
});

test("a peer with the shared secret is refused", (t) => {
  const toml = "[[peer]]\nname='a'\naddress='h'\nsecret_file='alpha'";
  const given = { env: { SECUREDGRAM_SECRET: "AA".repeat(32) } };
  assert.throws(
    () => loadConfig(withPeers(t, toml, given)),
    refusal("ERR_CONFIG_SECRET", /peer a and the shared ring have the same secret/),
  );
});

test("the configuration is frozen, its secrets can be wiped", (t) => {
  const config = loadConfig(withPeers(t, PEERS, { env: withSecret }));
  const frozen = [config, config.rings, config.rings[1], config.rings[1].keys, config.warnings];
  assert.ok(frozen.every(Object.isFrozen));
  assert.ok(config.rings.every(({ addresses }) => Object.isFrozen(addresses)));
  wipeSecrets(config);
  for (const { keys } of config.rings) {
    for (const key of [keys.current, keys.previous, keys.next]) {
      assert.ok(key === undefined || key.every((byte) => byte === 0));
    }
  }
});

// --- Reload ------------------------------------------------------------------------------------

test("a reload without a change changes nothing", (t) => {
  const input = withPeers(t, PEERS, { env: withSecret });
  const { changed, restartOnly, config } = reloadConfig(loadConfig(input), input);
  assert.deepEqual([changed, restartOnly], [[], []]);
  assert.equal(config.rings.length, 3);
});

test("a reload takes what may change, and leaves and names what may not", (t) => {
  const input = withPeers(t, `window = 3\nport = 5\n${PEERS}`);
  const old = loadConfig(input);
  const folder = join(input.cwd, "securedgram");
  put(folder, "alpha", "ee".repeat(32));
  const restart = `port = 6\nlog = "stdout"\ndb = "y"\nuser = "mail"\n`;
  const renamed = PEERS.replace('"beta"\naddress', '"gamma"\naddress');
  put(folder, "securedgram.toml", `window = 4\nretry_interval = 9\n${restart}${renamed}`);
  const { config, changed, restartOnly } = reloadConfig(old, input);
  const expected = ["window", "retry_interval", "peer alpha", "peer beta", "peer gamma"];
  assert.deepEqual([...changed], expected);
  assert.deepEqual([...restartOnly].sort(), ["db", "log", "port", "user"]);
  assert.equal(config.windowSeconds, 4);
  assert.equal(config.retryIntervalSeconds, 9);
  assert.equal(config.port, 5);
  assert.equal(config.db, old.db);
  assert.equal(config.log, "syslog");
  assert.equal(config.user, "nobody");
  assert.equal(config.userIsExplicit, false);
  assert.equal(hex(config.rings[0].keys.current), "ee".repeat(32));
  assert.ok(Object.isFrozen(config));
});

test("a reload that does not fit is refused, and the old configuration stays whole", (t) => {
  const input = withPeers(t);
  const old = loadConfig(input);
  put(join(input.cwd, "securedgram"), "alpha", "short");
  assert.throws(() => reloadConfig(old, input), refusal("ERR_CONFIG_SECRET", /has 5 characters/));
  assert.equal(hex(old.rings[0].keys.current), "aa".repeat(32));
});

test("a secret of the environment survives the wiping of the environment", (t) => {
  const input = arrange(t, { env: withSecret });
  const old = loadConfig(input);
  const wiped = { ...input, env: { ...input.env, SECUREDGRAM_SECRET: undefined } };
  const { config, changed } = reloadConfig(old, wiped);
  assert.deepEqual(changed, []);
  wipeSecrets(old);
  assert.equal(hex(config.rings[0].keys.current), HEX);
  assert.equal(config.secretOrigin, "environment");
  assert.throws(() => reloadConfig(old, wiped), refusal("ERR_CONFIG_SECRET", /was wiped.*Restart/));
});

test("a secret of .env can be replaced by a reload", (t) => {
  const input = arrange(t, { dotEnv: `SECUREDGRAM_SECRET=${SECRET}` });
  const old = loadConfig(input);
  put(input.cwd, ".env", `SECUREDGRAM_SECRET=${OTHER_SECRET}`);
  const { config, changed } = reloadConfig(old, input);
  assert.deepEqual(changed, ["secret"]);
  assert.equal(hex(config.rings[0].keys.current), OTHER_SECRET.toLowerCase());
});

// --- Places ------------------------------------------------------------------------------------

test("commands find the database without any secret", (t) => {
  const input = arrange(t, { toml: 'db = "x.db"\nsecret_file = "missing"' });
  assert.equal(loadPlaces(input).db, join(input.cwd, "securedgram/x.db"));
  const dotEnv = arrange(t, { dotEnv: `SECUREDGRAM_DB=y.db\nSECUREDGRAM_SECRET=${SECRET}` });
  chmodSync(join(dotEnv.cwd, ".env"), 0o644);
  assert.equal(loadPlaces(dotEnv).db, join(dotEnv.cwd, "y.db"));
  assert.equal(loadPlaces({ ...dotEnv, flags: { db: "/z.db" } }).db, "/z.db");
});

test("commands pass over a file of the service that they may not read", async (t) => {
  if (!isRoot) {
    t.diagnostic("not root: a file that we may not read cannot be made and read as another user");
    return;
  }
  const input = arrange(t, { toml: "port = 1" });
  chmodSync(input.cwd, 0o755);
  chmodSync(join(input.cwd, "securedgram"), 0o755);
  const child = startChild(t, ["places", "nobody", input.cwd]);
  assert.equal(await child.line(), join(input.cwd, "securedgram.db"));
  const named = startChild(t, ["places", "nobody", input.cwd, "securedgram/securedgram.toml"]);
  assert.equal(await named.ended, 77);
  assert.match(named.errors(), /ERR_PERMISSION.*cannot be read/);
});
