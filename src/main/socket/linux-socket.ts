// UDP through the system calls of Linux: sendmmsg with GSO, recvmmsg with GRO, readiness from poll in a
// thread of libuv's pool. Memory safety, in the files that it rests on:
// - what a call is given addresses of is held by a field while it runs (native-memory.ts), sends and
//   receives are synchronous, and memory that is sent is shared memory, which never moves (send-queue.ts);
// - the one call that runs beside us, poll, has memory that its own callback holds (readiness.ts), and
//   the descriptor is closed only when that call has returned;
// - layouts are those of one ABI, and libc.ts refuses machines that have another (linux-abi.ts).

import { constants } from "node:os";
import { getSystemErrorName } from "node:util";
import type { DaemonError } from "../../shared/base/errors.js";
import {
  type DatagramHandler,
  type DatagramSocket,
  type SendDone,
  SOCKET_BUFFER_BYTES,
} from "./datagram-socket.js";
import type { Libc } from "./libc.js";
import { LINUX, SIZE } from "./linux-abi.js";
import { LinuxReceiver, type ReceiveState } from "./linux-receiver.js";
import { LinuxSender } from "./linux-sender.js";
import { NativeMemory } from "./native-memory.js";
import { Readiness } from "./readiness.js";
import { SendQueue } from "./send-queue.js";
import { AddressReader, AddressWriter } from "./socket-address.js";
import { bindError, socketError } from "./socket-errors.js";

/** Wait before a kernel without memory is asked again for datagrams, ms. */
const RECEIVE_DELAY_MS = 5;
/** Looks for more, one a turn, before a thread waits for it: that costs 40 us, a look 1. Source: ours. */
const LOOKS_MAX = 2;
/** Waits that ended, one after the other, and brought nothing: the descriptor is broken. */
const FRUITLESS_WAITS_MAX = 1_000;
const VALUE_AT = SIZE.address;

export class LinuxSocket implements DatagramSocket {
  readonly kind = "linux";
  readonly #libc: Libc;
  #descriptor = -1;
  #queue: SendQueue | undefined;
  #sender: LinuxSender | undefined;
  #receiver: LinuxReceiver | undefined;
  #readiness: Readiness | undefined;
  family: 4 | 6 = 4;
  port = 0;
  receiveBufferBytes = 0;
  onError: (error: DaemonError) => void = () => {};
  #isFlushing = false;
  #isBlocked = false;
  /** Sends wait until then, 0: they do not. ms of performance.now. */
  #sendAtMs = 0;
  #receiveAtMs = 0;
  #looks = 0;
  #fruitless = 0;
  #next: NodeJS.Immediate | undefined;
  #stopping: Promise<void> | undefined;

  constructor(libc: Libc) {
    this.#libc = libc;
  }

