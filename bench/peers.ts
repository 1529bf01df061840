// The systems that bench/peers compares: which of them are installed, and one round of each. Nothing is
// assumed of a system that is missing; it is said so.

import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { runChild } from "./child.js";
import { measureLoad } from "./end-to-end.js";
import { freePort } from "./hosts.js";
import type { InboxOptions } from "./inbox-child.js";
import type { PeerConsumed, PeerEndOptions, PeerKind, PeerProduced } from "./peer-child.js";
import { PEERS_VARIABLE, type PeerPlace, peerVersion } from "./peer-client.js";
import { freeTcpPort, makeCertificate, PeerServer, programOf } from "./peer-server.js";
import { BATCH_MESSAGES, BYTES, UNDER_WAY_MESSAGES, WARM_UP_MESSAGES } from "./peers-workload.js";
import { type ThreadTimes, threadTimes } from "./proc.js";

const DEADLINE_SECONDS = 120;
/** What is inserted for longer takes a consumer longer than a round may last. */
const CONSUMED_SECONDS_MAX = 10;
const VERSION_MS_MAX = 5_000;
const PEER_CHILD = new URL("./peer-child.js", import.meta.url);
const INBOX_CHILD = new URL("./inbox-child.js", import.meta.url);

export interface PeerRound {
  readonly messages: number;
  /** From the first message sent to the last one acknowledged and consumed. */
  readonly seconds: number;
  /** All processes of the system, us of CPU a message. */
  readonly cpuUs: number;
  /** Messages that came more than once. */
  readonly again: number;
}

export interface System {
  readonly name: string;
  /** What an acknowledgement of it promises. */
  readonly promise: string;
  /** What was found of it, or why it is not measured. */
  readonly found: { readonly versions: string } | { readonly missing: string };
  readonly measure: (folder: string, seconds: number) => Promise<PeerRound>;
}

export const systems = (): readonly System[] => [
  {
    name: "SecureDGram",
    promise: "stored and synced by the receiver, once; the sender's row says so, synced",
    found: { versions: "this tree" },
    measure: (folder, seconds) => ours(folder, seconds, false),
  },
  {
    name: "SecureDGram, consumed",
    promise: "the same, and a program read each message and marked it, synced",
    found: { versions: "this tree" },
    measure: (folder, seconds) => ours(folder, Math.min(seconds, CONSUMED_SECONDS_MAX), true),
  },
  {
    name: "NATS JetStream",
    promise: "written to a file, synced every 2 minutes",
    found: found(["nats-server", "openssl"], ["nats"]),
    measure: nats,
  },
  ...([1, 2] as const).map((qos) => ({
    name: `mosquitto, QoS ${qos}`,
    promise: "in the broker's memory, written to a file at its end",
    found: found(["mosquitto", "openssl"], ["mqtt"]),
    measure: (folder: string, seconds: number) =>
      mosquitto(folder, qos === 2 ? Math.min(seconds, QOS_2_SECONDS_MAX) : seconds, qos),
  })),
  {
    name: "udx-native + secret-stream",
    promise: "received by the other process, nothing stored",
    found: found([], ["udx-native", "@hyperswarm/secret-stream"]),
    measure: async (_folder, seconds) => {
      const [port, fromPort] = [await freePort(), await freePort()];
      return theirs("udx", { ...NO_PLACE, port, fromPort }, seconds, undefined);
    },
  },
];

/**
 * By QoS 2 its consumer falls behind, and mosquitto 2.0 gives packet ids a second time to what waits
 * beyond 65,535 messages, and closes the connection: it gets fewer, and the same clock. Source: its log.
 */
const QOS_2_SECONDS_MAX = 5;

const NO_PLACE: PeerPlace = {
  port: 0,
  fromPort: 0,
  certificate: "",
  qos: 1,
  underWay: UNDER_WAY_MESSAGES,
};

/** Looks for programs in the usual folders, for packages in the one that the variable names. */
function found(programs: readonly string[], packages: readonly string[]): System["found"] {
  const missing = [
    ...programs.filter((name) => programOf(name) === undefined).map((name) => `program ${name}`),
    ...packages
      .filter((name) => peerVersion(name) === undefined)
      .map((name) => `package ${name} in the folder that ${PEERS_VARIABLE} names`),
  ];
  if (missing.length > 0) return { missing: missing.join(", ") };
  const versions = [
    ...programs.filter((name) => name !== "openssl").map(programVersion),
    ...packages.map((name) => `${name} ${peerVersion(name)}`),
  ];
  return { versions: versions.join(", ") };
}

/** First line of what it says of itself; `mosquitto -h` ends with 3. */
function programVersion(name: string): string {
  const args = name === "mosquitto" ? ["-h"] : ["--version"];
  try {
    const options = { encoding: "utf8", timeout: VERSION_MS_MAX, stdio: "pipe" } as const;
    return execFileSync(programOf(name) ?? name, args, options).split("\n")[0];
  } catch (error) {
    const { stdout } = error as { readonly stdout?: string };
    return stdout?.split("\n")[0] || name;
  }
}

