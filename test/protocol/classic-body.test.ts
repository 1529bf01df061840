// The body of a classic envelope, read and made; and the text of message ids.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  ACK_BODY_BYTES,
  ackBodyInto,
  ClassicBody,
  type PreparedPayload,
  prepareOutbound,
} from "../../src/shared/protocol/classic-body.js";
import { BODY_BYTES_MAX, ENVELOPE_OVERHEAD_BYTES } from "../../src/shared/protocol/constants.js";
import { JSON_KEYS_MAX } from "../../src/shared/protocol/json-keys.js";
import { messageIdFromHex, messageIdToHex } from "../../src/shared/protocol/message-id.js";
import { bytesOf, damagedDocument, dice, member, spell } from "./json-model.js";

const ROW = "0123456789abcdef01234567";
const FRESH = "ffeeddccbbaa998877665544";
const body = new ClassicBody();

test("an ACK is the very text that classic peers send, written in place", () => {
  const out = new Uint8Array(ACK_BODY_BYTES + 4).fill(0x2a);
  const ids = new Uint8Array([0, 0, 0, ...idOf(ROW)]);

  assert.equal(ackBodyInto(out, 2, ids, 3), ACK_BODY_BYTES);

  assert.equal(textOf(out), `**{"type":"ACK","message_id":"${ROW}"}**`);
  assert.equal(body.parse(out, 2, 2 + ACK_BODY_BYTES), "ack");
  assert.deepEqual(body.id, idOf(ROW));
  assert.equal(body.canonical, true);
});

test("a body is judged by form, then limits, then id, then type", () => {
  const rows: readonly (readonly [string, string])[] = [
    [`{"message_id":"${ROW}"}`, "message"],
    [`{"type":"ack","message_id":"${ROW}"}`, "message"],
    [`{"type":["ACK"],"message_id":"${ROW}"}`, "message"],
    [`{"x":{"type":"ACK"},"message_id":"${ROW}"}`, "message"],
    [`{"state":"sent","message_id":"${ROW}","type":"ACK","n":[1]}`, "ack"],
    ['{"type":"ACK"}', "message_id_missing"],
    ['{"type":"ACK","message_id":"1"}', "message_id_missing"],
    ["{}", "message_id_missing"],
    [`{"message_id":"${ROW.toUpperCase()}"}`, "message_id_missing"],
    [`{"message_id":"${ROW}","message_id":"${ROW}"}`, "body_hostile"],
    [`{"message_id":"${ROW}","a":${"[".repeat(33)}${"]".repeat(33)}}`, "body_hostile"],
    [`{"message_id":"${ROW}","${"k".repeat(1_025)}":1}`, "body_hostile"],
    [`["${ROW}"]`, "body_not_object"],
    [`{"message_id":"${ROW}"`, "body_not_object"],
    [`{"message_id":"${ROW}"}{}`, "body_not_object"],
    ["", "body_not_object"],
  ];
  for (const [text, verdict] of rows) {
    const bytes = bytesOf(text);
    assert.equal(body.parse(bytes, 0, bytes.length), verdict, text);
  }
});

test("a payload without an id gets the row's, or a fresh one, before its closing brace", () => {
  for (const [payload, head, tail] of [
    ["{}", "{", "}"],
    [" { } \n", " { ", "} \n"],
    ['{"a":1}', '{"a":1,', "}"],
    ['{"a":{} , "b":[ {} ]\t}\r\n', '{"a":{} , "b":[ {} ]\t,', "}\r\n"],
    ['{"s":"}é\\u00e9","n":1e3}', '{"s":"}é\\u00e9","n":1e3,', "}"],
    ['{"x":{"message_id":"no"}}', '{"x":{"message_id":"no"},', "}"],
  ] as const) {
    for (const [row, id] of [
      [ROW, ROW],
      [undefined, FRESH],
    ] as const) {
      const prepared = accepted(prepare(payload, row));
      assert.equal(textOf(prepared.payload), `${head}"message_id":"${id}"${tail}`);
      assert.equal(messageIdToHex(prepared.id), id);
      assert.equal(prepared.changed, true);
    }
  }
});

