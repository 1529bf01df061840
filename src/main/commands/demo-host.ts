// One side of the demonstration: a daemon in a folder of its own, and a client of its database.

import { mkdirSync } from "node:fs";
import { userInfo } from "node:os";
import { join } from "node:path";
import { setTimeout as nap } from "node:timers/promises";
import { draft } from "../../client/drafts.js";
import { type Destination, Outbox } from "../../client/outbox.js";
import { DaemonError } from "../../shared/base/errors.js";
import type { Connection } from "../../shared/store/driver.js";
import { openDatabase } from "../../shared/store/open.js";
import { ChildDaemon } from "../client/child-daemon.js";
import { DgramSocket } from "../socket/dgram.js";

export const LOOPBACK = "127.0.0.1";
const WAIT_MS_MAX = 20_000;
const LOOK_MS = 20;
const TERMS = { priority: "normal", notBefore: undefined, expiresAt: undefined } as const;

/** Prints a line. */
export type Say = (line: string) => Promise<void>;

/** A row as any program may insert it for a session peer: any text or bytes, in a stream or in none. */
export interface SessionDraft {
  readonly payload: string | Uint8Array;
  readonly stream?: string;
}

export class DemoHost {
  readonly name: string;
  readonly directory: string;
  readonly port: number;
  readonly #database: string;
  readonly #daemon: ChildDaemon;
  #db: Connection | undefined;

  /** Makes the folder. */
  constructor(
    name: string,
    directory: string,
    port: number,
    environment: Readonly<Record<string, string>>,
  ) {
    mkdirSync(directory, { mode: 0o700 });
    this.name = name;
    this.directory = directory;
    this.port = port;
    this.#database = join(directory, "securedgram.db");
    this.#daemon = new ChildDaemon({
      directory,
      environment,
      flags: [
        ...["--bind", LOOPBACK, "--port", `${port}`, "--db", this.#database],
        ...["--log", "stdout", "--user", userInfo().username],
      ],
    });
  }

  async start(): Promise<void> {
    await this.#daemon.start();
    this.#db ??= openDatabase(this.#database, { role: "client", create: false });
  }
  kill(): Promise<void> {
    return this.#daemon.kill();
  }
  stop(): Promise<void> {
    return this.#daemon.stop();
  }
  end(): void {
    this.#db?.close();
    this.#daemon.abandon();
  }

  /** Rows as `sg-send` inserts them: JSON that any peer takes. */
  insert(to: Destination, texts: readonly string[]): readonly number[] {
    const drafts = texts.map((text) =>
      draft(new TextEncoder().encode(JSON.stringify({ from: this.name, text })), undefined),
    );
    return new Outbox(this.#database, this.#open).enqueue(to, TERMS, drafts);
  }

  /** Rows for a session peer, as any program inserts them. */
  insertRows(to: Destination, drafts: readonly SessionDraft[]): readonly number[] {
    const outbox = new Outbox(this.#database, this.#open);
    return drafts.flatMap(({ payload, stream }) =>
      outbox.enqueue(to, { ...TERMS, stream }, [{ payload, messageId: undefined }]),
    );
  }

  states(rows: readonly number[]): readonly string[] {
    const one = this.#open.prepare("SELECT state FROM outbound_messages WHERE id = ?").pluck();
    return rows.map((id) => `row ${id} ${String(one.get(id))}`);
  }

  /** Waits until all rows are acknowledged, and prints their receipts. */
  async showReceipts(rows: readonly number[], say: Say): Promise<void> {
    const end = Date.now() + WAIT_MS_MAX;
    while (this.states(rows).some((state) => !state.endsWith("acknowledged"))) {
      if (Date.now() > end) {
        throw new DaemonError(
          "ERR_TIMEOUT",
          `no acknowledgement in ${WAIT_MS_MAX / 1_000} s (${this.states(rows).join(", ")})`,
          "see with `securedgram doctor` whether this host is in order",
        );
      }
      await nap(LOOK_MS);
    }
    const one = this.#open.prepare(
      `SELECT message_id, created_at, ack_received_at, octet_length(payload) AS bytes
       FROM outbound_messages WHERE id = ?`,
    );
    for (const id of rows) {
      const row = one.get(id) as Readonly<Record<string, string>>;
      const delayMs =
        Date.parse(`${row["ack_received_at"]}Z`) - Date.parse(`${row["created_at"]}Z`);
      await say(
        `   ${this.name} row ${id}: ${row["message_id"]}, ${row["bytes"]} bytes, ` +
          `acknowledged after ${delayMs} ms`,
      );
    }
  }

  inbound(): readonly InboundRow[] {
    return this.#open
      .prepare("SELECT id, stream, sequence, payload FROM inbound_messages ORDER BY id")
      .all() as InboundRow[];
  }

  get #open(): Connection {
    if (this.#db === undefined) throw new DaemonError("ERR_NOT_RUNNING", "not started", "start it");
    return this.#db;
  }
}

interface InboundRow {
  readonly id: number;
  readonly stream: string | null;
  readonly sequence: number | null;
  readonly payload: string | Uint8Array;
}

/** Prints what a host received; returns how many messages that are. */
export async function showInbound(host: DemoHost, say: Say): Promise<number> {
  const rows = host.inbound();
  for (const { id, stream, sequence, payload } of rows) {
    const what = typeof payload === "string" ? payload : `${payload.length} bytes`;
    await say(`   ${id}. ${what}${stream === null ? "" : ` (stream ${stream}, ${sequence})`}`);
  }
  return rows.length;
}

/** What a receipt promised must be there, and nothing twice. */
export function requireAll(name: string, stored: number, sent: number): void {
  if (stored === sent) return;
  throw new DaemonError(
    "ERR_WORKER",
    `${name} has ${stored} messages, ${sent} were sent`,
    "report this: it must never happen",
  );
}

/** A port that was free a moment ago. */
export async function freePort(): Promise<number> {
  const socket = new DgramSocket();
  await socket.start(LOOPBACK, 0);
  const { port } = socket;
  await socket.stop();
  return port;
}
