// A MESSAGE frame as the receiver reads it: a cursor over the packet, valid until it is moved.

export interface MessageFrame {
  readonly bytes: Uint8Array;
  readonly number: number;
  /** Flags that belong to the message: ordered, bytes, reply; without fragmented and priority. */
  readonly messageFlags: number;
  readonly ordered: boolean;
  readonly fragmented: boolean;
  readonly priority: number;
  readonly messageIdAt: number;
  readonly lifeSeconds: number;
  readonly total: number;
  readonly inReplyToAt: number;
  readonly streamAt: number;
  readonly streamLength: number;
  readonly sequence: number;
  readonly base: number;
  readonly digest16At: number;
  readonly offset: number;
  readonly dataAt: number;
  readonly length: number;
}
