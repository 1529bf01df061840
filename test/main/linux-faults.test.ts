// What the kernel may answer and will not on demand: the C functions fail as they are told, and do
// their work else. Where there is no Linux socket: that it is refused.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { constants, tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { setTimeout as nap, setImmediate as nextTurn } from "node:timers/promises";
import { fileURLToPath, pathToFileURL } from "node:url";
import { chooseSocket } from "../../src/main/socket/choose-socket.js";
import type { Libc } from "../../src/main/socket/libc.js";
import { LinuxSocket } from "../../src/main/socket/linux-socket.js";
import { until } from "../daemon/harness.js";
import { assertPattern, End, LOOPBACK, onLinux, pattern, shared } from "./socket-ends.js";

const { errno: ERRNO } = constants;
const SOURCE = fileURLToPath(new URL("../../src", import.meta.url));
type Call = "sendmmsg" | "sendmsg" | "recvmmsg" | "poll" | "eventfd";

/** A C library some of whose calls fail: `plan` says with what, undefined: it works. */
class Faulty {
  readonly libc: Libc;
  readonly calls: Record<Call, number> = {
    sendmmsg: 0,
    sendmsg: 0,
    recvmmsg: 0,
    poll: 0,
    eventfd: 0,
  };
  plan: (call: Call, count: number) => number | undefined = () => undefined;
  /** Messages of the last sendmmsg. */
  messages = 0;
  /** Messages that the kernel takes of one call at most. */
  messagesMax = Number.POSITIVE_INFINITY;
  #errno = 0;

  constructor(real: Libc) {
    this.libc = {
      ...real,
      sendmmsg: (descriptor, messages, count, flags) => {
        this.messages = count;
        return this.#try("sendmmsg", () =>
          real.sendmmsg(descriptor, messages, Math.min(count, this.messagesMax), flags),
        );
      },
      sendmsg: (descriptor, message, flags) =>
        this.#try("sendmsg", () => real.sendmsg(descriptor, message, flags)),
      recvmmsg: (descriptor, messages, count, flags) =>
        this.#try("recvmmsg", () => real.recvmmsg(descriptor, messages, count, flags)),
      eventfd: (value, flags) => this.#try("eventfd", () => real.eventfd(value, flags)),
      poll: (descriptors, count, timeoutMs, done) => {
        if (this.#try("poll", () => 0) < 0) setImmediate(done, -1);
        else real.poll(descriptors, count, timeoutMs, done);
      },
      errno: () => this.#errno || real.errno(),
    };
  }

  #try(call: Call, work: () => number): number {
    this.calls[call] += 1;
    this.#errno = this.plan(call, this.calls[call]) ?? 0;
    return this.#errno === 0 ? work() : -1;
  }
}

async function arrange(t: TestContext, real: Libc) {
  const [near, far] = [new Faulty(real), new Faulty(real)];
  const alice = await End.open(t, new LinuxSocket(near.libc));
  const bob = (await End.open(t, new LinuxSocket(far.libc))).listen();
  return { near, far, alice, bob };
}

/** Sends datagrams that tell their number, in sizes that make runs and single ones. */
function sendSome(alice: End, bob: End, count: number, first = 0): void {
  const memory = shared(count * 200);
  for (let i = 0; i < count; i++) {
    const length = i % 10 === 9 ? 100 : 200;
    pattern(memory, i * 200, length, first + i);
    alice.send(memory, bob, { at: i * 200, length });
  }
}

function assertAll(bob: End, count: number): void {
  assert.equal(bob.arrivals.length, count);
  for (const [i, { bytes }] of bob.arrivals.entries()) assertPattern(bytes, i);
}

