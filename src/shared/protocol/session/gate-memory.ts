// What handshake datagrams of strangers may cost the crypto workers. A hint fits the tag of a datagram
// that its peer sealed, and nothing else: so whoever recorded one can send it again, or its tag around
// other bytes. The tags of those that opened are remembered; what fails to open is paid for.

import type { DropReason } from "../../base/errors.js";
import { type Nanoseconds, NS_PER_SECOND } from "../../base/units.js";
import { TAG_BYTES } from "../constants.js";
import { CpuBudget } from "../cpu-budget.js";
import { wordAt } from "../keyed-hash.js";
import { SIPHASH_BYTES } from "./siphash.js";

/** What reading one costs, ns: its slab, copies, hints of a ring, the envelope. Source: ours. */
const READ_COST_NS = 20_000;
const READ_COST_NS_PER_BYTE = 1.5;
/** Shares of a core that failures may cost: of all peers, and of one, whose share others keep. */
const FAILURES_SHARE = 0.05;
const FAILURES_OF_PEER_SHARE = 0.01;
/** What is lost on a message 1 that opened in vain, ns: two Diffie-Hellman steps. Source: ours. */
const VAIN_COST_NS = 150_000;
/** Reads that wait for their worker are charged, too: a thousand peers may come back at once. */
const BUDGET_DEPTH_NS = NS_PER_SECOND;
/** Tags of one peer that are remembered, the newest ones. */
export const TAGS_MAX = 256;

/** The budget that all peers share. */
export const gateBudget = (): CpuBudget =>
  new CpuBudget({ share: FAILURES_SHARE, depthNs: BUDGET_DEPTH_NS });

/** Datagrams of one peer at the worker at a time. */
const READING_MAX = 16;

/** A datagram that is at the worker to be read. */
interface Reading {
  readonly mark: number;
  readonly costNs: number;
}

export class GateMemory {
  readonly #shared: CpuBudget;
  readonly #own = new CpuBudget({ share: FAILURES_OF_PEER_SHARE, depthNs: BUDGET_DEPTH_NS });
  /** Of each tag 53 bits: who could make two alike would hold the pair key. */
  readonly #marks = new Set<number>();
  readonly #reading = new Map<number, Reading>();

  constructor(shared: CpuBudget) {
    this.#shared = shared;
  }

  /** Charges a datagram before it is opened; why it is not to be, with nothing charged. */
  admit(now: Nanoseconds, datagram: Uint8Array): DropReason | undefined {
    if (this.#marks.has(markOf(datagram))) return "replayed";
    if (this.#reading.size >= READING_MAX) return "handshake_busy";
    const costNs = costOf(datagram);
    if (!this.#own.spend(now, costNs)) return "handshake_budget";
    if (this.#shared.spend(now, costNs)) return undefined;
    this.#own.refund(costNs);
    return "handshake_budget";
  }

  /** What `admit` let pass is at the worker under this name, or found no room there. */
  begun(job: number, datagram: Uint8Array, taken: boolean): void {
    if (taken) {
      this.#reading.set(job, { mark: markOf(datagram), costNs: costOf(datagram) });
    } else this.#refund(costOf(datagram));
  }

  /** It opened and is of use: the charge is given back, and its tag opens nothing again. */
  useful(job: number): void {
    const reading = this.#reading.get(job);
    if (reading === undefined) return;
    this.#refund(reading.costNs);
    this.#remember(job, reading);
  }

  /** It opened, and nobody waits for it. `vain`: it was a message 1, which costs far more to read. */
  useless(job: number, vain: boolean): void {
    const reading = this.#reading.get(job);
    if (reading === undefined) return;
    if (vain) this.#refund(-VAIN_COST_NS);
    this.#remember(job, reading);
  }

  /** It did not open. Its tag may be that of one which is still on its way. */
  failed(job: number): void {
    this.#reading.delete(job);
  }

  #refund(costNs: number): void {
    this.#own.refund(costNs);
    this.#shared.refund(costNs);
  }

  #remember(job: number, { mark }: Reading): void {
    this.#reading.delete(job);
    this.#marks.delete(mark);
    this.#marks.add(mark);
    if (this.#marks.size <= TAGS_MAX) return;
    for (const oldest of this.#marks) {
      this.#marks.delete(oldest);
      return;
    }
  }
}

/** Of the tag in front of the hint. */
function markOf(datagram: Uint8Array): number {
  const at = datagram.length - SIPHASH_BYTES - TAG_BYTES;
  return wordAt(datagram, at) * 2 ** 21 + (wordAt(datagram, at + 4) & 0x1f_ffff);
}

const costOf = ({ length }: Uint8Array): number => READ_COST_NS + READ_COST_NS_PER_BYTE * length;
