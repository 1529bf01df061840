// What a peer with true keys may say to a sender and to our handshakes: what it costs does not depend on
// how much there is that it could be about, and nothing piles up behind it.

import assert from "node:assert/strict";
import { test } from "node:test";
import { NS_PER_SECOND, nanoseconds } from "../../../src/shared/base/units.js";
import { ContentLog } from "../../../src/shared/protocol/session/content-log.js";
import { NumberRanges } from "../../../src/shared/protocol/session/number-ranges.js";
import { Outgoing } from "../../../src/shared/protocol/session/outgoing.js";
import { PacketBuilder } from "../../../src/shared/protocol/session/packet-builder.js";
import type { PayloadOrder } from "../../../src/shared/protocol/session/ports.js";
import { READS_OUT_MAX, ReadsOut } from "../../../src/shared/protocol/session/reads-out.js";
import { Sender } from "../../../src/shared/protocol/session/sender.js";
import { SettlementQueue } from "../../../src/shared/protocol/settlement.js";
import { messageIdOf } from "./message-world.js";

const WALL_NS = 1.7e18;
const LARGE_BYTES = 300_000;
const REFUSED_BUSY = 66;
const NOW = nanoseconds(0);

/** A sender with so many large rows, and how often it compares an id. */
function senderWith(rows: number): { sender: Sender; outgoing: Outgoing; compares: () => number } {
  const outgoing = new Outgoing();
  const settlements = new SettlementQueue();
  const sender = new Sender({ peer: 0, outgoing, settlements, uniform: () => 0 });
  for (let rowId = 1; rowId <= rows; rowId++) {
    const bytes = new Uint8Array(56);
    bytes.set(messageIdOf(rowId, 0), 0);
    sender.enqueue(NOW, WALL_NS, {
      ...{ bytes, rowId, generation: 0, attempts: 0, expiresAt: WALL_NS / 1e6 + 1e9 },
      ...{ priority: 1, flags: 2, stream: "", released: false, inBatch: false },
      ...{ messageIdAt: 0, inReplyToAt: 12, digestAt: 24, payloadAt: 56, total: LARGE_BYTES },
    });
  }
  let count = 0;
  const hasId = outgoing.hasId.bind(outgoing);
  outgoing.hasId = (slot, bytes, at) => {
    count += 1;
    return hasId(slot, bytes, at);
  };
  return { sender, outgoing, compares: () => count };
}

test("what is said of a large message costs the same however many of them wait", () => {
  const { sender, compares } = senderWith(4_000);
  const nothing = new NumberRanges(32);
  const digest16 = new Uint8Array(16);

  for (let rowId = 10_000; rowId < 12_000; rowId++) {
    sender.handleHave(messageIdOf(rowId, 0), 0, 0, LARGE_BYTES, nothing, false);
  }
  assert.ok(compares() < 4_000, `${compares()} compares for 2,000 frames about nothing`);

  const before = compares();
  const ids = new Uint8Array(28);
  ids.set(messageIdOf(7, 0), 0);
  ids.set(digest16, 12);
  sender.handleHave(ids, 0, 12, LARGE_BYTES, nothing, false);
  assert.ok(compares() > before, "its own is found");
});

test("messages that were refused and have no credit are not looked at for each packet", () => {
  const { sender, outgoing, slotsSeen, write } = smallRows(4_000);
  sender.sessionUp(true, 10_000, 1e8);
  while (write());
  for (let number = 1; number <= 4_000; number++) {
    sender.handleRefusal(NOW, number, 0, 0, REFUSED_BUSY, 0);
  }
  const later = nanoseconds(3 * NS_PER_SECOND);
  for (let slot = outgoing.due(later); slot >= 0; slot = outgoing.due(later)) {
    sender.handleDue(slot, later, WALL_NS + later);
  }
  sender.sessionUp(false, 1, 1e6);
  write();
  assert.equal(sender.unfinishedMessages, 1, "one has credit");

  const before = slotsSeen();
  for (let packet = 0; packet < 100; packet++) {
    sender.handleCredit(1, 1e6 + packet);
    write();
  }
  assert.ok(slotsSeen() - before < 8_100, `${slotsSeen() - before} looks for 100 packets`);
  sender.handleCredit(3, 1e6);
  write();
  assert.equal(sender.unfinishedMessages, 2, "one more has it");
  sender.handleCredit(10_000, 1e8);
  write();
  assert.equal(sender.unfinishedMessages, 4_000, "and all of them in the end");
});

test("however often a peer says that it dropped what it had, the store has few reads for it at a time", () => {
  const { sender } = senderWith(40);
  const reads = new ReadsOut();
  sender.sessionUp(true, 10_000, 1e8);
  const write = writerOf(sender);
  const nothing = new NumberRanges(32);
  const asked: PayloadOrder[] = [];
  const ask = (peer: number): void => {
    for (let order = reads.poll(peer, sender); order; order = reads.poll(peer, sender)) {
      asked.push(order);
    }
  };
  const answer = (): void => {
    for (const { tag, offset, length } of asked.splice(0)) {
      assert.equal(reads.ended(tag), 0);
      sender.handleRead(NOW, tag, offset, new Uint8Array(length));
    }
  };
  for (let round = 0; round < 1_000; round++) {
    write();
    ask(0);
    answer();
  }
  for (let round = 0; round < 50; round++) {
    write();
    ask(0);
    for (let rowId = 1; rowId <= 40; rowId++) {
      const ids = new Uint8Array(28);
      ids.set(messageIdOf(rowId, 0), 0);
      sender.handleHave(ids, 0, 12, LARGE_BYTES, nothing, true);
    }
  }
  assert.equal(asked.length, READS_OUT_MAX);
  write();
  assert.notEqual(reads.poll(1, sender), undefined, "another peer has its own");

  // The store answers, also for what nobody waits for any more: as many more are read.
  answer();
  write();
  ask(0);
  assert.ok(asked.length > 0 && asked.length <= READS_OUT_MAX);
});

/** A sender with so many small rows, what is written of them, and how often a ticket is looked up. */
function smallRows(rows: number) {
  const outgoing = new Outgoing();
  const settlements = new SettlementQueue();
  const sender = new Sender({ peer: 0, outgoing, settlements, uniform: () => 0 });
  for (let rowId = 1; rowId <= rows; rowId++) {
    const bytes = new Uint8Array(66);
    bytes.set(messageIdOf(rowId, 0), 0);
    sender.enqueue(NOW, WALL_NS, {
      ...{ bytes, rowId, generation: 0, attempts: 0, expiresAt: WALL_NS / 1e6 + 1e9 },
      ...{ priority: 1, flags: 2, stream: "", released: false, inBatch: true },
      ...{ messageIdAt: 0, inReplyToAt: 12, digestAt: 24, payloadAt: 56, total: 10 },
    });
  }
  let seen = 0;
  const slotOf = outgoing.slotOf.bind(outgoing);
  outgoing.slotOf = (ticket) => {
    seen += 1;
    return slotOf(ticket);
  };
  return { sender, outgoing, slotsSeen: () => seen, write: writerOf(sender) };
}

/** Writes a packet; false when there was nothing to write. */
function writerOf(sender: Sender): () => boolean {
  const packet = new PacketBuilder();
  const log = new ContentLog();
  const bytes = new Uint8Array(2_000);
  return () => {
    packet.open(bytes, 0, 1_172, log);
    const wrote = sender.write(NOW, WALL_NS, packet);
    packet.close();
    return wrote;
  };
}
