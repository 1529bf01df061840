// A process for linux-socket.test.ts: one role a run. `collect` forces garbage collections under load,
// `end` ends while its socket waits, `narrow` runs where loopback carries 1,400 bytes.

import assert from "node:assert/strict";
import { setTimeout as nap } from "node:timers/promises";
import { loadLibc } from "../../src/main/socket/libc.js";
import { LinuxSocket } from "../../src/main/socket/linux-socket.js";
import { assertPattern, LOOPBACK, pattern, shared } from "./socket-ends.js";

const COLLECTED_DATAGRAMS = 20_000;
const WAIT_MS = 30_000;

async function open(address = LOOPBACK): Promise<LinuxSocket> {
  const libc = loadLibc();
  if (typeof libc === "string") throw new Error(libc);
  const socket = new LinuxSocket(libc);
  await socket.start(address, 0);
  return socket;
}

async function until(condition: () => boolean, what: string): Promise<void> {
  const end = performance.now() + WAIT_MS;
  while (!condition()) {
    if (performance.now() > end) throw new Error(`waited in vain for ${what}`);
    await nap(1);
  }
}

const ROLES: Readonly<Record<string, (way: string) => Promise<void>>> = {
  async collect() {
    const collect = (globalThis as { readonly gc?: () => void }).gc;
    assert.ok(collect, "run with --expose-gc");
    const [alice, bob] = [await open(), await open()];
    let arrived = 0;
    bob.receive((bytes) => {
      assertPattern(bytes, arrived % 251);
      arrived += 1;
      if (arrived % 97 === 0) collect();
    });
    let told = 0;
    for (let sent = 0; sent < COLLECTED_DATAGRAMS; ) {
      // A slab, and between its datagrams small memory of its own: nobody keeps either.
      let slab: Uint8Array | undefined = shared(64 * 1_300);
      for (let i = 0; i < 64 && sent < COLLECTED_DATAGRAMS; i++, sent++) {
        const length = i < 40 ? 1_200 : 20 + i;
        const [bytes, at]: [Uint8Array, number] =
          i % 8 === 7 ? [new Uint8Array(length), 0] : [slab, i * 1_300];
        pattern(bytes, at, length, sent % 251);
        bob.port &&
          alice.send(bytes, at, length, LOOPBACK, bob.port, () => {
            told += 1;
          });
      }
      slab = undefined;
      collect();
      // Room that was given back is written over by whoever gets it.
      const litter = Array.from({ length: 20 }, () => shared(64 * 1_300).fill(0xee));
      await until(() => arrived === sent && told === sent, `datagram ${sent}`);
      assert.equal(litter.length, 20);
    }
    await Promise.all([alice.stop(), bob.stop()]);
    collect();
    console.log(`${arrived} datagrams, all as they were sent`);
  },

  async end(way) {
    const sockets = [await open(), await open()];
    for (const socket of sockets) socket.receive(() => {});
    await nap(50);
    if (way === "exit") process.exit(3);
    if (way === "throw") throw new Error("as it was asked for");
    for (const socket of sockets) await socket.stop();
  },

  async narrow() {
    await narrowFamily(LOOPBACK);
    await narrowFamily("::1");
    await linkLocal();
    console.log("as it should be");
  },
};

/** Loopback carries 1,372 bytes by IPv4, 1,352 by IPv6. */
async function narrowFamily(address: string): Promise<void> {
  const [alice, bob] = [await open(address), await open(address)];
  const lengths: number[] = [];
  bob.receive(({ length }) => lengths.push(length));
  const memory = shared(1_380);
  const told: (readonly [code: string | undefined, at: number])[] = [];
  const send = (length: number, at: number, whole: boolean): void =>
    alice.send(memory, at, length, address, bob.port, (...one) => told.push(one), whole);

  // Probes among what passes; then a run of what does not.
  for (const [at, length] of [1_200, 1_378, 1_300, 1_380 - 4].entries()) send(length, at, true);
  await until(() => told.length === 4, "four outcomes");
  assert.deepEqual(told, [
    [undefined, 0],
    ["EMSGSIZE", 1],
    [undefined, 2],
    ["EMSGSIZE", 3],
  ]);
  for (let at = 0; at < 5; at++) send(1_375, at, true);
  await until(() => told.length === 9, "five outcomes");
  assert.deepEqual(
    told.slice(4),
    [0, 1, 2, 3, 4].map((at) => ["EMSGSIZE", at]),
  );

  // The same may pass in fragments, and runs of what fits go on as runs.
  await until(() => lengths.length === 2, "what passed");
  lengths.length = 0;
  for (let at = 0; at < 5; at++) send(1_375, at, false);
  for (let at = 0; at < 5; at++) send(900, at, false);
  await until(() => lengths.length === 10, "ten datagrams");
  assert.deepEqual(lengths, [...Array(5).fill(1_375), ...Array(5).fill(900)]);
  await until(() => told.length === 19, "ten outcomes");
  assert.ok(told.slice(9).every(([code]) => code === undefined));
  await Promise.all([alice.stop(), bob.stop()]);
}

async function linkLocal(): Promise<void> {
  const address = "fe80::1%lo";
  const [alice, bob] = [await open("::"), await open("::")];
  const sources: string[] = [];
  bob.receive((_, source) => sources.push(source));
  const end = performance.now() + WAIT_MS;
  // A new address is not used before nobody else turned out to have it.
  while (sources.length === 0 && performance.now() < end) {
    alice.send(Uint8Array.of(1), 0, 1, address, bob.port, () => {});
    await nap(20);
  }
  assert.equal(sources[0], address);
  await Promise.all([alice.stop(), bob.stop()]);
}

const [role = "", way = ""] = process.argv.slice(2);
await ROLES[role]?.(way);