test("a full send buffer (EAGAIN) makes sends wait for room, in order", async (t) => {
  await onLinux(async (libc) => {
    const { near, alice, bob } = await arrange(t, libc);
    near.messagesMax = 3;
    near.plan = (call, count) =>
      call === "sendmmsg" && count % 3 === 0 ? ERRNO.EAGAIN : undefined;

    for (let first = 0; first < 600; first += 100) {
      sendSome(alice, bob, 100, first);
      await nap(1);
    }

    await bob.arrived(600);
    assertAll(bob, 600);
    assert.equal(alice.outcomes.length, 600);
    assert.ok(alice.codes.every((code) => code === undefined));
  });
});

test("datagrams that come in without end do not keep sends from going on", async (t) => {
  await onLinux(async (libc) => {
    const { near, alice, bob } = await arrange(t, libc);
    alice.listen();
    let isFull = true;
    near.plan = (call) => (call === "sendmmsg" && isFull ? ERRNO.EAGAIN : undefined);
    sendSome(alice, bob, 10);
    const flood = async (isOver: () => boolean): Promise<void> => {
      const end = performance.now() + 3_000;
      while (!isOver() && performance.now() < end) {
        for (let i = 0; i < 10; i++) bob.send(Uint8Array.of(i), alice);
        await nextTurn();
      }
    };
    await flood(() => alice.arrivals.length >= 500);
    assert.deepEqual([bob.arrivals.length, alice.outcomes.length], [0, 0]);

    isFull = false;

    await flood(() => bob.arrivals.length >= 10);
    assertAll(bob, 10);
  });
});

test("a kernel without memory (ENOBUFS) is asked again, a while later", async (t) => {
  await onLinux(async (libc) => {
    const { near, alice, bob } = await arrange(t, libc);
    near.plan = (call, count) => (call === "sendmmsg" && count <= 3 ? ERRNO.ENOBUFS : undefined);

    sendSome(alice, bob, 30);

    await bob.arrived(30);
    assertAll(bob, 30);
    assert.ok(alice.codes.every((code) => code === undefined));
    assert.ok(near.calls.sendmmsg <= 12, "it is not asked again and again");
  });
});

test("a kernel that stays without memory refuses one datagram after the other", async (t) => {
  await onLinux(async (libc) => {
    const { near, alice, bob } = await arrange(t, libc);
    let isOut = true;
    near.plan = (call) => (call === "sendmmsg" && isOut ? ERRNO.ENOBUFS : undefined);

    sendSome(alice, bob, 2);
    await alice.told(1);
    isOut = false;

    await alice.told(2);
    await bob.arrived(1);
    assert.deepEqual([alice.codes[0], bob.arrivals.length], ["ENOBUFS", 1]);
  });
});

for (const [name, errno] of [
  ["EIO", ERRNO.EIO],
  ["EINVAL", ERRNO.EINVAL],
] as const) {
  test(`a device that cannot cut runs (${name}) gets datagrams, all of them, and no run again`, async (t) => {
    await onLinux(async (libc) => {
      const { near, alice, bob } = await arrange(t, libc);
      near.plan = (call, count) => (call === "sendmmsg" && count === 1 ? errno : undefined);

      sendSome(alice, bob, 50);
      await bob.arrived(50);
      const before = near.calls.sendmmsg;
      sendSome(alice, bob, 50, 50);
      await bob.arrived(100);

      assertAll(bob, 100);
      assert.deepEqual([before, near.calls.sendmmsg, near.messages], [2, 3, 50]);
      assert.ok(alice.codes.every((code) => code === undefined));
    });
  });
}

test("runs too long for a device go one by one, shorter ones as runs, and it is tried again", async (t) => {
  await onLinux(async (libc) => {
    const { near, alice, bob } = await arrange(t, libc);
    near.plan = (call, count) => (call === "sendmmsg" && count === 1 ? ERRNO.EINVAL : undefined);
    const memory = shared(1_400);
    const messagesOf = async (count: number, length: number): Promise<number> => {
      for (let i = 0; i < count; i++) alice.send(memory, bob, { length });
      await bob.arrived(alice.outcomes.length + count);
      return near.messages;
    };

    assert.equal(await messagesOf(10, 1_400), 10);
    assert.equal(await messagesOf(10, 1_300), 1);
    assert.equal(await messagesOf(10, 1_400), 10);
    for (let i = 0; i < 34; i++) await messagesOf(30, 1_400);
    assert.equal(await messagesOf(10, 1_400), 1);
    assert.ok(alice.codes.every((code) => code === undefined));
  });
});