test("a payload with the right id goes out untouched", () => {
  for (const payload of [`{"message_id":"${ROW}"}`, ` {"a":1,"message_\\u0069d" : "${ROW}"} `]) {
    for (const row of [ROW, undefined]) {
      const bytes = bytesOf(payload);
      const prepared = accepted(
        prepareOutbound(bytes, row === undefined ? row : idOf(row), idOf(FRESH)),
      );

      assert.equal(prepared.payload, bytes);
      assert.equal(textOf(bytes), payload);
      assert.equal(messageIdToHex(prepared.id), ROW);
      assert.equal(prepared.changed, false);
    }
  }
});

test("the id of one payload survives the next one", () => {
  const first = accepted(prepare(`{"message_id":"${ROW}"}`));

  accepted(prepare(`{"message_id":"${FRESH}"}`));

  assert.equal(messageIdToHex(first.id), ROW);
});

test("what cannot be sent is refused with a sentence that says what to do", () => {
  const deep = `{"a":${"[".repeat(33)}${"]".repeat(33)}}`;
  const keys = Array.from({ length: JSON_KEYS_MAX }, (_, i) => `"k${i}":0`).join(",");
  const rows: readonly (readonly [string, string | undefined, string])[] = [
    [
      `{"message_id":"${FRESH}"}`,
      ROW,
      `payload message_id ${FRESH} does not match the row's message_id ${ROW}; ` +
        "make them equal or leave one out",
    ],
    [
      '{"message_id":"secret"}',
      ROW,
      "payload message_id is not 24 lower-case hex digits in quotes; correct it or leave it out",
    ],
    [
      '{"message_id":null}',
      undefined,
      "payload message_id is not 24 lower-case hex digits in quotes; correct it or leave it out",
    ],
    [
      '{"\\u0074ype":"ACK"}',
      ROW,
      'payload says "type":"ACK", which only acknowledgements may say; use another type',
    ],
    ["hello", ROW, "payload is not a JSON object (byte 0); write it as {...}"],
    ['{"a":tru}', ROW, "payload is not valid JSON (byte 5); correct it there"],
    [deep, ROW, "payload nests arrays and objects more than 32 deep (byte 37); flatten it"],
    ['{"a":1,"a":2}', ROW, "payload has the same top-level key twice (byte 8); keep one of them"],
    [
      `{${keys},"x":0}`,
      ROW,
      `payload has more than 1,024 top-level keys (byte ${keys.length + 3}); ` +
        "group them in nested objects",
    ],
    [
      `{${keys}}`,
      ROW,
      "payload has 1,024 top-level keys and needs message_id as one more; remove a key",
    ],
    [
      `{"${"k".repeat(1_025)}":1}`,
      ROW,
      "payload has a key of more than 1,024 bytes (byte 1); shorten the key",
    ],
  ];
  for (const [payload, row, reason] of rows) assert.equal(refused(prepare(payload, row)), reason);

  const latin1 = new Uint8Array(Buffer.from('{"a":"\xe9"}', "latin1"));
  assert.equal(
    refused(prepareOutbound(latin1, undefined, idOf(FRESH))),
    "payload is not valid UTF-8 (byte 6); write it in UTF-8",
  );
  accepted(prepare(`{${keys.replace('"k0"', '"message_id"').replace("0", `"${ROW}"`)}}`, ROW));
});

