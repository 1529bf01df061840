// The suites of whole loads: each varies one thing.

import { freemem } from "node:os";
import { loadLibc } from "../src/main/socket/libc.js";
import { inFolder } from "./children.js";
import { loadSuite } from "./load-suite.js";
import { PastDatabases } from "./rows-before.js";
import type { Suite } from "./suite.js";

const KIB = 1_024;
const SIZES_BYTES = [64, 200, 1_000, 4 * KIB, 16 * KIB, 64 * KIB, 256 * KIB, 1_024 * KIB];
const WORKERS = [0, 1, 2, 3, 4];
const RECEIVERS = [1, 4, 16, 64];
/** Of a daemon that works, and room beside it. */
const DAEMON_BYTES = 200 * KIB * KIB;
const ADDRESSES = [1, 10, 100, 1_000];
const SHARE_OF_ONE_MIN = 0.9;
const ROWS_BEFORE = 10_000_000;
/** Where the growth of the cost would be seen. */
const LESS_ROWS_BEFORE = [600_000, 4_000_000];
const SHARE_OF_EMPTY_MIN = 0.85;
const SMALL_TRANSACTION_PER_SECOND = 60_000;
const KB_PER_SECOND = 50_000;
const STORED_MB_MIN = 90;

const sizeText = (bytes: number): string =>
  bytes >= 1_024 * KIB ? "1 MiB" : bytes >= 4 * KIB ? `${bytes / KIB} KiB` : `${bytes} B`;

export const sizes = loadSuite({
  title: "sizes: messages a second by size, durable on both sides",
  differs: "payload",
  cases: () => SIZES_BYTES.map((bytes) => ({ name: sizeText(bytes), load: { bytes } })),
  targets: (perSecond) => [
    {
      what: "1 kB messages",
      wanted: { atLeast: KB_PER_SECOND },
      measured: perSecond.get(sizeText(1_000)) ?? Number.NaN,
      unit: "messages/s",
    },
    {
      what: "goodput of 64 KiB messages, stored",
      wanted: { atLeast: STORED_MB_MIN },
      measured: ((perSecond.get(sizeText(64 * KIB)) ?? Number.NaN) * 64 * KIB) / 1e6,
      unit: "MB/s",
    },
  ],
  notes: ["64 MiB wait at most; of large messages fewer rows share a transaction"],
});

export const producers = loadSuite({
  title: "producers: who inserts, and how many rows a transaction",
  differs: "producer",
  cases: () =>
    (["client", "foreign", "foreign without id"] as const).flatMap((kind) =>
      (kind === "client" ? [512, 64, 8] : [512, 64]).map((rowsPerTransaction) => ({
        name: `${kind}, ${rowsPerTransaction} rows`,
        load: { kind, rowsPerTransaction },
      })),
    ),
  targets: (perSecond) =>
    ["client, 64 rows", "foreign, 512 rows", "foreign, 64 rows"].map((name) => ({
      what: name,
      wanted: { atLeast: SMALL_TRANSACTION_PER_SECOND },
      measured: perSecond.get(name) ?? Number.NaN,
      unit: "messages/s",
    })),
  notes: [
    "foreign: plain SQL, row by row, no doorbell; without id: message_id is NULL, the daemon writes one",
  ],
});

export const workers = loadSuite({
  title: "workers: threads that seal and open",
  differs: "--crypto-workers",
  cases: () =>
    WORKERS.map((count) => ({
      name: `${count}`,
      load: { flags: ["--crypto-workers", `${count}`] },
    })),
});

export const sockets = loadSuite({
  title: "sockets: how datagrams travel",
  differs: "--socket",
  cases: ({ say }) => {
    const libc = loadLibc();
    if (typeof libc === "string") say(`only dgram is measured: ${libc}`);
    const kinds = typeof libc === "string" ? ["dgram"] : ["linux", "dgram"];
    return kinds.map((kind) => ({ name: kind, load: { flags: ["--socket", kind] } }));
  },
});

export const fanout = loadSuite({
  title: "fanout: one sender, many daemons that receive",
  differs: "peers",
  rounds: 1,
  cases: ({ say }) =>
    RECEIVERS.filter((receivers) => {
      const fits = receivers * DAEMON_BYTES < freemem();
      if (!fits) say(`${receivers} are not measured: no memory for so many`);
      return fits;
    }).map((receivers) => ({ name: `${receivers}`, load: { receivers } })),
  notes: [
    "each transaction goes to the next peer; every peer is a whole daemon on this machine, so their number is bounded " +
      "by its memory, and what they cost beside the messages counts as well",
  ],
});

export const addresses = loadSuite({
  title: "addresses: one sender, one to a thousand addresses, classic",
  differs: "addresses",
  cases: () =>
    ADDRESSES.map((count) => ({
      name: count.toLocaleString("en-US"),
      load: { protocol: "classic", addresses: count, flags: ["--bind", "0.0.0.0"] },
    })),
  targets: (perSecond) => [
    {
      what: "1,000 addresses against 1",
      wanted: { atLeast: SHARE_OF_ONE_MIN },
      measured: (perSecond.get("1,000") ?? Number.NaN) / (perSecond.get("1") ?? Number.NaN),
      unit: "x",
    },
  ],
  notes: [
    "each transaction goes to the next address; all are of one daemon, which the sender cannot know: it has a lane, a " +
      "window and timers for each",
  ],
});

export const database: Suite = {
  title: "database: with rows that lie there already",
  run: (context) =>
    inFolder((folder) => {
      const past = new PastDatabases(folder);
      return loadSuite({
        title: database.title,
        differs: "rows in each table before",
        seconds: 30,
        cases: ({ rows = ROWS_BEFORE }) =>
          [0, ...LESS_ROWS_BEFORE.filter((less) => less < rows), rows].map((rowsBefore) => ({
            name: rowsBefore.toLocaleString("en-US"),
            load: { prepare: (path) => past.put(path, rowsBefore) },
          })),
        targets: (perSecond) => {
          const all = [...perSecond];
          const [[, empty], [name, full]] = [all[0], all[all.length - 1]];
          return [
            {
              what: `${name} rows against none`,
              wanted: { atLeast: SHARE_OF_EMPTY_MIN },
              measured: full / empty,
              unit: "x",
            },
          ];
        },
        notes: [
          "the rows are of 200 B, acknowledged or read, and of another peer; --rows says how many",
        ],
      }).run(context);
    }),
};
