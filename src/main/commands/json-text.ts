// JSON that others wrote, on its way to a person: layout is ours, every token stays the bytes it was.
// JSON.parse and stringify would round large numbers, drop repeated keys, reorder numeric ones and
// fail on depth. Characters that a terminal obeys are written as escapes; the value is the same.

import { JsonScanner } from "../../shared/protocol/json.js";
import { printable } from "./printable.js";

const INDENT = "  ";
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;
const OPEN_ARRAY = 0x5b;
const CLOSE_ARRAY = 0x5d;
/** Both brackets close two code points after they open. */
const CLOSES_AFTER = 2;
const EMPTY: Readonly<Record<number, string>> = { [OPEN_OBJECT]: "{}", [OPEN_ARRAY]: "[]" };

const scanner = new JsonScanner();

/** How JSON is laid out; `depth` is how far the first line is indented already. */
export type Layout = { readonly pretty: false } | { readonly pretty: true; readonly depth: number };

export const COMPACT: Layout = { pretty: false };
export const PRETTY: Layout = { pretty: true, depth: 0 };
export const deeper = (layout: Layout): Layout =>
  layout.pretty ? { pretty: true, depth: layout.depth + 1 } : layout;

/**
 * A payload as JSON text: an object that passes the protocol's rules as it is, laid out anew;
 * anything else (older rows, other producers' mistakes) as a string of its text.
 */
export function payloadText(bytes: Uint8Array, layout: Layout): string {
  if (!scanner.scan(bytes, 0, bytes.length)) return stringText(utf8(bytes));
  return layOut(bytes, layout);
}

/** A string as JSON text without raw control characters. */
export const stringText = (value: string): string => printable(JSON.stringify(value));

/** Object members as JSON text; the values are JSON text already. */
export function objectText(
  members: readonly (readonly [string, string])[],
  layout: Layout,
): string {
  if (members.length === 0) return "{}";
  const inner = deeper(layout);
  const colon = layout.pretty ? ": " : ":";
  const lines = members.map(
    ([name, value]) => `${lineStart(inner)}${stringText(name)}${colon}${value}`,
  );
  return `{${lines.join(",")}${lineStart(layout)}}`;
}

/** White space in front of a token that begins a line. */
export const lineStart = (layout: Layout): string =>
  layout.pretty ? `\n${INDENT.repeat(layout.depth)}` : "";

const utf8 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("utf8");

/** Reads what the scanner accepted: tokens are well-formed, brackets match, depth is small. */
function layOut(bytes: Uint8Array, layout: Layout): string {
  let text = "";
  let here = layout;
  let i = 0;
  while (i < bytes.length) {
    const character = bytes[i];
    if (isSpace(character)) {
      i += 1;
    } else if (character === OPEN_OBJECT || character === OPEN_ARRAY) {
      const next = skipSpace(bytes, i + 1);
      const empty = bytes[next] === character + CLOSES_AFTER;
      if (!empty) here = deeper(here);
      text += empty ? EMPTY[character] : String.fromCharCode(character) + lineStart(here);
      i = empty ? next + 1 : next;
    } else if (character === CLOSE_OBJECT || character === CLOSE_ARRAY) {
      here = shallower(here);
      text += lineStart(here) + String.fromCharCode(character);
      i += 1;
    } else if (character === COMMA) {
      text += `,${lineStart(here)}`;
      i += 1;
    } else if (character === COLON) {
      text += here.pretty ? ": " : ":";
      i += 1;
    } else {
      const end = character === QUOTE ? stringEnd(bytes, i) : scalarEnd(bytes, i);
      text += printable(utf8(bytes.subarray(i, end)));
      i = end;
    }
  }
  return text;
}

const shallower = (layout: Layout): Layout =>
  layout.pretty ? { pretty: true, depth: layout.depth - 1 } : layout;

const isSpace = (character: number): boolean =>
  character === 0x20 || character === 0x0a || character === 0x0d || character === 0x09;

function skipSpace(bytes: Uint8Array, from: number): number {
  let i = from;
  while (i < bytes.length && isSpace(bytes[i])) i += 1;
  return i;
}

function stringEnd(bytes: Uint8Array, from: number): number {
  let i = from + 1;
  while (bytes[i] !== QUOTE) i += bytes[i] === BACKSLASH ? 2 : 1;
  return i + 1;
}

function scalarEnd(bytes: Uint8Array, from: number): number {
  let i = from;
  while (!isSpace(bytes[i]) && bytes[i] !== COMMA && !isClosing(bytes[i])) i += 1;
  return i;
}

const isClosing = (character: number): boolean =>
  character === CLOSE_OBJECT || character === CLOSE_ARRAY;
