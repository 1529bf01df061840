// The only importer of better-sqlite3. Two builds of it exist and none runs everywhere: 13.x crashes
// the process on Node-API 9 (Node 20), 12.x aborts on Node 24 and later. So the choice is made by the
// number that the running Node states, before either is loaded.

import { createRequire } from "node:module";
import type BetterSqlite3 from "better-sqlite3";
import { DaemonError, reasonOf } from "../base/errors.js";

export type Connection = BetterSqlite3.Database;
export type Statement = BetterSqlite3.Statement<unknown[], unknown>;

/** Node-API from which on the current build runs. */
const NODE_API_OF_CURRENT_BUILD = 10;
/** Older ones may lose a commit when a WAL is reset under a reader. Source: sqlite.org, 3.51.3. */
const SQLITE_VERSION_MIN: readonly [number, number, number] = [3, 51, 3];

type Constructor = new (path: string, options: BetterSqlite3.Options) => Connection;
let loaded: Constructor | undefined;

/** Name of the package to load on a Node with this Node-API version. */
export const driverName = (nodeApi: number): string =>
  nodeApi >= NODE_API_OF_CURRENT_BUILD ? "better-sqlite3" : "better-sqlite3-node20";

/** Opens a connection; what SQLite throws passes through. The path is taken as it is. */
export function connect(path: string, options: BetterSqlite3.Options): Connection {
  loaded ??= load(driverName(Number(process.versions.napi)));
  return new loaded(path, options);
}

function load(name: string): Constructor {
  try {
    const require = createRequire(import.meta.url);
    const driver = require(name) as Constructor;
    const probe = new driver(":memory:", {});
    const version = probe.prepare("SELECT sqlite_version()").pluck().get();
    probe.close();
    requireVersion(name, String(version));
    return driver;
  } catch (thrown) {
    if (thrown instanceof DaemonError) throw thrown;
    throw new DaemonError(
      "ERR_NATIVE_MODULE",
      `the SQLite driver ${name} does not load on Node ${process.versions.node}: ${reasonOf(thrown)}`,
      `run \`npm rebuild ${name}\` in the folder of this program, with the node that runs it`,
      thrown,
    );
  }
}

/** Refuses an SQLite that may lose commits. */
export function requireVersion(name: string, version: string): void {
  const parts = version.split(".").map(Number);
  for (let i = 0; i < SQLITE_VERSION_MIN.length; i++) {
    const difference = (parts[i] ?? 0) - SQLITE_VERSION_MIN[i];
    if (difference > 0) return;
    if (difference < 0 || Number.isNaN(difference)) {
      throw new DaemonError(
        "ERR_NATIVE_MODULE",
        `${name} brings SQLite ${version}, and ${SQLITE_VERSION_MIN.join(".")} is needed`,
        "run `npm ci` in the folder of this program",
      );
    }
  }
}

/** Version of the SQLite in the driver, such as 3.53.2; throws ERR_NATIVE_MODULE as `connect` does. */
export function sqliteVersion(): string {
  const db = connect(":memory:", {});
  try {
    return String(db.prepare("SELECT sqlite_version()").pluck().get());
  } finally {
    db.close();
  }
}
