// How often each kind of trouble and each action of an owner really happened: a run in which a fault was
// drawn and hit nobody is not one in which it was survived.

export type Counts = Readonly<Record<string, number>>;

export class Tally {
  readonly counts: Record<string, number> = {};

  add(kind: string, times = 1): void {
    if (times > 0) this.counts[kind] = (this.counts[kind] ?? 0) + times;
  }
}

export function sumOf(a: Counts, b: Counts): Counts {
  const sum: Record<string, number> = { ...a };
  for (const [kind, times] of Object.entries(b)) sum[kind] = (sum[kind] ?? 0) + times;
  return sum;
}

/** Of sessions and classic alike. */
const HAPPENS_TO_ALL = [
  ...["submit", "redrive", "cancel", "delete", "delete inbound", "delay", "readdress"],
  ...["crash", "crash at transmit", "crash at store job", "crash at sealing"],
  ...["crash at store result", "power lost", "commits undone", "stop"],
  ...["backup", "restore", "clone"],
  ...["clock", "clock at epoch", "suspend", "partition", "clog", "rebind"],
  ...[
    "lost",
    "copied",
    "bits flipped",
    "cut short",
    "reordered",
    "too big",
    "queue full",
    "cut off",
  ],
  ...["store busy", "store full", "store broken", "store half broken"],
  ...["replay", "mutate", "splice", "reflect", "redirect", "garbage"],
] as const;

/** What has to happen in 2,000 seeds of a protocol. */
export const HAPPENS = {
  classic: [...HAPPENS_TO_ALL, "crash at opening"],
  session: [
    ...HAPPENS_TO_ALL,
    ...["spoof", "hostile flip", "hostile noise", "hostile frames", "hostile receipts"],
    ...["spool file left", "over quota", "rekey", "large message", "stream message", "consume"],
  ],
} as const;
