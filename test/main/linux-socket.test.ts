// The Linux socket against the real kernel: runs that are joined and cut apart, what the kernel refuses,
// and what happens to its thread. Where there is no such socket: that it is refused.

import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { type TestContext, test } from "node:test";
import { fileURLToPath } from "node:url";
import { type Libc, obstacle } from "../../src/main/socket/libc.js";
import { LINUX, SIZE } from "../../src/main/socket/linux-abi.js";
import { LinuxReceiver } from "../../src/main/socket/linux-receiver.js";
import { LinuxSocket } from "../../src/main/socket/linux-socket.js";
import { NativeMemory } from "../../src/main/socket/native-memory.js";
import { AddressReader, AddressWriter } from "../../src/main/socket/socket-address.js";
import { until } from "../daemon/harness.js";
import { assertPattern, End, onLinux, pattern, shared } from "./socket-ends.js";

const CHILD = fileURLToPath(new URL("./socket-child.js", import.meta.url));
const SO_NO_CHECK = 11;

/** What was called, how often, and the descriptor that was opened last. */
interface Watched extends Libc {
  calls: Record<string, number>;
  descriptor: number;
}

function watched(libc: Libc): Watched {
  const calls: Record<string, number> = {};
  const count = (name: string): void => {
    calls[name] = (calls[name] ?? 0) + 1;
  };
  const spy: Watched = {
    ...libc,
    calls,
    descriptor: -1,
    socket: (family, type, protocol) => {
      spy.descriptor = libc.socket(family, type, protocol);
      return spy.descriptor;
    },
    sendmmsg: (descriptor, messages, length, flags) => {
      count("sendmmsg");
      return libc.sendmmsg(descriptor, messages, length, flags);
    },
    recvmmsg: (descriptor, messages, length, flags) => {
      const taken = libc.recvmmsg(descriptor, messages, length, flags);
      if (taken > 0) calls["messages"] = (calls["messages"] ?? 0) + taken;
      return taken;
    },
    setsockopt: (descriptor, level, name, value, length) => {
      if (name === LINUX.IP_MTU_DISCOVER) count("df");
      return libc.setsockopt(descriptor, level, name, value, length);
    },
  };
  return spy;
}

const open = async (t: TestContext, libc: Libc): Promise<End> => End.open(t, new LinuxSocket(libc));

test("a slab leaves with one call, and arrives joined, cut apart where it was", async (t) => {
  await onLinux(async (libc) => {
    const [near, far] = [watched(libc), watched(libc)];
    const [alice, bob] = [await open(t, near), (await open(t, far)).listen()];
    const memory = shared(128 * 1_240);
    const lengths = Array.from({ length: 128 }, (_, i) => (i === 63 || i === 127 ? 700 : 1_200));

    for (const [i, length] of lengths.entries()) {
      pattern(memory, i * 1_240 + 4, length, i);
      alice.send(memory, bob, { at: i * 1_240 + 4, length });
    }

    await bob.arrived(128);
    assert.deepEqual(bob.lengths, lengths);
    for (const [i, { bytes }] of bob.arrivals.entries()) assertPattern(bytes, i);
    assert.equal(near.calls["sendmmsg"], 1);
    assert.ok(far.calls["messages"] < 32, `joined into ${far.calls["messages"]} messages`);
  });
});

test("a run has one size, one destination, 64 datagrams and 65,507 bytes at most", async (t) => {
  await onLinux(async (libc) => {
    const spy = watched(libc);
    const alice = await open(t, libc);
    const bobs = [(await open(t, spy)).listen(), (await open(t, libc)).listen()];
    const memory = shared(40_000);
    pattern(memory, 0, 40_000, 1);
    const script: readonly (readonly [end: number, length: number])[] = [
      ...Array.from({ length: 70 }, () => [0, 100] as const),
      ...Array.from({ length: 10 }, (_, i) => [i % 2, 300] as const),
      // A shorter one ends a run, a longer one begins another, and an empty one goes alone.
      [0, 500],
      [0, 400],
      [0, 400],
      [0, 600],
      [0, 0],
      [0, 0],
      [0, 600],
      // Three do not fit one IP datagram.
      [1, 30_000],
      [1, 30_000],
      [1, 30_000],
      [0, 100],
    ];

    for (const [end, length] of script) alice.send(memory, bobs[end], { length });

    const wanted = [0, 1].map((end) => script.filter(([to]) => to === end).map((each) => each[1]));
    await bobs[0].arrived(wanted[0].length);
    await bobs[1].arrived(wanted[1].length);
    assert.deepEqual(
      bobs.map(({ lengths }) => lengths),
      wanted,
    );
    for (const { bytes } of bobs.flatMap(({ arrivals }) => arrivals)) assertPattern(bytes, 1);
    assert.ok(alice.codes.every((code) => code === undefined));
  });
});

