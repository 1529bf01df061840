// Values of JSON, their many texts and the one canonical form, made for the tests of the scanner.

import fc from "fast-check";

export function bytesOf(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

/** A value as its author meant it: integers by their text, since they may pass the doubles. */
export type Model =
  | { readonly kind: "integer"; readonly text: string }
  | { readonly kind: "float"; readonly value: number }
  | { readonly kind: "plain"; readonly value: string | boolean | null }
  | { readonly kind: "array"; readonly items: readonly Model[] }
  | { readonly kind: "object"; readonly members: readonly (readonly [string, Model])[] };

const text = (): fc.Arbitrary<string> =>
  fc.oneof(
    fc.string({ unit: "binary", maxLength: 8 }),
    fc.string({
      unit: fc.constantFrom(...'a"\\/\b\n\u0000\u001f\u007fé漢\ud800\udc00'),
      maxLength: 8,
    }),
  );

/** Objects of everything that JSON can say. */
export function member(): fc.Arbitrary<Model> {
  const { object } = fc.letrec<{ value: Model; object: Model }>((tie) => ({
    value: fc.oneof(
      { maxDepth: 4 },
      fc.oneof(
        fc.bigInt().map((n): Model => ({ kind: "integer", text: String(n) })),
        fc
          .double({ noNaN: true, noDefaultInfinity: true })
          .map((value): Model => ({ kind: "float", value })),
        fc.integer({ min: -999, max: 999 }).map((n): Model => ({ kind: "float", value: n / 8 })),
        fc
          .oneof(text(), fc.boolean(), fc.constant(null))
          .map((value): Model => ({ kind: "plain", value })),
      ),
      fc.array(tie("value"), { maxLength: 4 }).map((items): Model => ({ kind: "array", items })),
      tie("object"),
    ),
    object: fc
      .uniqueArray(fc.tuple(text(), tie("value")), { selector: ([key]) => key, maxLength: 5 })
      .map((members): Model => ({ kind: "object", members })),
  }));
  return object;
}

/** What the canonical form has to be, by JSON.stringify. */
export function formOf(model: Model): string {
  switch (model.kind) {
    case "integer":
      return model.text;
    case "float":
      return String(model.value);
    case "plain":
      return JSON.stringify(model.value);
    case "array":
      return `[${model.items.map(formOf).join(",")}]`;
    case "object":
      return `{${model.members.map(([key, v]) => `${JSON.stringify(key)}:${formOf(v)}`)}}`;
  }
}

/** Draws from 0 to `sides` - 1. */
export type Dice = (sides: number) => number;

export function dice(seed: number): Dice {
  let state = seed | 1;
  return (sides) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % sides;
  };
}

/** One of the many texts of a value. */
export function spell(model: Model, roll: Dice): string {
  const gap = (): string => (roll(3) === 0 ? (["", " ", "\n", "\t\r "][roll(4)] ?? "") : "");
  const list = (items: readonly string[]): string => items.map((i) => gap() + i + gap()).join(",");
  switch (model.kind) {
    case "integer":
      return model.text === "0" && roll(2) === 0 ? "-0" : model.text;
    case "float":
      return spellFloat(model.value, roll);
    case "plain":
      return typeof model.value === "string" ? spellString(model.value, roll) : String(model.value);
    case "array":
      return `[${list(model.items.map((item) => spell(item, roll)))}${gap()}]`;
    case "object":
      return `{${list(
        model.members.map(
          ([key, v]) => `${spellString(key, roll)}${gap()}:${gap()}${spell(v, roll)}`,
        ),
      )}${gap()}}`;
  }
}

function spellFloat(value: number, roll: Dice): string {
  const plain = String(value);
  const shape = roll(4);
  if (shape === 0) return value.toExponential();
  if (shape === 1)
    return value
      .toExponential()
      .replace("e", roll(2) === 0 ? "E" : "e")
      .replace("+", "");
  if (plain.includes("e")) return plain;
  if (shape === 2) return plain.includes(".") ? `${plain}00` : `${plain}.0`;
  return plain.includes(".") ? plain : `${plain}e0`;
}

function spellString(value: string, roll: Dice): string {
  let spelled = "";
  for (let i = 0; i < value.length; i++) {
    const unit = value.charCodeAt(i);
    const hex = unit.toString(16).padStart(4, "0");
    const must =
      unit < 0x20 || unit === 0x22 || unit === 0x5c || (unit >= 0xd800 && unit <= 0xdfff);
    const choice = roll(4);
    if (choice === 0) spelled += `\\u${roll(2) === 0 ? hex.toUpperCase() : hex}`;
    else if (unit === 0x2f && choice === 1) spelled += "\\/";
    else if (must) spelled += pairOrEscape(value, i);
    else spelled += value.charAt(i);
    // A raw pair was written with its first half.
    if (must && choice !== 0 && isPair(value, i)) i += 1;
  }
  return `"${spelled}"`;
}

function pairOrEscape(value: string, at: number): string {
  return JSON.stringify(isPair(value, at) ? value.slice(at, at + 2) : value.charAt(at)).slice(
    1,
    -1,
  );
}

const isPair = (value: string, at: number): boolean => (value.codePointAt(at) ?? 0) > 0xffff;

/** Valid texts with up to three bytes replaced, removed or put in. */
export function damagedDocument(): fc.Arbitrary<Uint8Array> {
  const interesting = [...'"\\{}[],:u0123e.+- \n\tatfn/'].map((c) => c.charCodeAt(0));
  const byte = fc.oneof(fc.constantFrom(...interesting), fc.integer({ min: 0, max: 255 }));
  const damage = fc.tuple(fc.nat(), byte, fc.constantFrom("replace", "remove", "insert", "double"));
  return fc
    .tuple(member(), fc.nat(), fc.array(damage, { maxLength: 3 }))
    .map(([model, seed, damages]) => {
      const bytes = [...bytesOf(spell(model, dice(seed)))];
      for (const [where, value, how] of damages) {
        const at = where % (bytes.length + 1);
        if (how === "insert") bytes.splice(at, 0, value);
        else if (how === "remove") bytes.splice(at, 1);
        else if (how === "replace") bytes.splice(at, 1, value);
        else bytes.splice(at, 0, ...bytes.slice(at, at + 8));
      }
      return Uint8Array.from(bytes);
    });
}
