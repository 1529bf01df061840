// Both directions of the message layer against each other, over a network that loses, delays, reorders
// and repeats, with stores that refuse and hosts that die. Whatever happened: afterwards everything
// arrives, once, in order, and nobody holds anything any more.

import assert from "node:assert/strict";
import { test } from "node:test";
import { DELIVERED } from "../../../src/shared/protocol/session/ports.js";
import { Random } from "./layer-parts.js";
import { hex, type Inserted } from "./message-store.js";
import {
  type Fate,
  type MessageHost,
  MessageWorld,
  messageIdOf,
  type Row,
} from "./message-world.js";

interface Plan {
  readonly seed: number;
  readonly rows: number;
  readonly loss: number;
  readonly troubles: number;
  readonly large: boolean;
  /** Whether hosts die; else the same pair of boots sees all of it. */
  readonly deaths: boolean;
}

const kib = (count: number): number => count * 1_024;

function payloadOf(random: Random, large: boolean): Uint8Array {
  const draw = random.next();
  let bytes = Math.floor(random.next() * 120);
  if (draw > 0.7) bytes = Math.floor(random.next() * 5_000);
  if (draw > 0.93) bytes = Math.floor(random.next() * kib(60));
  if (draw > 0.98 && large) bytes = kib(256) + 1 + Math.floor(random.next() * kib(700));
  const payload = new Uint8Array(bytes);
  for (let i = 0; i < bytes; i += 61) payload[i] = Math.floor(random.next() * 256);
  return payload;
}

function fateOf(random: Random, loss: number): Fate {
  const delay = 1 + Math.floor(random.next() * 25);
  const arrives = random.next() < loss ? [] : [delay];
  if (random.next() < loss / 2) arrives.push(delay + Math.floor(random.next() * 400));
  const acked = random.next() >= loss / 2;
  return { arrives, acked, toldAfter: acked ? delay + Math.floor(random.next() * 60) : 120 };
}

function sendRandomly(random: Random, host: MessageHost, plan: Plan): void {
  const stream = random.next() < 0.5 ? `s${Math.floor(random.next() * 4)}` : "";
  const life = random.next() < 0.05 ? 1 + random.next() * 3_000 : 1e10;
  const priority = stream === "" ? Math.floor(random.next() * 4) : 1;
  host.send(payloadOf(random, plan.large), stream, priority, life);
}

/** Something happens to one of the hosts, or between them. */
function trouble(random: Random, world: MessageWorld, plan: Plan): void {
  const host = world.hosts[random.next() < 0.5 ? 0 : 1] as MessageHost;
  const draw = random.next();
  if (draw < 0.25) world.connect(true);
  else if (draw < 0.35) world.connect(false);
  else if (draw < 0.5 && plan.deaths) {
    host.restart();
    world.after(5 + random.next() * 200, () => world.connect(true));
  } else if (draw < 0.6) {
    const row = host.rows[Math.floor(random.next() * host.rows.length)];
    if (row !== undefined && row.state !== "acknowledged" && row.state !== "failed") {
      row.state = "deleted";
    }
  } else if (draw < 0.8) {
    for (let i = 0; i < 5; i++) host.store.consume(random.next());
  } else {
    const failure = random.next() < 0.5 ? DELIVERED.busy : DELIVERED.full;
    host.storeFailure = () => failure;
    world.after(random.next() * 1_500, () => {
      host.storeFailure = () => undefined;
    });
  }
}

function refusing(random: Random): () => number | undefined {
  const outcomes = [DELIVERED.quota, DELIVERED.full, DELIVERED.busy];
  return () => (random.next() < 0.01 ? outcomes[Math.floor(random.next() * 3)] : undefined);
}

/** What a host stored is what the other one sent: each once, each stream in the order of its rows. */
function checkStored(from: MessageHost, to: MessageHost): void {
  const rowsById = new Map<string, Row>(
    from.rows.map((row) => [hex(messageIdOf(row.id, from.index)), row]),
  );
  const seen = new Map<string, number>();
  const lastOf = new Map<string, Inserted & { rowId: number }>();
  for (const inserted of to.store.inserted) {
    const row = rowsById.get(inserted.id);
    assert.ok(row !== undefined, "what is stored was sent");
    assert.ok(Buffer.from(row.payload).equals(inserted.payload), "and is what was sent");
    assert.ok(!seen.has(inserted.id), "and is stored once");
    seen.set(inserted.id, row.id);
    if (inserted.stream === "") continue;
    const last = lastOf.get(inserted.stream);
    assert.ok(last === undefined || last.rowId < row.id, `${inserted.stream} is out of order`);
    lastOf.set(inserted.stream, { ...inserted, rowId: row.id });
  }
  for (const row of from.rows) {
    if (row.state !== "acknowledged") continue;
    assert.ok(seen.has(hex(messageIdOf(row.id, from.index))), "what is acknowledged is stored");
  }
}

