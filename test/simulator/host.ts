// What the simulator needs of a host's process, whatever protocol it speaks: inputs with the two clocks,
// outputs through a sink, one deadline. The adapters are one file for each protocol.

import type { Nanoseconds } from "../../src/shared/base/units.js";
import type { StampSpan } from "../../src/shared/protocol/sealed-stamps.js";
import type { StoreJob, StoreResult } from "../../src/shared/runtime/messages.js";
import type { SpoolModelFile } from "./spool-model.js";
import type { Stamps } from "./tables.js";

/** Frames altered here and there; bytes of no meaning; frames made up; receipts with wrong digests. */
export type Manner = "flip" | "noise" | "frames" | "receipts";

export type HostInput =
  | {
      readonly kind: "datagram";
      /** Not kept by the process. */
      readonly bytes: Uint8Array;
      readonly address: string;
      readonly port: number;
    }
  | { readonly kind: "timer" }
  /** From now on so many packets are not what an honest host would write. */
  | {
      readonly kind: "mangle";
      readonly packets: number;
      readonly manner: Manner;
      readonly word: number;
    }
  | { readonly kind: "result"; readonly result: StoreResult }
  /** The crypto workers are through with the piece of work that was handed out under this number. */
  | { readonly kind: "worked"; readonly work: number };

/** Where the outputs of a process go. None of them acts upon the process before it returns. */
export interface HostOutputs {
  /** `bytes` belongs to whoever is given it. `answer`: something authentic must have asked for it. */
  transmit(bytes: Uint8Array, answer: boolean, address: string, port: number): void;
  job(job: StoreJob): void;
  work(work: number, kind: "sealing" | "opening"): void;
  /** An envelope was sealed under a key, by number, with the nonce at `nonceAt`. */
  sealed(key: number, bytes: Uint8Array, nonceAt: number): void;
  /** A packet was sealed under a key of a session with this counter, or one was believed. */
  counted(key: string, counter: number): void;
  believed(key: string, counter: number): void;
  /** The other end was, or is about to be, told that this row is final. */
  settles(rowId: number, generation: number): void;
  /** Something that runs have to contain, as tally.ts has it. */
  happened(kind: string): void;
  /**
   * An authentic envelope that may be answered, once. `mayRepeat`: the protocol's text says that a
   * process which started since it was first opened cannot know that it was.
   */
  opened(bytes: Uint8Array, nonceAt: number, mayRepeat: boolean): void;
}

export interface SimProcess {
  handle(input: HostInput, now: Nanoseconds, wallNs: number): void;
  /** Monotonic ns at which it wants a timer; Infinity: never. */
  deadline(now: Nanoseconds): number;
  /** Ends in good order: the stamps that it, and those before it, may have sealed. */
  stop(): readonly StampSpan[];
  /** Gives memory back; it is not called any more. */
  discard(): void;
  /** What it holds more of than it may; undefined: nothing. */
  readonly overfull: string | undefined;
  readonly drops: Readonly<Record<string, number>>;
}

/** What a process is born with. */
export interface Birth {
  readonly host: number;
  /** How many processes of this host there were before; clones count on. */
  readonly incarnation: number;
  readonly address: string;
  readonly port: number;
  readonly now: Nanoseconds;
  readonly wallNs: number;
  /** What the table says of stamps that processes before it may have sealed. */
  readonly sealed: readonly StampSpan[];
  /** Of handshakes, by peer; and large messages that an earlier process left unfinished. */
  readonly stamps: ReadonlyMap<string, Stamps>;
  readonly spools: readonly SpoolModelFile[];
  /** How often its file was replaced by another one. */
  readonly replaced: number;
  readonly outputs: HostOutputs;
}