  async start(address: string, port: number): Promise<void> {
    this.family = address.includes(":") ? 6 : 4;
    const memory = new NativeMemory(this.#libc, SIZE.address + 8);
    try {
      this.#open(memory, address, port);
    } catch (error) {
      if (this.#descriptor >= 0) this.#libc.close(this.#descriptor);
      this.#descriptor = -1;
      throw bindError(error as NodeJS.ErrnoException, address, port);
    }
  }

  receive(handler: DatagramHandler): void {
    const [libc, descriptor] = [this.#libc, this.#descriptor];
    if (descriptor < 0 || this.#receiver !== undefined) return;
    this.#receiver = new LinuxReceiver(libc, descriptor, handler);
    this.#wait();
    this.#readiness?.wake();
  }

  send(
    bytes: Uint8Array,
    at: number,
    length: number,
    address: string,
    port: number,
    done: SendDone,
    whole: boolean = false,
  ): void {
    const queue = this.#queue;
    if (queue === undefined || this.#stopping !== undefined) return;
    if (!queue.push(bytes, at, length, address, port, done, whole)) {
      queueMicrotask(() => done("ENOBUFS", at));
      return;
    }
    if (this.#isFlushing || this.#isBlocked || this.#sendAtMs > 0) return;
    this.#isFlushing = true;
    queueMicrotask(this.#flush);
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#close();
    return this.#stopping;
  }

  // --- Start and end ----------------------------------------------------------------------------

  #open(memory: NativeMemory, address: string, port: number): void {
    const libc = this.#libc;
    const family = this.family === 6 ? LINUX.AF_INET6 : LINUX.AF_INET;
    const type = LINUX.SOCK_DGRAM | LINUX.SOCK_NONBLOCK | LINUX.SOCK_CLOEXEC;
    const addresses = new AddressWriter(libc, this.family);
    this.#descriptor = this.#checked("socket", libc.socket(family, type, 0));
    if (this.family === 6) this.#set(memory, LINUX.SOL_IPV6, LINUX.IPV6_V6ONLY, 0);
    if (!addresses.write(memory, 0, address, port)) {
      throw systemError("bind", constants.errno.EADDRNOTAVAIL);
    }
    this.#checked("bind", libc.bind(this.#descriptor, memory.at, addresses.length));
    this.#set(memory, LINUX.SOL_SOCKET, LINUX.SO_RCVBUF, SOCKET_BUFFER_BYTES);
    this.#set(memory, LINUX.SOL_SOCKET, LINUX.SO_SNDBUF, SOCKET_BUFFER_BYTES);
    this.receiveBufferBytes = this.#get(memory, LINUX.SOL_SOCKET, LINUX.SO_RCVBUF);
    this.port = this.#boundPort(memory);
    // Joined datagrams are taken apart again by the receiver; without this there are none.
    this.#set(memory, LINUX.SOL_UDP, LINUX.UDP_GRO, 1);
    const hasRuns = this.#set(memory, LINUX.SOL_UDP, LINUX.UDP_SEGMENT, 0);
    const readiness = new Readiness(libc, this.#descriptor, {
      onReady: (happened) => this.#ready(happened),
      onBroken: () => this.#fail("poll", constants.errno.EINVAL),
    });
    this.#readiness = readiness;
    if (!readiness.isUsable) {
      const errno = libc.errno();
      void readiness.stop();
      throw systemError("eventfd", errno);
    }
    this.#queue = new SendQueue(libc);
    this.#sender = new LinuxSender(libc, this.#descriptor, this.#queue, addresses, hasRuns);
  }

  #boundPort(memory: NativeMemory): number {
    memory.words[VALUE_AT >> 2] = SIZE.address;
    const length = memory.at + VALUE_AT;
    this.#checked("getsockname", this.#libc.getsockname(this.#descriptor, memory.at, length));
    return new AddressReader(this.#libc).port(memory, 0);
  }

  #set(memory: NativeMemory, level: number, name: number, value: number): boolean {
    memory.words[VALUE_AT >> 2] = value;
    const at = memory.at + VALUE_AT;
    return this.#libc.setsockopt(this.#descriptor, level, name, at, 4) === 0;
  }

  #get(memory: NativeMemory, level: number, name: number): number {
    const [value, length] = [VALUE_AT, VALUE_AT + 4];
    memory.words[length >> 2] = 4;
    const at = memory.at;
    this.#checked(
      "getsockopt",
      this.#libc.getsockopt(this.#descriptor, level, name, at + value, at + length),
    );
    return memory.words[value >> 2];
  }

  #checked(call: string, result: number): number {
    if (result < 0) throw systemError(call, this.#libc.errno());
    return result;
  }

  async #close(): Promise<void> {
    if (this.#descriptor < 0) return;
    clearImmediate(this.#next);
    this.#receiver?.stop();
    await this.#readiness?.stop();
    this.#libc.close(this.#descriptor);
    this.#descriptor = -1;
    const queue = this.#queue;
    while (queue !== undefined && queue.size > 0) queue.shift("ECANCELED");
  }

  #fail(call: string, errno: number): void {
    if (this.#stopping === undefined) this.onError(socketError(systemError(call, errno)));
  }

  // --- Sending ----------------------------------------------------------------------------------

  readonly #flush = (): void => {
    this.#isFlushing = false;
    const sender = this.#sender;
    if (sender === undefined || this.#stopping !== undefined) return;
    switch (sender.flush()) {
      case "more":
        this.#isFlushing = true;
        setImmediate(this.#flush);
        return;
      case "blocked":
        this.#isBlocked = true;
        this.#waitAnew();
        return;
      case "later":
        this.#sendAtMs = performance.now() + sender.delayMs;
        this.#waitAnew();
        return;
      case "broken":
        this.#fail("sendmmsg", sender.errno);
    }
  };

  // --- Waiting and receiving --------------------------------------------------------------------

  /** Poll has seen something, time is over, or other things are to be waited for. */
  #ready(happened: number): void {
    if (happened & LINUX.POLLNVAL) return this.#fail("poll", constants.errno.EBADF);
    this.#resume((happened & (LINUX.POLLOUT | LINUX.POLLERR)) !== 0);
    this.#fruitless = happened === 0 ? 0 : this.#fruitless + 1;
    if (this.#fruitless > FRUITLESS_WAITS_MAX) return this.#fail("poll", constants.errno.EIO);
    if (this.#receiveAtMs > performance.now()) return this.#wait();
    this.#receiveAtMs = 0;
    this.#turn();
  }

  /** Hands over what is there, looks again in the next turns, and lets a thread wait for more. */
  readonly #turn = (): void => {
    clearImmediate(this.#next);
    this.#next = undefined;
    if (this.#stopping !== undefined) return;
    const before = this.#receiver?.handed ?? 0;
    const state: ReceiveState = this.#receiver?.turn() ?? "drained";
    if ((this.#receiver?.handed ?? 0) > before) {
      this.#looks = LOOKS_MAX;
      this.#fruitless = 0;
    }
    if (state === "broken") return this.#fail("recvmmsg", this.#receiver?.errno ?? 0);
    if (state === "later") this.#receiveAtMs = performance.now() + RECEIVE_DELAY_MS;
    if (state === "more" || (state === "drained" && this.#looks > 0)) {
      if (state === "drained") this.#looks -= 1;
      this.#next = setImmediate(this.#turn);
      // Nothing polls while turns follow each other, and what comes in may not end.
      this.#resume(true);
    } else this.#wait();
  };

  /** Sends on, where it was room or time that was missing. */
  #resume(hasRoom: boolean): void {
    const isTime = this.#sendAtMs > 0 && performance.now() >= this.#sendAtMs;
    if (!isTime && !(this.#isBlocked && hasRoom)) return;
    this.#isBlocked = false;
    this.#sendAtMs = 0;
    this.#flush();
  }

  /** Waits for what is wanted now. While datagrams are handed over in turns, those do it. */
  #wait(): void {
    if (this.#next !== undefined || this.#stopping !== undefined) return;
    const wantsIn = this.#receiver !== undefined && this.#receiveAtMs === 0;
    const events = (wantsIn ? LINUX.POLLIN : 0) | (this.#isBlocked ? LINUX.POLLOUT : 0);
    const times = [this.#sendAtMs, this.#receiveAtMs].filter((atMs) => atMs > 0);
    if (events === 0 && times.length === 0) return;
    const delayMs = Math.ceil(Math.min(...times) - performance.now());
    this.#readiness?.wait(events, times.length > 0 ? Math.max(delayMs, 0) : undefined);
  }

  /** The call in flight waits for less than is wanted: it is ended, and another follows. */
  #waitAnew(): void {
    if (this.#readiness?.isWaiting) this.#readiness.wake();
    else this.#wait();
  }
}

function systemError(call: string, errno: number): NodeJS.ErrnoException {
  const code = errno === 0 ? "UNKNOWN" : getSystemErrorName(-errno);
  return Object.assign(new Error(`${call} ${code}`), { code, errno: -errno, syscall: call });
}
