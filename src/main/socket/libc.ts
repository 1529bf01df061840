// The C functions behind linux-socket.ts. Only importer of koffi, which is loaded when it is wanted and
// never needed: an optional package, missing after `npm ci --omit=optional`.
//
// Addresses travel as numbers: user space ends below 2^48 on x86-64 and arm64. What an address stands
// for must outlive its use: `addressOf` says of what memory that is true.

import { createRequire } from "node:module";
import { endianness } from "node:os";
import { assert } from "../../shared/base/assert.js";
import { reasonOf } from "../../shared/base/errors.js";

/** What is called; -1 says that `errno` has the reason, at once. */
export interface Libc {
  socket(family: number, type: number, protocol: number): number;
  bind(descriptor: number, address: number, length: number): number;
  getsockname(descriptor: number, address: number, length: number): number;
  setsockopt(
    descriptor: number,
    level: number,
    name: number,
    value: number,
    length: number,
  ): number;
  getsockopt(
    descriptor: number,
    level: number,
    name: number,
    value: number,
    length: number,
  ): number;
  sendmsg(descriptor: number, message: number, flags: number): number;
  sendmmsg(descriptor: number, messages: number, count: number, flags: number): number;
  recvmmsg(descriptor: number, messages: number, count: number, flags: number): number;
  close(descriptor: number): number;
  eventfd(value: number, flags: number): number;
  eventfdWrite(descriptor: number, value: number): number;
  eventfdRead(descriptor: number, value: number): number;
  nameToIndex(name: string): number;
  /** 0 when there is no such interface. */
  indexToName(index: number, name: number): number;
  /** In a thread of libuv's pool, which it holds until it is done. `done` gets what poll returned. */
  poll(descriptors: number, count: number, timeoutMs: number, done: (result: number) => void): void;
  errno(): number;
  /**
   * Where memory is. True as long as the memory is reachable, when it is a SharedArrayBuffer's, or an
   * ArrayBuffer's that nobody transfers: neither is ever moved.
   */
  addressOf(bytes: Uint8Array): number;
}

type Argument = number | string | Uint8Array;
interface NativeFunction {
  (...values: readonly Argument[]): number;
  async(...values: readonly (Argument | ((error: unknown, result: number) => void))[]): void;
}
interface Koffi {
  load(path: string): {
    func(name: string, result: string, parameters: readonly string[]): NativeFunction;
  };
  errno(): number;
}

const ARCHITECTURES: readonly string[] = ["x64", "arm64"];
/** The poll of a socket holds one thread of libuv's pool; files and names need another. */
const POOL_THREADS_MIN = 2;
const PROBE_BYTES = 64;

let loaded: Libc | string | undefined;

/** The C library, or why it cannot be used; the answer stays. */
export function loadLibc(): Libc | string {
  loaded ??= obstacle() ?? load();
  return loaded;
}

/** What forbids it on this machine, before anything is loaded. */
export function obstacle(
  platform: string = process.platform,
  architecture: string = process.arch,
  poolThreads: string | undefined = process.env["UV_THREADPOOL_SIZE"],
): string | undefined {
  if (platform !== "linux") return `this is ${platform}, not Linux`;
  if (!ARCHITECTURES.includes(architecture) || endianness() !== "LE") {
    return `its system calls are not known on ${architecture}`;
  }
  if (poolThreads === undefined || Number.parseInt(poolThreads, 10) >= POOL_THREADS_MIN) {
    return undefined;
  }
  return `UV_THREADPOOL_SIZE is ${poolThreads}, and it needs a thread of its own`;
}

function load(): Libc | string {
  let koffi: Koffi;
  try {
    const require = createRequire(import.meta.url);
    koffi = require("koffi") as Koffi;
  } catch (error) {
    const isMissing = (error as NodeJS.ErrnoException).code === "MODULE_NOT_FOUND";
    return isMissing ? "the package koffi is not installed" : `koffi: ${firstLine(error)}`;
  }
  try {
    const libc = declare(koffi);
    return hasAddresses(libc) ? libc : "koffi copies memory in place of passing its address";
  } catch (error) {
    return `the C library is not glibc as it is known here: ${firstLine(error)}`;
  }
}

const firstLine = (error: unknown): string => reasonOf(error).split("\n")[0];

function declare(koffi: Koffi): Libc {
  const library = koffi.load("libc.so.6");
  const POINTER = "uintptr_t";
  const int = (name: string, ...parameters: readonly string[]): NativeFunction =>
    library.func(name, "int", parameters);
  // musl has another msghdr, and no such function.
  library.func("gnu_get_libc_version", "str", [])();
  const poll = int("poll", POINTER, "unsigned long", "int");
  const move = library.func("memmove", POINTER, ["void *", "void *", "size_t"]);
  const recvmmsg = int("recvmmsg", "int", POINTER, "uint", "int", POINTER);
  return {
    socket: int("socket", "int", "int", "int"),
    bind: int("bind", "int", POINTER, "uint"),
    getsockname: int("getsockname", "int", POINTER, POINTER),
    setsockopt: int("setsockopt", "int", "int", "int", POINTER, "uint"),
    getsockopt: int("getsockopt", "int", "int", "int", POINTER, POINTER),
    sendmsg: library.func("sendmsg", "intptr_t", ["int", POINTER, "int"]),
    sendmmsg: int("sendmmsg", "int", POINTER, "uint", "int"),
    recvmmsg: (descriptor, messages, count, flags) =>
      recvmmsg(descriptor, messages, count, flags, 0),
    close: int("close", "int"),
    eventfd: int("eventfd", "uint", "int"),
    eventfdWrite: int("eventfd_write", "int", "uint64_t"),
    eventfdRead: int("eventfd_read", "int", POINTER),
    nameToIndex: library.func("if_nametoindex", "uint", ["str"]),
    indexToName: library.func("if_indextoname", POINTER, ["uint", POINTER]),
    poll: (descriptors, count, timeoutMs, done) =>
      poll.async(descriptors, count, timeoutMs, (error, result) =>
        done(error === null || error === undefined ? result : -1),
      ),
    errno: () => koffi.errno(),
    addressOf: (bytes) => {
      const address = move(bytes, bytes, 0);
      assert(Number.isSafeInteger(address) && address > 0, "an address fits a number");
      return address;
    },
  };
}

/** True when the address of memory is the memory's own: a view of it is that much further. */
function hasAddresses(libc: Libc): boolean {
  const whole = new Uint8Array(new SharedArrayBuffer(PROBE_BYTES));
  const distance = libc.addressOf(whole.subarray(PROBE_BYTES / 2)) - libc.addressOf(whole);
  return distance === PROBE_BYTES / 2;
}
