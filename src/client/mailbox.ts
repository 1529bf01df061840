// The library that other programs import: `import { Mailbox } from "securedgram"`. A mailbox is a
// connection to the daemon's database: it queues messages, waits for their receipts and hands out what
// came in, whether or not the daemon runs. docs/CLIENT.md has examples.

import { DaemonError } from "../shared/base/errors.js";
import type { Connection } from "../shared/store/driver.js";
import { type LeaseFile, openLeases } from "../shared/store/lease-file.js";
import { openDatabaseFile } from "../shared/store/open.js";
import { Inbox } from "./inbox.js";
import type {
  InboxOptions,
  IncomingMessage,
  OutgoingMessage,
  Receipt,
  SendOptions,
  WaitOptions,
} from "./messages.js";
import { Outbox } from "./outbox.js";
import { OutboxRoom } from "./outbox-room.js";
import { OutgoingDesk, wrong } from "./outgoing.js";
import { Receipts } from "./receipts.js";
import { type Load, SendQueue } from "./send-queue.js";
import { CommitWatch } from "./watch.js";

export type { DaemonErrorCode } from "../shared/base/errors.js";
export type {
  InboxOptions,
  IncomingMessage,
  JsonValue,
  OutgoingMessage,
  Receipt,
  SendOptions,
  WaitOptions,
} from "./messages.js";
export type { Priority } from "./outbox.js";
export { DaemonError };

/** Messages of one `sendBatch` at most: the transaction holds the daemon's write lock. */
const BATCH_MESSAGES_MAX = 16_384;
const OUTBOX_MESSAGES = 100_000;
const OUTBOX_BYTES = 256 * 1_024 * 1_024;
const BUSY_DEADLINE_MS = 5_000;

export interface MailboxOptions {
  /** Path of the daemon's database. Default: SECUREDGRAM_DB of the environment, or `securedgram.db`. */
  readonly database?: string;
  /**
   * What `send` does while the outbox has as many messages as it may: waits until there is room, or
   * rejects with ERR_OUTBOX_FULL. Default `wait`.
   */
  readonly whenFull?: "wait" | "refuse";
  /**
   * Messages that may wait for their acknowledgement, of all programs together, from 1. Others than
   * this mailbox are not held back. Default 100,000. Those that have a `notBefore` do not count.
   */
  readonly outboxMessagesMax?: number;
  /** Their payloads, bytes, from 1; above 4,096 messages it is an estimate. Default 268,435,456. */
  readonly outboxBytesMax?: number;
  /** How long to wait while another process holds the write lock, ms, from 0. Default 5,000. */
  readonly busyDeadlineMs?: number;
}

/** An inbox: a loop over it gets what came in, oldest first, until it is closed. */
export interface MessageInbox extends AsyncIterableIterator<IncomingMessage> {
  /**
   * The next message; waits for one. Done when the inbox or its mailbox is closed. Rejects with the
   * signal's reason, or with a DaemonError; the inbox is closed then.
   */
  next(): Promise<IteratorResult<IncomingMessage, undefined>>;
  /** As `close`: a loop that is left calls it. */
  return(): Promise<IteratorResult<IncomingMessage, undefined>>;
  /** Resolves when every mark that was made before is on the disk. */
  flush(): Promise<void>;
  /** Commits the marks that were made, gives back the rest, and ends a loop that waits. */
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

export class Mailbox {
  readonly #path: string;
  readonly #db: Connection;
  readonly #watch: CommitWatch;
  readonly #desk = new OutgoingDesk();
  readonly #sends: SendQueue;
  readonly #receipts: Receipts;
  readonly #whenFull: "wait" | "refuse";
  readonly #messagesMax: number;
  readonly #bytesMax: number;
  readonly #busyDeadlineMs: number;
  readonly #inboxes = new Set<Inbox>();
  #leases: LeaseFile | undefined;
  #inboxWatch: CommitWatch | undefined;
  #closed: Promise<void> | undefined;

  /**
   * Opens the database that the daemon made; it need not run. Rejects with a DaemonError whose message
   * is one sentence and whose `next` says what to do: ERR_DB_MISSING, ERR_FILE_MODE or ERR_PERMISSION
   * (it belongs to another user), ERR_DB_SCHEMA, ERR_DB_DAMAGED, ERR_DB_BUSY, ERR_NATIVE_MODULE.
   */
  static async open(options: MailboxOptions = {}): Promise<Mailbox> {
    const { SECUREDGRAM_DB: variable } = process.env;
    const database = options.database ?? (variable || "securedgram.db");
    const { db, path } = openDatabaseFile(database, { role: "client", create: false });
    try {
      return new Mailbox(path, db, options);
    } catch (thrown) {
      db.close();
      throw thrown;
    }
  }

  private constructor(path: string, db: Connection, options: MailboxOptions) {
    this.#path = path;
    this.#db = db;
    this.#whenFull = options.whenFull ?? "wait";
    this.#messagesMax = atLeast("outboxMessagesMax", options.outboxMessagesMax, OUTBOX_MESSAGES, 1);
    this.#bytesMax = atLeast("outboxBytesMax", options.outboxBytesMax, OUTBOX_BYTES, 1);
    this.#busyDeadlineMs = atLeast("busyDeadlineMs", options.busyDeadlineMs, BUSY_DEADLINE_MS, 0);
    this.#watch = new CommitWatch([{ path, db }]);
    const room = new OutboxRoom(db, { rowsMax: this.#messagesMax, bytesMax: this.#bytesMax });
    this.#sends = new SendQueue({
      path,
      outbox: new Outbox(path, db),
      room,
      watch: this.#watch,
      busyDeadlineMs: this.#busyDeadlineMs,
    });
    this.#receipts = new Receipts(path, db, this.#watch);
  }

