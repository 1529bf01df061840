// Both ends of an encrypted stream over UDP, by the packages `udx-native` and `@hyperswarm/secret-stream`:
// nothing is stored. The consumer says how many it has, behind each batch.

import { setTimeout as nap } from "node:timers/promises";
import { LOOPBACK } from "./hosts.js";
import { deferred, type PeerClient, peerPackage } from "./peer-client.js";

interface UdxSocket {
  bind(port: number, address: string): void;
  close(): Promise<void>;
}
interface UdxStream {
  connect(socket: UdxSocket, remoteId: number, port: number, address: string): void;
}
interface Udx {
  createSocket(): UdxSocket;
  createStream(id: number): UdxStream;
}
interface SecretStream extends NodeJS.EventEmitter {
  readonly opened: Promise<boolean>;
  write(chunk: Uint8Array): boolean;
  destroy(): void;
}

const PRODUCER_ID = 1;
const CONSUMER_ID = 2;

/** After the end of a stream its other end may take so long to notice. */
const END_MS_MAX = 2_000;

/** One end; the other one may not be there yet. The producer's end closes first. */
export async function openUdx(end: {
  readonly initiates: boolean;
  readonly port: number;
  readonly otherPort: number;
}): Promise<{ readonly stream: SecretStream; readonly close: () => Promise<void> }> {
  const { initiates, port, otherPort } = end;
  const udx = new (peerPackage<new () => Udx>("udx-native"))();
  const Secret = peerPackage<new (initiates: boolean, raw: UdxStream) => SecretStream>(
    "@hyperswarm/secret-stream",
  );
  const socket = udx.createSocket();
  socket.bind(port, LOOPBACK);
  const raw = udx.createStream(initiates ? PRODUCER_ID : CONSUMER_ID);
  raw.connect(socket, initiates ? CONSUMER_ID : PRODUCER_ID, otherPort, LOOPBACK);
  const stream = new Secret(initiates, raw);
  let isClosing = false;
  stream.on("error", (error: Error) => {
    // The other end's leave comes as a reset.
    if (!isClosing) throw error;
  });
  const closed = new Promise<void>((resolve) => {
    stream.once("close", resolve);
  });
  return {
    stream,
    async close() {
      isClosing = true;
      if (!initiates) await Promise.race([closed, nap(END_MS_MAX)]);
      stream.destroy();
      await closed;
      await socket.close();
    },
  };
}

/** A whole number as the other end reads it. */
export function countBytes(count: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleLE(count);
  return bytes;
}

export const udxClient: PeerClient = {
  async produce({ port, fromPort }) {
    const { stream, close } = await openUdx({ initiates: true, port: fromPort, otherPort: port });
    const waiting: { readonly until: number; readonly resolve: () => void }[] = [];
    let sent = 0;
    stream.on("data", (count: Buffer) => {
      const had = count.readDoubleLE(0);
      while (waiting.length > 0 && waiting[0].until <= had) waiting.shift()?.resolve();
    });
    await stream.opened;
    return {
      async sendBatch(payloads) {
        const { done, resolve } = deferred();
        sent += payloads.length;
        waiting.push({ until: sent, resolve });
        for (const payload of payloads) stream.write(payload);
        await done;
      },
      close,
    };
  },
  async consume({ port, fromPort }, take) {
    const { stream, close } = await openUdx({ initiates: false, port, otherPort: fromPort });
    let received = 0;
    let told = 0;
    const tell = (): void => {
      if (told === received) return;
      told = received;
      stream.write(countBytes(received));
    };
    stream.on("data", (payload: Buffer) => {
      take(payload);
      received += 1;
      // What came in one turn of the event loop is acknowledged at its end.
      if (received === told + 1) setImmediate(tell);
    });
    return { close };
  },
};
