// The second half of `securedgram bench`: messages from one daemon to another on loopback, in a session,
// durable on both sides; this process inserts them as a client does.

import { mkdirSync, writeFileSync } from "node:fs";
import { userInfo } from "node:os";
import { join } from "node:path";
import { setTimeout as nap } from "node:timers/promises";
import type { Draft } from "../../client/drafts.js";
import { Outbox } from "../../client/outbox.js";
import { DaemonError } from "../../shared/base/errors.js";
import type { Connection } from "../../shared/store/driver.js";
import { openDatabase } from "../../shared/store/open.js";
import { WORKED } from "../../shared/store/schema.js";
import { ChildDaemon } from "../client/child-daemon.js";
import { newPrivateKey, publicKeyOf } from "../identity.js";
import { base64Text } from "../secrets.js";
import { freePort, LOOPBACK } from "./demo-host.js";

const CONFIG = "securedgram.toml";
const TERMS = { priority: "normal", notBefore: undefined, expiresAt: undefined } as const;
const ROWS_A_TRANSACTION = 512;
/** Rows, and bytes, that wait at most. */
const BACKLOG_ROWS = 8_192;
const BACKLOG_BYTES = 32 * 1_024 * 1_024;
const WARM_UP_TRANSACTIONS = 4;
/** Rows that wait may stand still for so long. */
const STILL_MS_MAX = 10_000;
const LOOK_MS = 2;

export interface LoadRate {
  readonly perSecond: number;
  readonly messages: number;
}

export interface BenchLoad {
  /** An empty folder. */
  readonly directory: string;
  readonly workers: number;
  /** Of each message. */
  readonly bytes: number;
  readonly measureMs: number;
  /** Aborts in the middle, with a DaemonError of the caller. */
  readonly check: () => void;
}

/** First insert to last row acknowledged. Daemons and files are gone afterwards, or ended at least. */
export async function measureLoad(load: BenchLoad): Promise<LoadRate> {
  const hosts = await makeHosts(load);
  try {
    await Promise.all(hosts.map(({ daemon }) => daemon.start()));
    const [sender, receiver] = hosts;
    const db = openDatabase(sender.database, { role: "client", create: false });
    try {
      const rate = await new Producer(load, db, sender.database, receiver).run();
      await Promise.all(hosts.map(({ daemon }) => daemon.stop()));
      return rate;
    } finally {
      db.close();
    }
  } finally {
    for (const { daemon } of hosts) daemon.abandon();
  }
}

interface Host {
  readonly name: string;
  readonly port: number;
  readonly database: string;
  readonly daemon: ChildDaemon;
}

/** Two hosts that have each other's public key, for this run only. */
async function makeHosts({ directory, workers }: BenchLoad): Promise<readonly Host[]> {
  const members: { name: string; port: number; privateKey: Uint8Array; folder: string }[] = [];
  for (const name of ["sender", "receiver"]) {
    const folder = join(directory, name);
    mkdirSync(folder, { mode: 0o700 });
    members.push({ name, port: await freePort(), privateKey: newPrivateKey(), folder });
  }
  return members.map(({ name, port, privateKey, folder }, i) => {
    const other = members[1 - i];
    const write = (file: string, text: string): void =>
      writeFileSync(join(folder, file), text, { mode: 0o600 });
    write("identity", `${base64Text(privateKey)}\n`);
    write(
      CONFIG,
      `[[peer]]\nname = "${other.name}"\naddress = "${LOOPBACK}:${other.port}"\n` +
        `public_key = "${base64Text(publicKeyOf(other.privateKey))}"\n`,
    );
    const database = join(folder, "securedgram.db");
    const daemon = new ChildDaemon({
      directory: folder,
      environment: { SECUREDGRAM_CONFIG: CONFIG },
      flags: [
        ...["--bind", LOOPBACK, "--port", `${port}`, "--db", database],
        ...["--log", "stdout", "--user", userInfo().username],
        ...["--crypto-workers", `${workers}`],
      ],
    });
    return { name, port, database, daemon };
  });
}

class Producer {
  readonly #load: BenchLoad;
  readonly #to: Host;
  readonly #outbox: Outbox;
  readonly #oldest: () => number | undefined;
  readonly #drafts: readonly Draft[];
  readonly #backlogRows: number;
  #inserted = 0;
  #lastRow = 0;

  constructor(load: BenchLoad, db: Connection, database: string, to: Host) {
    this.#load = load;
    this.#to = to;
    this.#outbox = new Outbox(database, db);
    const oldest = db
      .prepare(
        `SELECT id FROM outbound_messages INDEXED BY outbound_work
         WHERE dst_addr = ? AND dst_port = ? AND priority = 1
           AND ${WORKED} AND not_before IS NULL
         ORDER BY id LIMIT 1`,
      )
      .pluck();
    this.#oldest = () => oldest.get(to.name, to.port) as number | undefined;
    const rows = Math.min(ROWS_A_TRANSACTION, Math.ceil(BACKLOG_BYTES / 4 / load.bytes));
    this.#backlogRows = Math.max(2 * rows, Math.min(BACKLOG_ROWS, BACKLOG_BYTES / load.bytes));
    const payload = "x".repeat(load.bytes);
    this.#drafts = Array.from({ length: rows }, () => ({ payload, messageId: undefined }));
  }

  async run(): Promise<LoadRate> {
    for (let i = 0; i < WARM_UP_TRANSACTIONS; i++) this.#insert();
    await this.#until(0);
    const [before, startedAt] = [this.#inserted, performance.now()];
    while (performance.now() - startedAt < this.#load.measureMs) {
      this.#insert();
      await this.#until(this.#backlogRows - this.#drafts.length);
    }
    await this.#until(0);
    const messages = this.#inserted - before;
    return { messages, perSecond: (messages * 1_000) / (performance.now() - startedAt) };
  }

  #insert(): void {
    const to = { address: this.#to.name, port: this.#to.port };
    const rowIds = this.#outbox.enqueue(to, TERMS, this.#drafts);
    this.#inserted += rowIds.length;
    this.#lastRow = rowIds[rowIds.length - 1];
  }

  /** Waits until so few rows wait at most. */
  async #until(rowsMax: number): Promise<void> {
    let before: number | undefined;
    let movedAt = performance.now();
    for (;;) {
      this.#load.check();
      const oldest = this.#oldest();
      if (oldest === undefined || this.#lastRow - oldest + 1 <= rowsMax) return;
      const now = performance.now();
      if (oldest !== before) movedAt = now;
      if (now - movedAt > STILL_MS_MAX) {
        throw new DaemonError(
          "ERR_TIMEOUT",
          `no acknowledgement in ${STILL_MS_MAX / 1_000} s on loopback`,
          "see with `securedgram doctor` whether this host is in order",
        );
      }
      before = oldest;
      await nap(LOOK_MS);
    }
  }
}
