// What the owners of the hosts do: submit messages, and everything that an owner may do to rows. Drawn
// as a list before the run, so that it can be cut; each step picks its row when its time has come.

import { addressOf, PORT_OF_HOSTS } from "./network.js";
import { Prng } from "./prng.js";
import type { Setting, Step } from "./scenario.js";
import { type InboundRow, isWorked, type OutboundRow, type Tables } from "./tables.js";

const BYTES_MAX = 60_000;
const PICKS = 1_000;
/** A few large messages of sessions are this long. */
const LARGE_BYTES_MAX = 2 * 1_024 * 1_024;
const STREAMS = 3;
/** How often, and how soon, a program looks for a message that was sent to its host. */
const LOOKS = 4;
const LOOK_NS = 0.5e9;

export function drawSteps(seed: number, setting: Setting): readonly Step[] {
  const draws = Prng.of(seed, "workload");
  const steps: Step[] = [];
  const messages = draws.between(4, draws.chance(0.2) ? 120 : 40);
  const target = draws.chance(0.2) ? draws.below(setting.hosts) : undefined;
  const ids = new Map<string, Set<number>>();
  for (let serial = 0; serial < messages; serial++) {
    const burst = serial > 0 && draws.chance(0.4);
    const at = burst ? (steps[steps.length - 1]?.at ?? 0) : anyTime(draws, setting);
    steps.push(drawSubmit(draws, setting, serial, at, target, ids));
  }
  const owners = ["owners", "brutal", "streams"].includes(setting.name);
  const actions = owners ? draws.between(5, 40) : setting.name === "mixed" ? draws.below(8) : 0;
  const submits = [...steps];
  for (let i = 0; i < actions; i++) steps.push(drawAction(draws, setting, submits));
  if (setting.name === "consumers") steps.push(...drawConsumption(draws, submits));
  return steps.sort((a, b) => a.at - b.at);
}

/** Programs that take what comes soon after it came. */
function drawConsumption(draws: Prng, submits: readonly Step[]): Step[] {
  const steps: Step[] = [];
  for (const submit of submits) {
    if (submit.kind !== "submit") continue;
    for (let look = 0; look < LOOKS; look++) {
      const at = submit.at + Math.floor(draws.exponential(LOOK_NS));
      steps.push({ kind: "consume", at, host: submit.to });
    }
  }
  return steps;
}

const anyTime = (draws: Prng, { spanNs }: Setting): number =>
  Math.floor(draws.uniform() * spanNs * 0.9);

function drawSubmit(
  draws: Prng,
  setting: Setting,
  serial: number,
  at: number,
  target: number | undefined,
  ids: Map<string, Set<number>>,
): Step {
  const host = draws.below(setting.hosts);
  const to =
    target !== undefined && target !== host
      ? target
      : (host + draws.between(1, setting.hosts - 1)) % setting.hosts;
  return {
    kind: "submit",
    at,
    host,
    to,
    bytes:
      setting.protocol === "session"
        ? drawBytes(draws, setting, serial)
        : draws.chance(0.9)
          ? draws.below(200)
          : draws.below(draws.chance(0.2) ? BYTES_MAX : 2_000),
    messageId: drawId(draws, host, ids),
    serial,
    priority: draws.below(4),
    lifeMs: draws.chance(0.05) ? draws.between(1, 600_000) : undefined,
    delayMs: draws.chance(0.1) ? draws.between(1, 30_000) : undefined,
    stream: drawStream(draws, setting),
  };
}

/** Many small ones; few that take many packets, and at most one that takes a file. */
function drawBytes(draws: Prng, { name }: Setting, serial: number): number {
  if (serial === 3 && (name === "large" || name === "resumes" || draws.chance(0.02))) {
    return draws.between(LARGE_BYTES_MAX / 8, LARGE_BYTES_MAX);
  }
  const kind = draws.below(100);
  if (kind < 80) return draws.below(200);
  if (kind < 95) return draws.below(6_000);
  return kind < 99 ? draws.below(BYTES_MAX) : draws.below(270_000);
}

function drawStream(draws: Prng, { name, protocol }: Setting): string {
  if (protocol === "classic") return "";
  return draws.chance(name === "streams" ? 0.8 : 0.2) ? `stream ${draws.below(STREAMS)}` : "";
}

/**
 * None, one of its own, or one that another host uses too. No host uses one twice: a classic ACK says
 * nothing but the id, so a late one of the first message would be taken for the second.
 */
function drawId(draws: Prng, host: number, ids: Map<string, Set<number>>): string | undefined {
  const kind = draws.below(10);
  if (kind < 5) return undefined;
  const others = [...ids].filter(([, hosts]) => !hosts.has(host));
  if (kind < 7 && others.length > 0) {
    const [id, hosts] = draws.pick(others);
    hosts.add(host);
    return id;
  }
  const id = [draws.u32(), draws.u32(), draws.u32()]
    .map((word) => word.toString(16).padStart(8, "0"))
    .join("");
  ids.set(id, new Set([host]));
  return id;
}