test("a kernel that refuses runs (EINVAL) gets datagrams one by one, and no run again", async (t) => {
  await onLinux(async (libc) => {
    const spy = watched(libc);
    const [alice, bob] = [await open(t, spy), (await open(t, libc)).listen()];
    const value = new NativeMemory(libc, 8);
    value.words[0] = 1;
    // Without checksums the kernel cannot cut a run.
    libc.setsockopt(spy.descriptor, LINUX.SOL_SOCKET, SO_NO_CHECK, value.at, 4);
    const memory = shared(40 * 500);

    for (let round = 0; round < 2; round++) {
      for (let i = 0; i < 40; i++) {
        pattern(memory, i * 500, 500, i);
        alice.send(memory, bob, { at: i * 500, length: 500 });
      }
      await bob.arrived(40 * (round + 1));
      // The run, its datagrams; then datagrams at once.
      assert.equal(spy.calls["sendmmsg"], [2, 3][round]);
    }

    for (const [i, { bytes }] of bob.arrivals.entries()) assertPattern(bytes, i % 40);
    assert.ok(alice.codes.every((code) => code === undefined));
    assert.equal(alice.outcomes.length, 80);
  });
});

test("DF changes only between datagrams that differ in it", async (t) => {
  await onLinux(async (libc) => {
    const spy = watched(libc);
    const [alice, bob] = [await open(t, spy), (await open(t, libc)).listen()];
    const memory = shared(1_400);

    for (let i = 0; i < 30; i++) alice.send(memory, bob, { whole: i >= 10 && i < 20 });

    await bob.arrived(30);
    assert.equal(spy.calls["df"], 3);
  });
});

test("a datagram longer than the room for it is dropped whole, its twin arrives", async (t) => {
  await onLinux(async (libc) => {
    const spy = watched(libc);
    const [alice, bob] = [await open(t, libc), await open(t, spy)];
    const lengths: number[] = [];
    const receiver = new LinuxReceiver(
      libc,
      spy.descriptor,
      ({ length }) => lengths.push(length),
      128,
    );

    for (const length of [128, 129, 60_000, 0, 127]) {
      alice.send(shared(length), bob);
      await alice.told(alice.outcomes.length + 1);
    }
    await until(() => {
      receiver.turn();
      return lengths.length >= 3;
    }, "the short ones");

    assert.deepEqual([lengths, receiver.truncated], [[128, 0, 127], 2]);
  });
});

test("in a steady stream no view is made twice", async (t) => {
  await onLinux(async (libc) => {
    const [alice, bob] = [await open(t, libc), await open(t, libc)];
    const views = new Set<Uint8Array>();
    let count = 0;
    bob.socket.receive((bytes) => {
      views.add(bytes);
      count += 1;
    });
    const memory = shared(1_200);

    for (let round = 1; round <= 200; round++) {
      for (let i = 0; i < 10; i++) alice.send(memory, bob);
      await until(() => count === round * 10, `round ${round}`);
    }

    assert.ok(views.size <= 40, `${views.size} views for ${count} datagrams`);
  });
});

test("many sources are told apart, and remembered ones are not mixed up", async () => {
  await onLinux(async (libc) => {
    const reader = new AddressReader(libc);
    const writer = new AddressWriter(libc, 6);
    const memory = new NativeMemory(libc, SIZE.address);
    const addresses = Array.from({ length: 3_000 }, (_, i) =>
      i % 3 === 0 ? `10.${i >> 8}.${i & 255}.1` : `2001:db8:${i.toString(16)}::${(i % 7) + 1}`,
    );

    for (const [i, address] of [...addresses, ...addresses].entries()) {
      assert.ok(writer.write(memory, 0, address, i));
      assert.deepEqual([reader.text(memory, 0), reader.port(memory, 0)], [address, i]);
    }
    for (const [address, port] of [
      ["fe80::1%lo", 7],
      ["fe80::1%1", 7],
      ["fe80::1", 7],
    ] as const) {
      assert.ok(writer.write(memory, 0, address, port));
      const read = reader.text(memory, 0);
      assert.equal(read, address === "fe80::1%1" ? "fe80::1%lo" : address);
    }
    assert.ok(!writer.write(memory, 0, "fe80::1%nobody", 7));
    assert.ok(!new AddressWriter(libc, 4).write(memory, 0, "2001:db8::1", 7));
  });
});

