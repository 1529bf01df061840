// The canonical form of JSON, against JSON.stringify and JSON.parse.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { JsonScanner } from "../../src/shared/protocol/json.js";
import { CANONICAL_GROWTH_MAX, canonicalInto } from "../../src/shared/protocol/json-canonical.js";
import { bytesOf, dice, formOf, member, spell } from "./json-model.js";

const scanner = new JsonScanner();

test("each row of spellings has one canonical form", () => {
  const rows: readonly (readonly [string, ...string[]])[] = [
    ['{"a":1}', ' { "a" : 1 }\n', '{"\\u0061":1}'],
    ['{"a":1000}', '{"a":1e3}', '{"a":1000.0}', '{"a":1E+03}', '{"a":10.00e2}', '{"a":1000}'],
    ['{"a":0}', '{"a":-0}', '{"a":-0.0}', '{"a":0e9}', '{"a":1e-400}'],
    ['{"a":1e+22}', '{"a":1.0e22}', '{"a":1.0E+22}', '{"a":10000000000000000000000.0}'],
    ['{"a":0.1}', '{"a":0.10}', '{"a":1e-1}', '{"a":0.1000000000000000055511151231257827}'],
    ['{"a":0.3}', '{"a":0.299999999999999999}', '{"a":0.3000000000000000}'],
    ['{"s":"/"}', '{"s":"\\/"}'],
    ['{"a":1e-7}', '{"a":0.0000001}', '{"a":1.0e-07}'],
    ['{"a":9007199254740993}', '{"a": 9007199254740993}'],
    ['{"a":1e+400}', '{"a":1E+400}'],
    ['{"s":"é/😀"}', '{"s":"\\u00e9\\/\\uD83D\\uDE00"}', '{"s":"\\u00E9\\u002f😀"}'],
    ['{"s":"\\"\\\\\\b\\f\\n\\r\\t"}', '{"s":"\\u0022\\u005c\\u0008\\u000C\\u000a\\u000d\\u0009"}'],
    ['{"s":"\\u001f\\u0000"}', '{"s":"\\u001F\\u0000"}'],
    ['{"s":"\\ud83dx\\ude00"}', '{"s":"\\uD83Dx\\uDE00"}'],
    ['{"s":"\u007f\u2028"}', '{"s":"\\u007f\\u2028"}'],
  ];
  const forms = new Set<string>();
  for (const [form, ...spellings] of rows) {
    forms.add(form);
    for (const text of [form, ...spellings]) {
      assert.equal(canonicalText(text), form);
      if (text !== form) assert.equal(scanner.canonical, false, text);
    }
  }
  assert.equal(forms.size, rows.length);
});

test("usual texts are recognised as canonical without a copy", () => {
  for (const text of [
    "{}",
    '{"a":[-1,21.5,-0.25,0.000001,true,false,null,{}]}',
    '{"é":"\\n\\ud800"}',
  ]) {
    const bytes = bytesOf(text);
    assert.equal(scanner.scan(bytes, 0, bytes.length), true);
    assert.equal(scanner.canonical, true, text);
  }
});

test("the canonical form of any spelling is that of JSON.stringify with numbers kept", () => {
  fc.assert(
    fc.property(member(), fc.nat(), fc.nat(), (model, seed, otherSeed) => {
      const form = formOf(model);
      const text = spell(model, dice(seed));

      assert.equal(canonicalText(text), form);
      if (scanner.canonical) assert.equal(text, form);
      assert.equal(canonicalText(spell(model, dice(otherSeed))), form);
      assert.equal(canonicalText(form), form, "idempotent");
      assert.deepEqual(
        withoutNegativeZero(JSON.parse(form)),
        withoutNegativeZero(JSON.parse(text)),
      );
    }),
    { numRuns: 2_000 },
  );
});

test("different values have different canonical forms", () => {
  let different = 0;
  fc.assert(
    fc.property(member(), member(), (left, right) => {
      const same = canonicalText(spell(left, dice(1))) === canonicalText(spell(right, dice(2)));
      different += same ? 0 : 1;
      if (same) assert.deepEqual(JSON.parse(formOf(left)), JSON.parse(formOf(right)));
      else assert.notEqual(formOf(left), formOf(right));
    }),
  );
  assert.ok(different > 0);
});

test("no number grows by more than the promised factor", () => {
  const alphabet = [..."0159-+.eE"];
  let texts = [""];
  let numbers = 0;
  for (let length = 1; length <= 5; length++) {
    texts = texts.flatMap((text) => alphabet.map((character) => text + character));
    for (const text of texts) numbers += growthIsBounded(text) ? 1 : 0;
  }
  assert.ok(numbers > 4_000, `${numbers}`);

  fc.assert(
    fc.property(fc.double({ noNaN: true, noDefaultInfinity: true }), (value) => {
      growthIsBounded(value.toExponential());
      growthIsBounded(value.toExponential(0));
    }),
  );
});

// --- Helpers -----------------------------------------------------------------------------------

function canonicalText(text: string): string {
  const bytes = bytesOf(text);
  assert.equal(scanner.scan(bytes, 0, bytes.length), true, text);
  const out = new Uint8Array(CANONICAL_GROWTH_MAX * bytes.length);
  return new TextDecoder().decode(out.subarray(0, canonicalInto(bytes, 0, bytes.length, out)));
}

/** Whether the text is a number; asserts the bound of the canonical form if it is. */
function growthIsBounded(text: string): boolean {
  const number = bytesOf(text);
  const document = bytesOf(`{"":${text}}`);
  if (!scanner.scan(document, 0, document.length)) return false;
  const out = new Uint8Array(64 + CANONICAL_GROWTH_MAX * text.length);
  const length = canonicalInto(number, 0, number.length, out);
  assert.ok(length <= CANONICAL_GROWTH_MAX * number.length, `${text}: ${length}`);
  return true;
}

function withoutNegativeZero(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value));
}