test("without sendmmsg (ENOSYS) there is sendmsg", async (t) => {
  await onLinux(async (libc) => {
    const { near, alice, bob } = await arrange(t, libc);
    near.plan = (call) => (call === "sendmmsg" ? ERRNO.ENOSYS : undefined);

    sendSome(alice, bob, 50);

    await bob.arrived(50);
    assertAll(bob, 50);
    // Ten datagrams are a run, whose last one is shorter.
    assert.deepEqual([near.calls.sendmmsg, near.calls.sendmsg], [1, 5]);
  });
});

test("what the host forbids (EPERM) is told of each datagram, and the next one is tried", async (t) => {
  await onLinux(async (libc) => {
    const { near, alice, bob } = await arrange(t, libc);
    near.messagesMax = 1;
    near.plan = (call, count) => (call === "sendmmsg" && count <= 3 ? ERRNO.EPERM : undefined);

    sendSome(alice, bob, 10);

    await alice.told(10);
    await bob.arrived(8);
    assert.deepEqual(alice.codes.slice(0, 3), ["EPERM", "EPERM", undefined]);
    assert.deepEqual(
      alice.outcomes.slice(0, 3).map(({ at }) => at),
      [0, 200, 400],
    );
  });
});

test("a signal in the middle of a call (EINTR) changes nothing", async (t) => {
  await onLinux(async (libc) => {
    const { near, far, alice, bob } = await arrange(t, libc);
    near.plan = (_, count) => (count % 2 === 1 ? ERRNO.EINTR : undefined);
    far.plan = near.plan;

    for (let first = 0; first < 100; first += 10) {
      sendSome(alice, bob, 10, first);
      await bob.arrived(first + 10);
    }

    assertAll(bob, 100);
    assert.deepEqual([alice.errors, bob.errors], [[], []]);
  });
});

test("ICMP errors that a kernel tells on receipt are passed over", async (t) => {
  await onLinux(async (libc) => {
    const { far, alice, bob } = await arrange(t, libc);
    const errors = [ERRNO.ECONNREFUSED, ERRNO.EHOSTUNREACH, ERRNO.ENETUNREACH, ERRNO.EMSGSIZE];
    far.plan = (call, count) => (call === "recvmmsg" ? errors[count - 1] : undefined);

    sendSome(alice, bob, 20);

    await bob.arrived(20);
    assert.deepEqual(bob.errors, []);
  });
});

test("a kernel without memory to receive is asked again a while later", async (t) => {
  await onLinux(async (libc) => {
    const { far, alice, bob } = await arrange(t, libc);
    far.plan = (call, count) => (call === "recvmmsg" && count <= 3 ? ERRNO.ENOMEM : undefined);

    sendSome(alice, bob, 20);

    await bob.arrived(20);
    assert.ok(far.calls.recvmmsg < 12, "it is not asked again and again");
  });
});

test("a descriptor that is broken is a fault that the daemon hears of, once", async (t) => {
  await onLinux(async (libc) => {
    for (const call of ["recvmmsg", "sendmmsg", "poll"] as const) {
      const { near, alice, bob } = await arrange(t, libc);
      alice.listen();
      near.plan = (called) => (called === call ? ERRNO.EBADF : undefined);
      sendSome(alice, bob, 1);
      bob.send(Uint8Array.of(1), alice);

      await until(() => alice.errors.length > 0, `the fault of ${call}`, 5_000);

      await nap(20);
      assert.equal(alice.errors.length, 1, call);
      assert.match(alice.errors[0], /the UDP socket failed/);
      await alice.socket.stop();
    }
  });
});

