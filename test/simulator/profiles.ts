// What kind of run a seed is: many are calm, many have one kind of trouble and that at a high rate, some
// are brutal. Uniform chaos hides the bugs that need a calm phase.

import { CREDIT_BYTES_MAX, CREDIT_BYTES_MIN } from "../../src/shared/protocol/session/limits.js";
import { PORT_OF_HOSTS } from "./network.js";
import { Prng } from "./prng.js";
import type { Attack, Decision, Fault, NetworkSetting, OutputKind, Setting } from "./scenario.js";

const SECOND_NS = 1e9;
const MINUTE_NS = 60 * SECOND_NS;
const HOUR_NS = 60 * MINUTE_NS;
const DAY_NS = 24 * HOUR_NS;
const YEAR_NS = 365 * DAY_NS;
const TWO_32 = 2 ** 32;

const SESSION_PROFILES = [
  ...["rekeys", "rekeys", "races", "races", "roaming", "roaming", "hostile", "hostile"],
  ...["streams", "streams", "large", "resumes", "consumers"],
] as const;
const PROFILES = [
  ...["calm", "calm", "calm"],
  ...["loss", "copies", "delay", "damage", "partitions"],
  ...["crashes", "crashes", "power", "power", "stops"],
  ...["clocks", "suspends", "store", "attacker", "attacker", "owners", "owners", "backups"],
  ...["reboots"],
  ...["mixed", "mixed", "mixed", "mixed", "brutal", "brutal"],
] as const;
type Profile = (typeof PROFILES)[number] | (typeof SESSION_PROFILES)[number];

/** One in so many runs has real ciphers. */
const REAL_CRYPTO_RUNS = 50;

const CALM_NETWORK: NetworkSetting = {
  lossShare: 0,
  copyShare: 0,
  flipShare: 0,
  cutShare: 0,
  delay: "fixed",
  delayNs: 5e6,
  mtuBytes: 65_507,
  queuePacketsMax: 1_000,
};

export function drawSetting(seed: number, protocol: Setting["protocol"]): Setting {
  const draws = Prng.of(seed, "setting");
  const name: Profile = draws.pick(
    protocol === "classic" ? PROFILES : [...PROFILES, ...SESSION_PROFILES],
  );
  const has = (profile: Profile, share: number): boolean =>
    name === profile || name === "brutal" || (name === "mixed" && draws.chance(share));
  const isLong = name === "rekeys" || (protocol === "session" && has("clocks", 0.1));
  const long = isLong || has("partitions", 0.3) || has("delay", 0.1);
  return {
    name,
    protocol,
    hosts: draws.between(2, draws.chance(0.3) ? 5 : 3),
    keys: draws.chance(0.5) && protocol === "classic" ? "shared" : "pairs",
    crypto: draws.below(REAL_CRYPTO_RUNS) === 0 ? "real" : "symbolic",
    fuzzedOrder: draws.chance(0.25),
    spanNs:
      (isLong
        ? draws.between(200, 600)
        : name === "races"
          ? draws.between(2, 20)
          : long
            ? draws.between(60, 900)
            : draws.between(10, 120)) * SECOND_NS,
    driftPpmMax: 200,
    network: {
      ...CALM_NETWORK,
      lossShare: ["rekeys", "roaming", "resumes", "consumers"].includes(name)
        ? draws.uniform() / 5
        : has("loss", 0.5)
          ? draws.uniform() / 2
          : 0,
      copyShare: has("copies", 0.5) ? draws.uniform() / 5 : 0,
      flipShare: has("damage", 0.4) ? draws.uniform() / 10 : 0,
      cutShare: has("damage", 0.4) ? draws.uniform() / 20 : 0,
      ...(has("delay", 0.5) || name === "roaming"
        ? {
            delay: draws.pick(["exponential", "heavy tail"] as const),
            delayNs: Math.floor(draws.exponential(0.1) * SECOND_NS),
          }
        : { delayNs: draws.between(100, 80_000) * 1_000 }),
      mtuBytes: has("damage", 0.2)
        ? draws.between(protocol === "classic" ? 200 : 1_200, 1_500)
        : CALM_NETWORK.mtuBytes,
      queuePacketsMax: has("copies", 0.2) ? draws.between(2, 20) : CALM_NETWORK.queuePacketsMax,
    },
    storeTroubleShare: has("store", 0.4) ? draws.uniform() / 3 : 0,
    storeDelayNs:
      has("store", 0.4) || has("owners", 0.4) || name === "consumers"
        ? Math.floor(draws.exponential(0.02) * SECOND_NS)
        : 0,
    cryptoDelayNs: draws.chance(0.3) ? draws.between(1, 20_000) * 1_000 : 20_000,
    creditMessages: draws.chance(0.2) ? draws.between(4, 40) : 16_384,
    quotaBytes:
      name === "streams" || (has("store", 0.2) && draws.chance(0.3))
        ? draws.between(1_000, 50_000)
        : Number.MAX_SAFE_INTEGER,
    creditBytes: draws.chance(0.2) ? CREDIT_BYTES_MIN : CREDIT_BYTES_MAX,
  };
}

