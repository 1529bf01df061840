// Hands queued datagrams to the kernel, many with one sendmmsg: each message of it is one datagram, or
// a run of equal ones to one destination (the last may be shorter) that the kernel cuts apart (GSO).
// A run that is refused is sent again one by one, so that each datagram gets its own verdict.
//
// The kernel has copied a datagram when the call returns. Everything it is given addresses of is held
// while it runs: the headers in a field, the datagrams by the queue.

import { constants } from "node:os";
import { getSystemErrorName } from "node:util";
import type { Libc } from "./libc.js";
import { CONTROL_WORD, LINUX, MESSAGE_WORD, SIZE } from "./linux-abi.js";
import { NativeMemory } from "./native-memory.js";
import type { SendQueue } from "./send-queue.js";
import type { AddressWriter } from "./socket-address.js";

const { errno: ERRNO } = constants;

/** Messages of one call at most. */
const CALL_MESSAGES_MAX = 64;
/** Datagrams of one call at most. */
const CALL_DATAGRAMS_MAX = 512;
/** Of one run. Source: UDP_MAX_SEGMENTS of kernels before 6.9, and what an IPv4 datagram carries. */
export const RUN_DATAGRAMS_MAX = 64;
export const RUN_BYTES_MAX = 65_507;
/** Datagrams of one flush at most: then others have their turn. */
const FLUSH_DATAGRAMS_MAX = 1_024;
/** Every path carries these: a run of such that is refused was not refused for its size. */
const ANY_PATH_BYTES_MAX = 1_232;
/** Datagrams too large for runs through a device's MTU are tried as runs again after so many. */
const DATAGRAMS_UNTIL_RETRY = 1_024;
/** A kernel out of memory is asked so often about one datagram, waiting twice as long each time. */
const TRIES_MAX = 8;
const FIRST_DELAY_MS = 1;

const NAMES_AT = CALL_MESSAGES_MAX * SIZE.mmsghdr;
const CONTROLS_AT = NAMES_AT + CALL_MESSAGES_MAX * SIZE.address;
const IOVECS_AT = CONTROLS_AT + CALL_MESSAGES_MAX * SIZE.control;
const VALUE_AT = IOVECS_AT + CALL_DATAGRAMS_MAX * SIZE.iovec;
const MEMORY_BYTES = VALUE_AT + 8;

/** What to do next: nothing, go on in another turn, wait for room, wait so many ms, or give up. */
export type SendState = "done" | "more" | "blocked" | "later" | "broken";

export class LinuxSender {
  readonly #libc: Libc;
  readonly #descriptor: number;
  readonly #queue: SendQueue;
  readonly #addresses: AddressWriter;
  readonly #memory: NativeMemory;
  /** Datagrams in each message of the call. */
  readonly #counts = new Uint16Array(CALL_MESSAGES_MAX);
  #isWhole: boolean | undefined;
  /** Longest datagram that runs are made of; 0: none are. */
  #segmentBytesMax = 0;
  #datagramsUntilRetry = 0;
  /** Up to this position datagrams go one by one. */
  #plainUntil = 0;
  /** A run was refused with this; what its first datagram meets alone says why. */
  #suspicion = 0;
  #hasSendmmsg = true;
  #tries = 0;
  /** After "broken": why. */
  errno = 0;
  /** After "later": how long to wait, ms. */
  delayMs = FIRST_DELAY_MS;

  constructor(
    libc: Libc,
    descriptor: number,
    queue: SendQueue,
    addresses: AddressWriter,
    hasRuns: boolean,
  ) {
    this.#libc = libc;
    this.#descriptor = descriptor;
    this.#queue = queue;
    this.#addresses = addresses;
    this.#memory = new NativeMemory(libc, MEMORY_BYTES);
    if (hasRuns) this.#segmentBytesMax = RUN_BYTES_MAX;
    this.#prepare();
  }

  /** Whether equal datagrams are handed over as runs, of any length. */
  get sendsRuns(): boolean {
    return this.#segmentBytesMax > 0;
  }

