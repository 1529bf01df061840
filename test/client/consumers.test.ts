// Several consumers in several processes on one database, one of them killed in the middle.

import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { type TestContext, test } from "node:test";
import { fileURLToPath } from "node:url";
import { arrive, count, makePlace, type Place, until } from "./place.js";

const ENTRY = fileURLToPath(new URL("./consumer.js", import.meta.url));
const LEASE_MS = 3_000;
const MESSAGES = 3_000;
const STREAMS = ["a", "b", "c"];

interface Event {
  readonly who: number;
  readonly what: "has" | "did";
  readonly id: number;
}

class Consumer {
  readonly child: ChildProcess;
  isReady = false;
  has = 0;

  constructor(t: TestContext, place: Place, who: number, log: Event[]) {
    const line = [ENTRY, place.path, `consumer-${who}`, `${LEASE_MS}`];
    this.child = spawn(process.execPath, line, { stdio: ["ignore", "pipe", "inherit"] });
    t.after(() => this.child.kill("SIGKILL"));
    if (this.child.stdout === null) return;
    createInterface({ input: this.child.stdout }).on("line", (said) => {
      const [what, id] = said.split(" ");
      if (what === "ready") this.isReady = true;
      if (what !== "has" && what !== "did") return;
      if (what === "has") this.has += 1;
      log.push({ who, what, id: Number(id) });
    });
  }

  async stop(): Promise<number | null> {
    const closed = once(this.child, "close");
    this.child.kill("SIGTERM");
    const [code] = (await closed) as [number | null];
    return code;
  }
}

test("three processes share the work, one is killed: nothing is lost, nothing marked unseen", async (t) => {
  const place = makePlace(t);
  const log: Event[] = [];
  const consumers = [0, 1, 2].map((who) => new Consumer(t, place, who, log));
  const [doomed, ...others] = consumers;
  await until(() => consumers.every(({ isReady }) => isReady), "all are ready");

  const streamOf = new Map<number, string>();
  for (let n = 0; n < MESSAGES; n += 100) {
    const arrivals = Array.from({ length: 100 }, (_, i) => {
      const stream = STREAMS[i % 10];
      return stream === undefined ? {} : { stream };
    });
    for (const [i, id] of arrive(place, arrivals).entries()) {
      if (i % 10 < STREAMS.length) streamOf.set(id, STREAMS[i % 10]);
    }
    if (n === MESSAGES / 2) {
      await until(() => doomed.has > 100, "the first has seen some");
      doomed.child.kill("SIGKILL");
      await once(doomed.child, "close");
    }
  }
  const unread = () => count(place, "inbound_messages WHERE read_count = 0");
  await until(() => unread() === 0, "all are marked");

  assert.deepEqual(await Promise.all(others.map((each) => each.stop())), [0, 0]);
  requireNothingLost(place, log);
  requireOrder(log, streamOf);
});

function requireNothingLost(place: Place, log: readonly Event[]): void {
  const did = new Map<number, number[]>();
  for (const { who, what, id } of log) {
    if (what === "did") did.set(id, [...(did.get(id) ?? []), who]);
  }
  assert.equal(did.size, MESSAGES, "every message was worked on");
  // Only what the killed one did without its mark on the disk is done twice.
  for (const [id, by] of did) {
    const isOnce = by.length === 1 || (by.length === 2 && by[0] === 0 && by[1] !== 0);
    assert.ok(isOnce, `message ${id} was done by ${by.join(" and ")}`);
  }
  const twice = [...did.values()].filter((by) => by.length > 1).length;
  assert.ok(twice < 600, `${twice} done twice`);
  assert.equal(count(place, "inbound_messages WHERE read_count <> 1"), 0);
  const shares = [0, 1, 2].map((who) => log.filter((each) => each.who === who).length);
  assert.ok(Math.min(...shares) > 0, `shares: ${shares.join(", ")}`);
}

/** Within a stream ids rise; the killed one's come again, from the first that was not marked. */
function requireOrder(log: readonly Event[], streamOf: ReadonlyMap<number, string>): void {
  for (const stream of STREAMS) {
    let last = 0;
    for (const { who, what, id } of log) {
      if (what !== "did" || streamOf.get(id) !== stream || who === 0) continue;
      assert.ok(id > last, `stream ${stream}: ${id} behind ${last}`);
      last = id;
    }
  }
}