/** What befalls hosts and links, and when. */
export function drawPlan(seed: number, setting: Setting): Extract<Decision, { kind: "fault" }>[] {
  const draws = Prng.of(seed, "plan");
  const plan: Extract<Decision, { kind: "fault" }>[] = [];
  for (const [profile, most, draw] of KINDS) {
    const { name } = setting;
    if (setting.protocol === "classic" && isOfSessions(profile)) continue;
    const wanted =
      name === profile || name === "brutal" || (name === "mixed" && draws.chance(0.35));
    if (!wanted) continue;
    const count = draws.between(1, name === profile ? most : Math.ceil(most / 2));
    for (let i = 0; i < count; i++) {
      const at = Math.floor(draws.uniform() * setting.spanNs);
      for (const [delayNs, fault] of draw(draws, setting)) {
        plan.push({ kind: "fault", at: at + delayNs, fault });
      }
    }
  }
  return plan.sort((a, b) => a.at - b.at);
}

const isOfSessions = (profile: Profile): boolean =>
  (SESSION_PROFILES as readonly Profile[]).includes(profile);

/** Faults, each with its delay behind an instant. */
type Draw = (draws: Prng, setting: Setting) => readonly (readonly [delayNs: number, Fault])[];

const single =
  (draw: (draws: Prng, setting: Setting) => Fault): Draw =>
  (draws, setting) => [[0, draw(draws, setting)]];

/** Profile, how many at most where it is the run's own, and what one of them is. */
const KINDS: readonly (readonly [profile: Profile, most: number, draw: Draw])[] = [
  ["crashes", 12, single((draws, setting) => drawCrash(draws, setting, false))],
  ["power", 12, single((draws, setting) => drawCrash(draws, setting, true))],
  [
    "stops",
    8,
    single((draws, { hosts }) => ({ kind: "stop", host: draws.below(hosts), ...down(draws) })),
  ],
  ["partitions", 6, single(drawPartition)],
  ["clocks", 8, single(drawClock)],
  [
    "suspends",
    8,
    single((draws, { hosts }) => ({
      kind: "suspend",
      host: draws.below(hosts),
      spanNs: draws.between(1, 90_000) * 1e6,
      clockStands: draws.chance(0.5),
    })),
  ],
  ["attacker", 60, single(drawAttack)],
  ["reboots", 4, drawReboot],
  [
    "copies",
    3,
    single((draws, { hosts }) => ({
      kind: "rebind",
      host: draws.below(hosts),
      port: draws.between(PORT_OF_HOSTS + 1, 65_535),
    })),
  ],
  ["roaming", 8, single(drawRebind)],
  ["roaming", 20, single((draws, setting) => ({ ...drawAttack(draws, setting), what: "spoof" }))],
  ["races", 6, drawRace],
  ["resumes", 8, single((draws, setting) => drawCrash(draws, setting, draws.chance(0.3)))],
  ["resumes", 2, single(drawPartition)],
  ["rekeys", 2, single((draws, setting) => drawCrash(draws, setting, false))],
  ["streams", 3, single((draws, setting) => drawCrash(draws, setting, true))],
  [
    "hostile",
    10,
    single((draws, { hosts }) => ({
      kind: "hostile",
      host: draws.below(Math.max(1, hosts - 1)),
      packets: draws.between(1, 30),
      manner: draws.pick(["flip", "flip", "noise", "frames", "receipts"] as const),
      word: draws.u32(),
    })),
  ],
  ["backups", 2, drawBackup],
  [
    "backups",
    2,
    single((draws, { hosts }) => ({
      kind: "clone",
      host: draws.below(hosts),
      spanNs: draws.between(1, 60) * SECOND_NS,
    })),
  ],
];

