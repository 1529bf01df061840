// Nothing gets lost in the books, whatever the network does: random sending, loss, disorder,
// copies, withdrawals, moves of the peer and rekeys, against a model that keeps sets.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { nanoseconds } from "../../../src/shared/base/units.js";
import { AckRanges } from "../../../src/shared/protocol/transport/ack-ranges.js";
import { ACK_FAULT, type AckReader } from "../../../src/shared/protocol/transport/ack-reader.js";
import { FATE } from "../../../src/shared/protocol/transport/packet-fates.js";
import { Recovery } from "../../../src/shared/protocol/transport/recovery.js";
import {
  NO_ACKS,
  NO_CONTENT,
  PACKET,
} from "../../../src/shared/protocol/transport/sent-packets.js";
import { TransportPath } from "../../../src/shared/protocol/transport/transport-path.js";
import { ackOf, DATA, ms, writtenBy } from "./acks.js";

const STEPS_MAX = 400;

const step = fc.record({
  kind: fc.constantFrom("send", "send", "send", "arrive", "arrive", "ack", "time", "rare"),
  /** Chooses within a kind. */
  pick: fc.nat(2 ** 30),
  bytes: fc.integer({ min: 40, max: 1_200 }),
});

test("each packet ends acknowledged, lost or outstanding, once; the flight is their sum", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: STEPS_MAX, size: "max" }), (steps) => {
      const books = new Books();
      for (const each of steps) {
        books.step(each.kind, each.pick, each.bytes);
        books.check();
      }
      books.end();
      books.check();
      assert.equal(books.outstanding.size, 0);
    }),
    { numRuns: 150 },
  );
});

test("the random steps reach every case that the books know", () => {
  const seen = new Set<string>();
  const all = fc.array(step, { maxLength: STEPS_MAX, size: "max" });
  for (const steps of fc.sample(all, { seed: 7, numRuns: 60 })) {
    const books = new Books();
    for (const each of steps) books.step(each.kind, each.pick, each.bytes);
    for (const name of books.seen) seen.add(name);
  }

  assert.deepEqual([...seen].sort(), [
    "acked",
    "copied",
    "late",
    "lost",
    "moved",
    "overtaken",
    "probed",
    "rekeyed",
    "skipped",
    "withdrawn",
  ]);
});

/** A sender with one path and, at times, two sessions; a receiver for each; a network of sets. */
class Books {
  readonly seen = new Set<string>();
  /** Content of what is outstanding: its bytes, and the path whose flight it is in. */
  readonly outstanding = new Map<number, { bytes: number; path: TransportPath | undefined }>();
  #now = ms(0);
  #path = new TransportPath({ now: this.#now });
  #paths = [this.#path];
  #session = new Session(this.#path);
  #old: Session | undefined;
  #contents = 0;
  #done = new Map<number, string>();

  step(kind: string, pick: number, bytes: number): void {
    const session = pick % 3 === 0 && this.#old !== undefined ? this.#old : this.#session;
    if (kind === "send") this.#send(pick, bytes);
    else if (kind === "arrive") this.#arrive(session, pick);
    else if (kind === "ack") this.#ack(session, pick);
    else if (kind === "time") this.#pass(pick);
    else this.#rare(pick);
    this.#drain();
  }

  end(): void {
    this.#session.recovery.handleEnd();
    this.#old?.recovery.handleEnd();
    this.#drain();
  }

