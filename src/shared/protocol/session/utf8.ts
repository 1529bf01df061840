// Names of streams between text and UTF-8. The core has no TextEncoder, and names are short and rare.

import { utf8SequenceEnd } from "../json-string.js";

/** UTF-8 of a well-formed text; a lone surrogate becomes U+FFFD. */
export function utf8Of(text: string): Uint8Array {
  const bytes: number[] = [];
  for (const character of text) {
    const read = character.codePointAt(0) as number;
    const code = read >= 0xd800 && read <= 0xdfff ? 0xfffd : read;
    if (code < 0x80) bytes.push(code);
    else if (code < 0x800) bytes.push(0xc0 | (code >> 6), tail(code));
    else if (code < 0x1_0000) bytes.push(0xe0 | (code >> 12), tail(code >> 6), tail(code));
    else bytes.push(0xf0 | (code >> 18), tail(code >> 12), tail(code >> 6), tail(code));
  }
  return Uint8Array.from(bytes);
}

const tail = (code: number): number => 0x80 | (code & 0x3f);

/** Text of `bytes[at .. at + length)`, or undefined when that is not well-formed UTF-8. */
export function textOf(bytes: Uint8Array, at: number, length: number): string | undefined {
  const end = at + length;
  let text = "";
  for (let from = at; from < end; ) {
    const first = bytes[from] as number;
    if (first < 0x80) {
      text += String.fromCharCode(first);
      from += 1;
      continue;
    }
    const to = utf8SequenceEnd(bytes, from, end);
    if (to < 0) return undefined;
    let code = first & (0xff >> (to - from + 1));
    for (let i = from + 1; i < to; i++) code = (code << 6) | ((bytes[i] as number) & 0x3f);
    text += String.fromCodePoint(code);
    from = to;
  }
  return text;
}
