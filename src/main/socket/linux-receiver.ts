// Takes datagrams from the kernel, many with one recvmmsg: each message is one datagram, or a run of
// equal ones from one source (the last may be shorter) that the kernel joined (GRO), cut apart here by
// the size it states. A bounded number is handed over in one turn of the event loop.
//
// The memory is ours, in fields, and written only inside the synchronous call. A handler sees a view of
// it until it returns: which slab a datagram belongs into is known when its session is, so the one copy
// is the handler's. Views are kept and used again: in a steady stream none is made.

import { constants } from "node:os";
import type { DatagramHandler } from "./datagram-socket.js";
import type { Libc } from "./libc.js";
import { CONTROL_WORD, LINUX, MESSAGE_WORD, SIZE } from "./linux-abi.js";
import { NativeMemory } from "./native-memory.js";
import { AddressReader } from "./socket-address.js";

const { errno: ERRNO } = constants;

/** Messages of one call at most: 2 MiB of room, of which only pages that were written are real. */
const CALL_MESSAGES_MAX = 32;
/** Room of one message: more than UDP can carry, so that nothing is ever cut off. */
export const MESSAGE_BYTES_MAX = 65_536;
/** Datagrams handed over in one turn of the event loop at most, 1 ms or so. */
export const TURN_DATAGRAMS_MAX = 256;
/** Views kept of each message. */
const VIEWS_PER_MESSAGE = 64;
/** Errors one after the other that tell of somebody else's trouble, before they are ours. */
const SOFT_ERRORS_MAX = 64;
const NO_BYTES = new Uint8Array(0);

const NAMES_AT = CALL_MESSAGES_MAX * SIZE.mmsghdr;
const CONTROLS_AT = NAMES_AT + CALL_MESSAGES_MAX * SIZE.address;
const IOVECS_AT = CONTROLS_AT + CALL_MESSAGES_MAX * SIZE.control;
const HEADS_BYTES = IOVECS_AT + CALL_MESSAGES_MAX * SIZE.iovec;

/** ICMP about what we sent, as a kernel may tell a socket: the next datagram may be fine. */
const SOFT_ERRORS: readonly number[] = [
  ERRNO.EINTR,
  ERRNO.ECONNREFUSED,
  ERRNO.ECONNRESET,
  ERRNO.EHOSTUNREACH,
  ERRNO.ENETUNREACH,
  ERRNO.ENETDOWN,
  ERRNO.EMSGSIZE,
  ERRNO.EPROTO,
  ERRNO.ENOPROTOOPT,
  ERRNO.EOPNOTSUPP,
];

/** What to do next: wait until there is more, go on in another turn, wait a little, give up. */
export type ReceiveState = "drained" | "more" | "later" | "broken";

export class LinuxReceiver {
  readonly #libc: Libc;
  readonly #descriptor: number;
  readonly #handler: DatagramHandler;
  readonly #messageBytes: number;
  readonly #heads: NativeMemory;
  readonly #data: NativeMemory;
  readonly #sources: AddressReader;
  readonly #views: Uint8Array[] = new Array(CALL_MESSAGES_MAX * VIEWS_PER_MESSAGE).fill(NO_BYTES);
  /** Messages of the last call, the one being handed over, and how much of it was. */
  #messages = 0;
  #message = 0;
  #offset = 0;
  #segment = 0;
  #address = "";
  #port = 0;
  #isShort = false;
  #softErrors = 0;
  #isStopped = false;
  /** Datagrams handed over so far. */
  handed = 0;
  /** Why it gave up. */
  errno = 0;
  /** Datagrams that were longer than the room for them: dropped. */
  truncated = 0;

  constructor(
    libc: Libc,
    descriptor: number,
    handler: DatagramHandler,
    messageBytes: number = MESSAGE_BYTES_MAX,
  ) {
    this.#libc = libc;
    this.#descriptor = descriptor;
    this.#handler = handler;
    this.#messageBytes = messageBytes;
    this.#heads = new NativeMemory(libc, HEADS_BYTES);
    this.#data = new NativeMemory(libc, CALL_MESSAGES_MAX * messageBytes);
    this.#sources = new AddressReader(libc);
    this.#prepare();
  }

  /** Hands over what is there, up to a bound. */
  turn(): ReceiveState {
    let budget = TURN_DATAGRAMS_MAX;
    while (!this.#isStopped) {
      budget -= this.#handOver(budget);
      if (budget === 0) return "more";
      if (this.#isShort) {
        this.#isShort = false;
        return "drained";
      }
      const state = this.#call();
      if (state !== "more") return state;
    }
    return "drained";
  }

  /** Hands nothing over any more, not even of what was taken. */
  stop(): void {
    this.#isStopped = true;
    this.#messages = 0;
  }

  // --- The call ---------------------------------------------------------------------------------

