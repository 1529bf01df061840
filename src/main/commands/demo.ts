// `securedgram demo`: two real daemons on loopback, messages both ways, receipts shown, one of the
// two killed in the middle and started again. What it prints is read back from the two databases.

import { randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import { setTimeout as nap } from "node:timers/promises";
import { DaemonError, EXIT, type ExitCode } from "../../shared/base/errors.js";
import type { Connection } from "../../shared/store/driver.js";
import { openDatabase } from "../../shared/store/open.js";
import { ChildDaemon } from "../client/child-daemon.js";
import { draft, Outbox } from "../client/enqueue.js";
import { DgramSocket } from "../socket/dgram.js";
import { defineCommand } from "./command.js";
import type { Io } from "./io.js";

const LOOPBACK = "127.0.0.1";
const WAIT_MS_MAX = 20_000;
const LOOK_MS = 20;
const TERMS = { priority: "normal", notBefore: undefined, expiresAt: undefined } as const;

export const demoCommand = defineCommand({
  name: "demo",
  summary: "two daemons on loopback, messages both ways, a crash in the middle",
  usage: "",
  options: {},
  positionals: [0, 0],
  async run(_args, io): Promise<ExitCode> {
    const directory = mkdtempSync(join(tmpdir(), "securedgram-demo-"));
    const hosts: Host[] = [];
    try {
      return await show(directory, hosts, io);
    } finally {
      for (const host of hosts) host.end();
      rmSync(directory, { recursive: true, force: true });
    }
  },
});

async function show(directory: string, hosts: Host[], io: Io): Promise<ExitCode> {
  const secret = randomBytes(32).toString("hex");
  const alice = new Host("alice", join(directory, "alice"), await freePort(), secret);
  const bob = new Host("bob", join(directory, "bob"), await freePort(), secret);
  hosts.push(alice, bob);
  const say = (line: string) => io.write(`${line}\n`);

  await say("1. Two hosts that share a secret, each a daemon with a database of its own:");
  for (const host of hosts) {
    await host.start();
    await say(`   ${host.name} listens on ${LOOPBACK} port ${host.port}`);
  }
  await say("2. A message is a row in a table. Three from alice, two from bob:");
  const first = alice.insert(bob, ["Hello, bob", "How is the weather?", "Gr\u00fc\u00dfe \u2603"]);
  const answers = bob.insert(alice, ["Hello, alice", "Dry"]);
  await alice.showReceipts(first, say);
  await bob.showReceipts(answers, say);
  await say(
    "   An acknowledgement means: authenticated, stored and synced on the other host's disk.",
  );

  await say("3. Bob's process is killed (SIGKILL), and alice goes on writing:");
  await bob.kill();
  const waiting = alice.insert(bob, ["Are you there?", "I can wait."]);
  await nap(300);
  await say(`   ${alice.states(waiting).join(", ")}`);
  await say("   Bob starts again on the same database:");
  await bob.start();
  await alice.showReceipts(waiting, say);

  const stored = bob.inbound();
  await say("4. What bob has, each message once:");
  for (const { id, payload } of stored) await say(`   ${id}. ${payload}`);
  await Promise.all([alice.stop(), bob.stop()]);
  if (stored.length !== first.length + waiting.length) {
    throw new DaemonError(
      "ERR_WORKER",
      `bob has ${stored.length} messages, ${first.length + waiting.length} were sent`,
      "report this: it must never happen",
    );
  }
  await say("Both daemons have stopped cleanly. All receipts were true.");
  return EXIT.done;
}

/** One side of the demonstration. */
class Host {
  readonly name: string;
  readonly port: number;
  readonly #database: string;
  readonly #daemon: ChildDaemon;
  #db: Connection | undefined;

  constructor(name: string, directory: string, port: number, secret: string) {
    mkdirSync(directory, { mode: 0o700 });
    this.name = name;
    this.port = port;
    this.#database = join(directory, "securedgram.db");
    this.#daemon = new ChildDaemon({
      directory,
      environment: { SECUREDGRAM_SECRET: secret },
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

  insert(to: Host, texts: readonly string[]): readonly number[] {
    const drafts = texts.map((text) =>
      draft(new TextEncoder().encode(JSON.stringify({ from: this.name, text })), undefined),
    );
    const outbox = new Outbox(this.#database, this.#open);
    return outbox.enqueue({ address: LOOPBACK, port: to.port }, TERMS, drafts);
  }

  states(rows: readonly number[]): readonly string[] {
    const one = this.#open.prepare("SELECT state FROM outbound_messages WHERE id = ?").pluck();
    return rows.map((id) => `row ${id} ${String(one.get(id))}`);
  }

  /** Waits until all rows are acknowledged, and prints their receipts. */
  async showReceipts(rows: readonly number[], say: (line: string) => Promise<void>): Promise<void> {
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
      "SELECT message_id, created_at, ack_received_at FROM outbound_messages WHERE id = ?",
    );
    for (const id of rows) {
      const row = one.get(id) as Readonly<Record<string, string>>;
      const delayMs =
        Date.parse(`${row["ack_received_at"]}Z`) - Date.parse(`${row["created_at"]}Z`);
      await say(`   ${this.name} row ${id}: ${row["message_id"]} acknowledged after ${delayMs} ms`);
    }
  }

  inbound(): readonly { readonly id: number; readonly payload: string }[] {
    return this.#open.prepare("SELECT id, payload FROM inbound_messages ORDER BY id").all() as {
      id: number;
      payload: string;
    }[];
  }

  get #open(): Connection {
    if (this.#db === undefined) throw new DaemonError("ERR_NOT_RUNNING", "not started", "start it");
    return this.#db;
  }
}

/** A port that was free a moment ago. */
async function freePort(): Promise<number> {
  const socket = new DgramSocket();
  await socket.start(LOOPBACK, 0);
  const { port } = socket;
  await socket.stop();
  return port;
}