function checkQuiet(host: MessageHost): void {
  const at = `host ${host.index}`;
  const open = host.rows.filter(({ state }) => state === "waiting" || state === "leased");
  assert.deepEqual(
    open.map(({ id, state, stream, number, payload }) => [
      id,
      state,
      stream,
      number,
      payload.length,
    ]),
    [],
    `${at}: every row has ended`,
  );
  assert.equal(host.sender.rows, 0, at);
  assert.equal(host.sender.heldBytes, 0, `${at}: no payload is held`);
  assert.equal(host.sender.unfinishedMessages, 0, `${at}: nothing counts as unfinished`);
  assert.equal(host.outgoing.size, 0, at);
  assert.deepEqual(host.closings, [], `${at}: nobody broke a rule`);
  assert.equal(host.mismatches, 0, at);
}

function checkForgotten(host: MessageHost): void {
  const at = `host ${host.index}`;
  assert.equal(host.receiver.pending, 0, `${at}: nothing is under way`);
  assert.equal(host.receiver.heldBytes, 0, `${at}: nothing is held`);
  assert.equal(host.budget.bytes, 0, `${at}: nothing is reserved`);
}

function play(plan: Plan): MessageWorld {
  const random = new Random(plan.seed);
  const terms = {
    creditMessages: 16 + Math.floor(random.next() * 100),
    creditBytes: kib(512),
    budgetBytes: kib(256 + Math.floor(random.next() * 400)),
  };
  const world = new MessageWorld(random, terms, () => fateOf(random, plan.loss));
  world.capacity = () => (random.next() < 0.1 ? 100 + Math.floor(random.next() * 300) : 1_172);
  world.bulkAllowed = (flying) => flying < 4;
  for (const host of world.hosts) {
    host.store.refuses = refusing(random);
    host.store.recordsMax = 20 + Math.floor(random.next() * 200);
    host.storeDelayMs = () => 1 + random.next() * 20;
    host.settleDelayMs = () => 1 + random.next() * 40;
    for (let i = 0; i < plan.rows; i++) {
      world.after(random.next() * 4_000, () => sendRandomly(random, host, plan));
    }
  }
  world.connect(true);
  for (let i = 0; i < plan.troubles; i++) {
    world.after(random.next() * 6_000, () => trouble(random, world, plan));
  }
  world.run(6_500);
  // From here on all is well, and no new session helps.
  if (!world.hosts.every(({ up }) => up)) world.connect(true);
  world.fate = () => ({ arrives: [5], toldAfter: 10, acked: true });
  for (const host of world.hosts) {
    host.store.refuses = undefined;
    host.storeFailure = () => undefined;
  }
  const quiet = () => world.hosts.every((host) => host.sender.rows === 0 && ended(host));
  world.run(20_000_000, quiet);
  for (const host of world.hosts) checkQuiet(host);
  world.run(world.nowMs + 5_000);
  const [a, b] = world.hosts;
  checkStored(a, b);
  checkStored(b, a);
  for (const host of world.hosts) checkForgotten(host);
  return world;
}

const ended = (host: MessageHost): boolean =>
  host.rows.every(({ state }) => state !== "waiting" && state !== "leased");

function playAll(seeds: number, more: Omit<Plan, "seed">): void {
  const base = Number(process.env["SEED"] ?? 1);
  for (let seed = base; seed < base + seeds; seed++) {
    try {
      play({ seed, ...more });
    } catch (thrown) {
      throw new Error(`seed ${seed}: ${(thrown as Error).message}`, { cause: thrown });
    }
  }
}

test("small messages arrive once and in order, whatever the network and the stores do", () => {
  playAll(20, { rows: 150, loss: 0.15, troubles: 8, large: false, deaths: false });
});

test("hosts that die and come back lose nothing and repeat nothing", () => {
  playAll(20, { rows: 120, loss: 0.1, troubles: 10, large: false, deaths: true });
});

test("large messages survive losses, refusals, full disks and deaths", () => {
  playAll(6, { rows: 60, loss: 0.05, troubles: 6, large: true, deaths: true });
});
