// A sender and a receiver with a link between them, as discrete events under a virtual clock: a
// rate, a delay, a queue, loss, disorder, a width. Timers have the granularity of Node's, and come
// late.

import { assert } from "../../../src/shared/base/assert.js";
import { NS_PER_MS, nanoseconds } from "../../../src/shared/base/units.js";
import { AckRanges } from "../../../src/shared/protocol/transport/ack-ranges.js";
import { ACK_FAULT } from "../../../src/shared/protocol/transport/ack-reader.js";
import { FATE } from "../../../src/shared/protocol/transport/packet-fates.js";
import { Recovery } from "../../../src/shared/protocol/transport/recovery.js";
import {
  NO_ACKS,
  NO_CONTENT,
  PACKET,
} from "../../../src/shared/protocol/transport/sent-packets.js";
import {
  type PathOptions,
  ROOM,
  TransportPath,
} from "../../../src/shared/protocol/transport/transport-path.js";
import { DATA, writtenBy } from "./acks.js";

export interface LinkOptions {
  readonly bytesPerSecond: number;
  /** One way. */
  readonly delayMs: number;
  readonly queueBytes: number;
  /** Of packets, and of ACKs. */
  readonly lossShare?: number;
  /** Of packets that take 3 delays more. */
  readonly lateShare?: number;
  readonly seed?: number;
}

interface Event {
  readonly at: number;
  readonly order: number;
  readonly run: () => void;
}

const ACK_BYTES = 60;
/** A timer comes up to so much later than it was asked for. */
const TIMER_LATE_MS = 1;

export class Simulation {
  readonly path: TransportPath;
  readonly recovery: Recovery;
  readonly #options: LinkOptions;
  readonly #random: () => number;
  readonly #events: Event[] = [];
  #order = 0;
  now = nanoseconds(0);

  /** What the sender has to send: contents from 0 up to here. */
  backlog = 0;
  #next = 0;
  #again: number[] = [];
  #counter = 0;
  /** Contents that the sender knows to have arrived. */
  readonly acked = new Set<number>();
  /** Content bytes that arrived for the first time. */
  goodBytes = 0;
  packetsSent = 0;
  /** Largest number of bytes, probes apart, over what the pacer allows for one instant. */
  burstExcessBytes = 0;
  #burst = { at: -1, bytes: 0 };
  /** Nothing passes while true. */
  cut = false;
  /** Datagrams above it vanish. */
  width = 65_507;

  readonly #ranges = new AckRanges();
  readonly #arrived = new Set<number>();
  readonly #busy = { forth: 0, back: 0 };
  #senderTimer = Number.POSITIVE_INFINITY;
  #ackTimer = Number.POSITIVE_INFINITY;

  constructor(options: LinkOptions, path: Omit<PathOptions, "now"> = {}) {
    this.#options = options;
    this.#random = randomOf(options.seed ?? 1);
    this.path = new TransportPath({ now: this.now, ...path });
    this.recovery = new Recovery({ path: this.path });
  }

  /** Gives the sender so many more contents, each as large as a datagram may be. */
  offer(contents: number): void {
    this.backlog += contents;
    this.#pump();
  }

  /** Runs `task` after so many ms. */
  at(delayMs: number, task: () => void): void {
    this.#schedule(this.now + delayMs * NS_PER_MS, task);
  }

  /** Runs until `done`, or for so many ms; the ms that passed. */
  run(forMs: number, done: () => boolean = () => false): number {
    const start = this.now;
    const end = start + forMs * NS_PER_MS;
    while (!done()) {
      const event = this.#takeNext(end);
      if (event === undefined) {
        this.now = nanoseconds(end);
        break;
      }
      this.now = nanoseconds(event.at);
      event.run();
    }
    return (this.now - start) / NS_PER_MS;
  }

  // --- Sender ------------------------------------------------------------------------------------

