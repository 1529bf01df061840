// Goodput that is not stored: full datagrams sealed in one process and opened in another, through the
// daemon's crypto pool and socket, and what comes is thrown away; beside an encrypted stream of others.
// And what of libsodium's own speed the pool keeps.

import { newPrivateKey } from "../src/main/identity.js";
import { loadLibc } from "../src/main/socket/libc.js";
import { runChild } from "./child.js";
import type { GoodputOptions, GoodputResult } from "./goodput-child.js";
import { freePort } from "./hosts.js";
import { PEERS_VARIABLE, peerVersion } from "./peer-client.js";
import { measurePool, measureRaw } from "./pool-rate.js";
import { interleaved, median, spread } from "./statistics.js";
import type { BenchContext, Report, Suite, Table } from "./suite.js";

const ROUNDS = 5;
const MEASURE_MS = 2_000;
const DEADLINE_MS = 30_000;
const DATAGRAM_BYTES = 1_452;
const CHUNK_BYTES = 65_536;
const POOL_MB_MIN = 370;
const ON_MAIN_MB_MIN = 500;
const RATIO_MIN = 4;
const POOL_SHARE_MIN = 0.85;
const CHILD = new URL("./goodput-child.js", import.meta.url);

interface Case {
  readonly name: string;
  readonly kind: GoodputOptions["kind"];
  readonly workers: number;
}
const UDX: Case = { name: "udx-native + secret-stream", kind: "udx", workers: 0 };

interface Both {
  readonly mbPerSecond: number;
  /** Both processes, us of CPU a MB. */
  readonly cpuUs: number;
}

/** Seals on one thread: libsodium alone, and through the pool with a worker. MB/s. */
interface Sealing {
  readonly raw: number;
  readonly pool: number;
}

export const suite: Suite = {
  title: "goodput: 1,452 B datagrams sealed and opened, nothing stored",
  run: measureAll,
};

function casesOf(say: BenchContext["say"]): readonly Case[] {
  const libc = loadLibc();
  if (typeof libc === "string") say(`only dgram is measured: ${libc}`);
  const kinds = typeof libc === "string" ? (["dgram"] as const) : (["linux", "dgram"] as const);
  const ours = kinds.flatMap((kind) =>
    [1, 0].map((workers) => ({ name: `${kind}, ${workersText(workers)}`, kind, workers })),
  );
  const missing = ["udx-native", "@hyperswarm/secret-stream"].filter(
    (name) => peerVersion(name) === undefined,
  );
  if (missing.length === 0) return [...ours, UDX];
  say(`${UDX.name} is not measured: no ${missing.join(", ")} in what ${PEERS_VARIABLE} names`);
  return ours;
}

const workersText = (workers: number): string =>
  workers === 0 ? "workers 0" : "through the pool, 1 worker";

async function measureAll(context: BenchContext): Promise<Report> {
  const { seconds, say, rounds = ROUNDS } = context;
  const measureMs = seconds === undefined ? MEASURE_MS : seconds * 1_000;
  const cases = casesOf(say);
  const results = await interleaved(cases, rounds, async (one, round) => {
    const both = await measure(one, measureMs);
    say(`round ${round + 1} of ${rounds}: ${one.name}, ${both.mbPerSecond.toFixed(0)} MB/s`);
    return both;
  });
  const sealing = await interleaved(["sealing"], rounds, async (): Promise<Sealing> => {
    const raw = measureRaw(DATAGRAM_BYTES, measureMs / 4);
    return { raw, pool: await measurePool(DATAGRAM_BYTES, measureMs / 4) };
  });
  return reportOf(cases, results, sealing[0], { measureMs, rounds });
}

async function measure({ kind, workers }: Case, measureMs: number): Promise<Both> {
  const [port, otherPort] = [await freePort(), await freePort()];
  const [one, other] = [newPrivateKey(), newPrivateKey()].map((key) =>
    Buffer.from(key).toString("base64"),
  );
  const shared = { kind, workers, datagramBytes: DATAGRAM_BYTES, chunkBytes: CHUNK_BYTES };
  let sending: Promise<GoodputResult> | undefined;
  const received = await runChild<GoodputOptions, GoodputResult>(
    CHILD,
    {
      ...{ ...shared, role: "receive", port, otherPort, measureMs },
      ...{ privateKey: one, peerPrivateKey: other },
    },
    {
      onStart: () => {
        sending = runChild<GoodputOptions, GoodputResult>(
          CHILD,
          {
            ...{ ...shared, role: "send", port: otherPort, otherPort: port },
            ...{ privateKey: other, peerPrivateKey: one },
            // It goes on until the receiver has measured.
            measureMs: measureMs * 1.2 + 200,
          },
          { deadlineMs: DEADLINE_MS + measureMs },
        );
        sending.catch(() => {});
      },
      deadlineMs: DEADLINE_MS + measureMs,
    },
  );
  if (sending === undefined) throw new Error("the receiver ended before it began");
  const sent = await sending;
  const cpuShare = received.cpuUs / received.seconds + sent.cpuUs / sent.seconds;
  const mbPerSecond = received.bytes / received.seconds / 1e6;
  return { mbPerSecond, cpuUs: cpuShare / mbPerSecond };
}