  /** Sends what is queued, as far as the kernel takes it. */
  flush(): SendState {
    const queue = this.#queue;
    const stopAt = queue.first + FLUSH_DATAGRAMS_MAX;
    while (queue.size > 0) {
      if (queue.first >= stopAt) return "more";
      const messages = this.#build();
      if (messages === 0) continue;
      const sent = this.#call(messages);
      if (sent > 0) this.#sent(sent);
      else {
        const state = this.#refused(this.#libc.errno());
        if (state !== "done") return state;
      }
    }
    return "done";
  }

  // --- A call -----------------------------------------------------------------------------------

  /** What never changes: where the parts of each message are, and what kind of control it has. */
  #prepare(): void {
    const memory = this.#memory;
    for (let i = 0; i < CALL_MESSAGES_MAX; i++) {
      const head = (i * SIZE.mmsghdr) >> 2;
      const controlAt = CONTROLS_AT + i * SIZE.control;
      memory.putLong(head + MESSAGE_WORD.name, memory.at + NAMES_AT + i * SIZE.address);
      memory.words[head + MESSAGE_WORD.nameLength] = this.#addresses.length;
      memory.putLong(head + MESSAGE_WORD.control, memory.at + controlAt);
      memory.putLong((controlAt >> 2) + CONTROL_WORD.length, SIZE.controlSent);
      memory.words[(controlAt >> 2) + CONTROL_WORD.level] = LINUX.SOL_UDP;
      memory.words[(controlAt >> 2) + CONTROL_WORD.type] = LINUX.UDP_SEGMENT;
    }
  }

  /** Writes messages for the first of the queue; returns how many. 0: the first one went nowhere. */
  #build(): number {
    const queue = this.#queue;
    const whole = queue.wholes[queue.slotOf(queue.first)];
    let position = queue.first;
    let messages = 0;
    let datagrams = 0;
    while (position < queue.end && messages < CALL_MESSAGES_MAX) {
      const slot = queue.slotOf(position);
      if (queue.wholes[slot] !== whole || datagrams === CALL_DATAGRAMS_MAX) break;
      const nameAt = NAMES_AT + messages * SIZE.address;
      if (!this.#addresses.write(this.#memory, nameAt, queue.addresses[slot], queue.ports[slot])) {
        if (messages === 0) queue.shift("EINVAL");
        break;
      }
      const count = this.#run(position, messages, datagrams);
      this.#counts[messages] = count;
      messages += 1;
      datagrams += count;
      position += count;
    }
    if (messages > 0 && this.#isWhole !== (whole === 1)) this.#setWhole(whole === 1);
    return messages;
  }

  /** Writes the datagrams of one message from `position` on; returns how many they are. */
  #run(position: number, message: number, datagrams: number): number {
    const queue = this.#queue;
    const memory = this.#memory;
    const slot = queue.slotOf(position);
    const segment = queue.lengths[slot];
    const most = this.#mayRun(position, segment)
      ? Math.min(RUN_DATAGRAMS_MAX, CALL_DATAGRAMS_MAX - datagrams, queue.end - position)
      : 1;
    this.#iovec(datagrams, slot);
    let count = 1;
    let bytes = segment;
    let last = segment;
    while (count < most && last === segment) {
      const next = queue.slotOf(position + count);
      last = queue.lengths[next];
      bytes += last;
      if (last > segment || last === 0 || bytes > RUN_BYTES_MAX || !this.#isAlike(slot, next))
        break;
      this.#iovec(datagrams + count, next);
      count += 1;
    }
    const head = (message * SIZE.mmsghdr) >> 2;
    memory.putLong(head + MESSAGE_WORD.iovecs, memory.at + IOVECS_AT + datagrams * SIZE.iovec);
    memory.words[head + MESSAGE_WORD.iovecCount] = count;
    memory.words[head + MESSAGE_WORD.controlLength] = count > 1 ? SIZE.control : 0;
    memory.putShort(CONTROLS_AT + message * SIZE.control + CONTROL_WORD.data * 4, segment);
    return count;
  }

  #mayRun(position: number, segment: number): boolean {
    if (position < this.#plainUntil || segment === 0) return false;
    if (segment <= this.#segmentBytesMax) return true;
    if (this.#segmentBytesMax > 0) {
      this.#datagramsUntilRetry -= 1;
      if (this.#datagramsUntilRetry <= 0) this.#segmentBytesMax = RUN_BYTES_MAX;
    }
    return false;
  }

  #isAlike(slot: number, next: number): boolean {
    const queue = this.#queue;
    return (
      queue.ports[slot] === queue.ports[next] &&
      queue.wholes[slot] === queue.wholes[next] &&
      queue.addresses[slot] === queue.addresses[next]
    );
  }

  #iovec(index: number, slot: number): void {
    const word = (IOVECS_AT + index * SIZE.iovec) >> 2;
    this.#memory.putLong(word, this.#queue.wheres[slot]);
    this.#memory.words[word + 2] = this.#queue.lengths[slot];
  }

  /** Messages that were taken, or -1. */
  #call(messages: number): number {
    const { at } = this.#memory;
    if (this.#hasSendmmsg) {
      return this.#libc.sendmmsg(this.#descriptor, at, messages, LINUX.MSG_DONTWAIT);
    }
    return this.#libc.sendmsg(this.#descriptor, at, LINUX.MSG_DONTWAIT) < 0 ? -1 : 1;
  }

  /** DF is a matter of the socket: it changes between datagrams that differ in it. */
  #setWhole(whole: boolean): void {
    this.#isWhole = whole;
    const memory = this.#memory;
    memory.words[VALUE_AT >> 2] = whole ? LINUX.PMTUDISC_PROBE : LINUX.PMTUDISC_WANT;
    const value = memory.at + VALUE_AT;
    const set = (level: number, name: number) =>
      this.#libc.setsockopt(this.#descriptor, level, name, value, 4);
    set(LINUX.SOL_IP, LINUX.IP_MTU_DISCOVER);
    if (this.#addresses.length === SIZE.sockaddrIn6) {
      set(LINUX.SOL_IPV6, LINUX.IPV6_MTU_DISCOVER);
    }
  }

  // --- Its outcome ------------------------------------------------------------------------------

  #sent(messages: number): void {
    if (this.#suspicion !== 0) this.#judge();
    this.#tries = 0;
    let datagrams = 0;
    for (let i = 0; i < messages; i++) datagrams += this.#counts[i];
    for (let i = 0; i < datagrams; i++) this.#queue.shift(undefined);
  }

  /** The first message was refused. "done": the queue may go on. */
  #refused(errno: number): SendState {
    const count = this.#counts[0];
    switch (errno) {
      case ERRNO.EINTR:
        return "done";
      case ERRNO.EAGAIN:
        return "blocked";
      case ERRNO.ENOBUFS:
      case ERRNO.ENOMEM:
        if (this.#tries < TRIES_MAX) {
          this.delayMs = FIRST_DELAY_MS << this.#tries;
          this.#tries += 1;
          return "later";
        }
        break;
      case ERRNO.ENOSYS:
        if (this.#hasSendmmsg) {
          this.#hasSendmmsg = false;
          return "done";
        }
        break;
      case ERRNO.EBADF:
      case ERRNO.ENOTSOCK:
        this.errno = errno;
        return "broken";
    }
    this.#tries = 0;
    if (count > 1) {
      this.#plainUntil = this.#queue.first + count;
      this.#suspicion = errno;
    } else {
      this.#suspicion = 0;
      this.#queue.shift(getSystemErrorName(-errno));
    }
    return "done";
  }

  /** What was refused in a run was taken alone: runs are to blame, all or those of long datagrams. */
  #judge(): void {
    const errno = this.#suspicion;
    const bytes = this.#queue.lengths[this.#queue.slotOf(this.#queue.first)];
    this.#suspicion = 0;
    if (errno === ERRNO.ENOBUFS || errno === ERRNO.ENOMEM) return;
    const isSize = errno === ERRNO.EINVAL || errno === ERRNO.EMSGSIZE;
    this.#segmentBytesMax = isSize && bytes > ANY_PATH_BYTES_MAX ? bytes - 1 : 0;
    this.#datagramsUntilRetry = DATAGRAMS_UNTIL_RETRY;
  }
}
