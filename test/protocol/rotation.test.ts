import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { KEY_ROLE_NAMES, type KeyRoleName } from "../../src/shared/protocol/session/peer-config.js";
import {
  initialRotation,
  parseRotation,
  type RingNames,
  type RotationEvent,
  type RotationState,
  ringFault,
  rotated,
  rotationPhase,
  rotationText,
  sealingOrder,
} from "../../src/shared/protocol/session/rotation.js";
import { type Budget, type Fault, walkAll } from "./rotation-model.js";

const names = (current: string, next?: string, previous?: string): RingNames => ({
  current,
  next,
  previous,
});
const held = (role: KeyRoleName, wallMs = 5): RotationEvent => ({ kind: "held", role, wallMs });
const used = (role: KeyRoleName, wallMs = 5): RotationEvent => ({ kind: "used", role, wallMs });
const loaded = (...args: Parameters<typeof names>): RotationEvent => ({
  kind: "loaded",
  ring: names(...args),
});
const after = (ring: RingNames, ...events: readonly RotationEvent[]): RotationState =>
  events.reduce(rotated, initialRotation(ring));

test("each event leads to its phase, and to the key that handshakes go under first", () => {
  const table: readonly (readonly [RotationState, string, string])[] = [
    [after(names("a")), "none", "current"],
    [after(names("a"), used("current")), "none", "current"],
    [after(names("a"), loaded("a", "b")), "installed", "current next"],
    [after(names("a", "b"), held("current")), "installed", "current next"],
    [after(names("a", "b"), held("next")), "confirmed", "next current"],
    [after(names("a", "b"), used("current")), "installed", "current next"],
    [after(names("a", "b"), used("next")), "proven", "next current"],
    [after(names("a", "b"), held("previous")), "installed", "current next"],
    [after(names("a", "b"), used("next"), loaded("b")), "none", "current"],
    [
      after(names("a", "b"), used("next"), loaded("b", undefined, "a")),
      "retirable",
      "current previous",
    ],
    [after(names("a", "b"), loaded("b", undefined, "a")), "switched", "previous current"],
    [after(names("b", undefined, "a"), held("current")), "switched", "current previous"],
    [after(names("b", undefined, "a"), used("current")), "retirable", "current previous"],
    [after(names("b", "c", "a"), held("next")), "confirmed", "next current previous"],
    [
      after(names("a", "b"), held("next"), loaded("a"), loaded("a", "b")),
      "installed",
      "current next",
    ],
  ];

  for (const [i, [state, phase, order]] of table.entries()) {
    assert.equal(rotationPhase(state), phase, `row ${i + 1}`);
    assert.equal(sealingOrder(state).join(" "), order, `row ${i + 1}`);
  }
});

test("a fact keeps the time when it became true, and says nothing new twice", () => {
  const first = after(names("a", "b"), held("next", 7));
  const second = rotated(first, used("next", 9));

  assert.deepEqual(second.facts["b"], { heldMs: 7, usedMs: 9 });
  assert.equal(rotated(second, held("next", 11)), second);
  assert.equal(rotated(second, used("next", 11)), second);
  assert.equal(rotated(second, loaded("a", "b")), second);
  assert.equal(rotated(second, used("previous")), second);
  assert.deepEqual(after(names("a"), held("current", 0)).facts["a"].heldMs, 1, "a clock at 1970");
});

test("a ring may be replaced unless the peer might be left without a key", () => {
  const table: readonly (readonly [RotationState, RingNames, string | undefined])[] = [
    [after(names("a")), names("a"), undefined],
    [after(names("a")), names("b"), "foreign"],
    [after(names("a")), names("a", "b"), undefined],
    [after(names("a", "b")), names("a"), undefined],
    [after(names("a", "b"), held("next")), names("a"), "relied"],
    [after(names("a", "b"), used("current")), names("a"), undefined],
    [after(names("a", "b"), held("next")), names("b"), "unproven"],
    [after(names("a", "b"), used("next")), names("b"), undefined],
    [after(names("a", "b")), names("b", undefined, "a"), undefined],
    [after(names("b", undefined, "a")), names("b"), "unproven"],
    [after(names("b", undefined, "a"), used("current")), names("b"), undefined],
    [after(names("b", "c", "a"), used("next")), names("c"), undefined],
    [after(names("b", "c", "a"), used("current")), names("b", "c"), undefined],
    [after(names("b", "c", "a"), used("current")), names("c"), "unproven"],
    [after(names("a", "b")), names("c", "d"), "foreign"],
  ];

  for (const [i, [state, ring, fault]] of table.entries()) {
    assert.equal(ringFault(state, ring), fault, `row ${i + 1}`);
  }
});

const name = fc.stringMatching(/^[0-9a-f]{1,32}$/);
const time = fc.nat();
const someState = fc
  .tuple(
    fc.uniqueArray(name, { minLength: 3, maxLength: 3 }),
    fc.boolean(),
    fc.boolean(),
    fc.array(
      fc.record({
        kind: fc.constantFrom("held" as const, "used" as const),
        role: fc.constantFrom(...KEY_ROLE_NAMES),
        wallMs: time,
      }),
    ),
  )
  .map(([[a, b, c], hasNext, hasPrevious, events]) =>
    after(names(a, hasNext ? b : undefined, hasPrevious ? c : undefined), ...events),
  );

test("a state survives its text", () => {
  fc.assert(
    fc.property(someState, (state) => {
      assert.deepEqual(parseRotation(rotationText(state)), state);
    }),
  );
});

test("text that is no state is no state, never an exception", () => {
  const good = rotationText(after(names("a", "b"), used("next")));
  const bad = [
    "",
    "null",
    "[]",
    "{}",
    good.slice(1),
    good.replace('"v":1', '"v":2'),
    good.replace('"b",', '"c",'),
    good.replace(",5]", ",-5]"),
    good.replace('["a",', "[null,"),
    good.replace('"a"', '"g"'),
    " ".repeat(5_000) + good,
  ];

  assert.ok(parseRotation(good) !== undefined);
  for (const text of bad) assert.equal(parseRotation(text), undefined, text.slice(0, 80));
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
      parseRotation(text);
    }),
  );
});

test("a state whose keys are names of Object's own is a state like any other", () => {
  const state = after(names("a"));

  assert.equal(ringFault(state, names("a", "constructor")), undefined);
  assert.equal(rotationPhase({ ...state, ring: names("a", "constructor") }), "installed");
});

/** What a machine of two cores walks within seconds. */
const BUDGET: Budget = { starts: 1, crashes: 2 };

test("whatever the two hosts do, and whichever is off meanwhile, they share a key", () => {
  const { worlds, stranded, phases } = walkAll(BUDGET);

  assert.equal(stranded, undefined);
  assert.ok(worlds > 1_000, `${worlds} worlds`);
  assert.deepEqual([...phases].sort(), ["confirmed", "installed", "none", "proven"]);
});

for (const fault of [
  "held-late",
  "finish-early",
  "abandon-held",
  "abandon-running",
] satisfies Fault[]) {
  test(`without the rule "${fault}" some order of steps strands a host`, () => {
    assert.ok(walkAll(BUDGET, fault).stranded !== undefined);
  });
}
