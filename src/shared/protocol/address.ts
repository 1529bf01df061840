// IP addresses as text and as words. One spelling each: what is compared, counted or configured by
// address goes through canonicalAddress first, or one host is two. Strict: nothing that a person
// and a resolver could read differently (octal, hex, short IPv4) is an address.

/** Words of an IPv6 address, most significant first. */
export const ADDRESS_WORDS = 4;
/** Third word of an IPv4 address that travels as IPv6. Source: RFC 4291 section 2.5.5.2. */
const MAPPED = 0xffff;
const GROUPS = 8;
const IPV4_LENGTH_MAX = "255.255.255.255".length;
const IPV6_LENGTH_MAX = "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255".length;
/** Name or index of an interface. */
const ZONE = /^[0-9a-zA-Z.:_-]{1,64}$/;

const DOT = 0x2e;
const COLON = 0x3a;

const scratch = new Uint32Array(ADDRESS_WORDS);
const groups = new Uint16Array(GROUPS);

/** The u32 of four decimal numbers, no leading zeros, first one highest; -1 for other text. */
export function parseIpv4(text: string): number {
  return text.length > IPV4_LENGTH_MAX ? -1 : ipv4At(text, 0, text.length);
}

/** Reads IPv6 text without a zone into words; false, with `words` undefined, for other text. */
export function parseIpv6(text: string, words: Uint32Array): boolean {
  return text.length <= IPV6_LENGTH_MAX && ipv6Before(text, text.length, words);
}

/**
 * Reads either kind into four words, IPv4 as ::ffff:a.b.c.d, a zone left aside; false, with `words`
 * undefined, for other text. No allocation.
 */
export function parseAddress(text: string, words: Uint32Array): boolean {
  const ipv4 = parseIpv4(text);
  if (ipv4 < 0) return ipv6Before(text, zoneAt(text), words);
  words[0] = 0;
  words[1] = 0;
  words[2] = MAPPED;
  words[3] = ipv4;
  return true;
}

/** True when the words are an IPv4 address. */
export const isMapped = (words: Uint32Array): boolean =>
  words[0] === 0 && words[1] === 0 && words[2] === MAPPED;

/**
 * The one spelling of an address, undefined for other text: IPv4 in decimal, also when it came as
 * ::ffff:a.b.c.d; IPv6 as RFC 5952 section 4. A zone stays, and only with link-local addresses,
 * where it is part of the address.
 */
export function canonicalAddress(text: string): string | undefined {
  if (parseIpv4(text) >= 0) return text;
  const end = zoneAt(text);
  if (!ipv6Before(text, end, scratch)) return undefined;
  if (end === text.length) return isMapped(scratch) ? ipv4Text(scratch[3]) : ipv6Text(scratch);
  const zone = text.slice(end + 1);
  const isLinkLocal = scratch[0] >>> 22 === 0xfe80 >>> 6;
  return isLinkLocal && ZONE.test(zone) ? `${ipv6Text(scratch)}%${zone}` : undefined;
}

/** Offset of the percent sign in front of a zone, or the length of the text. */
function zoneAt(text: string): number {
  const at = text.indexOf("%");
  return at < 0 ? text.length : at;
}

function ipv4At(text: string, from: number, to: number): number {
  let address = 0;
  let number = -1;
  let dots = 0;
  for (let i = from; i < to; i++) {
    const code = text.charCodeAt(i);
    const digit = code - 0x30;
    if (digit >= 0 && digit <= 9) {
      if (number === 0) return -1;
      number = number < 0 ? digit : number * 10 + digit;
      if (number > 255) return -1;
    } else {
      if (code !== DOT || number < 0 || dots === 3) return -1;
      address = address * 256 + number;
      number = -1;
      dots += 1;
    }
  }
  return dots === 3 && number >= 0 ? address * 256 + number : -1;
}

/** Reads the groups of `text` up to `end`; a double colon stands for at least one group. */
function ipv6Before(text: string, end: number, words: Uint32Array): boolean {
  if (end > IPV6_LENGTH_MAX) return false;
  let count = 0;
  let gap = -1;
  let at = 0;
  if (text.charCodeAt(0) === COLON) {
    if (text.charCodeAt(1) !== COLON) return false;
    gap = 0;
    at = 2;
  }
  while (at < end) {
    if (count === GROUPS) return false;
    const next = groupEnd(text, at, end);
    if (next < end && text.charCodeAt(next) === DOT) {
      const ipv4 = ipv4At(text, at, end);
      if (ipv4 < 0) return false;
      groups[count] = ipv4 >>> 16;
      groups[count + 1] = ipv4 & 0xffff;
      count += 2;
      break;
    }
    if (next === at || next - at > 4) return false;
    groups[count] = hexBetween(text, at, next);
    count += 1;
    at = next;
    if (at === end) break;
    if (text.charCodeAt(at) !== COLON) return false;
    at += 1;
    if (at === end) return false;
    if (text.charCodeAt(at) !== COLON) continue;
    if (gap >= 0) return false;
    gap = count;
    at += 1;
  }
  return widen(count, gap, words);
}

/** Puts the groups read into words, zeros where the gap was. */
function widen(count: number, gap: number, words: Uint32Array): boolean {
  if (gap < 0 ? count !== GROUPS : count >= GROUPS) return false;
  const head = gap < 0 ? GROUPS : gap;
  const shift = GROUPS - count;
  for (let i = GROUPS - 1; i >= head; i--) groups[i] = i - shift >= head ? groups[i - shift] : 0;
  for (let i = 0; i < ADDRESS_WORDS; i++) words[i] = groups[2 * i] * 0x1_0000 + groups[2 * i + 1];
  return true;
}

/** Offset behind the hexadecimal digits at `at`. */
function groupEnd(text: string, at: number, end: number): number {
  let next = at;
  while (next < end && hexValue(text.charCodeAt(next)) >= 0) next += 1;
  return next;
}

function hexBetween(text: string, from: number, to: number): number {
  let value = 0;
  for (let i = from; i < to; i++) value = value * 16 + hexValue(text.charCodeAt(i));
  return value;
}

function hexValue(code: number): number {
  if (code >= 0x30 && code <= 0x39) return code - 0x30;
  const letter = (code | 0x20) - 0x61;
  return letter >= 0 && letter < 6 ? letter + 10 : -1;
}

const ipv4Text = (word: number): string =>
  `${word >>> 24}.${(word >>> 16) & 255}.${(word >>> 8) & 255}.${word & 255}`;

/** Lower case, no leading zeros, the longest run of two zero groups or more as a double colon. */
function ipv6Text(words: Uint32Array): string {
  let longest = 1;
  let from = -1;
  let run = 0;
  for (let i = 0; i < GROUPS; i++) {
    run = groupOf(words, i) === 0 ? run + 1 : 0;
    if (run > longest) {
      longest = run;
      from = i + 1 - run;
    }
  }
  const hex = Array.from({ length: GROUPS }, (_, i) => groupOf(words, i).toString(16));
  if (from < 0) return hex.join(":");
  return `${hex.slice(0, from).join(":")}::${hex.slice(from + longest).join(":")}`;
}

const groupOf = (words: Uint32Array, index: number): number =>
  index % 2 === 0 ? words[index >> 1] >>> 16 : words[index >> 1] & 0xffff;
