// Power failures without a kernel module: a real daemon takes messages under strace, its writes are
// replayed into a model of the disk, and at many moments the files that a crash would have left are
// opened by our own store. Whatever was acknowledged by then must be in them.

import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { reasonOf } from "../../src/shared/base/errors.js";
import { openDatabase } from "../../src/shared/store/open.js";
import { ClassicPeer, open } from "./classic-peer.js";
import { CRASHES, DiskModel } from "./disk-model.js";
import { makeId, makeSecret, type Place, TestDaemon } from "./harness.js";
import { randomFrom } from "./kill-rounds.js";
import { type Call, pathOf, straceWrapper, textsOf, traceOf } from "./strace.js";

export interface PowerLossOptions {
  readonly synchronous: "FULL" | "NORMAL";
  /** Messages that the daemon acknowledges; a crash behind each ACK. */
  readonly messages: number;
  /** Longest text of a message. */
  readonly textBytesMax: number;
  /** Crashes at other moments. */
  readonly others: number;
  readonly seed: number;
}

export interface PowerLossReport {
  /** Moments of which each was tried in every way of {@link CRASHES}. */
  readonly points: number;
  readonly crashes: number;
  /** Crashes after which an acknowledged message was missing, and the most that were at one. */
  readonly lossy: number;
  readonly lostMost: number;
  /** Crashes after which SQLite's integrity check found something, or our store refused the file. */
  readonly unsound: readonly string[];
  /** Times that the log was copied into the database. */
  readonly checkpoints: number;
}

const CALLS = [
  ...["openat", "pwrite64", "pwritev", "ftruncate", "fallocate", "fsync", "fdatasync"],
  ...["unlink", "unlinkat", "rename", "renameat", "renameat2", "link", "linkat"],
  ...["sendto", "sendmsg", "sendmmsg"],
];
const BURST_MESSAGES_MAX = 8;
const NONCE_BYTES = 12;

/** Runs a daemon, and crashes it in the model. */
export async function losePower(place: Place, options: PowerLossOptions): Promise<PowerLossReport> {
  const random = randomFrom(options.seed);
  const name = `power-${options.synchronous.toLowerCase()}`;
  const secret = makeSecret();
  const output = join(place.path, `${name}.trace`);
  const daemon = await TestDaemon.make(place, {
    name,
    secret,
    // One call with the bytes of one datagram: what the trace is read for.
    host: { synchronous: options.synchronous, socket: "dgram" },
    wrapper: straceWrapper(output, CALLS),
  });
  await daemon.start();
  const peer = await ClassicPeer.make(place, secret, daemon.port);
  for (let sent = 0; sent < options.messages; ) {
    const burst = Math.min(options.messages - sent, 1 + Math.floor(random() * BURST_MESSAGES_MAX));
    sent += burst;
    const texts = Array.from({ length: burst }, () => "x".repeat(random() * options.textBytesMax));
    const delivered = await Promise.all(texts.map((text) => peer.deliver(makeId(), text)));
    if (delivered.includes(false)) throw new Error(`no ACK under strace: ${daemon.said}`);
  }
  const { pid } = daemon;
  await daemon.kill();
  const { calls } = await traceOf(output, pid);
  return new Replay(daemon, acksOf(peer, secret), calls, random, join(place.path, "crashed")).run(
    options.others,
  );
}

/** Message id of every ACK that arrived, by the nonce of its datagram. */
function acksOf(peer: ClassicPeer, secret: string): ReadonlyMap<string, string> {
  const acks = new Map<string, string>();
  for (const datagram of peer.received) {
    const body = open(secret, datagram);
    if (body === undefined) continue;
    const { message_id: id } = JSON.parse(body.toString()) as { message_id: string };
    acks.set(datagram.toString("hex", 0, NONCE_BYTES), id);
  }
  return acks;
}

/** One pass over the calls of a daemon, with crashes on the way. */
class Replay {
  readonly #daemon: TestDaemon;
  readonly #acks: ReadonlyMap<string, string>;
  readonly #calls: readonly Call[];
  readonly #random: () => number;
  readonly #folder: string;
  readonly #disk: DiskModel;
  readonly #acknowledged = new Set<string>();
  readonly #unsound: string[] = [];
  #points = 0;
  #lossy = 0;
  #lostMost = 0;
  #checkpoints = 0;
  /** File of the last write. */
  #written = "";

