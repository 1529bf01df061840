// The worst case of everything that waits, added up from the constants that bound it.

import assert from "node:assert/strict";
import { test } from "node:test";
import { SLAB_MEMORY_BYTES_MAX } from "../../src/main/crypto-pool.js";
import { STORE_MEMORY_BYTES_MAX } from "../../src/main/store.js";
import {
  IN_FLIGHT_MESSAGES_MAX,
  MESSAGE_ID_BYTES,
  NONCE_ENTRIES_MAX,
  QUEUE_ACKS_MAX,
} from "../../src/shared/protocol/constants.js";
import { idTableBytesMax } from "../../src/shared/protocol/id-table.js";
import { InFlight, STANDING } from "../../src/shared/protocol/in-flight.js";
import { nonceMemoryBytesMax } from "../../src/shared/protocol/nonce-memory.js";

const MIB = 1_024 * 1_024;
/** Columns, id and heap of a message in flight, bytes. */
const IN_FLIGHT_BYTES = 80;
/** Id, ring, port and a reference of an ACK that waits, bytes. */
const ACK_BYTES = 32;

test("everything bounded adds up to less than 320 MiB, whatever strangers and peers send", () => {
  const inFlight =
    IN_FLIGHT_MESSAGES_MAX * IN_FLIGHT_BYTES + idTableBytesMax(IN_FLIGHT_MESSAGES_MAX);
  const nonces = 2 * nonceMemoryBytesMax(NONCE_ENTRIES_MAX);
  const acks = QUEUE_ACKS_MAX * ACK_BYTES;

  const sum = SLAB_MEMORY_BYTES_MAX + STORE_MEMORY_BYTES_MAX + inFlight + nonces + acks;

  assert.ok(sum < 320 * MIB, `${Math.round(sum / MIB)} MiB`);
});

test("the table of messages in flight takes as many as it says, and not one more", () => {
  const flight = new InFlight([1, 2]);
  const id = new Uint8Array(MESSAGE_ID_BYTES);
  const view = new DataView(id.buffer);
  for (let i = 0; i < IN_FLIGHT_MESSAGES_MAX; i++) {
    view.setUint32(0, i);
    const slot = flight.add(id, 0);
    assert.ok(slot >= 0);
    flight.standings[slot] = STANDING.parked;
  }
  view.setUint32(0, IN_FLIGHT_MESSAGES_MAX);

  assert.equal(flight.add(id, 0), -1);
  view.setUint32(0, 7);
  flight.remove(flight.find(id, 0));
  view.setUint32(0, IN_FLIGHT_MESSAGES_MAX);
  assert.ok(flight.add(id, 0) >= 0);
});

test("a ticket of a message that is gone names nothing, even when its slot is used again", () => {
  const flight = new InFlight([1, 2]);
  const first = flight.add(
    Uint8Array.from({ length: 12 }, () => 1),
    0,
  );
  flight.standings[first] = STANDING.sealing;
  const ticket = flight.ticketOf(first);
  assert.equal(flight.slotOf(ticket), first);

  flight.remove(first);
  const second = flight.add(
    Uint8Array.from({ length: 12 }, () => 2),
    0,
  );
  flight.standings[second] = STANDING.sealing;

  assert.equal(second, first);
  assert.equal(flight.slotOf(ticket), -1);
  assert.equal(flight.slotOf(flight.ticketOf(second)), second);
});
