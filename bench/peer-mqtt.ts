// Both ends of an MQTT broker, by the package `mqtt`: a persistent session for the consumer, QoS 1 or 2
// for both.

import { once } from "node:events";
import { readFileSync } from "node:fs";
import { LOOPBACK } from "./hosts.js";
import { deferred, type PeerClient, type PeerPlace, peerPackage } from "./peer-client.js";

interface MqttClient extends NodeJS.EventEmitter {
  /** It is we who end. */
  readonly disconnecting: boolean;
  subscribeAsync(topic: string, options: { readonly qos: 1 | 2 }): Promise<unknown>;
  publish(
    topic: string,
    payload: Buffer,
    options: { readonly qos: 1 | 2 },
    done: (error?: Error | null) => void,
  ): void;
  endAsync(): Promise<void>;
}
interface MqttPackage {
  connect(url: string, options: object): MqttClient;
}

const TOPIC = "bench/messages";

async function open(
  { port, certificate }: PeerPlace,
  clientId: string,
  clean: boolean,
): Promise<MqttClient> {
  const client = peerPackage<MqttPackage>("mqtt").connect(`mqtts://${LOOPBACK}:${port}`, {
    ...{ clientId, clean, protocolVersion: 4, reconnectPeriod: 0 },
    ca: readFileSync(certificate),
  });
  await once(client, "connect");
  // Without this the end would wait for ever for what nobody sends any more.
  client.on("close", () => {
    if (!client.disconnecting)
      throw new Error(`the broker closed the connection of the ${clientId}`);
  });
  return client;
}

export const mqttClient: PeerClient = {
  async produce(place) {
    const client = await open(place, "producer", true);
    return {
      async sendBatch(payloads) {
        const { done, resolve, reject } = deferred();
        let left = payloads.length;
        for (const payload of payloads) {
          const { buffer, byteOffset, length } = payload;
          const body = Buffer.from(buffer as ArrayBuffer, byteOffset, length);
          client.publish(TOPIC, body, { qos: place.qos }, (error) => {
            if (error) return reject(error);
            left -= 1;
            if (left === 0) resolve();
          });
        }
        await done;
      },
      close: () => client.endAsync(),
    };
  },
  async consume(place, take) {
    const client = await open(place, "consumer", false);
    client.on("message", (_topic: string, payload: Buffer) => take(payload));
    await client.subscribeAsync(TOPIC, { qos: place.qos });
    // The client acknowledges behind the listener; its end waits for that.
    return { close: () => client.endAsync() };
  },
};
