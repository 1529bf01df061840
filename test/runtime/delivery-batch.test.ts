// What goes into a batch of deliveries comes out of it, on both sides of the thread.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  DELIVERED,
  type MessageDelivery,
  type PieceDelivery,
} from "../../src/shared/protocol/session/ports.js";
import {
  DELIVERY_KIND,
  DELIVERY_RECORD_HEADER_BYTES,
  DeliveryBatchReader,
  DeliveryBatchWriter,
} from "../../src/shared/runtime/delivery-batch.js";

const scopeOf = (peer: number): string => `scope of ${peer}`;
const MIB = 1_024 * 1_024;
const whole = fc.maxSafeNat();
const bytesOf = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });

const message: fc.Arbitrary<MessageDelivery> = fc
  .record({
    peer: fc.nat(3),
    token: whole,
    boot: bytesOf(8),
    number: whole,
    flags: fc.constantFrom(0, 1, 2, 9, 11),
    stream: fc.constantFrom("", "a", "räksmörgås"),
    sequence: whole,
    resume: fc.boolean(),
    gapFirst: whole,
    gapLast: whole,
    bytes: fc.uint8Array({ minLength: 70, maxLength: 300 }),
    sentWallNs: fc.double({ min: 0, max: 2e18 }),
    address: fc.constantFrom("192.0.2.1", "2001:db8::1"),
    port: fc.nat(65_535),
  })
  .map((made) => ({
    ...made,
    messageIdAt: 3,
    inReplyToAt: 20,
    payloadAt: 50,
    payloadLength: made.bytes.length - 50,
  }));
const piece: fc.Arbitrary<PieceDelivery> = fc
  .record({ of: message, total: whole, offset: whole, last: fc.boolean() })
  .map(({ of, ...rest }) => ({ ...of, ...rest, digest16At: 33 }));
let boots = 0;
function bootAfter(): Uint8Array {
  const boot = new Uint8Array(8);
  new DataView(boot.buffer).setUint32(0, ++boots);
  return boot;
}

type Handed =
  | { readonly kind: "message"; readonly of: MessageDelivery }
  | { readonly kind: "piece"; readonly of: PieceDelivery }
  | { readonly kind: "settled"; readonly peer: number; boot: Uint8Array; below: number }
  | { readonly kind: "drop"; readonly peer: number; id: Uint8Array };
const handed: fc.Arbitrary<Handed> = fc.oneof(
  message.map((of): Handed => ({ kind: "message", of })),
  piece.map((of): Handed => ({ kind: "piece", of })),
  // Each of another boot: those of one become one record (delivery-lanes.test.ts).
  fc
    .record({ peer: fc.nat(3), below: whole })
    .map((of): Handed => ({ kind: "settled", ...of, boot: bootAfter() })),
  fc.record({ kind: fc.constant("drop"), peer: fc.nat(3), id: bytesOf(12) }),
);

function append(writer: DeliveryBatchWriter, each: Handed): boolean {
  if (each.kind === "message") return writer.message(each.of);
  if (each.kind === "piece") return writer.piece(each.of);
  if (each.kind === "settled") return writer.settled(each.peer, each.boot, each.below);
  return writer.drop(each.peer, each.id);
}

function requireSame(record: DeliveryBatchReader, each: Handed): void {
  const slice = (at: number, length: number) => record.bytes.slice(at, at + length);
  assert.equal(record.kind, DELIVERY_KIND[each.kind]);
  const peer = "of" in each ? each.of.peer : each.peer;
  assert.deepEqual([record.peer, record.scope], [peer, scopeOf(peer)]);
  if (each.kind === "settled") {
    assert.equal(record.number, each.below);
    assert.deepEqual(slice(record.bootAt, 8), each.boot);
    return;
  }
  if (each.kind === "drop") {
    assert.deepEqual(slice(record.messageIdAt, 12), each.id);
    return;
  }
  const { of } = each;
  for (const key of [
    "token",
    "number",
    "flags",
    "stream",
    "sequence",
    "resume",
    "gapFirst",
    "gapLast",
    "sentWallNs",
    "port",
    "payloadLength",
  ] as const) {
    assert.equal(record[key], of[key], key);
  }
  assert.equal(record.source, of.address);
  assert.deepEqual(slice(record.bootAt, 8), of.boot);
  assert.deepEqual(slice(record.messageIdAt, 12), of.bytes.slice(3, 15));
  const replied = (of.flags & 8) === 0 ? new Uint8Array(12) : of.bytes.slice(20, 32);
  assert.deepEqual(slice(record.inReplyToAt, 12), replied);
  assert.deepEqual(slice(record.payloadAt, record.payloadLength), of.bytes.slice(50));
  if (each.kind === "message") {
    assert.deepEqual([record.total, record.offset], [of.payloadLength, 0]);
    return;
  }
  assert.deepEqual(
    [record.total, record.offset, record.last],
    [each.of.total, each.of.offset, each.of.last],
  );
  assert.deepEqual(slice(record.digest16At, 16), of.bytes.slice(33, 49));
}

