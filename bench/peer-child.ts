// One end of another system, a process of its own: sends batches as fast as they are acknowledged, or
// takes messages and counts them. What is sent is what bench/producer inserts.

import { setTimeout as nap } from "node:timers/promises";
import { optionsOf, tell } from "./child.js";
import { MessageCount } from "./message-count.js";
import { textMessage } from "./payload.js";
import type { PeerClient, PeerPlace } from "./peer-client.js";

export type PeerKind = "nats" | "mqtt" | "udx";

export interface PeerEndOptions {
  readonly kind: PeerKind;
  readonly role: "produce" | "consume";
  readonly place: PeerPlace;
  readonly bytes: number;
  readonly batch: number;
  readonly warmUpMessages: number;
  readonly seconds: number;
}

/** Of a producer; wall clocks in ms since the epoch, with a fraction. */
export interface PeerProduced {
  readonly messages: number;
  readonly warmUpMessages: number;
  readonly startedAtMs: number;
  readonly acknowledgedAtMs: number;
}
/** Of a consumer. */
export interface PeerConsumed {
  /** Each counted once. */
  readonly messages: number;
  /** Came once more. */
  readonly again: number;
  readonly lastAtMs: number;
}

/** Between the warm-up and the measured part: the consumer catches up. */
const REST_MS = 500;
const CLIENTS: Readonly<Record<PeerKind, () => Promise<PeerClient>>> = {
  nats: async () => (await import("./peer-nats.js")).natsClient,
  mqtt: async () => (await import("./peer-mqtt.js")).mqttClient,
  udx: async () => (await import("./peer-udx.js")).udxClient,
};

const wallMs = (): number => performance.timeOrigin + performance.now();

async function produce(client: PeerClient, options: PeerEndOptions): Promise<void> {
  const { place, bytes, batch, warmUpMessages, seconds } = options;
  const producer = await client.produce(place);
  let n = 0;
  const sendUntil = async (isOver: () => boolean): Promise<void> => {
    const underWay: Promise<void>[] = [];
    while (!isOver()) {
      const payloads = Array.from({ length: batch }, () =>
        Buffer.from(textMessage(n++, bytes).text),
      );
      underWay.push(producer.sendBatch(payloads));
      if (underWay.length * batch >= place.underWay) await underWay.shift();
    }
    await Promise.all(underWay);
  };
  await sendUntil(() => n >= warmUpMessages);
  const warmed = n;
  await nap(REST_MS);
  await tell({ kind: "started" });
  const startedAtMs = wallMs();
  const end = startedAtMs + seconds * 1_000;
  await sendUntil(() => wallMs() >= end);
  await producer.sendBatch([Buffer.from(`{"end":${n}}`)]);
  const acknowledgedAtMs = wallMs();
  const result: PeerProduced = {
    messages: n + 1 - warmed,
    warmUpMessages: warmed,
    startedAtMs,
    acknowledgedAtMs,
  };
  // The parent ends this process as soon as it has the result.
  await producer.close();
  await tell<PeerProduced>({ kind: "finished", result });
}

async function consume(client: PeerClient, { place, bytes }: PeerEndOptions): Promise<void> {
  const count = new MessageCount(bytes);
  const consumer = await client.consume(place, (payload) => count.take(payload));
  await tell({ kind: "started" });
  const lastAtMs = await count.whole;
  const { messages, again } = count;
  const result: PeerConsumed = { messages, again, lastAtMs };
  await consumer.close();
  await tell<PeerConsumed>({ kind: "finished", result });
}

const options = optionsOf<PeerEndOptions | null>();
if (options !== null) {
  const client = await CLIENTS[options.kind]();
  if (options.role === "produce") await produce(client, options);
  else await consume(client, options);
  process.exit(0);
}
