// The gate that every payload passes: bytes from a peer and rows from local producers alike. One
// pass, no allocation, no recursion, no exception: it accepts a JSON object (RFC 8259) in valid
// UTF-8 within the limits below, and notes what the classic protocol wants to know of it.
// Nothing is built from the input, so no key of it can reach a prototype.

import { MESSAGE_ID_BYTES } from "./constants.js";
import { bytesEqual, JSON_KEY_BYTES_MAX, JsonKeys } from "./json-keys.js";
import { scanNumber } from "./json-number.js";
import {
  BACKSLASH,
  decodeInto,
  escapeBytes,
  escapeCode,
  escapeIsCanonical,
  QUOTE,
  utf8SequenceEnd,
} from "./json-string.js";
import { MESSAGE_ID_HEX_BYTES, readMessageIdHex } from "./message-id.js";

/** Arrays and objects inside one another, the message itself not counted. Source: ours. */
export const JSON_NESTING_MAX = 32;
/** Why bytes were refused. The first three: no JSON object; the others: beyond our limits. */
export type JsonRefusal =
  | "not_object"
  | "malformed"
  | "bad_utf8"
  | "too_deep"
  | "key_too_long"
  | "too_many_keys"
  | "duplicate_key";

/** What a top-level "message_id" holds; `malformed` is any other type, length or spelling. */
export type MessageIdMember = "absent" | "good" | "malformed";

const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;
const OPEN_ARRAY = 0x5b;
const CLOSE_ARRAY = 0x5d;
const COMMA = 0x2c;
const COLON = 0x3a;
const SPACE = 0x20;
const LETTER_F = 0x66;
const LETTER_N = 0x6e;
const LETTER_T = 0x74;

const ascii = (text: string): Uint8Array => Uint8Array.from(text, (c) => c.charCodeAt(0));
const TRUE = ascii("true");
const FALSE = ascii("false");
const NULL = ascii("null");
const MESSAGE_ID = ascii("message_id");
const TYPE = ascii("type");
const ACK = ascii("ACK");

/** 1 for ASCII that stands for itself inside a string. */
const PLAIN = new Uint8Array(256).fill(1, SPACE, 0x80);
PLAIN[QUOTE] = 0;
PLAIN[BACKSLASH] = 0;

/** Room to see that a text is longer than a key may be. */
const SCRATCH_BYTES = JSON_KEY_BYTES_MAX + 4;

type Watched = "type" | "message_id" | "other";

/** Scans one text after another; what the getters say holds until the next `scan`. */
export class JsonScanner {
  /** The 12 bytes of the message id while `messageId` is `good`. Overwritten by the next scan. */
  readonly id = new Uint8Array(MESSAGE_ID_BYTES);
  #reason: JsonRefusal | undefined = undefined;
  #refusedAt = 0;
  #canonical = false;
  #closeAt = 0;
  #messageId: MessageIdMember = "absent";
  #isAck = false;

  /** Whether the string scanned last holds a backslash. */
  #escaped = false;
  readonly #isObject = new Uint8Array(JSON_NESTING_MAX + 1);
  readonly #scratch = new Uint8Array(SCRATCH_BYTES);
  readonly #topKeys = new JsonKeys();

  /** Why the last scan refused; undefined when it accepted. */
  get reason(): JsonRefusal | undefined {
    return this.#reason;
  }
  /** Offset of the byte at which it refused. */
  get refusedAt(): number {
    return this.#refusedAt;
  }
  /**
   * True only if the canonical form is the very bytes given. False says nothing: numbers of more
   * than 15 digits or with an exponent are left to `canonicalInto`.
   */
  get canonical(): boolean {
    return this.#canonical;
  }
  /** Offset of the brace that closes the object. */
  get closeAt(): number {
    return this.#closeAt;
  }
  /** Top-level keys. */
  get keys(): number {
    return this.#topKeys.count;
  }
  get messageId(): MessageIdMember {
    return this.#messageId;
  }
  /** Whether top-level "type" is the string ACK, however it is escaped. */
  get isAck(): boolean {
    return this.#isAck;
  }

