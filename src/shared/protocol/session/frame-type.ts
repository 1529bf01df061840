// The frames of a session packet by their type byte (docs/PROTOCOL.md section 19).

export const FRAME = {
  padding: 0x00,
  ping: 0x01,
  ack: 0x02,
  message: 0x03,
  receipt: 0x04,
  refuse: 0x05,
  settled: 0x06,
  have: 0x07,
  credit: 0x08,
  rekey: 0x09,
  pathChallenge: 0x0a,
  pathResponse: 0x0b,
  close: 0x0c,
  keys: 0x0d,
} as const;
export type Frame = (typeof FRAME)[keyof typeof FRAME];

/** What FrameReader.next says beside a type: the packet is read to its end, or it has a fault. */
export const NO_FRAME = { end: -1, fault: -2 } as const;
export type NoFrame = (typeof NO_FRAME)[keyof typeof NO_FRAME];

/** Bits for the frames that draw no acknowledgement, by type. */
const QUIET = (1 << FRAME.padding) | (1 << FRAME.ack) | (1 << FRAME.close);

/** Whether a packet with this frame must be acknowledged. */
export const isEliciting = (frame: Frame): boolean => ((QUIET >>> frame) & 1) === 0;
