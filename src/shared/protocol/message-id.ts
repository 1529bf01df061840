// Message ids: 12 bytes inside the daemon, 24 lower-case hex digits in JSON and in the database.
// One spelling only: whoever accepts a second one gives a message two identities. An id means
// something only together with its scope, the key ring that opened it (docs/PROTOCOL.md, classic).

import { MESSAGE_ID_BYTES } from "./constants.js";

/** A message id as text, characters. */
export const MESSAGE_ID_HEX_BYTES = 2 * MESSAGE_ID_BYTES;

const DIGITS = "0123456789abcdef";

/** Returns the 12 bytes of exactly 24 characters `[0-9a-f]`, undefined for anything else. */
export function messageIdFromHex(text: string): Uint8Array | undefined {
  if (text.length !== MESSAGE_ID_HEX_BYTES) return undefined;
  const id = new Uint8Array(MESSAGE_ID_BYTES);
  for (let i = 0; i < MESSAGE_ID_BYTES; i++) {
    const high = hexDigit(text.charCodeAt(2 * i));
    const low = hexDigit(text.charCodeAt(2 * i + 1));
    if (high < 0 || low < 0) return undefined;
    id[i] = (high << 4) | low;
  }
  return id;
}

/** Writes the 12 bytes at `at` as 24 lower-case hex digits. */
export function messageIdToHex(bytes: Uint8Array, at = 0): string {
  let text = "";
  for (let i = at; i < at + MESSAGE_ID_BYTES; i++) {
    text += DIGITS.charAt(bytes[i] >> 4) + DIGITS.charAt(bytes[i] & 15);
  }
  return text;
}

/**
 * Reads the 24 characters at `at` into `id`. False, with `id` overwritten in part, if one of them
 * is no lower-case hex digit.
 */
export function readMessageIdHex(bytes: Uint8Array, at: number, id: Uint8Array): boolean {
  for (let i = 0; i < MESSAGE_ID_BYTES; i++) {
    const high = hexDigit(bytes[at + 2 * i]);
    const low = hexDigit(bytes[at + 2 * i + 1]);
    if (high < 0 || low < 0) return false;
    id[i] = (high << 4) | low;
  }
  return true;
}

/** Writes the 12 bytes at `idAt` as 24 characters at `at`; returns the offset behind them. */
export function writeMessageIdHex(
  out: Uint8Array,
  at: number,
  id: Uint8Array,
  idAt: number,
): number {
  for (let i = 0; i < MESSAGE_ID_BYTES; i++) {
    const byte = id[idAt + i];
    out[at + 2 * i] = hexCharacter(byte >> 4);
    out[at + 2 * i + 1] = hexCharacter(byte & 15);
  }
  return at + MESSAGE_ID_HEX_BYTES;
}

/** Value of a lower-case hex digit, -1 for any other character. */
export function hexDigit(character: number): number {
  if (character >= 0x30 && character <= 0x39) return character - 0x30;
  if (character >= 0x61 && character <= 0x66) return character - 0x57;
  return -1;
}

/** Character of a value from 0 to 15, lower case. */
export const hexCharacter = (value: number): number => value + (value < 10 ? 0x30 : 0x57);