  /** Whether `bytes` from `from` to `to` are one JSON object within the limits. */
  scan(bytes: Uint8Array, from: number, to: number): boolean {
    this.#reason = undefined;
    this.#canonical = true;
    this.#messageId = "absent";
    this.#isAck = false;
    this.#topKeys.clear();
    const end = Math.min(to, bytes.length);
    const openAt = this.#skipSpace(bytes, from, end);
    if (openAt >= end || bytes[openAt] !== OPEN_OBJECT) {
      this.#refuse("not_object", openAt);
      return false;
    }
    let i = this.#skipSpace(bytes, openAt + 1, end);
    if (i < end && bytes[i] === CLOSE_OBJECT) i += 1;
    else i = this.#members(bytes, i, end);
    if (i < 0) return false;
    this.#closeAt = i - 1;
    i = this.#skipSpace(bytes, i, end);
    if (i < end) this.#refuse("malformed", i);
    return this.#reason === undefined;
  }

  /** From the first key of the top level to behind its closing brace; -1 if refused. */
  #members(bytes: Uint8Array, from: number, to: number): number {
    const isObject = this.#isObject;
    isObject[0] = 1;
    let depth = 0;
    let i = from;
    for (;;) {
      let watched: Watched = "other";
      if (isObject[depth] === 1) {
        const keyAt = i;
        i = this.#key(bytes, keyAt, to);
        if (i < 0) return -1;
        if (depth === 0) {
          watched = this.#topKey(bytes, keyAt + 1, i - 1);
          if (this.#reason !== undefined) return -1;
        }
        i = this.#colon(bytes, i, to);
        if (i < 0) return -1;
      }

      const valueAt = i;
      const opening = i < to ? bytes[i] : 0;
      if (opening === OPEN_OBJECT || opening === OPEN_ARRAY) {
        if (depth === JSON_NESTING_MAX) return this.#refuse("too_deep", i);
        if (watched === "message_id") this.#messageId = "malformed";
        depth += 1;
        isObject[depth] = opening === OPEN_OBJECT ? 1 : 0;
        i = this.#skipSpace(bytes, i + 1, to);
        if (i >= to || bytes[i] !== closing(isObject[depth])) continue;
      } else {
        i = this.#scalar(bytes, i, to);
        if (i < 0) return -1;
        if (watched !== "other") this.#note(watched, bytes, valueAt, i);
        i = this.#skipSpace(bytes, i, to);
      }

      while (i < to && bytes[i] === closing(isObject[depth])) {
        i += 1;
        if (depth === 0) return i;
        depth -= 1;
        i = this.#skipSpace(bytes, i, to);
      }
      if (i >= to || bytes[i] !== COMMA) return this.#refuse("malformed", i);
      i = this.#skipSpace(bytes, i + 1, to);
    }
  }

