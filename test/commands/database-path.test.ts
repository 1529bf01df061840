// Every command finds the database that the daemon would serve, wherever its path stands, without having
// to be told: sg-send inserts there.

import assert from "node:assert/strict";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { databasePath } from "../../src/main/client/database-path.js";
import { database, folder, run } from "./programs.js";

interface Sources {
  readonly flag?: string;
  readonly variable?: string;
  readonly dotEnv?: string;
  /** The file in the folder of the user's configuration. */
  readonly toml?: string;
  /** The same text in a file that is named. */
  readonly named?: string;
}

/** Writes what there is; returns the directory and the environment of a command. */
function arrange(t: TestContext, sources: Sources) {
  const directory = folder(t);
  const user = join(directory, "config");
  if (sources.dotEnv !== undefined) writeFileSync(join(directory, ".env"), sources.dotEnv);
  const { toml, named, variable } = sources;
  if (toml !== undefined) {
    mkdirSync(join(user, "securedgram"), { recursive: true });
    writeFileSync(join(user, "securedgram", "securedgram.toml"), toml);
  }
  if (named !== undefined) writeFileSync(join(directory, "named.toml"), named);
  const environment = {
    XDG_CONFIG_HOME: user,
    ...(variable === undefined ? {} : { SECUREDGRAM_DB: variable }),
  };
  return { directory, environment };
}

test("the `db` key of the configuration file is found by commands", async (t) => {
  const options = arrange(t, { toml: 'db = "far.db"\nport = 1' });
  const file = join(options.environment.XDG_CONFIG_HOME, "securedgram", "far.db");
  const db = database(t, join(options.environment.XDG_CONFIG_HOME, "securedgram"), "far.db");

  const sent = await run(t, "sg-send", ["192.0.2.1", "61773", "{}"], options);
  const listed = await run(t, "sg-recv", ["-o"], options);

  assert.deepEqual([sent.code, sent.stderr], [0, ""]);
  assert.equal(listed.code, 0, listed.stderr);
  assert.equal(db.prepare("SELECT count(*) FROM outbound_messages").pluck().get(), 1);
  assert.ok(existsSync(file) && !existsSync(join(options.directory, "securedgram.db")));
});

test("a configuration file that .env names is found by commands too", async (t) => {
  const options = arrange(t, { dotEnv: "SECUREDGRAM_CONFIG=named.toml", named: 'db = "far.db"' });
  const db = database(t, options.directory, "far.db");

  const sent = await run(t, "sg-send", ["192.0.2.1", "61773", "{}"], options);

  assert.deepEqual([sent.code, sent.stderr], [0, ""]);
  assert.equal(db.prepare("SELECT count(*) FROM outbound_messages").pluck().get(), 1);
});

test("the strongest source wins: flag, variable, .env, file, default", async (t) => {
  const sources = {
    flag: "flag.db",
    variable: "variable.db",
    dotEnv: "SECUREDGRAM_DB=env.db",
    toml: 'db = "/far/toml.db"',
  };
  const expected = ["flag.db", "variable.db", "env.db", "/far/toml.db", "securedgram.db"];
  const names = ["flag", "variable", "dotEnv", "toml"] as const;
  for (const [i, wanted] of expected.entries()) {
    const left = Object.fromEntries(names.slice(i).map((name) => [name, sources[name]]));
    const { directory, environment } = arrange(t, left);
    const flag = i === 0 ? sources.flag : undefined;

    const found = await databasePath(flag, environment, directory);

    // A machine with a file of its own in /etc decides what the default is.
    if (wanted === "securedgram.db" && existsSync("/etc/securedgram")) continue;
    assert.equal(found.endsWith(wanted), true, `${found} instead of ${wanted}`);
  }
});

test("a named file that is not there is refused, and not passed over for the default", async (t) => {
  const { directory, environment } = arrange(t, {});

  await assert.rejects(
    databasePath(undefined, { ...environment, SECUREDGRAM_CONFIG: "nowhere.toml" }, directory),
    /nowhere\.toml does not exist/,
  );
});