  check(): void {
    for (const path of this.#paths) {
      let bytes = 0;
      for (const each of this.outstanding.values()) if (each.path === path) bytes += each.bytes;
      assert.equal(path.congestion.bytesInFlight, bytes);
    }
    const packets = this.#session.recovery.outstanding + (this.#old?.recovery.outstanding ?? 0);
    assert.equal(packets, this.outstanding.size);
    assert.equal(this.#done.size + this.outstanding.size, this.#contents);
  }

  #send(pick: number, bytes: number): void {
    const session = this.#session;
    if (pick % 11 === 0) {
      session.next += 1 + (pick % 5);
      this.seen.add("skipped");
    }
    const counter = session.next++;
    session.flying.push(counter);
    if (pick % 7 === 0) {
      session.recovery.handleSent(this.#now, counter, bytes, 0, NO_CONTENT, NO_ACKS);
      return;
    }
    const flags = pick % 13 === 0 ? DATA | PACKET.mtuProbe : pick % 17 === 0 ? 1 : DATA;
    const content = this.#contents++;
    const counted = (flags & PACKET.inFlight) !== 0;
    this.outstanding.set(content, { bytes, path: counted ? this.#path : undefined });
    session.recovery.handleSent(this.#now, counter, bytes, flags, content, NO_ACKS);
  }

  /** One of the last packets arrives, or a second copy of one; what never does is lost. */
  #arrive(session: Session, pick: number): void {
    const at = session.flying.length - 1 - (pick % Math.min(8, session.flying.length || 1));
    if (at < 0) return;
    const counter = session.flying[at];
    if (pick % 5 > 0) session.flying.splice(at, 1);
    else this.seen.add("copied");
    if (counter < session.ranges.largest) this.seen.add("overtaken");
    session.ranges.handlePacket(this.#now, counter, true);
    if (pick % 4 > 0) return;
    session.acks.push(writtenBy(session.ranges, this.#now)[1]);
  }

  /** An ACK arrives: any that was written, again or in another order too. */
  #ack(session: Session, pick: number): void {
    if (session.acks.length === 0) return;
    const late = session.recovery.latePackets;
    const ack: AckReader = ackOf(session.acks[pick % session.acks.length], pick % 50_000);
    assert.equal(session.recovery.handleAck(this.#now, ack), ACK_FAULT.none);
    if (session.recovery.latePackets > late) this.seen.add("late");
  }

  #pass(pick: number): void {
    this.#now = nanoseconds(this.#now + (pick % 4 === 0 ? pick : pick % 20_000_000));
    for (const session of [this.#session, this.#old]) {
      if (session === undefined) continue;
      session.recovery.handleTimeout(this.#now);
      if (session.recovery.probes > 0) this.seen.add("probed");
      const overdue = session.recovery.pollDeadline() <= this.#now;
      // A timer that fires leaves nothing that is due at the same instant.
      if (overdue) session.recovery.handleTimeout(this.#now);
      assert.ok(session.recovery.pollDeadline() > this.#now || session.recovery.probes > 0);
    }
  }

  #rare(pick: number): void {
    if (pick % 4 === 0) this.#move();
    else if (pick % 4 === 1) this.#rekey();
    else this.#withdraw(pick);
  }

  #move(): void {
    this.seen.add("moved");
    this.#path = new TransportPath({ now: this.#now });
    this.#paths.push(this.#path);
    this.#session.recovery.handlePath(this.#path);
    this.#old?.recovery.handlePath(this.#path);
    for (const each of this.outstanding.values()) each.path = undefined;
  }

  #rekey(): void {
    this.seen.add("rekeyed");
    this.#old?.recovery.handleEnd();
    this.#drain();
    this.#old = this.#session;
    this.#session = new Session(this.#path);
  }

  #withdraw(pick: number): void {
    const { flying, recovery } = this.#session;
    if (flying.length === 0) return;
    const [counter] = flying.splice(pick % flying.length, 1);
    if (recovery.handleWithdrawn(counter)) this.seen.add("withdrawn");
  }

  #drain(): void {
    for (const session of [this.#session, this.#old]) {
      if (session === undefined) continue;
      const { recovery } = session;
      for (let fate = recovery.pollFate(); fate !== FATE.none; fate = recovery.pollFate()) {
        const content = recovery.fateContent;
        const name = fate === FATE.acked ? "acked" : "lost";
        this.seen.add(name);
        assert.equal(this.outstanding.delete(content), true, `${content} was outstanding`);
        this.#done.set(content, name);
      }
    }
  }
}

class Session {
  readonly recovery: Recovery;
  readonly ranges = new AckRanges();
  readonly flying: number[] = [];
  readonly acks: [number, number][][] = [];
  next = 0;

  constructor(path: TransportPath) {
    this.recovery = new Recovery({ path, packetsMax: 1_024 });
  }
}