  /** From the quote of a key to behind its closing quote. */
  #key(bytes: Uint8Array, at: number, to: number): number {
    if (at >= to || bytes[at] !== QUOTE) return this.#refuse("malformed", at);
    const end = this.#string(bytes, at, to);
    if (end < 0) return -1;
    if (end - at - 2 <= JSON_KEY_BYTES_MAX) return end;
    const decoded = this.#escaped ? decodeInto(bytes, at + 1, end - 1, this.#scratch) : Infinity;
    return decoded <= JSON_KEY_BYTES_MAX ? end : this.#refuse("key_too_long", at);
  }

  #colon(bytes: Uint8Array, at: number, to: number): number {
    const colonAt = this.#skipSpace(bytes, at, to);
    if (colonAt >= to || bytes[colonAt] !== COLON) return this.#refuse("malformed", colonAt);
    return this.#skipSpace(bytes, colonAt + 1, to);
  }

  /** Anything but an array or an object. */
  #scalar(bytes: Uint8Array, at: number, to: number): number {
    if (at >= to) return this.#refuse("malformed", at);
    const first = bytes[at];
    if (first === QUOTE) return this.#string(bytes, at, to);
    if (first === LETTER_T) return this.#literal(bytes, at, to, TRUE);
    if (first === LETTER_F) return this.#literal(bytes, at, to, FALSE);
    if (first === LETTER_N) return this.#literal(bytes, at, to, NULL);
    const scanned = scanNumber(bytes, at, to);
    if (scanned === 0) return this.#refuse("malformed", at);
    if (scanned < 0) this.#canonical = false;
    return Math.abs(scanned);
  }

  #literal(bytes: Uint8Array, at: number, to: number, text: Uint8Array): number {
    const end = at + text.length;
    if (end > to || !bytesEqual(bytes, at, text, text.length)) return this.#refuse("malformed", at);
    return end;
  }

  /** From the opening quote to behind the closing one. */
  #string(bytes: Uint8Array, at: number, to: number): number {
    this.#escaped = false;
    let i = at + 1;
    while (i < to) {
      const character = bytes[i];
      if (PLAIN[character] === 1) {
        i += 1;
      } else if (character === QUOTE) {
        return i + 1;
      } else if (character >= 0x80) {
        const end = utf8SequenceEnd(bytes, i, to);
        if (end < 0) return this.#refuse("bad_utf8", i);
        i = end;
      } else {
        const code = character === BACKSLASH ? escapeCode(bytes, i, to) : -1;
        if (code < 0) return this.#refuse("malformed", i);
        this.#escaped = true;
        if (!escapeIsCanonical(bytes, i, code)) this.#canonical = false;
        i += escapeBytes(bytes, i, code);
      }
    }
    return this.#refuse("malformed", to);
  }

  /** Offset of the next byte that is no white space of JSON, `to` if there is none. */
  #skipSpace(bytes: Uint8Array, at: number, to: number): number {
    let i = at;
    while (i < to) {
      const character = bytes[i];
      if (character > SPACE) break;
      if (character !== SPACE && character !== 0x0a && character !== 0x0d && character !== 0x09) {
        break;
      }
      i += 1;
    }
    if (i !== at) this.#canonical = false;
    return i;
  }

  /** Remembers a top-level key, quotes excluded, and says whether its value matters to us. */
  #topKey(bytes: Uint8Array, from: number, to: number): Watched {
    const text = this.#escaped ? this.#scratch : bytes;
    const at = this.#escaped ? 0 : from;
    const length = this.#escaped ? decodeInto(bytes, from, to, this.#scratch) : to - from;
    const verdict = this.#topKeys.add(bytes, from, to, text, at, length);
    if (verdict === "duplicate") this.#refuse("duplicate_key", from);
    else if (verdict === "full") this.#refuse("too_many_keys", from);
    if (is(text, at, length, MESSAGE_ID)) return "message_id";
    return is(text, at, length, TYPE) ? "type" : "other";
  }

  /** Reads the scalar value of a watched key, just scanned, from `from` to `to`. */
  #note(watched: Watched, bytes: Uint8Array, from: number, to: number): void {
    const isText = bytes[from] === QUOTE;
    const text = isText && this.#escaped ? this.#scratch : bytes;
    const at = text === bytes ? from + 1 : 0;
    const length =
      text === bytes ? to - from - 2 : decodeInto(bytes, from + 1, to - 1, this.#scratch);
    if (watched === "type") {
      this.#isAck = isText && is(text, at, length, ACK);
      return;
    }
    const good = isText && length === MESSAGE_ID_HEX_BYTES && readMessageIdHex(text, at, this.id);
    this.#messageId = good ? "good" : "malformed";
  }

  #refuse(reason: JsonRefusal, at: number): -1 {
    this.#reason = reason;
    this.#refusedAt = at;
    return -1;
  }
}

const closing = (isObject: number): number => (isObject === 1 ? CLOSE_OBJECT : CLOSE_ARRAY);

const is = (text: Uint8Array, at: number, length: number, word: Uint8Array): boolean =>
  length === word.length && bytesEqual(text, at, word, length);