function reportOf(
  cases: readonly Case[],
  results: readonly (readonly Both[])[],
  sealing: readonly Sealing[],
  settings: { readonly measureMs: number; readonly rounds: number },
): Report {
  const udxAt = cases.indexOf(UDX);
  const ratios = (i: number): readonly number[] =>
    udxAt < 0
      ? []
      : results[i].map((both, round) => both.mbPerSecond / results[udxAt][round].mbPerSecond);
  const rows = cases.map(({ name }, i) => {
    const rates = results[i].map(({ mbPerSecond }) => mbPerSecond);
    return {
      name,
      mbPerSecond: median(rates),
      rounds: spread(rates, 0),
      ratio: median(ratios(i)),
      cpuUs: median(results[i].map(({ cpuUs }) => cpuUs)),
    };
  });
  const share = median(sealing.map(({ raw, pool }) => pool / raw));
  return {
    settings: {
      datagram: `${DATAGRAM_BYTES} B`,
      "ms a round": settings.measureMs,
      rounds: settings.rounds,
      "stream's writes": `${CHUNK_BYTES} B`,
    },
    tables: [
      {
        title: "From process to process, medians",
        columns: [
          { key: "name", label: "by way of" },
          { key: "mbPerSecond", label: "MB/s", digits: 0 },
          { key: "rounds", label: "rounds" },
          { key: "ratio", label: `x ${UDX.name}` },
          { key: "cpuUs", label: "CPU us/MB, both", digits: 0 },
        ],
        rows,
      },
      sealingTable(sealing),
    ],
    chart: {
      title: "Goodput of 1,452 B datagrams, sealed and opened, not stored",
      axis: "MB/s",
      scale: "linear",
      series: ["MB/s"],
      groups: rows.map(({ name, mbPerSecond }) => ({ label: name, values: [mbPerSecond] })),
    },
    targets: targetsOf(cases, rows, share),
    notes: [
      "medians over interleaved rounds; two processes on loopback. Frames are counted, not the header and the tag",
      "ours: a handshake, then packets as main has them sealed and sent, with a credit every 32 datagrams, 512 under way at most, in " +
        "place of acknowledgements: no loss recovery, no congestion control, no frames; the other one has those",
      "sealing: the same plaintext; `raw` is libsodium alone on this thread, `pool` is main filling slabs, one worker " +
        "sealing them and main looking at each packet and masking its counter",
    ],
  };
}

const sealingTable = (sealing: readonly Sealing[]): Table => ({
  title: "Sealing, one thread of libsodium",
  columns: [
    { key: "name", label: "how" },
    { key: "mbPerSecond", label: "MB/s", digits: 0 },
    { key: "rounds", label: "rounds" },
  ],
  rows: (["raw", "pool"] as const).map((key) => {
    const rates = sealing.map((round) => round[key]);
    return { name: key, mbPerSecond: median(rates), rounds: spread(rates, 0) };
  }),
});

function targetsOf(
  cases: readonly Case[],
  rows: readonly { readonly mbPerSecond: number; readonly ratio: number }[],
  share: number,
): Report["targets"] {
  const best = (workers: number) => {
    const mine = rows.filter((_, i) => cases[i] !== UDX && cases[i].workers === workers);
    return mine.reduce((a, b) => (b.mbPerSecond > a.mbPerSecond ? b : a));
  };
  const [pool, onMain] = [best(1), best(0)];
  return [
    {
      what: "goodput through the pool",
      wanted: { atLeast: POOL_MB_MIN },
      measured: pool.mbPerSecond,
      unit: "MB/s",
    },
    {
      what: "goodput with workers 0",
      wanted: { atLeast: ON_MAIN_MB_MIN },
      measured: onMain.mbPerSecond,
      unit: "MB/s",
    },
    {
      what: "one worker of the pool against raw sodium-native on one thread",
      wanted: { atLeast: POOL_SHARE_MIN },
      measured: share,
      unit: "x",
    },
    ...(cases.includes(UDX)
      ? [
          {
            what: `the better of both against ${UDX.name}`,
            wanted: { atLeast: RATIO_MIN },
            measured: Math.max(pool.ratio, onMain.ratio),
            unit: "x",
          },
        ]
      : []),
  ];
}