test("records come out as they were handed over, in their order, also a second time", () => {
  fc.assert(
    fc.property(fc.array(handed, { maxLength: 40 }), (list) => {
      const writer = new DeliveryBatchWriter({ rowsMax: 100, bytesMax: MIB, scopeOf });
      for (const each of list) assert.ok(append(writer, each));
      assert.equal(writer.rows, list.length);
      const reader = new DeliveryBatchReader(structuredClone(writer.take()));

      for (let times = 0; times < 2; times++) {
        for (const each of list) {
          assert.ok(reader.next());
          assert.equal(reader.outcome, DELIVERED.pending);
          requireSame(reader, each);
        }
        assert.equal(reader.next(), false);
        reader.rewind();
      }
    }),
    { numRuns: 100 },
  );
});

test("memory that comes back holds nothing of what was in it", () => {
  fc.assert(
    fc.property(fc.array(handed, { minLength: 1, maxLength: 20 }), (list) => {
      const writer = new DeliveryBatchWriter({ rowsMax: 100, bytesMax: MIB, scopeOf });
      for (const each of list.toReversed()) append(writer, each);
      const first = writer.take();
      new Uint8Array(first.bytes).fill(0xa5);
      writer.recycle(first);
      append(writer, list[0] as Handed);
      writer.take();
      for (const each of list) append(writer, each);

      const batch = writer.take();

      assert.equal(batch.bytes, first.bytes);
      const reader = new DeliveryBatchReader(batch);
      for (const each of list) {
        assert.ok(reader.next());
        assert.equal(reader.outcome, DELIVERED.pending);
        requireSame(reader, each);
      }
    }),
    { numRuns: 50 },
  );
});

test("an outcome and a digest are those of the record at the cursor alone", () => {
  const writer = new DeliveryBatchWriter({ rowsMax: 100, bytesMax: MIB, scopeOf });
  const list = fc.sample(message, { numRuns: 3, seed: 7 });
  for (const each of list) writer.message(each);
  const batch = writer.take();
  const worker = new DeliveryBatchReader(batch);

  worker.next();
  worker.next();
  worker.outcome = DELIVERED.known;
  worker.setDigest(Uint8Array.from({ length: 32 }, (_, i) => i + 1));

  const main = new DeliveryBatchReader(batch);
  const seen: unknown[] = [];
  while (main.next()) seen.push([main.outcome, main.digestLow, main.digestHigh]);
  assert.deepEqual(seen, [
    [0, 0, 0],
    [DELIVERED.known, 0x04030201, 0x08070605],
    [0, 0, 0],
  ]);
  requireSame(seekSecond(batch), { kind: "message", of: list[1] as MessageDelivery });
});

function seekSecond(batch: ConstructorParameters<typeof DeliveryBatchReader>[0]) {
  const reader = new DeliveryBatchReader(batch);
  reader.next();
  reader.next();
  const { at } = reader;
  const other = new DeliveryBatchReader(batch);
  other.seek(at);
  return other;
}

test("a full batch takes nothing more, by rows or by bytes, and begins anew once taken", () => {
  const [one] = fc.sample(message, { numRuns: 1, seed: 1 }) as [MessageDelivery];
  const bytes = (DELIVERY_RECORD_HEADER_BYTES + one.payloadLength + 7) & ~7;
  const boot = new Uint8Array(8);
  const byRows = new DeliveryBatchWriter({ rowsMax: 2, bytesMax: MIB, scopeOf });
  const byBytes = new DeliveryBatchWriter({ rowsMax: 9, bytesMax: 2 * bytes, scopeOf });

  for (const writer of [byRows, byBytes]) {
    assert.ok(writer.message(one) && writer.message(one));
    assert.equal(writer.message(one), false);
    assert.equal(writer.settled(0, boot, 1), false);
    assert.equal(writer.drop(0, new Uint8Array(12)), false);
    assert.equal(writer.fits(0), false);
    assert.equal(writer.take().rows, 2);
    assert.ok(writer.fits(one.payloadLength) && writer.settled(0, boot, 1));
    assert.equal(writer.take().rows, 1);
  }
});
