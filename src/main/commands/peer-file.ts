// The configuration file as the `peer` commands see it: its peers by name, edits of it, and how a
// change reaches the daemon.

import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { DaemonError } from "../../shared/base/errors.js";
import { loadPlaces } from "../config.js";
import { type Edit, editConfig, editedPath, editOf } from "../config-edit.js";
import { type ConfigInput, openSources, type Sources } from "../config-sources.js";
import { findDaemon, lockHolder } from "../instance.js";
import type { SecretPlaces } from "../secrets.js";
import type { PeerTable } from "../settings.js";
import { type Section, setKey, tomlString } from "../toml-text.js";
import type { OptionTable } from "./command.js";
import type { Io } from "./io.js";
import { nearest } from "./nearest.js";
import { quoted } from "./printable.js";

export const PEER_FILE_OPTIONS = {
  config: { kind: "text", placeholder: "FILE", summary: "configuration file" },
  db: { kind: "text", placeholder: "FILE", summary: "database (list, status, rotate)" },
} as const satisfies OptionTable;

interface FileOptions {
  readonly config: string | undefined;
  readonly db?: string | undefined;
}

/** Key of a file's table, at its top or in a peer's: text, or undefined to remove it. */
export type KeyChange = readonly [section: Section, key: string, value: string | undefined];

export class PeerFile {
  readonly input: ConfigInput;
  readonly sources: Sources;
  readonly path: string;
  readonly #io: Io;

  /** `mayBeMissing`: a file that was named need not exist yet. */
  constructor(options: FileOptions, io: Io, mayBeMissing = false) {
    this.#io = io;
    const { config, db } = options;
    this.input = { flags: { config, db }, env: io.environment, cwd: io.directory };
    const named = config === undefined ? undefined : resolve(io.directory, config);
    if (mayBeMissing && named !== undefined && !existsSync(named)) {
      const envFilePath = resolve(io.directory, ".env");
      const nothing = { envFile: new Map(), envFilePath, file: undefined, warnings: [] };
      this.sources = { ...this.input, ...nothing };
    } else {
      this.sources = openSources(this.input, "all");
    }
    this.path = editedPath(this.sources, named);
    if (this.sources.file !== undefined || mayBeMissing) return;
    throw new DaemonError(
      "ERR_CONFIG",
      `there is no configuration file at ${this.path}`,
      "Name one with --config, or make it with `securedgram peer add`.",
    );
  }

  get peers(): readonly PeerTable[] {
    return this.sources.file?.table.peer ?? [];
  }

  get places(): SecretPlaces {
    const base = this.sources.file?.directory ?? this.#io.directory;
    return { base, credentials: this.#io.environment["CREDENTIALS_DIRECTORY"] };
  }

  /** The database that the daemon of this configuration uses. */
  get database(): string {
    return loadPlaces(this.input).db;
  }

  /** Whether a daemon serves it: what it says of now is true only then. */
  get isServed(): boolean {
    const { db, pidFile } = loadPlaces(this.input);
    return findDaemon({ db, pidFile }) !== undefined;
  }

  /** The peer of that name and its place in the file, or a refusal that knows a similar name. */
  find(name: string): { readonly peer: PeerTable; readonly index: number } {
    const index = this.peers.findIndex((peer) => peer.name === name);
    if (index >= 0) return { peer: this.peers[index], index };
    const guess = nearest(
      name,
      this.peers.map((peer) => peer.name),
    );
    throw new DaemonError(
      "ERR_CONFIG",
      `${this.path} has no peer ${quoted(name)}`,
      guess === undefined ? "See `securedgram peer list`." : `Did you mean ${guess}?`,
    );
  }

  /** Sets and removes keys; all or none. */
  change(changes: readonly KeyChange[]): void {
    this.edit(editOf(...changes.map(keyEdit)));
  }

  /** Makes an edit, and says how it reaches the daemon. */
  edit(edit: Edit): void {
    const { wrong } = editConfig(this.path, edit, this.input);
    const say = (text: string): void => this.#io.say(`${this.#io.program}: ${text}`);
    if (wrong !== undefined) say(`warning: the daemon refuses it as it is: ${wrong}`);
    const holder = lockHolder(this.database);
    say(
      holder === undefined
        ? `changed ${this.path}; it holds from the next start of the daemon`
        : `changed ${this.path}; apply it with: kill -HUP ${holder.pid}`,
    );
  }
}

const keyEdit = ([section, key, value]: KeyChange): Edit => ({
  onText: (text) => setKey(text, section, key, value === undefined ? undefined : tomlString(value)),
  onTable: (table) => {
    const target = section === "top" ? table : table.peer?.[section];
    if (target === undefined) return;
    if (value === undefined) delete target[key];
    else target[key] = value;
  },
});
