// The JSON scanner, against JSON.parse and a fatal TextDecoder.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { JSON_NESTING_MAX, type JsonRefusal, JsonScanner } from "../../src/shared/protocol/json.js";
import {
  JSON_KEY_BYTES_MAX,
  JSON_KEY_COLLISIONS_MAX,
  JSON_KEYS_MAX,
} from "../../src/shared/protocol/json-keys.js";
import { messageIdToHex } from "../../src/shared/protocol/message-id.js";
import { bytesOf, damagedDocument } from "./json-model.js";

const ID = "0123456789abcdef01234567";
const scanner = new JsonScanner();

test("white space around and inside an object is accepted, any other character is not", () => {
  assert.equal(refusal(' \t\r\n{ "a" : [ 1 , 2 ] } \n'), undefined);

  assert.equal(refusal('\ufeff{"a":1}'), "not_object");
  assert.equal(refusal('\u00a0{"a":1}'), "not_object");
  assert.equal(refusal('{"a":1}\v'), "malformed");
  assert.equal(refusal('{"a":1}\0'), "malformed");
  assert.equal(refusal("[{}]"), "not_object");
  assert.equal(refusal(""), "not_object");
});

test("nesting is accepted up to the limit and refused one level further", () => {
  for (const [open, close] of [
    ["[", "]"],
    ['{"k":', "}"],
  ] as const) {
    const nested = (levels: number): string =>
      `{"a":${open.repeat(levels)}${open === "[" ? "" : "0"}${close.repeat(levels)}}`;
    assert.equal(refusal(nested(JSON_NESTING_MAX)), undefined);
    assert.equal(refusal(nested(JSON_NESTING_MAX + 1)), "too_deep");
  }
});

test("a million nested arrays are refused at the first one beyond the limit", () => {
  const deep = bytesOf(`{"a":${"[".repeat(1_000_000)}`);

  assert.equal(scanner.scan(deep, 0, deep.length), false);

  assert.equal(scanner.reason, "too_deep");
  assert.equal(scanner.refusedAt, 5 + JSON_NESTING_MAX);
});

test("as many keys as the limit are accepted and one more is refused", () => {
  const keys = (count: number): string =>
    `{${Array.from({ length: count }, (_, i) => `"k${i}":${i}`).join(",")}}`;

  assert.equal(refusal(keys(JSON_KEYS_MAX)), undefined);
  assert.equal(scanner.keys, JSON_KEYS_MAX);
  assert.equal(refusal(keys(JSON_KEYS_MAX + 1)), "too_many_keys");
  assert.equal(refusal(`{"nested":${keys(JSON_KEYS_MAX + 1)}}`), undefined);
});

test("the length of a key is counted after its escapes, at every level", () => {
  for (const [letter, width] of [
    ["k", 1],
    ["\\u006b", 1],
    ["\\u00e9", 2],
    ["\u00e9", 2],
    ["\\ud83d\\ude00", 4],
  ] as const) {
    const fits = letter.repeat(JSON_KEY_BYTES_MAX / width);
    assert.equal(refusal(`{"${fits}":1}`), undefined, letter);
    assert.equal(refusal(`{"${fits}x":1}`), "key_too_long", letter);
    assert.equal(refusal(`{"a":[{"${fits}":1}]}`), undefined, letter);
    assert.equal(refusal(`{"a":[{"${fits}x":1}]}`), "key_too_long", letter);
  }
});

test("a top-level key that comes twice is refused however it is spelled", () => {
  assert.equal(refusal('{"a":1,"a":1}'), "duplicate_key");
  assert.equal(refusal('{"a":1,"\\u0061":2}'), "duplicate_key");
  assert.equal(refusal('{"\\u00E9":1,"b":0,"é":2}'), "duplicate_key");
  assert.equal(refusal('{"\\ud83d\\ude00":1,"😀":2}'), "duplicate_key");
  assert.equal(refusal('{"\\ud800":1,"\\uD800":2}'), "duplicate_key");
  assert.equal(refusal('{"":1,"":2}'), "duplicate_key");
  assert.equal(refusal('{"__proto__":1,"__proto__":2}'), "duplicate_key");

  assert.equal(refusal('{"a":1,"A":1,"":0,"a ":2,"\\ud800":1,"\\ud801":2,"\\ufffd":3}'), undefined);
  assert.equal(refusal('{"a":{"b":1,"b":2},"b":3}'), undefined);
});