  /**
   * Queues a message; resolves with its id once the commit is synced, so that it survives a crash of
   * this host. Calls that come together share a commit. The payload must not change until then.
   *
   * Rejects with a DaemonError: ERR_USAGE or ERR_PAYLOAD (what is wrong with the message),
   * ERR_MESSAGE_ID (the id is none, or taken), ERR_OUTBOX_FULL (only with `refuse`), ERR_DB_BUSY,
   * ERR_DB_FULL (no room on the disk), ERR_DB_IO, ERR_CANCELLED (the mailbox was closed); or with the
   * signal's reason.
   */
  async send(message: OutgoingMessage, options: SendOptions = {}): Promise<string> {
    const [id] = await this.sendBatch([message], options);
    return id;
  }

  /**
   * Queues up to 16,384 messages in one transaction, all or none, and resolves with their ids in the
   * same order. 512 to 1,024 at a time are cheapest. Rejects as `send` does.
   */
  async sendBatch(
    messages: readonly OutgoingMessage[],
    options: SendOptions = {},
  ): Promise<readonly string[]> {
    this.#requireOpen();
    const { signal, whenFull = this.#whenFull } = options;
    signal?.throwIfAborted();
    if (messages.length === 0) return [];
    const ids: string[] = new Array(messages.length);
    const load = this.#load(messages, whenFull, ids);
    await this.#sends.submit(load, signal);
    return ids;
  }

  /**
   * Waits for what becomes of a message that was queued, by this program or another, also before a
   * restart. Never rejects because the message failed: that is a receipt, too. Rejects with
   * ERR_MESSAGE_ID (there is no such row, or it was deleted), ERR_DB_IO, ERR_CANCELLED (the mailbox was
   * closed), or the signal's reason; AbortSignal.timeout bounds the wait.
   */
  async receipt(id: string, options: WaitOptions = {}): Promise<Receipt> {
    this.#requireOpen();
    return await this.#receipts.wait(id, options.signal);
  }

  /**
   * Messages that came in and that nobody has marked yet, oldest first. Any number of inboxes, in any
   * number of processes, share the work: a message is in one hand at a time, and messages of one stream
   * are handed out in order, to a second inbox only when the first has none of them in hand.
   * Throws ERR_USAGE for options out of range, and as `open` does.
   */
  inbox(options: InboxOptions = {}): MessageInbox {
    this.#requireOpen();
    const [path, db] = [this.#path, this.#db];
    this.#leases ??= openLeases(path);
    this.#inboxWatch ??= new CommitWatch([{ path, db }, this.#leases]);
    const parts = {
      path,
      db,
      leases: this.#leases,
      watch: this.#inboxWatch,
      busyDeadlineMs: this.#busyDeadlineMs,
      onClosed: (inbox: Inbox) => this.#inboxes.delete(inbox),
    };
    const inbox = new Inbox(parts, options);
    this.#inboxes.add(inbox);
    return inbox;
  }

  /**
   * Ends everything: commits what can be committed at once, writes the marks that were made, gives back
   * messages that were not done, ends loops over inboxes and rejects other waits with ERR_CANCELLED.
   * Nothing keeps the process alive afterwards. A second call waits for the first.
   */
  close(): Promise<void> {
    this.#closed ??= this.#end();
    return this.#closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #end(): Promise<void> {
    try {
      await this.#sends.close(closed());
      await this.#receipts.close(closed());
      const ends = await Promise.allSettled([...this.#inboxes].map((inbox) => inbox.close()));
      for (const end of ends) if (end.status === "rejected") throw end.reason;
    } finally {
      this.#watch.close();
      this.#inboxWatch?.close();
      this.#leases?.db.close();
      this.#db.close();
    }
  }

  #load(messages: readonly OutgoingMessage[], whenFull: "wait" | "refuse", ids: string[]): Load {
    if (messages.length > BATCH_MESSAGES_MAX) {
      const next = `send at most ${BATCH_MESSAGES_MAX} in a batch`;
      throw wrong(`the batch has ${messages.length} messages`, next);
    }
    let [counted, bytes] = [0, 0];
    const rows = messages.map((message, i) => {
      const outgoing = this.#desk.take(message);
      if (message.notBefore === undefined) {
        counted += 1;
        bytes += outgoing.bytes;
      }
      ids[i] = outgoing.row.messageId;
      return outgoing.row;
    });
    if (counted > this.#messagesMax || bytes > this.#bytesMax) {
      throw wrong(
        `${counted} messages of ${bytes} bytes are more than the outbox may hold`,
        "send fewer at a time, or raise outboxMessagesMax and outboxBytesMax",
      );
    }
    return { rows, counted, bytes, whenFull };
  }

  #requireOpen(): void {
    if (this.#closed !== undefined) throw closed();
  }
}

function atLeast(name: string, value: number | undefined, fallback: number, min: number): number {
  if (value === undefined) return fallback;
  if (value >= min) return value;
  throw wrong(`${name} is ${value}`, `give a number from ${min}`);
}

const closed = (): DaemonError =>
  new DaemonError("ERR_CANCELLED", "the mailbox is closed", "open it again");
