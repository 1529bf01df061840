// What a message costs the main threads in memory that the collector must clear away, at full load.

import { inFolder } from "./children.js";
import { BACKLOG_ROWS, measureLoad } from "./end-to-end.js";
import type { HeapSample } from "./heap.js";
import type { Suite, Table } from "./suite.js";

const SECONDS = 30;
const BYTES = 200;
const ROWS_PER_TRANSACTION = 512;
const BYTES_A_MESSAGE_MAX = 50;
const FUNCTIONS_SHOWN = 12;

export const suite: Suite = {
  title: "allocation: bytes a message on the main threads, 200 B, sessions",
  async run({ seconds = SECONDS, say }) {
    const { produced, perSecond, heaps } = await inFolder((folder) =>
      measureLoad(folder, {
        protocol: "session",
        bytes: BYTES,
        rowsPerTransaction: ROWS_PER_TRANSACTION,
        kind: "client",
        seconds,
        samplesHeaps: true,
      }),
    );
    say(`${Math.round(perSecond)} messages/s while the heaps are sampled`);
    const hosts = heaps.map((heap, i) => ({
      name: i === 0 ? "sender" : "receiver",
      functions: perMessage(heap, produced.rows),
    }));
    const rows = hosts.map(({ name, functions }) => ({
      name,
      bytes: functions.reduce((sum, { bytes }) => sum + bytes, 0),
    }));
    return {
      settings: {
        payload: `${BYTES} B`,
        "rows a transaction": ROWS_PER_TRANSACTION,
        "backlog at most": BACKLOG_ROWS,
        "s of inserting": seconds,
        messages: produced.rows,
      },
      tables: [
        {
          title: "Allocated by the main thread, garbage included",
          columns: [
            { key: "name", label: "daemon" },
            { key: "bytes", label: "bytes a message", digits: 1 },
          ],
          rows,
        },
        ...hosts.map(functionsTable),
      ],
      chart: {
        title: "Bytes a message that the main threads allocate",
        axis: "bytes a message",
        scale: "linear",
        series: ["bytes a message"],
        groups: rows.map(({ name, bytes }) => ({ label: name, values: [bytes] })),
      },
      targets: rows.map(({ name, bytes }) => ({
        what: `allocation on ${name}'s main thread`,
        wanted: { atMost: BYTES_A_MESSAGE_MAX },
        measured: bytes,
        unit: "bytes a message",
      })),
      notes: [
        "V8's sampling heap profiler, from the end of the warm-up to the last acknowledgement; one sample in 16 KiB",
        "what a function allocates is counted for it also where it was made part of its caller, or for the caller",
      ],
    };
  },
};

const perMessage = (heap: HeapSample, messages: number) =>
  heap.byFunction
    .map(([name, bytes]) => ({ name, bytes: bytes / messages }))
    .sort((a, b) => b.bytes - a.bytes);

const functionsTable = ({
  name,
  functions,
}: {
  readonly name: string;
  readonly functions: ReturnType<typeof perMessage>;
}): Table => ({
  title: `Where the ${name} allocates`,
  columns: [
    { key: "name", label: "function" },
    { key: "bytes", label: "bytes a message", digits: 1 },
  ],
  rows: functions.slice(0, FUNCTIONS_SHOWN),
});