  #prepare(): void {
    const heads = this.#heads;
    for (let i = 0; i < CALL_MESSAGES_MAX; i++) {
      const head = (i * SIZE.mmsghdr) >> 2;
      const iovecAt = IOVECS_AT + i * SIZE.iovec;
      heads.putLong(head + MESSAGE_WORD.name, heads.at + NAMES_AT + i * SIZE.address);
      heads.putLong(head + MESSAGE_WORD.iovecs, heads.at + iovecAt);
      heads.words[head + MESSAGE_WORD.iovecCount] = 1;
      heads.putLong(head + MESSAGE_WORD.control, heads.at + CONTROLS_AT + i * SIZE.control);
      heads.putLong(iovecAt >> 2, this.#data.at + i * this.#messageBytes);
      heads.words[(iovecAt >> 2) + 2] = this.#messageBytes;
      this.#restore(i);
    }
  }

  /** Writes again what the kernel overwrites. */
  #restore(message: number): void {
    const { words } = this.#heads;
    const head = (message * SIZE.mmsghdr) >> 2;
    words[head + MESSAGE_WORD.nameLength] = SIZE.address;
    words[head + MESSAGE_WORD.controlLength] = SIZE.control;
    words[head + MESSAGE_WORD.controlLength + 1] = 0;
    words[head + MESSAGE_WORD.flags] = 0;
  }

  /** "more": there is something to hand over, or to ask again. */
  #call(): ReceiveState {
    for (let i = 0; i < this.#messages; i++) this.#restore(i);
    this.#messages = 0;
    const taken = this.#libc.recvmmsg(
      this.#descriptor,
      this.#heads.at,
      CALL_MESSAGES_MAX,
      LINUX.MSG_DONTWAIT,
    );
    if (taken >= 0) {
      this.#softErrors = 0;
      this.#messages = taken;
      this.#message = 0;
      this.#isShort = taken < CALL_MESSAGES_MAX;
      if (taken > 0) this.#open();
      return "more";
    }
    return this.#failed(this.#libc.errno());
  }

  #failed(errno: number): ReceiveState {
    if (errno === ERRNO.EAGAIN) return "drained";
    if (errno === ERRNO.ENOMEM || errno === ERRNO.ENOBUFS) return "later";
    this.errno = errno;
    this.#softErrors += 1;
    return SOFT_ERRORS.includes(errno) && this.#softErrors <= SOFT_ERRORS_MAX ? "more" : "broken";
  }

  // --- What it brought --------------------------------------------------------------------------

  /** Reads the head of the current message. */
  #open(): void {
    const heads = this.#heads;
    const { words } = heads;
    const head = (this.#message * SIZE.mmsghdr) >> 2;
    const nameAt = NAMES_AT + this.#message * SIZE.address;
    this.#offset = 0;
    this.#segment = 0;
    if ((words[head + MESSAGE_WORD.flags] & (LINUX.MSG_TRUNC | LINUX.MSG_CTRUNC)) !== 0) {
      this.truncated += 1;
      this.#offset = Number.POSITIVE_INFINITY;
      return;
    }
    this.#address = this.#sources.text(heads, nameAt);
    this.#port = this.#sources.port(heads, nameAt);
    const control = (CONTROLS_AT + this.#message * SIZE.control) >> 2;
    if (
      words[head + MESSAGE_WORD.controlLength] > 0 &&
      words[control + CONTROL_WORD.level] === LINUX.SOL_UDP &&
      words[control + CONTROL_WORD.type] === LINUX.UDP_GRO
    ) {
      this.#segment = words[control + CONTROL_WORD.data];
    }
  }

  /** Hands over as much as the budget allows of what was taken; returns how many it were. */
  #handOver(budget: number): number {
    let handed = 0;
    while (this.#message < this.#messages) {
      const length = this.#heads.words[((this.#message * SIZE.mmsghdr) >> 2) + MESSAGE_WORD.done];
      const isEmpty = length === 0 && this.#offset === 0;
      while (this.#offset < length || isEmpty) {
        if (handed === budget || this.#isStopped) return handed;
        const rest = length - this.#offset;
        const bytes = this.#segment === 0 ? rest : Math.min(this.#segment, rest);
        const at = this.#offset;
        this.#offset += bytes;
        handed += 1;
        this.handed += 1;
        this.#handler(this.#view(at, bytes), this.#address, this.#port);
        if (isEmpty) break;
      }
      this.#message += 1;
      if (this.#message < this.#messages) this.#open();
    }
    return handed;
  }

  #view(offset: number, length: number): Uint8Array {
    const at = this.#message * this.#messageBytes + offset;
    const index =
      this.#message * VIEWS_PER_MESSAGE +
      (this.#segment === 0 ? 0 : Math.floor(offset / this.#segment) % VIEWS_PER_MESSAGE);
    const kept = this.#views[index];
    if (kept.byteOffset === at && kept.length === length && length > 0) return kept;
    const view = this.#data.bytes.subarray(at, at + length);
    this.#views[index] = view;
    return view;
  }
}
