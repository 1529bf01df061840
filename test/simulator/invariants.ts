// What must hold after every event, whatever the protocol: no key and nonce twice, no answer without
// something authentic that asked for it, nothing held beyond its cap, time that goes on.

import { NONCE_BYTES } from "../../src/shared/protocol/constants.js";
import type { SimProcess } from "./host.js";
import type { Machine } from "./machine.js";
import { isWorked } from "./tables.js";
import { Violation } from "./violation.js";

/** Inputs of one host at one instant: more, and it spins. */
const INPUTS_AT_ONCE_MAX = 5_000;
/** More than the workload of a run can ask for. */
const DATAGRAMS_PER_SECOND_MAX = 10_000;

interface Watched {
  /** Envelopes of others that a host has opened, and in which of its lives it did last. */
  readonly opened: Map<string, number>;
  /** Of them, those that may draw an answer. */
  questions: number;
  answers: number;
  at: number;
  inputs: number;
  /** Datagrams of the second that it is in. */
  second: number;
  sent: number;
}

export class Watch {
  /** Key and nonce of everything ever sealed, and who did. */
  readonly #sealed = new Map<string, number>();
  /** Who sealed with a nonce. */
  readonly #sealers = new Map<string, number>();
  readonly #hosts: Watched[] = [];
  readonly #counters = new Map<string, number>();
  readonly #believed = new Set<string>();
  readonly drops: Record<string, number> = {};

  sealed(machine: Machine, key: number, bytes: Uint8Array, at: number): void {
    const name = `${key}.${nonceText(bytes, at)}`;
    const before = this.#sealed.get(name);
    if (before !== undefined) {
      throw new Violation(
        "nonce used twice",
        `host ${machine.index} seals under key ${key} with a nonce of host ${before}`,
      );
    }
    this.#sealed.set(name, machine.index);
    this.#sealers.set(nonceText(bytes, at), machine.index);
  }

  /** Counters of a key rise, and one is never used again. */
  counted(machine: Machine, key: string, counter: number): void {
    const before = this.#counters.get(key) ?? -1;
    if (counter <= before) {
      throw new Violation(
        "nonce used twice",
        `host ${machine.index} seals packet ${counter} behind ${before}`,
      );
    }
    this.#counters.set(key, counter);
  }

  believed(machine: Machine, key: string, counter: number): void {
    const name = `${key}.${counter}`;
    if (this.#believed.has(name)) {
      throw new Violation("replay believed", `host ${machine.index} takes packet ${counter} again`);
    }
    this.#believed.add(name);
  }

  /** The number of a row is about to be called settled. */
  settles({ tables, index }: Machine, rowId: number, generation: number): void {
    const row = tables.outbound.get(rowId);
    if (row === undefined || row.generation !== generation || !isWorked(row)) return;
    throw new Violation("an open number is settled", `row ${rowId} of host ${index} is work`);
  }

  /** A datagram that may draw one answer, once. */
  opened(machine: Machine, bytes: Uint8Array, at: number, mayRepeat: boolean): void {
    const nonce = nonceText(bytes, at);
    // Its own envelope, thrown back, is no question.
    if (this.#sealers.get(nonce) === machine.index) return;
    const watched = this.#of(machine);
    const life = watched.opened.get(nonce);
    const isRepeat = life !== undefined && life !== machine.lives && mayRepeat;
    if (life === undefined || isRepeat) watched.questions += 1;
    watched.opened.set(nonce, machine.lives);
  }

  transmitted(machine: Machine, answer: boolean): void {
    const watched = this.#of(machine);
    const second = Math.floor(machine.trueNow / 1e9);
    watched.sent = second === watched.second ? watched.sent + 1 : 1;
    watched.second = second;
    if (watched.sent > DATAGRAMS_PER_SECOND_MAX) {
      throw new Violation("floods", `host ${machine.index} sends ${watched.sent} in a second`);
    }
    if (!answer) return;
    watched.answers += 1;
    if (watched.answers > watched.questions) {
      throw new Violation(
        "answer without a question",
        `host ${machine.index} sends answer ${watched.answers} to ${watched.questions} datagrams`,
      );
    }
  }

  /** After a process has handled an input. */
  handled(machine: Machine): void {
    const { process, clock } = machine;
    if (process === undefined) return;
    const { overfull } = process;
    if (overfull !== undefined) {
      throw new Violation("cap exceeded", `host ${machine.index}: ${overfull}`);
    }
    const watched = this.#of(machine);
    const at = machine.trueNow;
    watched.inputs = watched.at === at ? watched.inputs + 1 : 0;
    watched.at = at;
    if (watched.inputs > INPUTS_AT_ONCE_MAX) {
      throw new Violation("no rest", `host ${machine.index} at wall ${clock.highestWallNs}`);
    }
  }

  /** Gathers what a process refused. */
  ended({ drops }: SimProcess): void {
    for (const [reason, count] of Object.entries(drops)) {
      this.drops[reason] = (this.drops[reason] ?? 0) + count;
    }
  }

  #of(machine: Machine): Watched {
    let watched = this.#hosts[machine.index];
    if (watched === undefined) {
      watched = {
        ...{ opened: new Map(), questions: 0, answers: 0 },
        ...{ at: -1, inputs: 0, second: -1, sent: 0 },
      };
      this.#hosts[machine.index] = watched;
    }
    return watched;
  }
}

/** Words of the nonce at `at`, as a text to look it up by. */
function nonceText(bytes: Uint8Array, at: number): string {
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, NONCE_BYTES);
  return `${view.getUint32(0)}.${view.getUint32(4)}.${view.getUint32(8)}`;
}