test("keys forged to share a hash are refused after a few, before they cost anything", () => {
  const keys = collidingKeys(4);
  const object = (count: number): string =>
    `{${keys.slice(0, count).map((key) => `"${key}":0`)},"${keys[0]}x":0}`;

  assert.equal(new Set(keys).size, 16);
  assert.equal(refusal(object(JSON_KEY_COLLISIONS_MAX + 1)), undefined);
  assert.equal(refusal(object(JSON_KEY_COLLISIONS_MAX + 2)), "too_many_keys");
  assert.equal(refusal(`{"${keys[0]}":0,"${keys[1]}":0,"${keys[0]}":0}`), "duplicate_key");
});

test("a message id is read in any spelling of the right text and in no other", () => {
  const escaped = [...ID].map((c) => `\\u00${c.charCodeAt(0).toString(16)}`).join("");
  for (const member of [`"message_id":"${ID}"`, `"message_id":"${escaped}"`]) {
    for (const text of [`{${member}}`, `{"x":[1],${member} , "y":{}}`]) {
      assert.equal(refusal(text), undefined);
      assert.equal(scanner.messageId, "good");
      assert.equal(messageIdToHex(scanner.id), ID);
    }
  }
  assert.equal(refusal(`{"message\\u005fid":"${ID}"}`), undefined);
  assert.equal(scanner.messageId, "good");

  const values = [
    ...[ID.slice(1), `${ID}0`, `${ID}\\n`, `${ID.slice(1)}\\n`, ID.toUpperCase(), "", ` ${ID}`],
    ...[`${ID.slice(1)}\\u0000`, `${ID.slice(1)}g`, `${ID.slice(2)}é`, `0x${ID.slice(2)}`],
  ].map((text) => `"${text}"`);
  for (const value of [
    ...values,
    "1",
    "123456789012345678901234",
    "null",
    "true",
    `["${ID}"]`,
    "{}",
  ]) {
    assert.equal(refusal(`{"message_id":${value}}`), undefined, value);
    assert.equal(scanner.messageId, "malformed", value);
  }
  for (const text of [
    `{"a":{"message_id":"${ID}"}}`,
    `{"Message_id":"${ID}"}`,
    '{"a":"message_id"}',
  ]) {
    assert.equal(refusal(text), undefined);
    assert.equal(scanner.messageId, "absent", text);
  }
});

test("only the string ACK at the top level makes an ACK", () => {
  for (const text of ['{"type":"ACK"}', '{"a":1,"\\u0074ype":"\\u0041CK"}', '{"type" : "ACK" }']) {
    assert.equal(refusal(text), undefined);
    assert.equal(scanner.isAck, true, text);
  }
  for (const value of [
    '"ack"',
    '"ACK "',
    '"ACK\\u0000"',
    '["ACK"]',
    '{"type":"ACK"}',
    "1",
    "null",
    '""',
  ]) {
    assert.equal(refusal(`{"type":${value}}`), undefined);
    assert.equal(scanner.isAck, false, value);
  }
  assert.equal(refusal('{"a":{"type":"ACK"},"Type":"ACK"}'), undefined);
  assert.equal(scanner.isAck, false);
});

test("what one scan found does not reach the next", () => {
  assert.equal(refusal(`{"type":"ACK","message_id":"${ID}"}`), undefined);

  assert.equal(refusal("{}"), undefined);

  assert.deepEqual(
    [scanner.isAck, scanner.messageId, scanner.keys, scanner.closeAt, scanner.canonical],
    [false, "absent", 0, 1, true],
  );
  assert.equal(refusal('{"a":1}'), undefined);
  assert.equal(refusal('{"a":1}'), undefined, "a key of the scan before is no duplicate");
});

test("a scan reads nothing outside its bounds and finds the closing brace", () => {
  const text = '{"a":"\\u00e9","b":[1.5,-0,true]}';
  const whole = bytesOf(`"\\u${text}"\\u1e5`);
  const from = 3;
  const to = from + bytesOf(text).length;

  assert.equal(scanner.scan(whole, from, to), true);
  assert.equal(scanner.closeAt, to - 1);
  for (let end = from; end < to; end++) {
    assert.equal(scanner.scan(whole, from, end), false, `up to ${end}`);
  }
  assert.equal(scanner.scan(whole, from, to + 1), false);
  assert.equal(scanner.scan(whole.slice(0, to), from, to + 100), true, "beyond the array");
});

