// Runs that found a bug, shrunk to what it took and kept as they were decided: a seed means nothing once
// the code has changed, a list of decisions does as long as the events come in the same order.

import type { Scenario } from "./scenario.js";

export interface Regression {
  /** What happened in it. */
  readonly was: string;
  readonly scenario: Scenario;
}

export const REGRESSIONS: readonly Regression[] = [
  {
    was:
      "an ACK that an older session owed was due, and the unproven place of the peer had too little " +
      "allowance left: the timer was set for the past again and again",
    scenario: {
      seed: 14_063,
      setting: {
        name: "roaming",
        protocol: "session",
        hosts: 2,
        keys: "pairs",
        crypto: "symbolic",
        fuzzedOrder: false,
        spanNs: 75_000_000_000,
        driftPpmMax: 200,
        network: {
          lossShare: 0.07694672322832048,
          copyShare: 0,
          flipShare: 0,
          cutShare: 0,
          delay: "exponential",
          delayNs: 280_492_703,
          mtuBytes: 65_507,
          queuePacketsMax: 1000,
        },
        storeTroubleShare: 0,
        storeDelayNs: 0,
        cryptoDelayNs: 2_486_000,
        creditMessages: 4,
        quotaBytes: Number.MAX_SAFE_INTEGER,
        creditBytes: 8_388_608,
      },
      steps: [
        {
          kind: "submit",
          at: 2_814_977_627,
          host: 1,
          to: 0,
          bytes: 2,
          serial: 23,
          priority: 3,
          stream: "stream 0",
          messageId: undefined,
          lifeMs: undefined,
          delayMs: undefined,
        },
        {
          kind: "submit",
          at: 3_581_787_112,
          host: 0,
          to: 1,
          bytes: 121,
          serial: 15,
          priority: 3,
          stream: "stream 0",
          messageId: undefined,
          lifeMs: undefined,
          delayMs: undefined,
        },
      ],
      decisions: [
        {
          kind: "fault",
          at: 4_994_903_854,
          fault: {
            kind: "attack",
            what: "spoof",
            pick: 16,
            count: 24,
            target: 1,
            spoof: 1,
            word: 1_661_654_184,
          },
        },
        { kind: "packet", link: 16, nth: 1, fault: { delayNs: 149_664_283 } },
        { kind: "packet", link: 1, nth: 1, fault: { delayNs: 1_221_151_524 } },
        { kind: "packet", link: 1, nth: 2, fault: { delayNs: 131_367_164 } },
        { kind: "packet", link: 16, nth: 2, fault: { delayNs: 531_743_251 } },
        { kind: "packet", link: 1, nth: 5, fault: { delayNs: 73_097_390 } },
        { kind: "packet", link: 16, nth: 8, fault: { delayNs: 83_848_366 } },
        { kind: "packet", link: 1, nth: 6, fault: { delayNs: 566_143_657 } },
      ],
    },
  },
];
