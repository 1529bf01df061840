// Hostile payloads through two real daemons, from a row to a row: what may be sent arrives byte for
// byte, what may not fails with a reason, and nothing of either stops the queue or reaches a log.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { makeId, makePair, Place, until } from "./harness.js";

interface Repeat {
  readonly prefix: string;
  readonly unit: string;
  readonly count: number;
  readonly numbered?: boolean;
  readonly middle?: string;
  readonly unit2?: string;
  readonly count2?: number;
  readonly suffix: string;
}
interface HostileCase {
  readonly name: string;
  readonly verdict: string;
  readonly base64?: string;
  readonly repeat?: Repeat;
}

const VECTORS = new URL("../../../test/vectors/", import.meta.url);
const load = (path: string): unknown => JSON.parse(readFileSync(new URL(path, VECTORS), "utf8"));
const { cases } = load("json/hostile_payloads.json") as { readonly cases: readonly HostileCase[] };
const naughty = load("text/blns.json") as readonly string[];
/** The id in every case of the file; a table holds an id once. */
const FILE_ID = "0123456789abcdef01234567";
const SENT = ["accept", "accept-raw", "accept-never-raw-in-log", "not-an-ack"];
const REFUSED = ["reject", "drop-silently", "accept-ignore-extra"];
/** Verdicts that leave the choice to us: whatever it is, the queue goes on. */
const OPEN = ["accept-raw-or-reject", "accept-inert-or-reject", "bounded-time"];

test("every hostile payload arrives byte for byte or fails with a reason, and the queue goes on", async (t) => {
  const [alice, bob] = await makePair(new Place(t));
  const rows = new Map<number, HostileCase & { readonly bytes: Buffer }>();
  for (const each of cases) {
    const bytes = withOtherId(bytesOf(each));
    const isText = bytes.equals(Buffer.from(bytes.toString()));
    rows.set(alice.insert(bob.port, isText ? bytes.toString() : bytes), { ...each, bytes });
  }
  const last = alice.insert(bob.port, '{"text":"behind them all"}');

  await until(() => alice.state(last) === "acknowledged", "the message behind them");
  const isOver = () => alice.count("outbound", "state NOT IN ('acknowledged','send_failed')") === 0;
  await until(isOver, "every row to be final");

  const copies = new Map(bob.inbound().map((row) => [row.messageId, row.payload]));
  for (const { id, messageId, state, payload, lastError } of alice.outbound()) {
    const { name, verdict, bytes } = rows.get(id) ?? { name: "last", verdict: "", bytes: payload };
    if (SENT.includes(verdict)) assert.equal(state, "acknowledged", `${name}: ${lastError}`);
    else if (REFUSED.includes(verdict)) assert.equal(state, "send_failed", name);
    else assert.ok(id === last || OPEN.includes(verdict), verdict);
    if (state === "acknowledged") {
      assert.deepEqual(copies.get(messageId), payload, name);
      assert.deepEqual(payload, bytes, name);
    } else {
      assert.match(lastError ?? "", /^[\x20-\x7e]{10,}$/, name);
    }
  }
  assert.ok(copies.size > 12 && copies.size < rows.size);
  for (const daemon of [alice, bob]) {
    const said = daemon.log.join("\n");
    assert.doesNotMatch(said, /owned|forged|txt\.exe|DROP TABLE|\\u001b/, "no payload in a log");
    assert.doesNotMatch(said, /[^\x20-\x7e\n]/);
  }
  assert.equal(Object.getPrototypeOf({}), Object.prototype);
});

test("every naughty string arrives as it is, with an id of its producer or of the daemon", async (t) => {
  const [alice, bob] = await makePair(new Place(t));
  const texts = new Map<number, string>();
  alice.write(() => {
    naughty.forEach((text, n) => {
      const own = makeId();
      const payload = n % 2 === 0 ? { text } : { message_id: own, text };
      const id = alice.insert(bob.port, JSON.stringify(payload), n % 2 === 0 ? null : own);
      texts.set(id, text);
    });
  });

  await alice.settled();

  const copies = new Map(bob.inbound().map((row) => [row.messageId, row.payload]));
  for (const { id, messageId, payload } of alice.outbound()) {
    const copy = copies.get(messageId);
    assert.deepEqual(copy, payload);
    const { text } = JSON.parse(String(copy)) as { readonly text: string };
    assert.equal(text, texts.get(id));
  }
  assert.deepEqual([copies.size, texts.size], [naughty.length, naughty.length]);
  assert.ok(alice.logBytes + bob.logBytes < 8_192, "no line per message");
});

function bytesOf({ base64, repeat }: HostileCase): Buffer {
  if (repeat === undefined) return Buffer.from(base64 ?? "", "base64");
  const { prefix, unit, count, numbered, middle = "", unit2 = "", count2 = 0, suffix } = repeat;
  const units = numbered
    ? Array.from({ length: count }, (_, i) => unit.replace("#", String(i))).join("")
    : unit.repeat(count);
  return Buffer.from(prefix + units + middle + unit2.repeat(count2) + suffix);
}

/** The same bytes with a fresh id in place of the file's, in the case that it has it in. */
function withOtherId(bytes: Buffer): Buffer {
  const text = bytes.toString("latin1");
  return Buffer.from(text.replace(FILE_ID, makeId()), "latin1");
}
