// Plain rows and messages are handled by the block. Whatever lies between them, the outcome is that of
// handling them one by one.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { DELIVERED } from "../../src/shared/protocol/session/ports.js";
import { STORED } from "../../src/shared/runtime/inbound-batch.js";
import { OutboundBatchReader } from "../../src/shared/runtime/outbound-batch.js";
import { idOf, StoreUnderTest } from "./fixture.js";
import { ALICE, FLAG, type Handed, SessionStoreUnderTest } from "./session-fixture.js";

const { inserted, known } = DELIVERED;
const COLUMNS = `message_id, src_addr, src_port, state, ack_sent, peer, stream, sequence,
  hex(boot), number, in_reply_to, hex(digest), typeof(payload), hex(payload)`;

const message: fc.Arbitrary<Handed> = fc
  .record({
    id: fc.integer({ min: 1, max: 60 }),
    peer: fc.nat({ max: 1 }),
    text: fc.constantFrom("a", "b", "ä€😀", "", "x".repeat(5_000)),
    kind: fc.constantFrom("plain", "plain", "plain", "plain", "bytes", "reply", "not text"),
  })
  .map(({ id, peer, text, kind }) => {
    const payload = kind === "not text" ? Uint8Array.of(0xc3, 0x28) : text;
    const base = { id: idOf(id), peer, payload, number: id };
    if (kind === "bytes") return { ...base, flags: FLAG.bytes };
    return kind === "reply" ? { ...base, flags: FLAG.reply, inReplyTo: idOf(99) } : base;
  });

test("a batch of messages has the outcome of its messages one by one", (t) => {
  fc.assert(
    fc.property(
      fc.array(message, { minLength: 1, maxLength: 120 }),
      fc.array(fc.integer({ min: 1, max: 60 }), { maxLength: 3 }),
      (messages, deleted) => {
        const together = new SessionStoreUnderTest(t);
        const alone = new SessionStoreUnderTest(t);
        for (const store of [together, alone]) {
          for (const id of deleted) {
            store.deliver([{ id: idOf(id), payload: "a", number: id }]);
            store.outside.exec("DELETE FROM inbound_messages");
          }
        }

        const outcomes = together.deliver(messages);

        assert.deepEqual(
          outcomes,
          messages.flatMap((each) => alone.deliver([each])),
        );
        assert.deepEqual(together.rows(COLUMNS), alone.rows(COLUMNS));
        const usage = "SELECT peer, rows, bytes FROM inbound_usage ORDER BY peer";
        assert.deepEqual(
          together.outside.prepare(usage).raw().all(),
          alone.outside.prepare(usage).raw().all(),
        );
        for (const store of [together, alone]) store.close();
      },
    ),
    { numRuns: 40 },
  );
});

const NOW = Date.UTC(2026, 10, 22, 12);
const row = fc.record({
  id: fc.constantFrom("id", "id", "id", "id", "id", "none", "short", "long", "upper"),
  // Two that are no text each, and text together.
  payload: fc.constantFrom(
    "'a'",
    "'ä'",
    "''",
    "'x,y'",
    "CAST(x'c3' AS TEXT)",
    "CAST(x'a4' AS TEXT)",
    "x'00'",
  ),
  createdAt: fc.constantFrom(
    ...["2026-11-22T11:00:00.000", "2026-11-22T11:00:00.000", "2026-11-22T11:30:00,000"],
    ...["2026-11-22 11:00:00", "", "2020-01-01T00:00:00.000", ",,,,,,,,,,,,,,,,,,,,,,,"],
    "2026-11-22T11:00:00.000,2026-11-22T11:00:00.000",
  ),
  special: fc.constantFrom("", "", "", "", "", "", "stream = 's'", "expires_at = '2026-11-23'"),
});

