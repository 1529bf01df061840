// Foreign and hostile texts: JSONTestSuite, our hostile payloads, the Big List of Naughty Strings.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { ClassicBody, prepareOutbound } from "../../src/shared/protocol/classic-body.js";
import { JsonScanner } from "../../src/shared/protocol/json.js";
import { CANONICAL_GROWTH_MAX, canonicalInto } from "../../src/shared/protocol/json-canonical.js";

interface Repeat {
  readonly prefix?: string;
  readonly unit: string;
  readonly count: number;
  readonly numbered?: boolean;
  readonly middle?: string;
  readonly unit2?: string;
  readonly count2?: number;
  readonly suffix: string;
}
interface Case {
  readonly name: string;
  readonly base64?: string;
  readonly repeat?: Repeat;
}
interface SuiteCase extends Case {
  readonly expect: "accept" | "reject" | "implementation";
}
interface HostileCase extends Case {
  readonly verdict: string;
}

const suite = load<{ readonly cases: readonly SuiteCase[] }>("json/json_test_suite.json").cases;
const hostile = load<{ readonly cases: readonly HostileCase[] }>(
  "json/hostile_payloads.json",
).cases;
const naughty = load<readonly string[]>("text/blns.json");
const scanner = new JsonScanner();

/** Valid JSON that we refuse at the top level by our own rule; accepted as a member. */
const OURS = new Map([
  ["y_object_duplicated_key", "duplicate_key"],
  ["y_object_duplicated_key_and_value", "duplicate_key"],
]);

