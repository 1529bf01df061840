// Both ends of a NATS JetStream, by the package `nats`: a stream in a file, each message acknowledged to
// its producer by the server, and by its consumer to the server.

import { LOOPBACK } from "./hosts.js";
import { type PeerClient, type PeerPlace, peerPackage } from "./peer-client.js";

interface NatsMessage {
  readonly data: Uint8Array;
  ack(): void;
}
interface JetStream {
  publish(subject: string, payload: Uint8Array): Promise<unknown>;
  readonly consumers: {
    get(stream: string, durable: string): Promise<NatsConsumer>;
  };
}
interface NatsConsumer {
  consume(options: {
    readonly max_messages: number;
    readonly callback: (message: NatsMessage) => void;
  }): Promise<{ close(): Promise<unknown> }>;
}
interface NatsConnection {
  jetstream(options?: { readonly timeout: number }): JetStream;
  jetstreamManager(): Promise<{
    readonly streams: { add(options: object): Promise<unknown> };
    readonly consumers: { add(stream: string, options: object): Promise<unknown> };
  }>;
  flush(): Promise<void>;
  close(): Promise<void>;
}
interface NatsPackage {
  connect(options: object): Promise<NatsConnection>;
}

const STREAM = "bench";
const SUBJECT = "bench.messages";
const DURABLE = "consumer";
const ACK_MS_MAX = 30_000;

const open = ({ port, certificate }: PeerPlace): Promise<NatsConnection> =>
  peerPackage<NatsPackage>("nats").connect({
    servers: `tls://${LOOPBACK}:${port}`,
    tls: { caFile: certificate },
    reconnect: false,
  });

export const natsClient: PeerClient = {
  async produce(place) {
    const connection = await open(place);
    const stream = connection.jetstream({ timeout: ACK_MS_MAX });
    return {
      async sendBatch(payloads) {
        await Promise.all(payloads.map((payload) => stream.publish(SUBJECT, payload)));
      },
      close: () => connection.close(),
    };
  },
  /** Makes the stream: the consumer comes first. */
  async consume(place, take) {
    const connection = await open(place);
    const admin = await connection.jetstreamManager();
    await admin.streams.add({ name: STREAM, subjects: [SUBJECT], storage: "file" });
    await admin.consumers.add(STREAM, {
      durable_name: DURABLE,
      ack_policy: "explicit",
      max_ack_pending: 2 * place.underWay,
    });
    const consumer = await connection.jetstream().consumers.get(STREAM, DURABLE);
    const messages = await consumer.consume({
      max_messages: place.underWay,
      callback: (message) => {
        take(message.data);
        message.ack();
      },
    });
    return {
      async close() {
        await connection.flush();
        await messages.close();
        await connection.close();
      },
    };
  },
};
