// What reading a body costs: the scan that every payload passes, the canonical form of those that are
// not canonical already, the digest.

import { JsonScanner } from "../src/shared/protocol/json.js";
import { CANONICAL_BYTES_MAX, canonicalInto } from "../src/shared/protocol/json-canonical.js";
import { blake2b } from "../src/workers/aead.js";
import type { Part } from "./micro.js";
import { partsReport } from "./parts-report.js";
import { message, mixedPayload } from "./payload.js";
import type { Suite } from "./suite.js";

const SIZES_BYTES = [200, 1_200];
const out = new Uint8Array(CANONICAL_BYTES_MAX);

export const suite: Suite = {
  title: "json: one payload, this thread",
  run: (context) =>
    partsReport(
      {
        title: "Scan, canonical form and digest, by payload bytes",
        parts: SIZES_BYTES.flatMap(partsOf),
        settings: { limits: "32 levels, 1,024 keys" },
        notes: [
          "`plain` is what our clients write (three members, canonical); `mixed` has white space, escapes, " +
            "numbers and an array, so that its digest needs the canonical form",
          "JSON.parse of the same bytes, for comparison: it builds what the scanner only checks, and needs text",
        ],
        per: "call",
      },
      context,
    ),
};

function partsOf(bytes: number): readonly Part[] {
  const digest = new Uint8Array(32);
  const plain = message(1, bytes).payload;
  const kinds = [
    { kind: "plain", payload: plain, canonical: true },
    { kind: "mixed", payload: mixedPayload(bytes), canonical: false },
  ];
  const decoder = new TextDecoder();
  return kinds.flatMap(({ kind, payload, canonical }): readonly Part[] => {
    const scanner = new JsonScanner();
    const { length } = payload;
    if (length !== bytes || !scanner.scan(payload, 0, length) || scanner.canonical !== canonical) {
      throw new Error(`the ${kind} payload of ${bytes} bytes is not what it should be`);
    }
    return [
      { name: `scan, ${kind} ${bytes} B`, bytes, run: () => void scanner.scan(payload, 0, length) },
      {
        name: `canonical form, ${kind} ${bytes} B`,
        bytes,
        run: () => void canonicalInto(payload, 0, length, out),
      },
      { name: `digest, ${kind} ${bytes} B`, bytes, run: () => blake2b(digest, payload) },
      {
        name: `JSON.parse, ${kind} ${bytes} B`,
        bytes,
        run: () => void JSON.parse(decoder.decode(payload)),
      },
    ];
  });
}
