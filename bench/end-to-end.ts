// A load from end to end, as suites ask for it: a producer process, two daemons on loopback, each with a
// file of its own; from the first insert to the last row that the sender's table calls acknowledged, what
// lies at the receiver compared afterwards. CPU time by thread beside it.

import { runChild } from "./child.js";
import { HEAP_SWITCH, type HeapSample, samplesOf, toggleSamples } from "./heap.js";
import { type Host, LOOPBACK, withHosts } from "./hosts.js";
import { type Placement, place } from "./placement.js";
import { datagramsSent, spentByName, statusField, type ThreadTimes, threadTimes } from "./proc.js";
import type { Produced, ProducerOptions } from "./producer.js";
import type { Protocol } from "./suite.js";
import { type Delivery, verifyDelivery } from "./verify.js";

/** Rows that wait at most. */
export const BACKLOG_ROWS = 32_768;
/** Bytes of payload that wait at most, so that large messages do not fill the disk. */
const BACKLOG_BYTES = 64 * 1_024 * 1_024;
export const WARM_UP_ROWS = 20_480;
const WARM_UP_BYTES = 24 * 1_024 * 1_024;
const DEADLINE_SECONDS = 120;
const PRODUCER = new URL("./producer.js", import.meta.url);

export interface Load {
  readonly protocol: Protocol;
  readonly bytes: number;
  readonly rowsPerTransaction: number;
  readonly kind: ProducerOptions["kind"];
  /** Length of the inserting. */
  readonly seconds: number;
  /** Daemons that get a transaction in turn; default 1. */
  readonly receivers?: number;
  /** Addresses of the one receiver that get a transaction in turn, classic; default 1. */
  readonly addresses?: number;
  /** More flags of both daemons. */
  readonly flags?: readonly string[];
  /** Called with the path of each database before its daemon starts. */
  readonly prepare?: (database: string) => void;
  /** Goes on beside the load, from before its first row on; awaited when the last is acknowledged. */
  readonly beside?: (receiver: Host) => Promise<void>;
  /** The producer's last row says how many came before it. */
  readonly endMark?: boolean;
  /** Cores of each process; default all. */
  readonly placement?: Placement;
  /** The daemons say what their main threads allocate, which costs them some time. */
  readonly samplesHeaps?: boolean;
}

/** CPU us a message by "process thread". */
export type Costs = ReadonlyMap<string, number>;

export interface Measured {
  readonly produced: Produced;
  readonly delivery: Delivery;
  readonly perSecond: number;
  readonly storedPerSecond: number;
  readonly costs: Costs;
  readonly rssMb: readonly number[];
  /** Sent on this machine meanwhile, ACKs included: 2 a message by classic when none is sent twice. */
  readonly datagrams: number;
  /** By host, the sender first; empty when it was not asked for. */
  readonly heaps: readonly HeapSample[];
}

export async function measureLoad(folder: string, load: Load): Promise<Measured> {
  let files: readonly string[] = [];
  const receivers = Array.from({ length: load.receivers ?? 1 }, (_, i) => `receiver-${i}`);
  const measured = await withHosts(
    folder,
    ["sender", ...receivers],
    async (hosts) => {
      files = hosts.map(({ database }) => database);
      const beside = load.beside?.(hosts[1]);
      // Who waits below hears of a failure there; without this it would end the process meanwhile.
      beside?.catch(() => {});
      const produced = await produce(hosts, load);
      await beside;
      return produced;
    },
    {
      protocol: load.protocol,
      flags: load.flags ?? [],
      switches: load.samplesHeaps === true ? [HEAP_SWITCH] : [],
      ...(load.prepare !== undefined && { prepare: load.prepare }),
    },
  );
  const { produced } = measured;
  const delivery = verifyDelivery(files, produced.warmUpFirstRow, produced.firstRow);
  if (delivery.sent !== produced.rows + produced.warmUpRows) {
    throw new Error(
      `${produced.rows + produced.warmUpRows} rows were inserted, ${delivery.sent} found`,
    );
  }
  return {
    ...measured,
    delivery,
    perSecond: (produced.rows * 1_000) / produced.elapsedMs,
    storedPerSecond: (produced.rows * 1_000) / delivery.storedMs,
  };
}

