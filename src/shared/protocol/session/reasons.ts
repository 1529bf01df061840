// Reasons that travel in REFUSE and CLOSE, and the sentences that people read for them.

/** Reasons of REFUSE: below 64 for good, from 64 on for a while. */
export const REFUSAL = {
  tooLarge: 1,
  conflict: 2,
  order: 3,
  quota: 64,
  diskFull: 65,
  busy: 66,
  memory: 67,
} as const;

/** Reasons of CLOSE. */
export const CLOSING = {
  stop: 0,
  frame: 1,
  credit: 2,
  number: 3,
  conflict: 4,
  acknowledgement: 5,
  unreadable: 6,
} as const;
export type Closing = (typeof CLOSING)[keyof typeof CLOSING];

export const isPermanent = (reason: number): boolean => reason < 64;

/** What last_error says; every sentence names the next thing to do. */
export function refusalSentence(reason: number): string {
  switch (reason) {
    case REFUSAL.tooLarge:
      return "the peer takes no message of this size: raise its message_bytes_max, or split the message";
    case REFUSAL.conflict:
      return "the peer already has another message under this id: send it again under a new message_id";
    case REFUSAL.order:
      return "the peer takes this stream in another order: send the message again";
    default:
      return `the peer refused the message (reason ${reason}): its log says more`;
  }
}

/** What last_error says of a message that waits because it was refused for a while. */
export function waitingSentence(reason: number): string {
  switch (reason) {
    case REFUSAL.quota:
      return "waits: the peer keeps as many messages of ours as its quota allows; read or purge some there";
    case REFUSAL.diskFull:
      return "waits: the disk of the peer is full; make room there";
    case REFUSAL.busy:
      return "waits: the peer could not store it in time; it is sent again";
    case REFUSAL.memory:
      return "waits: the peer has no memory for it now; it is sent again";
    default:
      return `waits: the peer could not take it (reason ${reason}); it is sent again`;
  }
}

/** What a reason of CLOSE means. */
export function closingSentence(reason: number): string {
  switch (reason) {
    case CLOSING.stop:
      return "stopped";
    case CLOSING.frame:
      return "a frame was malformed";
    case CLOSING.credit:
      return "more was sent than was granted";
    case CLOSING.number:
      return "a message number is out of range";
    case CLOSING.conflict:
      return "pieces of one message contradict each other";
    case CLOSING.acknowledgement:
      return "a packet was acknowledged that was never sent";
    case CLOSING.unreadable:
      return "too much could not be read";
    default:
      return `reason ${reason}`;
  }
}