  constructor(
    daemon: TestDaemon,
    acks: ReadonlyMap<string, string>,
    calls: readonly Call[],
    random: () => number,
    folder: string,
  ) {
    this.#daemon = daemon;
    this.#acks = acks;
    this.#calls = calls;
    this.#random = random;
    this.#folder = folder;
    this.#disk = new DiskModel(daemon.directory);
  }

  run(others: number): PowerLossReport {
    const share = others / this.#calls.filter((call) => this.#isChange(call)).length;
    for (const call of this.#calls) {
      const before = this.#acknowledged.size;
      this.#apply(call);
      const isAck = this.#acknowledged.size > before;
      if (isAck || (this.#isChange(call) && this.#random() < share)) this.#crash();
    }
    const missing = [...this.#acks.values()].filter((id) => !this.#acknowledged.has(id));
    if (missing.length > 0) throw new Error(`the trace lacks ACKs that arrived: ${missing}`);
    return {
      points: this.#points,
      crashes: this.#points * CRASHES.length,
      lossy: this.#lossy,
      lostMost: this.#lostMost,
      unsound: this.#unsound,
      checkpoints: this.#checkpoints,
    };
  }

  #isChange({ name, words }: Call): boolean {
    return /^p?write|^ftruncate|sync$/.test(name) && words.includes("<\\x2f");
  }

  /** Does to the model what the call did to the disk; a call that failed did nothing. */
  #apply(call: Call): void {
    const { name, words, result } = call;
    const texts = textsOf(call);
    if (/^send/.test(name)) {
      for (const text of texts) this.#sent(text);
      return;
    }
    if (!(result >= 0)) return;
    const disk = this.#disk;
    const [first = "", second = ""] = texts.map(String);
    if (name === "openat") {
      disk.open(first, words.includes("O_CREAT"), words.includes("O_TRUNC"));
    } else if (name === "pwrite64") {
      this.#wrote(pathOf(call), numberOf(words), texts[0]?.subarray(0, result) ?? Buffer.alloc(0));
    } else if (name === "ftruncate") {
      disk.truncate(pathOf(call), numberOf(words));
    } else if (name === "fsync" || name === "fdatasync") {
      disk.sync(pathOf(call));
    } else if (/^unlink/.test(name)) {
      disk.unlink(first);
    } else if (/^link/.test(name)) {
      disk.link(first, second);
    } else if (/^rename/.test(name)) {
      disk.rename(first, second);
    } else if (pathOf(call).startsWith(this.#daemon.directory)) {
      throw new Error(`the model knows no ${name}(${words.slice(0, 200)}`);
    }
  }

  #wrote(path: string, at: number, bytes: Buffer): void {
    const { database } = this.#daemon;
    if (path === database && this.#written === `${database}-wal`) this.#checkpoints += 1;
    this.#written = path;
    this.#disk.write(path, at, bytes);
  }

  #sent(datagram: Buffer): void {
    const id = this.#acks.get(datagram.toString("hex", 0, NONCE_BYTES));
    if (id !== undefined) this.#acknowledged.add(id);
  }

  #crash(): void {
    this.#points += 1;
    for (const how of CRASHES) {
      rmSync(this.#folder, { recursive: true, force: true });
      mkdirSync(this.#folder, { mode: 0o700 });
      for (const [path, bytes] of this.#disk.crash(how, this.#random)) {
        writeFileSync(join(this.#folder, basename(path)), bytes, { mode: 0o600 });
      }
      const lost = this.#lostIn(join(this.#folder, basename(this.#daemon.database)), how);
      if (lost > 0) this.#lossy += 1;
      this.#lostMost = Math.max(this.#lostMost, lost);
    }
  }

  /** Acknowledged messages that are not in the file. */
  #lostIn(file: string, how: string): number {
    const place = `crash ${this.#points} (${how})`;
    try {
      const db = openDatabase(file, { role: "daemon", create: false });
      try {
        const said = db.pragma("integrity_check", { simple: true });
        if (said !== "ok") this.#unsound.push(`${place}: ${String(said)}`);
        const ids = db.prepare("SELECT message_id FROM inbound_messages").pluck().all();
        const stored = new Set(ids);
        return [...this.#acknowledged].filter((id) => !stored.has(id)).length;
      } finally {
        db.close();
      }
    } catch (thrown) {
      const isFresh = this.#acknowledged.size === 0 && /not found/.test(reasonOf(thrown));
      if (!isFresh) this.#unsound.push(`${place}: ${reasonOf(thrown)}`);
      return this.#acknowledged.size;
    }
  }
}

/** The last number among the words: an offset, or a length. */
const numberOf = (words: string): number => Number(/, (\d+)\) += /.exec(words)?.[1]);
