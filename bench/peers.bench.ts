// SecureDGram and what is installed of the systems that people would take instead: the same messages
// between two processes on this machine, rounds in turn, and how many times as fast ours is.

import { availableParallelism } from "node:os";
import { reasonOf } from "../src/shared/base/errors.js";
import { inFolder } from "./children.js";
import { fileSystemOf } from "./machine.js";
import { PEERS_VARIABLE } from "./peer-client.js";
import { type PeerRound, type System, systems } from "./peers.js";
import { BATCH_MESSAGES, BYTES, UNDER_WAY_MESSAGES } from "./peers-workload.js";
import { interleaved, median, spread } from "./statistics.js";
import type { BenchContext, Report, Suite, Table } from "./suite.js";

const ROUNDS = 5;
const SECONDS = 10;
const RATIO_MIN = 4;
/** Systems whose figure ours is to beat by RATIO_MIN. */
const TO_BEAT = ["NATS JetStream", "mosquitto, QoS 1"];

/** How it was measured. */
const NOTES: readonly string[] = [
  "every system in the same run, each round with fresh processes, files and keys, one after the other",
  "SecureDGram: sessions, synchronous FULL, two daemons; `consumed` has a program at the receiver besides, that " +
    "takes each message through the client library and marks it as done; rows are inserted for 10 s at most",
  "NATS and mosquitto: TLS with a certificate of this run, one server, a producer and a consumer in Node; the clock " +
    "stops when all is acknowledged to the producer and the consumer has and acknowledges the last one",
  "mosquitto with QoS 2 is sent to for 5 s at most: with more waiting than there are packet ids it closes",
  `of theirs, ${UNDER_WAY_MESSAGES} messages are under way; of ours, 32,768 rows wait at most`,
  "a message that is missing fails the suite: consumers count each by its number, and of ours both tables are compared " +
    "row by row",
  `packages of the clients are taken from the folder that ${PEERS_VARIABLE} names`,
];

export const suite: Suite = {
  title: "peers: 200 B messages from process to process, beside other systems, rounds in turn",
  run: measureAll,
};

async function measureAll(context: BenchContext): Promise<Report> {
  const { say, seconds = SECONDS, rounds = ROUNDS } = context;
  const all = systems();
  for (const { name, found } of all) {
    if ("missing" in found) say(`${name} is not measured: there is no ${found.missing}`);
  }
  const present = all.filter(({ found }) => "versions" in found);
  let fileSystem = "unknown";
  const results = await interleaved(present, rounds, (system, round) =>
    inFolder(async (folder) => {
      fileSystem = fileSystemOf(folder);
      const at = `round ${round + 1} of ${rounds}: ${system.name}`;
      try {
        const result = await system.measure(folder, seconds);
        say(`${at} ${Math.round(rateOf(result))}/s`);
        return result;
      } catch (error) {
        // Of ours every round counts; others may give up under the load, which is said.
        if (system === present[0]) throw error;
        say(`${at} FAILED: ${reasonOf(error)}`);
        return undefined;
      }
    }),
  );
  return reportOf(all, present, results, { seconds, rounds, fileSystem });
}

const rateOf = ({ messages, seconds }: PeerRound): number => messages / seconds;

type Rounds = readonly (PeerRound | undefined)[];

const doneOf = (rounds: Rounds): readonly PeerRound[] =>
  rounds.filter((each) => each !== undefined);

/** How many times as fast the first system is, round by round. */
function ratiosOf(
  present: readonly System[],
  results: readonly Rounds[],
): readonly (readonly number[])[] {
  const [ours] = results.map(doneOf);
  return present.map((_, i) =>
    results[i].flatMap((round, n) =>
      round === undefined ? [] : rateOf(ours[n] as PeerRound) / rateOf(round),
    ),
  );
}

function reportOf(
  all: readonly System[],
  present: readonly System[],
  results: readonly Rounds[],
  settings: {
    readonly seconds: number;
    readonly rounds: number;
    readonly fileSystem: string;
  },
): Report {
  const ratios = ratiosOf(present, results);
  const measured = present.flatMap((system, i) => {
    const done = doneOf(results[i]);
    return done.length === 0 ? [] : { ...system, done, ratios: ratios[i] };
  });
  const rows = measured.map(({ name, promise, done, ratios }) => ({
    name,
    perSecond: median(done.map(rateOf)),
    rounds: spread(done.map(rateOf), 0),
    failed: settings.rounds - done.length,
    ratio: median(ratios),
    ratios: spread(ratios, 2),
    cpuUs: median(done.map(({ cpuUs }) => cpuUs)),
    again: done.reduce((sum, { again }) => sum + again, 0),
    promise,
  }));
  return {
    settings: {
      payload: `${BYTES} B`,
      batches: BATCH_MESSAGES,
      "s of sending": settings.seconds,
      rounds: settings.rounds,
      cores: availableParallelism(),
      "file system": settings.fileSystem,
    },
    tables: [
      {
        title: "First message sent to last one acknowledged, medians",
        columns: [
          { key: "name", label: "system" },
          { key: "perSecond", label: "messages/s", digits: 0 },
          { key: "rounds", label: "rounds" },
          { key: "failed", label: "rounds failed", digits: 0 },
          { key: "ratio", label: "SecureDGram is x times it" },
          { key: "ratios", label: "rounds" },
          { key: "cpuUs", label: "CPU us/message", digits: 1 },
          { key: "again", label: "came twice", digits: 0 },
          { key: "promise", label: "what acknowledged means" },
        ],
        rows,
      },
      systemsTable(all),
    ],
    chart: {
      title: "200 B messages from process to process",
      axis: "messages a second",
      scale: "linear",
      series: ["messages/s"],
      groups: rows.map(({ name, perSecond }) => ({ label: name, values: [perSecond] })),
    },
    targets: rows
      .filter(({ name }) => TO_BEAT.includes(name))
      .map(({ name, ratio }) => ({
        what: `SecureDGram against ${name}, median of the rounds' ratios`,
        wanted: { atLeast: RATIO_MIN },
        measured: ratio,
        unit: "x",
      })),
    notes: NOTES,
  };
}

const systemsTable = (all: readonly System[]): Table => ({
  title: "Systems",
  columns: [
    { key: "name", label: "system" },
    { key: "found", label: "found" },
  ],
  rows: all.map(({ name, found }) => ({
    name,
    found: "versions" in found ? found.versions : `NOT MEASURED: no ${found.missing}`,
  })),
});