/** Half of what owners do they do soon after a message was submitted, to its row. */
function drawAction(draws: Prng, setting: Setting, submits: readonly Step[]): Step {
  const submit = draws.chance(0.5) ? draws.pick(submits) : undefined;
  const host = submit?.host ?? draws.below(setting.hosts);
  const at =
    submit === undefined
      ? anyTime(draws, setting)
      : submit.at + Math.floor(draws.exponential(draws.chance(0.5) ? 0.02e9 : 0.3e9));
  const before = submits.filter((each) => each.host === host && each.at <= at).length;
  const pick = submit === undefined ? draws.below(PICKS) : Math.max(0, before - 1);
  const action = { at, host, pick };
  // Under one secret of all a late ACK of another host cannot be told apart: nobody readdresses there.
  const kind = draws.below(setting.keys === "pairs" ? 12 : 9);
  if (kind < 3) return { kind: "redrive", ...action };
  if (kind < 4) return { kind: "cancel", ...action };
  if (kind < 5) return { kind: "delete", ...action };
  if (kind < 8) return { kind: "delete inbound", ...action };
  if (kind < 9) return { kind: "delay", ...action, delayMs: draws.between(1, 60_000) };
  const to = (host + draws.between(1, setting.hosts - 1)) % setting.hosts;
  return { kind: "readdress", ...action, to };
}

/** What of a host its owner's step needs. */
export interface Owned {
  readonly tables: Tables;
  readonly wallMs: number;
}

/** Does a step; false when there was nothing to do it to. The commit is synced. */
export function applyStep(
  step: Step,
  { tables, wallMs }: Owned,
  protocol: Setting["protocol"],
): boolean {
  const change = changeOf(step, tables, wallMs, protocol);
  if (change === undefined) return false;
  tables.layers.transaction(change);
  tables.layers.sync();
  return true;
}

function changeOf(
  step: Step,
  tables: Tables,
  wallMs: number,
  protocol: Setting["protocol"],
): (() => void) | undefined {
  if (step.kind === "submit") return submission(step, tables, wallMs, protocol);
  if (step.kind === "consume") {
    const rows = [...tables.inbound.values()];
    if (rows.length === 0) return undefined;
    return () => {
      for (const row of rows) tables.deleteInbound(row, wallMs);
    };
  }
  if (step.kind === "delete inbound") {
    const inbound: readonly InboundRow[] = [...tables.inbound.values()];
    const row = inbound[step.pick % Math.max(1, inbound.length)];
    return row && (() => tables.deleteInbound(row, wallMs));
  }
  const rows: readonly OutboundRow[] = [...tables.outbound.values()];
  const row = rows[step.pick % Math.max(1, rows.length)];
  if (row === undefined) return undefined;
  switch (step.kind) {
    case "redrive":
      return () => tables.setState(row, "pending", wallMs);
    case "cancel":
      return () => tables.setState(row, "send_failed", wallMs);
    case "delete":
      return () => tables.deleteOutbound(row);
    case "readdress":
      return () => tables.readdress(row, addressOf(step.to), wallMs);
    case "delay":
      return isWorked(row)
        ? () => tables.putOutbound({ ...row, notBefore: Math.floor(wallMs + step.delayMs) })
        : undefined;
  }
}

function submission(
  step: Extract<Step, { kind: "submit" }>,
  tables: Tables,
  wallMs: number,
  protocol: Setting["protocol"],
): (() => void) | undefined {
  const { messageId, priority, lifeMs, delayMs } = step;
  if (messageId !== undefined && tables.outboundIds.has(messageId)) return undefined;
  const nowMs = Math.floor(wallMs);
  return () => {
    tables.enqueue({
      messageId,
      payload: protocol === "classic" ? payloadOf(step) : contentOf(step),
      stream: step.stream,
      address: addressOf(step.to),
      port: PORT_OF_HOSTS,
      priority,
      createdAt: nowMs,
      redrivenAt: undefined,
      notBefore: delayMs === undefined ? undefined : nowMs + delayMs,
      expiresAt: lifeMs === undefined ? undefined : nowMs + lifeMs,
    });
  };
}

const PATTERN = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

/** Any text, also none; no two steps have the same where it is longer than a few characters. */
function contentOf({ host, serial, bytes }: Extract<Step, { kind: "submit" }>): string {
  const head = `${host}.${serial}.`;
  return (head + PATTERN.repeat(Math.ceil(bytes / PATTERN.length))).slice(0, bytes);
}

/** Canonical JSON: written as the daemon would write it. */
const payloadOf = (step: Extract<Step, { kind: "submit" }>): string =>
  JSON.stringify({
    ...(step.messageId === undefined ? {} : { message_id: step.messageId }),
    from: step.host,
    serial: step.serial,
    text: "x".repeat(step.bytes),
  });