test("the descriptor is closed only when poll has let go of it", async (t) => {
  await onLinux(async (libc) => {
    const events: string[] = [];
    const spy: Libc = {
      ...libc,
      poll: (descriptors, count, timeoutMs, done) =>
        libc.poll(descriptors, count, timeoutMs, (result) => {
          events.push("poll returned");
          done(result);
        }),
      close: (descriptor) => {
        events.push("close");
        return libc.close(descriptor);
      },
    };
    for (let i = 0; i < 20; i++) {
      const end = (await open(t, spy)).listen();
      await end.socket.stop();
    }

    const once = ["poll returned", "close", "close"];
    assert.deepEqual(events, Array.from({ length: 20 }, () => once).flat());
  });
});

test("memory that is not shared is copied, and may change at once", async (t) => {
  await onLinux(async (libc) => {
    const [alice, bob] = [await open(t, libc), (await open(t, libc)).listen()];

    for (let i = 0; i < 20; i++) {
      const small = new Uint8Array(30);
      pattern(small, 0, 30, i);
      alice.send(small, bob, { at: 0 });
      small.fill(0);
      structuredClone(small.buffer, { transfer: [small.buffer] });
    }

    await bob.arrived(20);
    for (const [i, { bytes }] of bob.arrivals.entries()) assertPattern(bytes, i);
  });
});

test("forced garbage collections under load change no byte", async () => {
  await onLinux(async () => {
    const { code, said } = await run([process.execPath, "--expose-gc", CHILD, "collect"]);
    assert.deepEqual([code, said.trim()], [0, "20000 datagrams, all as they were sent"]);
  });
});

test("a process ends at once while its socket waits, however it ends", async () => {
  await onLinux(async () => {
    for (const [way, expected] of [
      ["exit", 3],
      ["throw", 1],
      ["return", 0],
    ] as const) {
      const { code } = await run([process.execPath, CHILD, "end", way]);
      assert.equal(code, expected, way);
    }
  });
});

test("on a narrow link each datagram that is too long says so, and the others pass", async (t) => {
  await onLinux(async () => {
    const inNamespace = ["unshare", "--map-root-user", "--net", "sh", "-c"];
    const narrow = "ip link set lo mtu 1400 up && ip -6 addr add fe80::1/64 dev lo";
    if (spawnSync(inNamespace[0], [...inNamespace.slice(1), narrow]).status !== 0) {
      return t.diagnostic("no network namespace can be made here");
    }
    const words = [`${narrow} && exec "$0" "$1" narrow`, process.execPath, CHILD];
    const { code, said } = await run([...inNamespace, ...words]);
    assert.deepEqual([code, said], [0, "as it should be\n"]);
  });
});

test("machines whose system calls are not known keep to dgram", () => {
  assert.match(obstacle("darwin", "arm64", undefined) ?? "", /not Linux/);
  assert.match(obstacle("linux", "s390x", undefined) ?? "", /s390x/);
  assert.match(obstacle("linux", "x64", "1") ?? "", /UV_THREADPOOL_SIZE/);
  assert.equal(obstacle("linux", "x64", "2"), undefined);
  assert.equal(obstacle("linux", "arm64", undefined), undefined);
});

/** Runs a program to its end, which must come soon. */
async function run([command, ...words]: readonly string[]) {
  const child = spawn(command, words, { stdio: ["ignore", "pipe", "pipe"] });
  let said = "";
  let cried = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    said += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    cried += text;
  });
  const late = setTimeout(() => child.kill("SIGKILL"), 60_000);
  const [code] = await once(child, "close");
  clearTimeout(late);
  if (code !== 0 && said === "") said = cried;
  return { code, said };
}