test("bytes at the edges of UTF-8 are valid to the scanner where they are to a decoder", () => {
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  const edges = [0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1];
  edges.push(0xec, 0xed, 0xee, 0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xff);
  const document = bytesOf('{"a":"1234"}');
  let valid = 0;
  for (const b0 of edges)
    for (const b1 of edges)
      for (const b2 of [0x7f, 0x80, 0xbf, 0xc0])
        for (const b3 of [0x7f, 0x80, 0xbf, 0xc0]) {
          document.set([b0, b1, b2, b3], 6);
          const expected = decodes(decoder, document);
          valid += expected ? 1 : 0;
          if (scanner.scan(document, 0, document.length) !== expected) {
            assert.fail(`${[b0, b1, b2, b3].map((b) => b.toString(16))}: expected ${expected}`);
          }
        }
  assert.ok(valid > 100);
});

test("damaged documents are judged as JSON.parse and our limits judge them", () => {
  const before = Reflect.ownKeys(Object.prototype);
  const verdicts = { accepted: 0, refused: 0 };

  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 40 }), damagedDocument()), (bytes) => {
      const accepted = scanner.scan(bytes, 0, bytes.length);
      assert.equal(accepted ? undefined : scanner.reason, expectedRefusal(bytes, accepted));
      verdicts[accepted ? "accepted" : "refused"] += 1;
    }),
    { numRuns: 10_000 },
  );

  assert.ok(verdicts.accepted > 500 && verdicts.refused > 500, JSON.stringify(verdicts));
  assert.deepEqual(Reflect.ownKeys(Object.prototype), before);
});

// --- Helpers -----------------------------------------------------------------------------------

function refusal(text: string): JsonRefusal | undefined {
  const bytes = bytesOf(text);
  assert.equal(scanner.scan(bytes, 0, bytes.length), scanner.reason === undefined);
  return scanner.reason;
}

function decodes(decoder: InstanceType<typeof TextDecoder>, bytes: Uint8Array): boolean {
  try {
    const text = decoder.decode(bytes);
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/**
 * The refusal due by JSON.parse and an independent reading of our limits. Which of two faults is
 * named is the scanner's choice, so for bytes with a fault of form only the kind is compared.
 */
function expectedRefusal(bytes: Uint8Array, accepted: boolean): JsonRefusal | undefined {
  const reason = scanner.reason;
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    const value: unknown = JSON.parse(text);
    if (typeof value !== "object" || value === null || Array.isArray(value)) return "not_object";
  } catch {
    assert.equal(accepted, false, "no JSON in UTF-8, yet accepted");
    return reason;
  }
  const { keys, depth, longest } = outline(text);
  if (new Set(keys).size < keys.length && reason === "duplicate_key") return "duplicate_key";
  if (depth > JSON_NESTING_MAX && reason === "too_deep") return "too_deep";
  if (longest > JSON_KEY_BYTES_MAX && reason === "key_too_long") return "key_too_long";
  const clean =
    new Set(keys).size === keys.length &&
    depth <= JSON_NESTING_MAX &&
    longest <= JSON_KEY_BYTES_MAX;
  return clean ? undefined : "duplicate_key";
}

/** Top-level keys, depth below the top and longest key of valid JSON, by regular expression. */
function outline(text: string): {
  readonly keys: readonly string[];
  readonly depth: number;
  readonly longest: number;
} {
  const keys: string[] = [];
  let depth = -1;
  let deepest = 0;
  let longest = 0;
  for (const [token, string, colon] of text.matchAll(/("(?:[^"\\]|\\.)*")(\s*:)?|[[\]{}]/g)) {
    if (string !== undefined && colon !== undefined) {
      const key = String(JSON.parse(string));
      longest = Math.max(longest, bytesOf(key).length);
      if (depth === 0) keys.push(key);
    } else if (token === "{" || token === "[") {
      depth += 1;
      deepest = Math.max(deepest, depth);
    } else if (token === "}" || token === "]") {
      depth -= 1;
    }
  }
  return { keys, depth: deepest, longest };
}

/** 2^steps different keys with one FNV-1a hash: pairs of blocks that lead to the same state. */
function collidingKeys(steps: number): readonly string[] {
  let keys = [""];
  let state = 0x811c9dc5 | 0;
  const fnv = (from: number, block: string): number => {
    let hash = from;
    for (let i = 0; i < block.length; i++)
      hash = Math.imul(hash ^ block.charCodeAt(i), 0x0100_0193);
    return hash;
  };
  for (let step = 0; step < steps; step++) {
    const seen = new Map<number, string>();
    for (let i = 0; ; i++) {
      const block = (Math.imul(i, 0x9e37_79b1) >>> 0).toString(36);
      const hash = fnv(state, block);
      const other = seen.get(hash);
      if (other !== undefined) {
        keys = keys.flatMap((key) => [key + other, key + block]);
        state = hash;
        break;
      }
      seen.set(hash, block);
    }
  }
  return keys;
}