test("every text that the suite accepts is accepted as a member, and an object by itself", () => {
  const cases = suite.filter((c) => c.expect === "accept");
  let objects = 0;
  for (const c of cases) {
    const bytes = bytesOf(c);
    assert.equal(accepts(wrapped(bytes)), true, c.name);
    const isObject = /^[ \t\r\n]*\{/.test(Buffer.from(bytes).toString("latin1"));
    objects += isObject ? 1 : 0;
    const reason = accepts(bytes) ? undefined : scanner.reason;
    assert.equal(reason, isObject ? OURS.get(c.name) : "not_object", c.name);
  }
  assert.deepEqual([cases.length, objects > 10], [95, true]);
});

test("every text that the suite rejects is refused, alone and as a member", () => {
  const cases = suite.filter((c) => c.expect === "reject");
  for (const c of cases) {
    assert.equal(accepts(bytesOf(c)), false, c.name);
    assert.equal(accepts(wrapped(bytesOf(c))), false, c.name);
  }
  assert.equal(cases.length, 188);
});

test("texts that the suite leaves open are judged as a strict JSON.parse judges them", () => {
  const cases = suite.filter((c) => c.expect === "implementation");
  const different: string[] = [];
  for (const c of cases) {
    const bytes = wrapped(bytesOf(c));
    if (accepts(bytes) !== strictlyParses(bytes)) different.push(`${c.name}: ${scanner.reason}`);
  }
  assert.equal(cases.length, 57);
  // Ours: 32 levels are enough for a message, and what comes after JSON.parse dies of deeper ones.
  assert.deepEqual(different, ["i_structure_500_nested_arrays: too_deep"]);
});

test("the canonical form of whatever the suite holds is canonical and has the same value", () => {
  let compared = 0;
  for (const c of suite) {
    const bytes = wrapped(bytesOf(c));
    if (!accepts(bytes)) continue;
    const form = canonical(bytes);
    assert.deepEqual(canonical(form), form, c.name);
    // Negative zero: our form of every zero is 0, and so is JSON.stringify's.
    assert.equal(JSON.stringify(parsed(form)), JSON.stringify(parsed(bytes)), c.name);
    compared += 1;
  }
  assert.ok(compared > 120);
});

test("every hostile payload gets its verdict, and no object of the daemon changes", () => {
  const before = Reflect.ownKeys(Object.prototype);
  const body = new ClassicBody();
  const rejected: Record<string, number> = {};
  for (const c of hostile) {
    const bytes = bytesOf(c);
    const verdict = body.parse(bytes, 0, bytes.length);
    assert.ok(expectedVerdicts(c).includes(verdict), `${c.name}: ${verdict}`);
    if (c.verdict === "reject") rejected[verdict] = (rejected[verdict] ?? 0) + 1;
  }
  assert.equal(hostile.length, 48);
  assert.deepEqual(rejected, { body_not_object: 15, message_id_missing: 8, body_hostile: 7 });
  assert.deepEqual(Reflect.ownKeys(Object.prototype), before);
  assert.equal(Reflect.get({}, "polluted"), undefined);
});

test("whatever a host agrees to send, the other agrees to read", () => {
  const body = new ClassicBody();
  const fresh = new Uint8Array(12).fill(0xab);
  let sent = 0;
  for (const c of [...suite, ...hostile]) {
    for (const payload of [bytesOf(c), wrapped(bytesOf(c))]) {
      const prepared = prepareOutbound(payload, undefined, fresh);
      if ("refused" in prepared) continue;
      assert.equal(body.parse(prepared.payload, 0, prepared.payload.length), "message", c.name);
      assert.deepEqual(body.id, prepared.id, c.name);
      sent += 1;
    }
  }
  assert.ok(sent > 120);
});

test("naughty strings pass as keys and as values, raw and escaped, and keep their text", () => {
  for (const text of naughty) {
    for (const key of [text, "value"]) {
      const object = Object.fromEntries([[key, text]]);
      const bytes = Buffer.from(JSON.stringify(object));
      const escaped = Buffer.from(escapeAll(JSON.stringify(object)));

      assert.equal(accepts(bytes), true, text);
      assert.equal(scanner.canonical, true, text);
      assert.equal(accepts(escaped), true, text);
      assert.deepEqual(canonical(escaped), new Uint8Array(bytes), text);
    }
  }
  assert.equal(naughty.length, 515);
});

// --- Helpers -----------------------------------------------------------------------------------

function load<T>(path: string): T {
  const file = new URL(`../../../test/vectors/${path}`, import.meta.url);
  return JSON.parse(readFileSync(file, "utf8"));
}

/** Where the corpus leaves a choice: we accept, store the bytes as they are and build nothing. */
function expectedVerdicts(c: HostileCase): readonly string[] {
  switch (c.verdict) {
    case "reject":
      return ["body_not_object", "body_hostile", "message_id_missing"];
    case "bounded-time":
      return ["body_hostile"];
    // Whether anybody waits for this ACK is not the body's business.
    case "drop-silently":
    case "accept-ignore-extra":
      return ["ack"];
    default:
      return ["message"];
  }
}

function bytesOf(c: Case): Uint8Array {
  const { repeat } = c;
  if (repeat === undefined) return new Uint8Array(Buffer.from(c.base64 ?? "", "base64"));
  const unit = (i: number): string =>
    repeat.numbered === true ? repeat.unit.replace("#", `${i}`) : repeat.unit;
  const units = Array.from({ length: repeat.count }, (_, i) => unit(i)).join("");
  const closing = (repeat.unit2 ?? "").repeat(repeat.count2 ?? 0);
  const text = `${repeat.prefix ?? ""}${units}${repeat.middle ?? ""}${closing}${repeat.suffix}`;
  return new TextEncoder().encode(text);
}

function wrapped(document: Uint8Array): Uint8Array {
  return new Uint8Array(Buffer.concat([Buffer.from('{"x":'), document, Buffer.from("}")]));
}

const accepts = (bytes: Uint8Array): boolean => scanner.scan(bytes, 0, bytes.length);

function canonical(bytes: Uint8Array): Uint8Array {
  const out = new Uint8Array(CANONICAL_GROWTH_MAX * bytes.length);
  return out.slice(0, canonicalInto(bytes, 0, bytes.length, out));
}

function parsed(bytes: Uint8Array): unknown {
  return JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes));
}

function strictlyParses(bytes: Uint8Array): boolean {
  try {
    parsed(bytes);
    return true;
  } catch {
    return false;
  }
}

/** Every character inside strings as \uXXXX, but those that are escaped already. */
function escapeAll(text: string): string {
  return text.replace(/\\u....|\\.|[^\\]/gs, (token) => {
    if (token.length > 1 || '{}:"'.includes(token)) return token;
    return `\\u${token.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
}
