// MESSAGE frames as a receiver reads them, made without a packet: for what no honest sender writes.

import type { MessageFrame } from "../../../src/shared/protocol/session/message-frame.js";

const IDS_BYTES = 12 + 16;

/** What a frame says; the rest follows from it. */
export interface Saying {
  readonly number: number;
  readonly stream?: string;
  readonly sequence?: number;
  readonly base?: number;
  readonly total?: number;
  readonly offset?: number;
  readonly data?: Uint8Array;
  /** Makes the message id; fills the digest, or is it. */
  readonly id?: number;
  readonly digest?: number | Uint8Array;
}

/** A message id of 12 bytes. */
export function idOf(id: number): Uint8Array {
  const bytes = new Uint8Array(12).fill(1);
  new DataView(bytes.buffer).setUint32(4, id);
  return bytes;
}

export function frameOf(saying: Saying): MessageFrame {
  const { number, stream = "", data = Uint8Array.of(7), offset = 0, digest = 9 } = saying;
  const total = saying.total ?? data.length;
  const name = new TextEncoder().encode(stream);
  const bytes = new Uint8Array(IDS_BYTES + name.length + data.length);
  bytes.set(idOf(saying.id ?? number));
  if (typeof digest === "number") bytes.fill(digest, 12, IDS_BYTES);
  else bytes.set(digest.subarray(0, 16), 12);
  bytes.set(name, IDS_BYTES);
  bytes.set(data, IDS_BYTES + name.length);
  const ordered = stream !== "";
  const sequence = saying.sequence ?? (ordered ? 1 : 0);
  return {
    bytes,
    number,
    messageFlags: ordered ? 3 : 2,
    ordered,
    fragmented: total !== data.length,
    priority: 1,
    messageIdAt: 0,
    lifeSeconds: 60,
    total,
    inReplyToAt: 0,
    streamAt: ordered ? IDS_BYTES : 0,
    streamLength: name.length,
    sequence,
    base: saying.base ?? sequence,
    digest16At: total === data.length ? 0 : 12,
    offset,
    dataAt: IDS_BYTES + name.length,
    length: data.length,
  };
}
