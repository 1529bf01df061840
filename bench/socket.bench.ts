// What a datagram costs each end by way of dgram and by way of the Linux socket, through the interface
// that the daemon uses: two processes on loopback, with credit, so that nothing is lost for good.

import type { SocketKind } from "../src/main/socket/datagram-socket.js";
import { DgramSocket } from "../src/main/socket/dgram.js";
import { loadLibc } from "../src/main/socket/libc.js";
import { runChild } from "./child.js";
import type { EndOptions, EndResult } from "./socket-child.js";
import { interleaved, median, spread } from "./statistics.js";
import type { BenchContext, Report, Suite } from "./suite.js";

const ROUNDS = 5;
const MEASURE_MS = 500;
const DEADLINE_MS = 30_000;
const BURSTS = [1, 8, 45, 128];
const SIZES_BYTES = [200, 1_452];
const CHILD = new URL("./socket-child.js", import.meta.url);

interface Case {
  readonly kind: SocketKind;
  readonly bytes: number;
  readonly burst: number;
}
interface Both {
  readonly send: EndResult;
  readonly receive: EndResult;
}

export const suite: Suite = {
  title: "socket: what a datagram costs, by way of dgram and of the Linux socket",
  run: measureAll,
};

async function measureAll({ seconds, say }: BenchContext): Promise<Report> {
  const libc = loadLibc();
  if (typeof libc === "string") say(`only dgram is measured: ${libc}`);
  const kinds: readonly SocketKind[] = typeof libc === "string" ? ["dgram"] : ["dgram", "linux"];
  const measureMs = seconds === undefined ? MEASURE_MS : (seconds * 1_000) / ROUNDS;
  const cases = SIZES_BYTES.flatMap((bytes) =>
    BURSTS.flatMap((burst) => kinds.map((kind): Case => ({ kind, bytes, burst }))),
  );
  const roundsOf = await interleaved(cases, ROUNDS, (one, round) => {
    if (one === cases[0]) say(`round ${round + 1} of ${ROUNDS}`);
    return measure(one, measureMs);
  });
  const rows = cases.map((one, i) => rowOf(one, roundsOf[i]));
  const of = (kind: SocketKind, { bytes, burst }: Case) =>
    rows.find((row) => row.kind === kind && row.bytes === bytes && row.burst === burst);
  return {
    settings: { rounds: ROUNDS, "ms a round": measureMs },
    tables: [
      {
        title: "CPU a datagram at each end",
        columns: [
          { key: "kind", label: "socket" },
          { key: "bytes", label: "B", digits: 0 },
          { key: "burst", label: "at once", digits: 0 },
          { key: "sendUs", label: "send: thread us", digits: 3 },
          { key: "sendProcessUs", label: "process us", digits: 3 },
          { key: "receiveUs", label: "receive: thread us", digits: 3 },
          { key: "receiveProcessUs", label: "process us", digits: 3 },
          { key: "perSecond", label: "received/s", digits: 0 },
          { key: "rounds", label: "rounds" },
        ],
        rows,
      },
    ],
    chart: {
      title: "CPU of the thread that has the socket, sending and receiving together",
      axis: "microseconds a datagram",
      scale: "logarithmic",
      series: [...kinds],
      groups: cases
        .filter(({ kind }) => kind === "dgram")
        .map((one) => ({
          label: `${one.burst} x ${one.bytes} B`,
          values: kinds.map((kind) => {
            const row = of(kind, one);
            return row === undefined ? undefined : row.sendUs + row.receiveUs;
          }),
        })),
    },
    targets: [],
    notes: [
      "medians over interleaved rounds; two processes on loopback and one credit back every 128 datagrams; " +
        "`at once` is what is handed to the socket in one turn, as a slab does",
      "`thread` has the socket; `process` also counts the thread that polls, the compiler and the collector",
      "loopback does the receiver's part of the kernel's work inside the sender's call",
    ],
  };
}

async function measure(one: Case, measureMs: number): Promise<Both> {
  const probe = new DgramSocket();
  await probe.start("127.0.0.1", 0);
  const { port } = probe;
  await probe.stop();
  let sending: Promise<EndResult> | undefined;
  const run = (role: EndOptions["role"], onStart: () => void, ms: number) =>
    runChild<EndOptions, EndResult>(
      CHILD,
      { ...one, role, port, measureMs: ms },
      { onStart, deadlineMs: DEADLINE_MS },
    );
  const receive = await run(
    "receive",
    () => {
      // It goes on until the receiver has measured.
      sending = run("send", () => {}, measureMs * 1.2);
    },
    measureMs,
  );
  if (sending === undefined) throw new Error("the receiver ended before it began");
  return { receive, send: await sending };
}

function rowOf(one: Case, rounds: readonly Both[]) {
  const of = (value: (both: Both) => number): number => median(rounds.map(value));
  const rates = rounds.map(({ receive }) => receive.datagrams / receive.seconds);
  return {
    ...one,
    sendUs: of(({ send }) => send.threadUs),
    sendProcessUs: of(({ send }) => send.processUs),
    receiveUs: of(({ receive }) => receive.threadUs),
    receiveProcessUs: of(({ receive }) => receive.processUs),
    perSecond: median(rates),
    rounds: spread(rates, 0),
  };
}
