// How the rate follows from what a message costs each thread: the model is fitted where all threads share
// all cores, checked where they are pinned otherwise, and asked what other machines would give.

import { availableParallelism } from "node:os";
import { inFolder } from "./children.js";
import { predict, predictGroups, type ThreadCosts } from "./cost-model.js";
import { type Measured, measureLoad } from "./end-to-end.js";
import { canPlace, type Placement } from "./placement.js";
import { interleaved, median, spread } from "./statistics.js";
import type { Report, Suite, Table } from "./suite.js";

const ROUNDS = 3;
const SECONDS = 6;
const BYTES = 200;
const ROWS_PER_TRANSACTION = 512;
const CORES_ASKED = [1, 2, 4, 8, 32];
const ERROR_MAX = 0.15;

type Role = keyof Placement;
interface Case {
  readonly name: string;
  readonly placement: Placement | undefined;
  /** Roles that share a core, each group with one of its own. */
  readonly groups: readonly (readonly Role[])[];
  readonly cores: number;
}

const CASES: readonly Case[] = [
  {
    name: "all on two cores",
    placement: { sender: "0,1", receiver: "0,1", producer: "0,1" },
    groups: [["sender", "receiver", "producer"]],
    cores: 2,
  },
  {
    name: "all on one core",
    placement: { sender: "0", receiver: "0", producer: "0" },
    groups: [["sender", "receiver", "producer"]],
    cores: 1,
  },
  {
    name: "sender | receiver, producer",
    placement: { sender: "0", receiver: "1", producer: "1" },
    groups: [["sender"], ["receiver", "producer"]],
    cores: 1,
  },
  {
    name: "sender, producer | receiver",
    placement: { sender: "0", receiver: "1", producer: "0" },
    groups: [["sender", "producer"], ["receiver"]],
    cores: 1,
  },
];

export const suite: Suite = {
  title: "scaling: the rate out of the cost of each thread, on other cores",
  async run({ rounds = ROUNDS, seconds = SECONDS, say }) {
    if (!canPlace() || availableParallelism() < 2) {
      throw new Error("this takes util-linux' taskset and two cores");
    }
    const results = await interleaved(CASES, rounds, ({ name, placement }, round) =>
      inFolder(async (folder) => {
        const measured = await measureLoad(folder, {
          protocol: "session",
          bytes: BYTES,
          rowsPerTransaction: ROWS_PER_TRANSACTION,
          kind: "client",
          seconds,
          ...(placement !== undefined && { placement }),
        });
        say(`round ${round + 1} of ${rounds}: ${name}: ${Math.round(measured.perSecond)}/s`);
        return measured;
      }),
    );
    return reportOf(results, { seconds, rounds });
  },
};

/** Median cost of each thread over rounds. */
function costsOf(rounds: readonly Measured[]): ThreadCosts {
  const names = new Set(rounds.flatMap(({ costs }) => [...costs.keys()]));
  return new Map(
    [...names].map((name) => [name, median(rounds.map(({ costs }) => costs.get(name) ?? 0))]),
  );
}

const namesOf = (costs: ThreadCosts, roles: readonly Role[]): readonly string[] =>
  [...costs.keys()].filter((name) => roles.some((role) => name.startsWith(role)));

const sumOf = (costs: ThreadCosts): number => [...costs.values()].reduce((all, us) => all + us, 0);

function reportOf(
  results: readonly (readonly Measured[])[],
  settings: { readonly seconds: number; readonly rounds: number },
): Report {
  const [fitted] = results;
  const costs = costsOf(fitted);
  const rates = results.map((rounds) => median(rounds.map(({ perSecond }) => perSecond)));
  // What the fitted case leaves of its cores: waits for commits, and cores that change their thread.
  const use = (rates[0] * sumOf(costs)) / (CASES[0].cores * 1e6);
  const checks = CASES.map(({ name, groups, cores }, i) => {
    const parts = groups.map((roles) => ({ names: namesOf(costs, roles), cores }));
    const predicted = predictGroups(costs, parts, use);
    return {
      name,
      perSecond: rates[i],
      rounds: spread(
        results[i].map(({ perSecond }) => perSecond),
        0,
      ),
      predicted: predicted.perSecond,
      error: predicted.perSecond / rates[i] - 1,
      costUs: sumOf(costsOf(results[i])),
    };
  });
  return {
    settings: {
      payload: `${BYTES} B`,
      "rows a transaction": ROWS_PER_TRANSACTION,
      "s of inserting": settings.seconds,
      rounds: settings.rounds,
      "share of the cores in use where fitted": use,
    },
    tables: [costsTable(costs), checksTable(checks), askedTable(askedOf(costs, use))],
    chart: {
      title: "Messages a second, measured and by the model",
      axis: "messages a second",
      scale: "linear",
      series: ["measured", "model"],
      groups: checks.map(({ name, perSecond, predicted }) => ({
        label: name,
        values: [perSecond, predicted],
      })),
    },
    targets: [
      {
        what: "the model's error where it was not fitted, most",
        wanted: { atMost: ERROR_MAX },
        measured: Math.max(...checks.slice(1).map(({ error }) => Math.abs(error))),
        unit: "of what was measured",
      },
    ],
    notes: [
      "fitted: CPU us a message of each thread, and the share of two cores that was in use, both of the first case",
      "groups with | between them have a core each",
      "the model knows nothing of shared memory and caches, of turbo clocks, nor of disks that are slower than this " +
        "one when more is written",
    ],
  };
}

/** What other machines would give: both hosts and the producer on one, or a host each. */
const askedOf = (costs: ThreadCosts, use: number): Table["rows"] =>
  CORES_ASKED.map((cores) => {
    const together = predict(costs, [...costs.keys()], cores, use);
    const apart = predictGroups(
      costs,
      (["sender", "receiver"] as const).map((role) => ({
        names: namesOf(costs, role === "sender" ? ["sender", "producer"] : [role]),
        cores,
      })),
      use,
    );
    return {
      cores,
      together: together.perSecond,
      togetherWall: together.wall,
      apart: apart.perSecond,
      apartWall: apart.wall,
    };
  });

const costsTable = (costs: ThreadCosts): Table => ({
  title: "Cost of a message, by thread",
  columns: [
    { key: "name", label: "thread" },
    { key: "us", label: "CPU us", digits: 2 },
    { key: "alone", label: "messages/s of a core", digits: 0 },
  ],
  rows: [...costs].sort().map(([name, us]) => ({ name, us, alone: 1e6 / us })),
});

const checksTable = (rows: Table["rows"]): Table => ({
  title: "Measured and predicted",
  columns: [
    { key: "name", label: "cores" },
    { key: "perSecond", label: "messages/s", digits: 0 },
    { key: "rounds", label: "rounds" },
    { key: "predicted", label: "model", digits: 0 },
    { key: "error", label: "error", digits: 2 },
    { key: "costUs", label: "CPU us a message", digits: 1 },
  ],
  rows,
});

const askedTable = (rows: Table["rows"]): Table => ({
  title: "Other machines, by the model",
  columns: [
    { key: "cores", label: "cores", digits: 0 },
    { key: "together", label: "both hosts on it: messages/s", digits: 0 },
    { key: "togetherWall", label: "wall" },
    { key: "apart", label: "a host each: messages/s", digits: 0 },
    { key: "apartWall", label: "wall" },
  ],
  rows,
});
