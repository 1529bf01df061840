// Handshake patterns of Noise rev 34 §7.5 as tokens, and the psk modifiers of §9.4.

import { assert } from "../../base/assert.js";

/** Source: Noise rev 34 §5.3, §9.2. */
export type Token = "e" | "s" | "ee" | "es" | "se" | "ss" | "psk";

export interface HandshakePattern {
  /** The responder knows the initiator's static key from before ("-> s" above the dots). */
  readonly initiatorKnown: boolean;
  /** The initiator knows the responder's static key from before ("<- s" above the dots). */
  readonly responderKnown: boolean;
  /** One list a message; the initiator writes the first, then they take turns. */
  readonly messages: readonly (readonly Token[])[];
  /** How many pre-shared keys it takes. */
  readonly psks: number;
}

type Fundamental = Omit<HandshakePattern, "psks">;

const FUNDAMENTAL: Readonly<Record<string, Fundamental>> = {
  NN: { initiatorKnown: false, responderKnown: false, messages: [["e"], ["e", "ee"]] },
  NK: {
    initiatorKnown: false,
    responderKnown: true,
    messages: [
      ["e", "es"],
      ["e", "ee"],
    ],
  },
  KK: {
    initiatorKnown: true,
    responderKnown: true,
    messages: [
      ["e", "es", "ss"],
      ["e", "ee", "se"],
    ],
  },
  XK: {
    initiatorKnown: false,
    responderKnown: true,
    messages: [
      ["e", "es"],
      ["e", "ee"],
      ["s", "se"],
    ],
  },
  IK: {
    initiatorKnown: false,
    responderKnown: true,
    messages: [
      ["e", "es", "s", "ss"],
      ["e", "ee", "se"],
    ],
  },
  XX: {
    initiatorKnown: false,
    responderKnown: false,
    messages: [["e"], ["e", "ee", "s", "es"], ["s", "se"]],
  },
};

/** The pattern of a name like "XX", "KKpsk0" or "NNpsk0+psk2". */
export function patternOf(name: string): HandshakePattern {
  const base = name.slice(0, 2);
  const modifiers = name.length === 2 ? [] : name.slice(2).split("+");
  assert(Object.hasOwn(FUNDAMENTAL, base), `a known pattern: ${name}`);
  const { messages, ...known } = FUNDAMENTAL[base];
  const changed = modifiers.reduce(withPsk, messages);
  return { ...known, messages: changed, psks: modifiers.length };
}

/** "psk0" stands before the first message's tokens, "pskN" after those of message N. */
function withPsk(
  messages: readonly (readonly Token[])[],
  modifier: string,
): readonly (readonly Token[])[] {
  const place = Number(modifier.slice(3));
  assert(/^psk\d$/.test(modifier) && place <= messages.length, `a known modifier: ${modifier}`);
  return messages.map((tokens, i): readonly Token[] => {
    if (place === 0 && i === 0) return ["psk", ...tokens];
    return place === i + 1 ? [...tokens, "psk"] : tokens;
  });
}