function drawRebind(draws: Prng, { hosts }: Setting): Fault {
  const port = draws.between(PORT_OF_HOSTS + 1, 65_535);
  return { kind: "rebind", host: draws.below(hosts), port };
}

/** Two hosts start anew at nearly the same time. */
function drawRace(draws: Prng, { hosts }: Setting): ReturnType<Draw> {
  const first = draws.below(hosts);
  const second = (first + draws.between(1, hosts - 1)) % hosts;
  const downNs = draws.between(1, 2_000) * 1e6;
  const apartNs = draws.between(0, 300) * 1e6;
  const crash = { kind: "crash", downNs, power: false, kept: 0 } as const;
  return [
    [0, { ...crash, host: first }],
    [apartNs, { ...crash, host: second }],
  ];
}

/** A backup, and some time later the host is put back to it. */
function drawBackup(draws: Prng, { hosts, spanNs }: Setting): ReturnType<Draw> {
  const host = draws.below(hosts);
  const downNs = draws.between(1, 10_000) * 1e6;
  return [
    [0, { kind: "backup", host }],
    [Math.floor((draws.uniform() * spanNs) / 2), { kind: "restore", host, downNs }],
  ];
}

/** A host starts anew with a clock that is behind, and somebody throws at it what he heard before. */
function drawReboot(draws: Prng, setting: Setting): ReturnType<Draw> {
  const host = draws.below(setting.hosts);
  const downNs = draws.between(1, 500) * 1e6;
  const behindNs = draws.between(0, 9) * SECOND_NS;
  const faults: [number, Fault][] = [
    [0, { kind: "clock", host, offsetNs: -behindNs }],
    [1, { kind: "crash", host, downNs, power: false, kept: 0 }],
  ];
  for (let i = 0; i < 4; i++) {
    const attack = { ...drawAttack(draws, setting), pick: draws.between(10, 40), count: 10 };
    const what = draws.pick(["reflect", "replay"] as const);
    faults.push([downNs + draws.between(1, 5_000) * 1e6, { ...attack, what }]);
  }
  return faults;
}

const down = (draws: Prng): { readonly downNs: number } => ({
  downNs: draws.chance(0.5) ? draws.between(1, 2_000) * 1e6 : draws.between(1, 60) * SECOND_NS,
});

const OUTPUTS: readonly OutputKind[] = [
  "transmit",
  "store job",
  "sealing",
  "opening",
  "store result",
];

function drawCrash(draws: Prng, { hosts }: Setting, mayLosePower: boolean): Fault {
  const crash = {
    host: draws.below(hosts),
    ...down(draws),
    power: mayLosePower && draws.chance(0.7),
    kept: draws.chance(0.4) ? 0 : draws.below(TWO_32),
  };
  if (draws.chance(0.3)) return { kind: "crash", ...crash };
  const output = draws.pick(OUTPUTS);
  return { kind: "armed crash", output, nth: draws.between(1, 12), ...crash };
}

function drawPartition(draws: Prng, { hosts, spanNs }: Setting): Fault {
  const from = draws.below(hosts);
  return {
    kind: draws.chance(0.7) ? "partition" : "clog",
    from,
    to: (from + draws.between(1, hosts - 1)) % hosts,
    bothWays: draws.chance(0.6),
    spanNs: Math.floor(Math.min(10 * MINUTE_NS, spanNs) * draws.uniform()),
  };
}

function drawClock(draws: Prng, { hosts }: Setting): Fault {
  const host = draws.below(hosts);
  if (draws.chance(0.2)) return { kind: "clock at epoch", host, stands: draws.chance(0.5) };
  const span = draws.pick([0, SECOND_NS, HOUR_NS, DAY_NS, 10 * YEAR_NS]);
  return { kind: "clock", host, offsetNs: draws.chance(0.5) ? span : -span };
}

const ATTACKS: readonly Attack[] = [
  ...(["replay", "replay", "replay", "mutate", "splice"] as const),
  ...(["reflect", "reflect", "redirect", "garbage"] as const),
];

export function drawAttack(
  draws: Prng,
  { hosts }: Setting,
): Extract<Fault, { readonly kind: "attack" }> {
  return {
    kind: "attack",
    what: draws.pick(ATTACKS),
    pick: draws.chance(0.5) ? draws.below(20) : draws.below(1_000),
    count: draws.chance(0.7) ? 1 : draws.between(2, 30),
    target: draws.below(hosts),
    spoof: draws.below(hosts),
    word: draws.u32(),
  };
}
