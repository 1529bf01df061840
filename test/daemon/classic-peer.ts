// A stranger's implementation of classic, on node:crypto and a plain UDP socket: it shares no code with
// the daemon, sends what it is told to, true or hostile, and keeps every datagram that comes back.

import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { LOOPBACK, type Place, until } from "./harness.js";

const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const STAMP_BYTES = 8;
const ALGORITHM = "chacha20-poly1305";

/** Nonce, then stamp and body sealed. `stampNs` since the epoch. */
export function seal(
  secret: string,
  body: Uint8Array,
  stampNs: bigint = BigInt(Date.now()) * 1_000_000n,
): Buffer {
  const nonce = randomBytes(NONCE_BYTES);
  const stamp = Buffer.alloc(STAMP_BYTES);
  stamp.writeBigUInt64BE(stampNs);
  const cipher = createCipheriv(ALGORITHM, Buffer.from(secret, "hex"), nonce, {
    authTagLength: TAG_BYTES,
  });
  const sealed = [cipher.update(stamp), cipher.update(body), cipher.final(), cipher.getAuthTag()];
  return Buffer.concat([nonce, ...sealed]);
}

/** The body, or undefined when the tag is wrong. */
export function open(secret: string, datagram: Uint8Array): Buffer | undefined {
  if (datagram.length < NONCE_BYTES + STAMP_BYTES + TAG_BYTES) return undefined;
  const nonce = datagram.subarray(0, NONCE_BYTES);
  const decipher = createDecipheriv(ALGORITHM, Buffer.from(secret, "hex"), nonce, {
    authTagLength: TAG_BYTES,
  });
  decipher.setAuthTag(datagram.subarray(datagram.length - TAG_BYTES));
  const plain = decipher.update(datagram.subarray(NONCE_BYTES, datagram.length - TAG_BYTES));
  try {
    decipher.final();
  } catch {
    return undefined;
  }
  return plain.subarray(STAMP_BYTES);
}

export const messageBody = (messageId: string, text: string): Buffer =>
  Buffer.from(JSON.stringify({ message_id: messageId, text }));

export class ClassicPeer {
  readonly #socket: Socket;
  readonly #secret: string;
  readonly #to: number;
  /** Everything that came, in order. */
  readonly received: Buffer[] = [];
  /** Instants of the first ACK by message id, wall ms since the epoch. */
  readonly acknowledged = new Map<string, number>();
  /** Datagrams that the kernel took and sent. */
  sent = 0;

  private constructor(socket: Socket, secret: string, to: number) {
    this.#socket = socket;
    this.#secret = secret;
    this.#to = to;
    socket.on("message", (datagram) => this.#take(datagram));
  }

  /** A peer of the daemon at `to`; `address` is another of loopback's own, for another source. */
  static async make(
    place: Place,
    secret: string,
    to: number,
    address: string = LOOPBACK,
  ): Promise<ClassicPeer> {
    const socket = createSocket("udp4");
    place.after(() => {
      socket.close();
    });
    socket.bind(0, address);
    await once(socket, "listening");
    return new ClassicPeer(socket, secret, to);
  }

  get port(): number {
    return this.#socket.address().port;
  }

  /** Resolves when the datagram left. Nobody at the port is no error: a UDP socket cannot know. */
  send(datagram: Uint8Array): Promise<void> {
    return new Promise((resolve) => {
      this.#socket.send(datagram, this.#to, LOOPBACK, (error) => {
        if (error === null) this.sent += 1;
        resolve();
      });
    });
  }

  /** A true message in a fresh envelope. */
  sendMessage(messageId: string, text: string): Promise<void> {
    return this.send(seal(this.#secret, messageBody(messageId, text)));
  }

  /** Sends a message, again each `everyMs`, until it is acknowledged or `given` up. */
  async deliver(
    messageId: string,
    text: string,
    given: () => boolean = () => false,
    everyMs = 250,
  ): Promise<boolean> {
    const isDone = () => this.acknowledged.has(messageId) || given();
    for (let tries = 0; tries < 80 && !isDone(); tries++) {
      await this.sendMessage(messageId, text);
      await until(isDone, "an ACK", everyMs).catch(() => {});
    }
    return this.acknowledged.has(messageId);
  }

  #take(datagram: Buffer): void {
    this.received.push(datagram);
    const body = open(this.#secret, datagram);
    if (body === undefined) return;
    const { type, message_id: id } = JSON.parse(body.toString()) as Record<string, unknown>;
    if (type !== "ACK" || typeof id !== "string") return;
    if (!this.acknowledged.has(id)) this.acknowledged.set(id, Date.now());
  }
}
