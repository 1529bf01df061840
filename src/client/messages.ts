// What programs hand over and get back: the types of the library's public side.

import type { Priority } from "./outbox.js";

/** Anything that JSON can say. A member whose value is undefined is left out. */
export type JsonValue =
  | null
  | boolean
  | number
  | string
  | readonly JsonValue[]
  | { readonly [key: string]: JsonValue | undefined };

/** A message to send. */
export interface OutgoingMessage {
  /** IP address, host name, or name of a configured peer; 1 to 255 characters without white space. */
  readonly to: string;
  /** UDP port of its daemon, 1 to 65,535. Default 61,773. */
  readonly port?: number;
  /**
   * A string goes as it is, as text; bytes go as bytes; any other value goes as JSON. At most 64 MiB.
   * Peers by the classic protocol take JSON objects of up to 65,471 bytes only: `classic` checks that.
   */
  readonly payload: JsonValue | Uint8Array;
  /** 24 lower-case hex digits; one that the outbox has already is refused. Default: a new one is made. */
  readonly id?: string;
  /** Name of 1 to 64 bytes: messages of one stream to one peer arrive in order. Session peers only. */
  readonly stream?: string;
  /** Id of the message that this one answers. Session peers only. */
  readonly inReplyTo?: string;
  /** Which goes first. Default `normal`. */
  readonly priority?: Priority;
  /** Not sent before this time; a number is ms since the epoch. */
  readonly notBefore?: Date | number;
  /** Given up then, acknowledged or not. Default: the life that the daemon is configured with, 7 days. */
  readonly expiresAt?: Date | number;
  /**
   * Judges the payload by the rules of the classic protocol now, and puts the id into it as its member
   * `message_id`, as the daemon would later. Refused here is what would become `send_failed`.
   */
  readonly classic?: boolean;
}

/** How a call waits. */
export interface WaitOptions {
  /** Rejects the call with the signal's reason. What was committed before stays queued. */
  readonly signal?: AbortSignal;
}

export interface SendOptions extends WaitOptions {
  /** What happens while the outbox is full. Default: as the mailbox was opened. */
  readonly whenFull?: "wait" | "refuse";
}

/** What became of a message, for good. Times are those of this host's daemon. */
export type Receipt =
  | {
      /** Stored by the peer, in a commit that was synced there. */
      readonly state: "acknowledged";
      readonly id: string;
      readonly at: Date;
    }
  | {
      /** It cannot be sent, or the peer refused it. */
      readonly state: "failed";
      readonly id: string;
      readonly at: Date;
      /** A sentence for a person. */
      readonly reason: string;
    }
  | {
      /** Its life ended without an acknowledgement. */
      readonly state: "expired";
      readonly id: string;
      readonly at: Date;
      readonly reason: string;
      /** True when it was sent at least once: the peer may have it. */
      readonly mayHaveArrived: boolean;
    };

export interface InboxOptions extends WaitOptions {
  /** Name of this consumer, for people who look into the file of leases. Default: the process id. */
  readonly consumer?: string;
  /** Messages that this inbox has in hand at a time, 1 to 4,096. Default 256. */
  readonly batch?: number;
  /** Only those of this peer: its configured name, or its public key in base64. */
  readonly peer?: string;
  /** Only those of this stream. */
  readonly stream?: string;
  /** A message counts as done when the loop asks for the next one. Default false: call `done`. */
  readonly autoDone?: boolean;
  /**
   * After this long without a sign of life of this process what it has in hand is given to others, ms,
   * 100 to 3,600,000. Renewed every third of it; a thread blocked for longer loses its messages.
   * Default 30,000.
   */
  readonly leaseMs?: number;
}

/** A message that came in, in the hands of one consumer until `done` or `release`. */
export interface IncomingMessage {
  /** 24 hex digits; unique for each sender. */
  readonly id: string;
  /** inbound_messages.id. */
  readonly rowId: number;
  /** Scope of the id: public key of a session peer in base64, name of another peer, or "". */
  readonly peer: string;
  /** Where it came from. */
  readonly address: string;
  readonly port: number;
  /** Of an ordered message. */
  readonly stream: string | undefined;
  readonly sequence: number | undefined;
  readonly inReplyTo: string | undefined;
  /** By the sender's clock. */
  readonly sentAt: Date;
  readonly receivedAt: Date;
  /** Text, or bytes where the sender gave bytes or the text was not well formed. */
  readonly payload: string | Uint8Array;
  /** The payload read as JSON; throws a SyntaxError where it is none. */
  json(): unknown;
  /**
   * Marks it as processed: nobody gets it again. Marks are committed in batches, within 20 ms; `flush` of
   * the inbox waits for that. A second call does nothing.
   */
  done(): void;
  /**
   * Gives it back unprocessed. It comes again, here or at another consumer, after `afterMs` (0 to
   * 3,600,000, default 1,000); messages behind it in its stream wait for it, unless they were handed out.
   */
  release(afterMs?: number): void;
}