test("a payload may fill the largest datagram and no more", () => {
  const withId = (length: number): string => {
    const empty = `{"message_id":"${ROW}","a":""}`;
    return empty.replace('""', `"${"x".repeat(length - empty.length)}"`);
  };
  const withoutId = (length: number): string => `{"a":"${"x".repeat(length - 8)}"}`;
  const spliceBytes = `,"message_id":"${ROW}"`.length;

  assert.equal(BODY_BYTES_MAX + 12 + 8 + 16, 65_507);
  assert.equal(ENVELOPE_OVERHEAD_BYTES, 12 + 8 + 16);
  accepted(prepare(withId(65_471), ROW));
  assert.equal(
    refused(prepare(withId(65_472), ROW)),
    "payload is 65472 bytes, and a classic datagram carries at most 65471; shorten or split it",
  );
  const largest = accepted(prepare(withoutId(65_471 - spliceBytes), ROW));
  assert.equal(largest.payload.length, 65_471);
  assert.equal(
    refused(prepare(withoutId(65_472 - spliceBytes), ROW)),
    "payload with its message_id is 65472 bytes, and a classic datagram carries at most 65471; " +
      "shorten or split it",
  );
});

test("any bytes are sent as a message with the id reported or refused in plain ASCII", () => {
  const ids = fc.uint8Array({ minLength: 12, maxLength: 12 });
  const outcomes = { sent: 0, refused: 0 };

  fc.assert(
    fc.property(damagedDocument(), fc.option(ids, { nil: undefined }), ids, (bytes, row, fresh) => {
      const prepared = prepareOutbound(bytes, row, fresh);
      if ("refused" in prepared) {
        outcomes.refused += 1;
        assert.match(prepared.refused, /^payload [ -~]{1,192}$/);
      } else {
        outcomes.sent += 1;
        const { payload, id } = prepared;
        assert.equal(body.parse(payload, 0, payload.length), "message");
        assert.deepEqual(body.id, id);
        assert.deepEqual(id, row ?? fresh);
      }
    }),
    { numRuns: 2_000 },
  );
  assert.ok(outcomes.sent > 50 && outcomes.refused > 50, JSON.stringify(outcomes));
});

test("splicing adds the id as the last member and changes nothing else", () => {
  fc.assert(
    fc.property(member(), fc.nat(), (model, seed) => {
      const text = spell(model, dice(seed));

      const prepared = accepted(prepare(text, ROW));

      const spliced = textOf(prepared.payload);
      const added = new RegExp(`,?"message_id":"${ROW}"(?=}[ \\t\\r\\n]*$)`);
      assert.equal(spliced.replace(added, ""), text);
      assert.equal(Object.keys(JSON.parse(spliced)).includes("message_id"), true);
    }),
  );
});

test("a message id has one text, 24 lower-case hex digits", () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 12, maxLength: 12 }), (id) => {
      const text = messageIdToHex(id);
      assert.equal(text, Buffer.from(id).toString("hex"));
      assert.deepEqual(messageIdFromHex(text), id);
    }),
  );
  assert.equal(messageIdToHex(new Uint8Array([9, 9, ...idOf(ROW), 9]), 2), ROW);
  const wrong = ["", ROW.slice(1), `${ROW}0`, ROW.toUpperCase(), `${ROW}\n`, `${ROW.slice(1)}\n`];
  wrong.push(`${ROW.slice(1)} `, `${ROW.slice(1)}g`, `${ROW.slice(1)}\u0130`, `${ROW.slice(1)}Ā`);
  for (const text of wrong) assert.equal(messageIdFromHex(text), undefined, text);
});

// --- Helpers -----------------------------------------------------------------------------------

function idOf(hex: string): Uint8Array {
  const id = messageIdFromHex(hex);
  assert.ok(id !== undefined);
  return id;
}

const textOf = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

function prepare(payload: string, row?: string): PreparedPayload {
  const rowId = row === undefined ? undefined : idOf(row);
  return prepareOutbound(bytesOf(payload), rowId, idOf(FRESH));
}

function accepted(prepared: PreparedPayload): Exclude<PreparedPayload, { refused: string }> {
  if ("refused" in prepared) assert.fail(prepared.refused);
  return prepared;
}

function refused(prepared: PreparedPayload): string {
  if (!("refused" in prepared)) assert.fail("it was not refused");
  assert.match(prepared.refused, /^[ -~]{1,200}$/);
  return prepared.refused;
}
