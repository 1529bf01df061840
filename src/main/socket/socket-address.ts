// Addresses as the kernel has them (sockaddr_in, sockaddr_in6) and as the daemon has them: canonical
// text and a port. Texts of sources are remembered, so that a datagram from a known one allocates
// nothing; the memory for that is bounded, and only compared bytes decide.

import { canonicalAddress, isMapped, parseAddress } from "../../shared/protocol/address.js";
import type { Libc } from "./libc.js";
import { LINUX, SIZE } from "./linux-abi.js";
import { NativeMemory } from "./native-memory.js";

/** Sources whose text is remembered; a power of two. */
const REMEMBERED_SOURCES = 1_024;
/** Words that tell sources apart: four of address, and the zone. The port needs no text. */
const KEY_WORDS = 5;
const INTERFACE_NAME_BYTES = 16;
const FIRST_WORD = 2;
const ZONE_WORD = 6;
const decoder = new TextDecoder();

/** Writes addresses for one socket. */
export class AddressWriter {
  readonly #libc: Libc;
  readonly #family: 4 | 6;
  readonly #words = new Uint32Array(4);
  readonly length: number;

  constructor(libc: Libc, family: 4 | 6) {
    this.#libc = libc;
    this.#family = family;
    this.length = family === 6 ? SIZE.sockaddrIn6 : SIZE.sockaddrIn;
  }

  /** False for what is not an address that a socket of this family can send to. */
  write(memory: NativeMemory, at: number, address: string, port: number): boolean {
    const words = this.#words;
    if (!parseAddress(address, words)) return false;
    const first = at >> 2;
    const from = this.#family === 6 ? FIRST_WORD : 1;
    memory.words.fill(0, first, first + SIZE.address / 4);
    memory.putShort(at, this.#family === 6 ? LINUX.AF_INET6 : LINUX.AF_INET);
    memory.bytes[at + 2] = port >>> 8;
    memory.bytes[at + 3] = port;
    if (this.#family === 4) {
      if (!isMapped(words)) return false;
      memory.words[first + from] = swapped(words[3]);
      return true;
    }
    for (let i = 0; i < 4; i++) memory.words[first + from + i] = swapped(words[i]);
    const zoneAt = address.indexOf("%");
    if (zoneAt < 0) return true;
    const zone = this.#zone(address.slice(zoneAt + 1));
    memory.words[first + ZONE_WORD] = zone;
    return zone > 0;
  }

  #zone(text: string): number {
    return /^\d{1,9}$/.test(text) ? Number(text) : this.#libc.nameToIndex(text);
  }
}

/** Reads the sources of datagrams. */
export class AddressReader {
  readonly #libc: Libc;
  readonly #keys = new Uint32Array(REMEMBERED_SOURCES * KEY_WORDS);
  readonly #texts: string[] = new Array<string>(REMEMBERED_SOURCES).fill("");
  readonly #name: NativeMemory;

  constructor(libc: Libc) {
    this.#libc = libc;
    this.#name = new NativeMemory(libc, INTERFACE_NAME_BYTES);
  }

  /** The port in a sockaddr of either family. */
  port(memory: NativeMemory, at: number): number {
    return (memory.bytes[at + 2] << 8) | memory.bytes[at + 3];
  }

  /** The address as canonical text: IPv4 also when it came as IPv6, a zone with link-local ones. */
  text(memory: NativeMemory, at: number): string {
    const { words } = memory;
    const from = at >> 2;
    const isV6 = memory.getShort(at) === LINUX.AF_INET6;
    const a = isV6 ? words[from + FIRST_WORD] : 0;
    const b = isV6 ? words[from + FIRST_WORD + 1] : 0;
    const c = isV6 ? words[from + FIRST_WORD + 2] : swapped(0xffff);
    const d = isV6 ? words[from + FIRST_WORD + 3] : words[from + 1];
    const zone = isV6 ? words[from + ZONE_WORD] : 0;
    const slot = slotOf(a, b, c, d);
    const key = slot * KEY_WORDS;
    const keys = this.#keys;
    const known = this.#texts[slot];
    if (
      known !== "" &&
      keys[key] === a &&
      keys[key + 1] === b &&
      keys[key + 2] === c &&
      keys[key + 3] === d &&
      keys[key + 4] === zone
    ) {
      return known;
    }
    const text = this.#made(a, b, c, d, zone);
    keys[key] = a;
    keys[key + 1] = b;
    keys[key + 2] = c;
    keys[key + 3] = d;
    keys[key + 4] = zone;
    this.#texts[slot] = text;
    return text;
  }

  #made(a: number, b: number, c: number, d: number, zone: number): string {
    const hex = [a, b, c, d].map((word) => swapped(word).toString(16).padStart(8, "0"));
    const groups = hex.flatMap((word) => [word.slice(0, 4), word.slice(4)]).join(":");
    const plain = canonicalAddress(groups) ?? groups;
    if (zone === 0) return plain;
    return canonicalAddress(`${plain}%${this.#zoneName(zone)}`) ?? plain;
  }

  #zoneName(index: number): string {
    const { bytes, at } = this.#name;
    bytes.fill(0);
    if (this.#libc.indexToName(index, at) === 0) return String(index);
    return decoder.decode(bytes.subarray(0, bytes.indexOf(0)));
  }
}

/** Neighbours get different slots; who chooses addresses may make them collide, at no more cost. */
const slotOf = (a: number, b: number, c: number, d: number): number => {
  const mixed = Math.imul(d ^ Math.imul(a ^ (b << 7) ^ (c << 13), 0x9e37_79b1), 0x85eb_ca6b);
  return (mixed ^ (mixed >>> 15)) & (REMEMBERED_SOURCES - 1);
};

/** Words of the network have their first byte highest. */
const swapped = (word: number): number =>
  ((word >>> 24) | ((word >>> 8) & 0xff00) | ((word & 0xff00) << 8) | (word << 24)) >>> 0;
