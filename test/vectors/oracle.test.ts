// An implementation that shares no line with ours reads what the crypto worker seals, and the crypto
// worker reads what that implementation seals: the classic wire, byte for byte.

import assert from "node:assert/strict";
import { test } from "node:test";
import { chacha20poly1305 } from "@noble/ciphers/chacha.js";
import fc from "fast-check";
import { NO_RING } from "../../src/shared/protocol/slot.js";
import {
  BODY_OFFSET_BYTES,
  datagramLengthOf,
  JOB,
  OUTCOME,
  SlabTable,
  wordOf,
} from "../../src/shared/runtime/slab.js";
import { KeyRings } from "../../src/workers/key-rings.js";
import { SlabWork } from "../../src/workers/slab-work.js";

const ID = "0123456789abcdef01234567";
const stampBytes = (stamp: bigint): Uint8Array => {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, stamp, false);
  return bytes;
};
const body = (text: string): Uint8Array =>
  new TextEncoder().encode(JSON.stringify({ text, message_id: ID }));

function worker(key: Uint8Array): SlabWork {
  const rings = new KeyRings();
  const current = Uint8Array.from(key);
  rings.install([{ current, previous: undefined, next: undefined, pairInfo: undefined }]);
  return new SlabWork(rings);
}

const key = fc.uint8Array({ minLength: 32, maxLength: 32 });
const nonce = fc.uint8Array({ minLength: 12, maxLength: 12 });
const stamp = fc.bigInt({ min: 0n, max: 2n ** 62n - 1n });
const text = fc.string({ maxLength: 500, unit: "grapheme" });

test("what the worker seals, another implementation opens: nonce, stamp, body, tag", () => {
  fc.assert(
    fc.property(key, stamp, text, (secret, time, content) => {
      const payload = body(content);
      const table = SlabTable.allocate();
      const index = table.add(datagramLengthOf(payload.length));
      const word = wordOf(index);
      const at = table.words[word + 1] as number;
      table.words[word] = JOB.seal;
      table.words[word + 2] = payload.length;
      table.words[word + 5] = Number(time & 0xffff_ffffn);
      table.words[word + 6] = Number(time >> 32n);
      table.bytes.set(payload, at + BODY_OFFSET_BYTES);

      worker(secret).run(table);

      assert.equal(table.words[word], OUTCOME.sealed);
      const datagram = table.bytes.slice(at, at + datagramLengthOf(payload.length));
      const plain = chacha20poly1305(secret, datagram.slice(0, 12)).decrypt(datagram.slice(12));
      assert.deepEqual(plain.slice(0, 8), stampBytes(time));
      assert.deepEqual(plain.slice(8), payload);
    }),
    { numRuns: 200 },
  );
});

test("what another implementation seals, the worker opens, and reads its stamp and id", () => {
  fc.assert(
    fc.property(key, nonce, stamp, text, (secret, random, time, content) => {
      const payload = body(content);
      const plain = Uint8Array.from([...stampBytes(time), ...payload]);
      const datagram = Uint8Array.from([
        ...random,
        ...chacha20poly1305(secret, random).encrypt(plain),
      ]);
      const table = SlabTable.allocate();
      const word = wordOf(table.add(datagram.length));
      table.words[word] = JOB.open;
      table.words[word + 4] = NO_RING;
      table.bytes.set(datagram, table.words[word + 1]);

      worker(secret).run(table);

      assert.equal(table.words[word], OUTCOME.message);
      const high = BigInt(table.words[word + 6] as number);
      assert.equal((high << 32n) | BigInt(table.words[word + 5] as number), time);
      const idAt = (word + 9) * 4;
      assert.equal(Buffer.from(table.bytes.slice(idAt, idAt + 12)).toString("hex"), ID);
    }),
    { numRuns: 200 },
  );
});