test("what waits at a stop is cancelled, each once", async (t) => {
  await onLinux(async (libc) => {
    const { near, alice, bob } = await arrange(t, libc);
    near.plan = (call) => (call === "sendmmsg" ? ERRNO.EAGAIN : undefined);
    sendSome(alice, bob, 300);
    await nap(5);

    await alice.socket.stop();

    assert.deepEqual([alice.outcomes.length, new Set(alice.codes)], [300, new Set(["ECANCELED"])]);
  });
});

test("a queue that nobody empties has an end, and says so", async (t) => {
  await onLinux(async (libc) => {
    const { near, alice, bob } = await arrange(t, libc);
    near.plan = (call) => (call === "sendmmsg" ? ERRNO.EAGAIN : undefined);
    const block = shared(8);

    for (let i = 0; i < 65_540; i++) alice.send(block, bob);

    await alice.told(4);
    assert.deepEqual(alice.codes, ["ENOBUFS", "ENOBUFS", "ENOBUFS", "ENOBUFS"]);
  });
});

test("auto falls back to dgram with the reason, linux says it and what to do", async (t) => {
  const missing = () => "the package koffi is not installed";

  const choice = chooseSocket("auto", missing);

  assert.deepEqual([choice.kind, choice.make().kind], ["dgram", "dgram"]);
  assert.match(choice.why, /koffi is not installed/);
  assert.throws(() => chooseSocket("linux", missing), /koffi is not installed/);
  assert.equal(chooseSocket("dgram", missing).why, "it was asked for");
  await onLinux(async (libc) => {
    const sandbox = new Faulty(libc);
    sandbox.plan = (call) => (call === "eventfd" ? ERRNO.EPERM : undefined);
    assert.match(chooseSocket("auto", () => sandbox.libc).why, /eventfd: EPERM/);
    assert.equal(chooseSocket("auto", () => libc).kind, "linux");
    const end = await End.open(t, chooseSocket("linux", () => libc).make());
    assert.equal(end.socket.family, 4);
  });
});

test("without the optional packages there is dgram, and the daemon's code loads", (t) => {
  const folder = mkdtempSync(join(tmpdir(), "securedgram-bare-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  // Where the modules of this project are not on the way up.
  cpSync(join(SOURCE, "main", "socket"), join(folder, "main", "socket"), { recursive: true });
  cpSync(join(SOURCE, "shared"), join(folder, "shared"), { recursive: true });
  writeFileSync(join(folder, "package.json"), '{"type":"module"}');
  const url = pathToFileURL(join(folder, "main", "socket", "choose-socket.js")).href;
  const program = `const { chooseSocket } = await import(${JSON.stringify(url)});
    const { kind, why } = chooseSocket("auto");
    console.log(JSON.stringify({ kind, why }));`;

  const { stdout } = spawnSync(process.execPath, ["--input-type=module", "-e", program], {
    cwd: folder,
    encoding: "utf8",
  });

  const { kind, why } = JSON.parse(stdout) as { readonly kind: string; readonly why: string };
  assert.equal(kind, "dgram");
  assert.match(
    why,
    process.platform === "linux" ? /koffi is not installed|not known/ : /not Linux/,
  );
});

test("a socket that cannot start leaves no descriptor behind", async () => {
  await onLinux(async (libc) => {
    const faulty = new Faulty(libc);
    const closed: number[] = [];
    faulty.plan = (call) => (call === "eventfd" ? ERRNO.EMFILE : undefined);
    const close = (descriptor: number): number => {
      closed.push(descriptor);
      return libc.close(descriptor);
    };

    const socket = new LinuxSocket({ ...faulty.libc, close });

    await assert.rejects(socket.start(LOOPBACK, 0), /EMFILE/);
    assert.equal(closed.length, 1);
  });
});