  #pump(): void {
    const { path, recovery, now } = this;
    for (;;) {
      const datagramBytes = path.mtu.bytes;
      if (recovery.probes > 0) {
        const content = this.#take() ?? recovery.probeContent(0);
        this.#send(path.timeoutProbeBytes, DATA, content, true);
        continue;
      }
      const probeBytes = path.mtu.pollProbe(now);
      if (probeBytes > 0 && path.room(now, probeBytes) === ROOM.yes) {
        this.#send(probeBytes, DATA | PACKET.mtuProbe, NO_CONTENT, true);
        continue;
      }
      if (!recovery.hasRoom) break;
      if (this.#again.length === 0 && this.#next === this.backlog) {
        path.handleIdle();
        break;
      }
      const room = path.room(now, datagramBytes);
      if (room === ROOM.paced) this.#wakeSender(path.pacedUntil(now));
      if (room !== ROOM.yes) break;
      this.#send(datagramBytes, DATA, this.#take() ?? NO_CONTENT, false);
    }
    this.#wakeSender(recovery.pollDeadline());
  }

  #take(): number | undefined {
    let content = this.#again.pop();
    while (content !== undefined && this.acked.has(content)) content = this.#again.pop();
    if (content === undefined && this.#next < this.backlog) content = this.#next++;
    return content;
  }

  #send(bytes: number, flags: number, content: number, unpaced: boolean): void {
    const counter = this.#counter++;
    this.packetsSent += 1;
    this.recovery.handleSent(this.now, counter, bytes, flags, content, NO_ACKS);
    if (!unpaced) this.#watchBurst(bytes);
    this.#carry("forth", bytes, () => this.#receive(counter, content, bytes));
  }

  #watchBurst(bytes: number): void {
    if (this.#burst.at !== this.now) this.#burst = { at: this.now, bytes: 0 };
    this.#burst.bytes += bytes;
    const allowed = this.path.pacer.burstBytes + this.path.mtu.bytes;
    this.burstExcessBytes = Math.max(this.burstExcessBytes, this.#burst.bytes - allowed);
  }

  #wakeSender(at: number): void {
    if (at >= this.#senderTimer) return;
    this.#senderTimer = at;
    this.#timer(at, () => {
      if (this.#senderTimer === at) this.#senderTimer = Number.POSITIVE_INFINITY;
      this.recovery.handleTimeout(this.now);
      this.#drain();
      this.#pump();
    });
  }

  #drain(): void {
    for (let fate = this.recovery.pollFate(); fate !== FATE.none; ) {
      const content = this.recovery.fateContent;
      if (fate === FATE.acked) this.acked.add(content);
      else if (!this.acked.has(content)) this.#again.push(content);
      fate = this.recovery.pollFate();
    }
  }

  // --- Receiver ----------------------------------------------------------------------------------

  #receive(counter: number, content: number, bytes: number): void {
    if (content !== NO_CONTENT && !this.#arrived.has(content)) {
      this.#arrived.add(content);
      this.goodBytes += bytes;
    }
    this.#ranges.handlePacket(this.now, counter, true);
    if (this.#ranges.ackDue(this.now)) this.#sendAck();
    else this.#wakeReceiver(this.#ranges.pollDeadline());
  }

  #wakeReceiver(at: number): void {
    if (at >= this.#ackTimer) return;
    this.#ackTimer = at;
    this.#timer(at, () => {
      this.#ackTimer = Number.POSITIVE_INFINITY;
      if (this.#ranges.ackDue(this.now)) this.#sendAck();
      else this.#wakeReceiver(this.#ranges.pollDeadline());
    });
  }

  #sendAck(): void {
    const [ack] = writtenBy(this.#ranges, this.now);
    this.#ranges.handleAckSent();
    this.#carry("back", ACK_BYTES, () => {
      assert(this.recovery.handleAck(this.now, ack) === ACK_FAULT.none, "an honest ACK");
      this.#drain();
      this.#pump();
    });
  }

  // --- Network and time --------------------------------------------------------------------------

  #carry(way: "forth" | "back", bytes: number, deliver: () => void): void {
    const { bytesPerSecond, delayMs, queueBytes, lossShare = 0, lateShare = 0 } = this.#options;
    const lost = this.#random() < lossShare;
    const late = this.#random() < lateShare ? 3 * delayMs : 0;
    const start = Math.max(this.now, this.#busy[way]);
    if (((start - this.now) * bytesPerSecond) / 1e9 > queueBytes) return;
    this.#busy[way] = start + (bytes * 1e9) / bytesPerSecond;
    if (lost || this.cut || bytes > this.width) return;
    this.#schedule(Math.round(this.#busy[way] + (delayMs + late) * NS_PER_MS), deliver);
  }

  #timer(at: number, run: () => void): void {
    const waitMs = Math.max(1, Math.ceil((at - this.now) / NS_PER_MS));
    this.#schedule(this.now + (waitMs + this.#random() * TIMER_LATE_MS) * NS_PER_MS, run);
  }

  #schedule(at: number, run: () => void): void {
    const event = { at: Math.max(at, this.now), order: this.#order++, run };
    let index = this.#events.length;
    while (index > 0 && isBefore(this.#events[index - 1], event)) index -= 1;
    this.#events.splice(index, 0, event);
  }

  /** The events lie with the next one at the end. */
  #takeNext(end: number): Event | undefined {
    const event = this.#events.at(-1);
    return event !== undefined && event.at <= end ? this.#events.pop() : undefined;
  }
}

function isBefore(a: Event, b: Event): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}

/** Mulberry32: a number from 0 to 1 at each call. */
function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