async function ours(folder: string, seconds: number, consumed: boolean): Promise<PeerRound> {
  let lastAtMs = Number.NEGATIVE_INFINITY;
  let again = 0;
  let consumerUs = 0;
  const consume = async (database: string): Promise<void> => {
    const result = await runChild<InboxOptions, PeerConsumed>(
      INBOX_CHILD,
      { database, bytes: BYTES },
      {
        onFinish: (pid) => {
          consumerUs = sumUs(new Map(), threadTimes(pid));
        },
        deadlineMs: (seconds + DEADLINE_SECONDS) * 1_000,
      },
    );
    ({ lastAtMs, again } = result);
  };
  const { produced, costs } = await measureLoad(folder, {
    protocol: "session",
    bytes: BYTES,
    rowsPerTransaction: BATCH_MESSAGES,
    kind: "client",
    seconds,
    ...(consumed && { beside: ({ database }) => consume(database), endMark: true }),
  });
  const daemonsUs = [...costs.values()].reduce((sum, us) => sum + us, 0);
  return {
    messages: produced.rows,
    seconds: Math.max(produced.elapsedMs, lastAtMs - produced.startedAtMs) / 1_000,
    // The consumer's is of its whole life, the warm-up included: it handled those rows as well.
    cpuUs: daemonsUs + consumerUs / (produced.rows + produced.warmUpRows),
    again,
  };
}

async function nats(folder: string, seconds: number): Promise<PeerRound> {
  const port = await freeTcpPort();
  const { certificate, key } = makeCertificate(programOf("openssl") ?? "openssl", folder);
  const config = join(folder, "nats.conf");
  writeFileSync(
    config,
    [
      `listen: "127.0.0.1:${port}"`,
      `jetstream { store_dir: ${JSON.stringify(join(folder, "store"))} }`,
      `tls { cert_file: ${JSON.stringify(certificate)}, key_file: ${JSON.stringify(key)} }`,
      "",
    ].join("\n"),
  );
  const program = programOf("nats-server") ?? "nats-server";
  const server = await PeerServer.start(program, ["-c", config], { folder, port });
  try {
    return await theirs("nats", { ...NO_PLACE, port, certificate }, seconds, server.pid);
  } finally {
    await server.stop();
  }
}

async function mosquitto(folder: string, seconds: number, qos: 1 | 2): Promise<PeerRound> {
  const port = await freeTcpPort();
  const { certificate, key } = makeCertificate(programOf("openssl") ?? "openssl", folder);
  const config = join(folder, "mosquitto.conf");
  writeFileSync(
    config,
    [
      // As root it would change to a user who may not read this folder.
      ...(process.getuid?.() === 0 ? ["user root"] : []),
      "persistence true",
      `persistence_location ${folder}/`,
      "max_inflight_messages 0",
      "max_queued_messages 0",
      "log_dest stderr",
      "log_type error",
      `listener ${port} 127.0.0.1`,
      "allow_anonymous true",
      `certfile ${certificate}`,
      `keyfile ${key}`,
      "",
    ].join("\n"),
  );
  const program = programOf("mosquitto") ?? "mosquitto";
  const server = await PeerServer.start(program, ["-c", config], { folder, port });
  try {
    return await theirs("mqtt", { ...NO_PLACE, port, certificate, qos }, seconds, server.pid);
  } finally {
    await server.stop();
  }
}

/** A round of another system: its consumer, then its producer, each a process of its own. */
async function theirs(
  kind: PeerKind,
  place: PeerPlace,
  seconds: number,
  serverPid: number | undefined,
): Promise<PeerRound> {
  const options = { kind, place, bytes: BYTES, batch: BATCH_MESSAGES, seconds };
  const shared = { ...options, warmUpMessages: WARM_UP_MESSAGES };
  const deadlineMs = (seconds + DEADLINE_SECONDS) * 1_000;
  const before = new Map<number, ThreadTimes>();
  let consumerPid = 0;
  let us = 0;
  const finished = (pid: number): void => {
    us += sumUs(before.get(pid) ?? new Map(), threadTimes(pid));
  };
  const { ready, consumed } = startConsumer(shared, deadlineMs, (pid) => {
    finished(pid);
    if (serverPid !== undefined) finished(serverPid);
  });
  consumerPid = await ready;
  const produced = await runChild<PeerEndOptions, PeerProduced>(
    PEER_CHILD,
    { ...shared, role: "produce" },
    {
      onStart: (pid) => {
        for (const each of [pid, consumerPid, ...(serverPid === undefined ? [] : [serverPid])]) {
          before.set(each, threadTimes(each));
        }
      },
      onFinish: finished,
      deadlineMs,
    },
  );
  const { messages, again, lastAtMs } = await consumed;
  if (messages !== produced.messages + produced.warmUpMessages) {
    const sent = produced.messages + produced.warmUpMessages;
    throw new Error(`${sent} messages were sent, ${messages} arrived`);
  }
  const endedAtMs = Math.max(lastAtMs, produced.acknowledgedAtMs);
  return {
    messages: produced.messages,
    seconds: (endedAtMs - produced.startedAtMs) / 1_000,
    cpuUs: us / produced.messages,
    again,
  };
}

/** `ready`: it is subscribed, under this process id. A failure before that fails both. */
function startConsumer(
  shared: Omit<PeerEndOptions, "role">,
  deadlineMs: number,
  onFinish: (pid: number) => void,
): { readonly ready: Promise<number>; readonly consumed: Promise<PeerConsumed> } {
  let start: (pid: number) => void = () => {};
  const started = new Promise<number>((resolve) => {
    start = resolve;
  });
  const consumed = runChild<PeerEndOptions, PeerConsumed>(
    PEER_CHILD,
    { ...shared, role: "consume" },
    { onStart: start, onFinish, deadlineMs },
  );
  consumed.catch(() => {});
  return { ready: Promise.race([started, consumed.then(() => 0)]), consumed };
}

function sumUs(before: ThreadTimes, after: ThreadTimes): number {
  let sum = 0;
  for (const [tid, { us }] of after) sum += us - (before.get(tid)?.us ?? 0);
  return sum;
}
