// Digests of messages against ones that another implementation of BLAKE2b made.

import assert from "node:assert/strict";
import { test } from "node:test";
import { sessionDigest } from "../../src/workers/session-digest.js";

// Made with Python's hashlib: blake2b(head + data, digest_size=32).
const ID = Uint8Array.from({ length: 12 }, (_, i) => i);
const REPLY = Uint8Array.from({ length: 12 }, (_, i) => 100 + i);
const CASES = [
  {
    flags: 0,
    stream: "",
    data: Buffer.from("hello"),
    digest: "2e2584ce8f9de3971f2c2f9bf3aa210fe88eb77ec22f193a9c7f0947fd059ec9",
  },
  {
    flags: 1 | 8,
    stream: "bestellung ä",
    data: Buffer.alloc(0),
    digest: "80734e222aa8232dbaa296446a83013748e872b5b61e3268269f033b15592c07",
  },
  {
    flags: 2,
    stream: "",
    data: Buffer.alloc(70_000, 0xff),
    digest: "e7b488851aa38d2702b7adcc5a0c6ca0791c89662ec5784bac8542cfc3ff633e",
  },
];

function digestOf(flags: number, stream: string, data: Uint8Array): string {
  const digest = Buffer.alloc(32);
  const bytes = Buffer.concat([Buffer.alloc(3), ID, REPLY]);
  const head = { flags, stream: Buffer.from(stream), bytes, messageIdAt: 3, inReplyToAt: 15 };
  sessionDigest(digest, head, data);
  return digest.toString("hex");
}

test("digests are those of the specification", () => {
  for (const { flags, stream, data, digest } of CASES) {
    assert.equal(digestOf(flags, stream, data), digest);
  }
});

test("how a message travels is none of its digest; what it is, is", () => {
  const [{ data, digest }] = CASES as [(typeof CASES)[0]];

  for (const flags of [4, 0x10, 0x30]) assert.equal(digestOf(flags, "", data), digest);
  assert.equal(digestOf(0, "a stream that is not said", data), digest);
  for (const flags of [1, 2, 8]) assert.notEqual(digestOf(flags, "", data), digest);
});