/** Everything that leasing a row says or does. */
function leased(store: SessionStoreUnderTest): readonly unknown[] {
  const rows: unknown[] = [];
  for (;;) {
    const lease = store.leaseBatch();
    if (lease === undefined) break;
    const record = new OutboundBatchReader(lease.batch);
    const hex = (at: number, length: number): string =>
      Buffer.from(lease.batch.bytes, at, length).toString("hex");
    while (record.next()) {
      const { rowId, flags, stream, total, expiresAt, generation, priority } = record;
      const made = store.read(`SELECT message_id IS NULL FROM given WHERE id = ${rowId}`) === 1;
      const bytes = made ? "made" : [hex(record.messageIdAt, 12), hex(record.digestAt, 32)];
      const payload = hex(record.payloadAt, record.payloadLength);
      rows.push([rowId, flags, stream, total, expiresAt, generation, priority, bytes, payload]);
    }
  }
  return rows.sort((a, b) => (a as number[])[0] - (b as number[])[0]);
}

test("rows leave in blocks as they leave one by one, whatever somebody wrote into them", (t) => {
  const peerOf = (address: string): string | undefined => (address === "alice" ? ALICE : undefined);
  fc.assert(
    fc.property(fc.array(row, { minLength: 1, maxLength: 100 }), (rows) => {
      // A row that was tried before is not plain.
      const [blocks, alone] = [0, 1].map((retries) => {
        const store = new SessionStoreUnderTest(t, { peerOf });
        store.now = NOW;
        store.outside.exec("BEGIN");
        for (const [i, { id, payload, createdAt, special }] of rows.entries()) {
          const hex = idOf(i + 1);
          const text = {
            id: hex,
            none: null,
            short: hex.slice(1),
            long: `${hex}0`,
            upper: "A".repeat(24),
          }[id];
          store.outside
            .prepare(
              `INSERT OR IGNORE INTO outbound_messages(id, dst_addr, dst_port, message_id, payload,
                 created_at, retry_count) VALUES (?, 'alice', 1, ?, ${payload}, ?, ?)`,
            )
            .run(i + 1, text, createdAt, retries);
          if (special !== "") {
            store.outside.exec(`UPDATE outbound_messages SET ${special} WHERE id = ${i + 1}`);
          }
        }
        store.outside.exec(
          "COMMIT; CREATE TABLE given AS SELECT id, message_id FROM outbound_messages",
        );
        return store;
      }) as [SessionStoreUnderTest, SessionStoreUnderTest];

      assert.deepEqual(leased(blocks), leased(alone));
      const verdicts = "SELECT id, state, last_error FROM outbound_messages ORDER BY id";
      assert.deepEqual(
        blocks.outside.prepare(verdicts).raw().all(),
        alone.outside.prepare(verdicts).raw().all(),
      );
      for (const store of [blocks, alone]) store.close();
    }),
    { numRuns: 60 },
  );
});

test("an id near 2^63 in the inbound table, or a sequence there, stops nothing that comes in", (t) => {
  const far = `INSERT INTO inbound_messages(id, message_id, src_addr, src_port, crypto_timestamp, payload)
    VALUES (9223372036854775807, '${idOf(1)}', 'a', 1, 'x', '{}')`;
  const session = new SessionStoreUnderTest(t);
  const classic = new StoreUnderTest(t);
  session.outside.exec(far);
  classic.outside.exec(far);

  assert.deepEqual(session.deliver([{ id: idOf(2) }, { id: idOf(3), flags: FLAG.bytes }]), [
    inserted,
    inserted,
  ]);
  assert.deepEqual(classic.store([{ id: idOf(2) }]), [STORED.inserted]);

  assert.deepEqual(session.deliver([{ id: idOf(2) }]), [known]);
  const ids = "SELECT id FROM inbound_messages ORDER BY id LIMIT 2";
  assert.deepEqual(session.outside.prepare(ids).pluck().all(), [1, 2]);
});

test("an inbound id is never given twice, also when its row was deleted", (t) => {
  const store = new SessionStoreUnderTest(t);
  store.deliver([{ id: idOf(1) }, { id: idOf(2) }]);
  store.outside.exec("DELETE FROM inbound_messages");

  store.deliver([{ id: idOf(3) }]);

  assert.deepEqual(store.rows("id"), [[3]]);
});
