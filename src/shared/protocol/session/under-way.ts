// What the sessions of one peer have under way: what became of each packet is told to whoever filled it.
// A packet arrives, is lost, or never left this host.

import type { Nanoseconds } from "../../base/units.js";
import { FATE } from "../transport/packet-fates.js";
import type { ContentRepair } from "./content-repair.js";
import type { PeerPath } from "./peer-path.js";
import type { Session } from "./session.js";

/** Names a packet that was to leave. */
export interface SentPacket {
  /** Our id of its session. */
  readonly tag: number;
  readonly counterHigh: number;
  readonly counterLow: number;
}

export class UnderWay {
  readonly #repair: ContentRepair;
  readonly #path: PeerPath;

  constructor(repair: ContentRepair, path: PeerPath) {
    this.#repair = repair;
    this.#path = path;
  }

  /** Tells what is known by now of the packets of a session. */
  settle({ recovery, log }: Session): void {
    for (let fate = recovery.pollFate(); fate !== FATE.none; fate = recovery.pollFate()) {
      this.#repair.acked = fate === FATE.acked;
      log.take(recovery.fateContent, this.#repair);
    }
  }

  /** A session sends no more: what it has under way goes again in another one. */
  release(session: Session): void {
    session.recovery.handleEnd();
    this.settle(session);
  }

  /**
   * The system refused a packet for its size: the path is narrower, and what was in the packet goes
   * again at once. Where no smaller size is left to try it counts as lost, or it would go for ever.
   */
  handleTooBig(now: Nanoseconds, session: Session, packet: SentPacket, bytes: number): void {
    const { transport } = this.#path;
    transport.handleTooBig(now, bytes);
    if (bytes > transport.mtu.bytes) this.handleWithdrawn(session, packet);
  }

  /** A packet did not leave, and its path is not to blame. */
  handleWithdrawn(session: Session, { counterHigh, counterLow }: SentPacket): void {
    const counter = counterHigh * 2 ** 32 + counterLow;
    if (session.recovery.handleWithdrawn(counter)) this.settle(session);
  }
}
