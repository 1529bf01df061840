// A child process that stands in for a network where the kernel has no netem: it carries datagrams
// between two hosts, loses some, holds all back, some longer than others, and lets nothing pass that is
// larger than its path. What it keeps, whoever started it may ask for. Ends with its parent.

import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { randomFrom } from "../daemon/kill-rounds.js";
import type { Carried, KeptText, Order, Shape, Side } from "./relay-process.js";

const BUFFER_BYTES = 4 << 20;
/** Timers of Node are late by up to a millisecond: what is due within half of one leaves. */
const EARLY_MS = 0.5;

interface Held {
  readonly at: number;
  readonly datagram: Buffer;
  readonly direction: Side;
}

const { sides, hosts, seed, shape: first } = JSON.parse(process.argv[2] ?? "") as Order;
const random = randomFrom(seed);
let shape: Shape = first;
const carried: Carried = { toAlice: 0, toBob: 0, lost: 0, tooLong: 0 };
const keep = { left: 0, datagrams: [] as KeptText[] };
/** What waits, latest first: mostly a datagram is held longer than those before it. */
const held: Held[] = [];
let timer: NodeJS.Timeout | undefined;

/** What comes to the port that stands for bob leaves by the one that stands for alice. */
const sockets = { toBob: await bound(sides.alice), toAlice: await bound(sides.bob) };
sockets.toBob.on("message", (datagram) => take(datagram, "toBob"));
sockets.toAlice.on("message", (datagram) => take(datagram, "toAlice"));
process.on("message", (message: Shape | { readonly keep: number } | "report") => {
  if (message === "report") process.send?.({ carried, kept: keep.datagrams.splice(0) });
  else if ("keep" in message) keep.left = message.keep;
  else shape = message;
});
process.on("disconnect", () => process.exit(0));
process.send?.({
  ports: { toBob: sockets.toBob.address().port, toAlice: sockets.toAlice.address().port },
});

async function bound(address: string): Promise<Socket> {
  const socket = createSocket({
    type: "udp4",
    recvBufferSize: BUFFER_BYTES,
    sendBufferSize: BUFFER_BYTES,
  });
  socket.bind(0, address);
  await once(socket, "listening");
  return socket;
}

function take(datagram: Buffer, direction: Side): void {
  if (keep.left > 0) {
    keep.left -= 1;
    const base64 = datagram.toString("base64");
    keep.datagrams.push({ direction, atMs: performance.now(), base64 });
  }
  if (datagram.length > shape.bytesMax) {
    carried.tooLong += 1;
    return;
  }
  if (random() < shape.lossShare) {
    carried.lost += 1;
    return;
  }
  const waitMs = shape.delayMs + random() * shape.jitterMs;
  if (waitMs === 0) send(datagram, direction);
  else hold({ at: performance.now() + waitMs, datagram, direction });
}

function hold(one: Held): void {
  let low = 0;
  for (let high = held.length; low < high; ) {
    const middle = (low + high) >> 1;
    if ((held[middle] as Held).at > one.at) low = middle + 1;
    else high = middle;
  }
  held.splice(low, 0, one);
  if (low < held.length - 1) return;
  clearTimeout(timer);
  timer = setTimeout(release, one.at - performance.now());
}

function release(): void {
  timer = undefined;
  const now = performance.now() + EARLY_MS;
  for (let last = held.at(-1); last !== undefined && last.at <= now; last = held.at(-1)) {
    held.pop();
    send(last.datagram, last.direction);
  }
  const next = held.at(-1);
  if (next !== undefined) timer = setTimeout(release, Math.max(0, next.at - now));
}

function send(datagram: Buffer, direction: Side): void {
  const { address, port } = hosts[direction];
  carried[direction] += 1;
  const from = direction === "toBob" ? sockets.toAlice : sockets.toBob;
  from.send(datagram, port, address, () => {});
}