/** What the producer is told: bounds in rows follow from the size of a message. */
function producerOptions([sender, ...receivers]: readonly Host[], load: Load): ProducerOptions {
  const { bytes, kind, seconds } = load;
  const rowsPerTransaction = Math.max(
    1,
    Math.min(load.rowsPerTransaction, Math.floor(BACKLOG_BYTES / 4 / bytes)),
  );
  const within = (rows: number, bytesMax: number): number =>
    Math.max(rowsPerTransaction, Math.min(rows, Math.floor(bytesMax / bytes)));
  return {
    database: sender.database,
    destinations: destinationsOf(receivers, load),
    bytes,
    rowsPerTransaction,
    backlogRows: within(BACKLOG_ROWS, BACKLOG_BYTES),
    warmUpRows: within(WARM_UP_ROWS, WARM_UP_BYTES),
    seconds,
    kind,
    endMark: load.endMark ?? false,
  };
}

/** Every address of 127.0.0.0/8 is this host. */
function destinationsOf(
  receivers: readonly Host[],
  { protocol, addresses = 1 }: Load,
): ProducerOptions["destinations"] {
  if (protocol === "session") return receivers.map(({ name, port }) => ({ address: name, port }));
  const { port } = receivers[0];
  return Array.from({ length: addresses }, (_, i) => ({
    address: i === 0 ? LOOPBACK : `127.1.${i >> 8}.${i & 255}`,
    port,
  }));
}

async function produce(hosts: readonly Host[], load: Load) {
  const [sender, ...receivers] = hosts;
  const options = producerOptions(hosts, load);
  const before = new Map<number, ThreadTimes>();
  const spent = new Map<string, number>();
  let rssMb: readonly number[] = [];
  let datagrams = 0;
  const processes = (producerPid: number): readonly (readonly [string, number])[] => [
    ["producer", producerPid],
    ["sender", sender.pid],
    ...receivers.map(({ pid }) => ["receiver", pid] as const),
  ];
  if (load.placement !== undefined) {
    place(sender.pid, load.placement.sender);
    for (const { pid } of receivers) place(pid, load.placement.receiver);
  }
  const produced = await runChild<ProducerOptions, Produced>(PRODUCER, options, {
    onStart: (producerPid) => {
      if (load.placement !== undefined) place(producerPid, load.placement.producer);
      if (load.samplesHeaps === true) toggleSamples(hosts);
      datagrams = -datagramsSent();
      for (const [, pid] of processes(producerPid)) before.set(pid, threadTimes(pid));
    },
    onFinish: (producerPid) => {
      if (load.samplesHeaps === true) toggleSamples(hosts);
      datagrams += datagramsSent();
      for (const [name, pid] of processes(producerPid)) {
        const all = spentByName(before.get(pid) ?? new Map(), threadTimes(pid));
        for (const [thread, us] of all) {
          const label = `${name} ${threadLabel(name, thread)}`;
          spent.set(label, (spent.get(label) ?? 0) + us);
        }
      }
      rssMb = hosts.map(({ pid }) => statusField(pid, "VmHWM") / 1_024);
    },
    deadlineMs: (load.seconds + DEADLINE_SECONDS) * 1_000,
  });
  const costs = new Map([...spent].map(([name, us]) => [name, us / produced.rows]));
  const heaps = load.samplesHeaps === true ? await samplesOf(hosts) : [];
  return { produced, costs, rssMb, datagrams, heaps };
}

/** Threads without a name of ours are V8's helpers (garbage, compiler) and libuv's pool. */
export const threadLabel = (process: string, thread: string): string => {
  if (process === "producer") return "all threads";
  return ["main", "crypto", "db"].includes(thread) ? thread : "V8 and libuv";
};
