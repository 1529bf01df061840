// What a run is made of, as data: the setting, the decisions of fate, the steps of the hosts' owners.
// All of it can be written down, read back, and cut shorter. Spans and instants are ns of true time.

import type { Manner } from "./host.js";

/** Kinds of output of a host after which a crash can be armed. */
export type OutputKind = "transmit" | "store job" | "sealing" | "opening" | "store result";

export interface NetworkSetting {
  readonly lossShare: number;
  readonly copyShare: number;
  readonly flipShare: number;
  readonly cutShare: number;
  readonly delay: "fixed" | "exponential" | "heavy tail";
  readonly delayNs: number;
  /** Longer datagrams vanish while faults last. */
  readonly mtuBytes: number;
  /** Datagrams under way on one directed link; more are dropped. */
  readonly queuePacketsMax: number;
}

/** The run's setting. Shares of 0 and counts of 0 are calm. */
export interface Setting {
  readonly name: string;
  readonly protocol: "classic" | "session";
  readonly hosts: number;
  /** One secret of all hosts, or one for each pair. */
  readonly keys: "shared" | "pairs";
  readonly crypto: "symbolic" | "real";
  readonly fuzzedOrder: boolean;
  /** Length of the phase with faults. */
  readonly spanNs: number;
  readonly driftPpmMax: number;
  readonly network: NetworkSetting;
  readonly storeTroubleShare: number;
  readonly storeDelayNs: number;
  readonly cryptoDelayNs: number;
  /** What a peer may have unfinished at a host; of sessions. */
  readonly creditMessages: number;
  readonly creditBytes: number;
  /** Bytes of one peer that a host stores while faults last. */
  readonly quotaBytes: number;
}

/** Something that befalls a host or a link at an instant. Links by index of their hosts. */
export type Fault =
  | {
      readonly kind: "crash";
      readonly host: number;
      readonly downNs: number;
      /** Power fails: of what was committed and not synced, the first `kept` of 2^32 parts stay. */
      readonly power: boolean;
      readonly kept: number;
    }
  | {
      /** A crash right behind the n-th output of a kind, counted from here. */
      readonly kind: "armed crash";
      readonly host: number;
      readonly output: OutputKind;
      readonly nth: number;
      readonly downNs: number;
      readonly power: boolean;
      readonly kept: number;
    }
  | { readonly kind: "stop"; readonly host: number; readonly downNs: number }
  | { readonly kind: "clock"; readonly host: number; readonly offsetNs: number }
  | { readonly kind: "clock at epoch"; readonly host: number; readonly stands: boolean }
  | {
      readonly kind: "suspend";
      readonly host: number;
      readonly spanNs: number;
      /** The monotonic clock stands still meanwhile. */
      readonly clockStands: boolean;
    }
  | {
      readonly kind: "partition" | "clog";
      readonly from: number;
      readonly to: number;
      readonly bothWays: boolean;
      readonly spanNs: number;
    }
  | { readonly kind: "rebind"; readonly host: number; readonly port: number }
  /** A host with valid keys that does not keep to the protocol. */
  | {
      readonly kind: "hostile";
      readonly host: number;
      readonly packets: number;
      readonly manner: Manner;
      readonly word: number;
    }
  | { readonly kind: "backup"; readonly host: number }
  | { readonly kind: "restore"; readonly host: number; readonly downNs: number }
  | { readonly kind: "clone"; readonly host: number; readonly spanNs: number }
  | {
      /** The attacker sends `count` datagrams made from those seen, beginning at the `pick`-th last. */
      readonly kind: "attack";
      readonly what: Attack;
      readonly pick: number;
      readonly count: number;
      readonly target: number;
      readonly spoof: number;
      readonly word: number;
    };

export type Attack = "replay" | "mutate" | "splice" | "reflect" | "redirect" | "spoof" | "garbage";

/** What the network does with the n-th datagram of a link, where that is not to carry it at once. */
export interface PacketFault {
  readonly dropped?: boolean;
  readonly delayNs?: number;
  readonly copyDelayNs?: number;
  /** Bit of the datagram, modulo its length. */
  readonly flippedBit?: number;
  readonly cutToBytes?: number;
}

/** What befalls the n-th job of a store. `broken` and `half broken`: the process has to end. */
export interface StoreFault {
  readonly outcome: "well" | "busy" | "full" | "broken" | "half broken";
  readonly delayNs: number;
}

/** One decision of fate. Whatever was not decided goes well. */
export type Decision =
  | { readonly kind: "fault"; readonly at: number; readonly fault: Fault }
  | {
      readonly kind: "packet";
      readonly link: number;
      readonly nth: number;
      readonly fault: PacketFault;
    }
  | {
      readonly kind: "store";
      readonly host: number;
      readonly nth: number;
      readonly fault: StoreFault;
    };

/** What the owner of a host does to the tables. `pick`: of the rows in question, modulo their count. */
export type Step =
  | {
      readonly kind: "submit";
      readonly at: number;
      readonly host: number;
      readonly to: number;
      readonly bytes: number;
      /** 24 hex digits, or undefined for the daemon to make one. */
      readonly messageId: string | undefined;
      readonly serial: number;
      readonly priority: number;
      readonly lifeMs: number | undefined;
      readonly delayMs: number | undefined;
      /** Of sessions; "": unordered. */
      readonly stream: string;
    }
  | {
      readonly kind: "redrive" | "cancel" | "delete" | "delete inbound";
      readonly at: number;
      readonly host: number;
      readonly pick: number;
    }
  | {
      /** Every row that came is taken and deleted at once. */
      readonly kind: "consume";
      readonly at: number;
      readonly host: number;
    }
  | {
      readonly kind: "readdress";
      readonly at: number;
      readonly host: number;
      readonly pick: number;
      readonly to: number;
    }
  | {
      readonly kind: "delay";
      readonly at: number;
      readonly host: number;
      readonly pick: number;
      readonly delayMs: number;
    };

/** Everything that a run depends on besides the code. */
export interface Scenario {
  readonly seed: number;
  readonly setting: Setting;
  readonly steps: readonly Step[];
  /** Undefined: drawn while the run goes on. */
  readonly decisions: readonly Decision[] | undefined;
}
