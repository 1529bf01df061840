// Two hosts that change the key they share, as a graph of states: operators who start, install, finish
// and give up, daemons that reload, crash and start, datagrams that are lost, late and doubled. What
// a daemon knows is the state of rotation.ts itself. The first key has no facts and no datagrams here: no
// rule asks for them; the list of keys that travels in its sessions may come at any time. `fault` leaves out a rule, to show it is needed.

import {
  initialRotation,
  type RingNames,
  type RotationState,
  rotated,
  rotationPhase,
  rotationText,
  sealingOrder,
} from "../../src/shared/protocol/session/rotation.js";

export type Fault = "held-late" | "finish-early" | "abandon-held" | "abandon-running";

export interface Budget {
  readonly starts: number;
  readonly crashes: number;
}

interface Host {
  readonly up: boolean;
  /** What the configuration file says. */
  readonly files: RingNames;
  /** What is committed: the ring read last, and the facts. */
  readonly durable: RotationState;
  /** Keys under which an initiation of this run is open, and under which a session is. */
  readonly initiated: readonly string[];
  readonly sessions: readonly string[];
}

interface World {
  readonly hosts: readonly [Host, Host];
  /** Every datagram ever sent may come, at any time, any number of times, or never. */
  readonly sent: readonly string[];
  readonly keys: number;
  readonly crashes: number;
}

const CURRENT = "a0";
const WALL_MS = 1;
const ring = (current: string, next?: string): RingNames => ({
  current,
  next,
  previous: undefined,
});
const namesOf = ({ current, next, previous }: RingNames): readonly string[] =>
  [current, next, previous].filter((name) => name !== undefined);
const with1 = (list: readonly string[], name: string): readonly string[] =>
  list.includes(name) ? list : [...list, name].sort();

export interface Walk {
  readonly worlds: number;
  /** Steps that led to two hosts without a common key; undefined: none do. */
  readonly stranded: readonly string[] | undefined;
  /** Phases that were seen: the walk was not a standstill. */
  readonly phases: ReadonlySet<string>;
}

/** Looks at every world that can be reached. */
export function walkAll(budget: Budget, fault?: Fault): Walk {
  const host: Host = {
    up: true,
    files: ring(CURRENT),
    durable: initialRotation(ring(CURRENT)),
    initiated: [],
    sessions: [],
  };
  const first: World = { hosts: [host, host], sent: [], keys: 0, crashes: 0 };
  const seen = new Map<string, readonly [from: string, step: string]>([[keyOf(first), ["", ""]]]);
  const phases = new Set<string>();
  const queue: World[] = [first];
  for (let at = 0; at < queue.length; at++) {
    const world = queue[at];
    for (const { durable } of world.hosts) phases.add(rotationPhase(durable));
    if (isStranded(world)) {
      return { worlds: queue.length, stranded: pathTo(world, seen), phases };
    }
    for (const [step, next] of stepsFrom(world, budget, fault)) {
      const key = keyOf(next);
      if (seen.has(key)) continue;
      seen.set(key, [keyOf(world), step]);
      queue.push(next);
    }
  }
  return { worlds: queue.length, stranded: undefined, phases };
}

/** Facts in a fixed order, so that two ways to one world meet. */
const keyOf = ({ hosts, sent, keys, crashes }: World): string => {
  const [a, b] = hosts.map(({ up, files, durable, initiated, sessions }) => [
    up,
    namesOf(files).join(),
    rotationText(durable),
    initiated.join(),
    sessions.join(),
  ]);
  return JSON.stringify([a, b, sent, keys, crashes]);
};

function pathTo(world: World, seen: ReadonlyMap<string, readonly [string, string]>) {
  const steps: string[] = [];
  for (let key = keyOf(world); key !== ""; ) {
    const [from, step] = seen.get(key) ?? ["", ""];
    if (step !== "") steps.unshift(step);
    key = from;
  }
  return steps;
}

/** Whatever each end goes by, its file or what its daemon has loaded, they share a key. */
function isStranded({ hosts: [a, b] }: World): boolean {
  return viewsOf(a).some((mine) =>
    viewsOf(b).some((theirs) => !namesOf(mine).some((name) => namesOf(theirs).includes(name))),
  );
}

const viewsOf = ({ up, files, durable }: Host): readonly RingNames[] =>
  up ? [files, durable.ring] : [files];

function* stepsFrom(
  world: World,
  budget: Budget,
  fault: Fault | undefined,
): Generator<readonly [string, World]> {
  for (const i of [0, 1] as const) {
    yield* operatorSteps(world, i, budget, fault);
    yield* daemonSteps(world, i, budget, fault);
  }
}

function put(world: World, i: 0 | 1, change: Partial<Host>, also: Partial<World> = {}): World {
  const host = { ...world.hosts[i], ...change };
  const hosts: World["hosts"] = i === 0 ? [host, world.hosts[1]] : [world.hosts[0], host];
  return { ...world, hosts, ...also };
}

function* operatorSteps(
  world: World,
  i: 0 | 1,
  budget: Budget,
  fault: Fault | undefined,
): Generator<readonly [string, World]> {
  const host = world.hosts[i];
  const { current, next } = host.files;
  const other = world.hosts[1 - i].files;
  if (next === undefined && world.keys < budget.starts) {
    const name = `b${world.keys}`;
    const files = ring(current, name);
    yield [`${i} starts ${name}`, put(world, i, { files }, { keys: world.keys + 1 })];
  }
  // What people hand over is what the other end started; never a key that was in use before.
  if (next === undefined && other.next !== undefined && other.next !== current) {
    const files = ring(current, other.next);
    yield [`${i} installs ${other.next}`, put(world, i, { files })];
  }
  if (next === undefined) return;
  const { heldMs, usedMs } = host.durable.facts[next] ?? { heldMs: 0, usedMs: 0 };
  if (fault === "finish-early" ? heldMs > 0 : usedMs > 0) {
    yield [`${i} finishes ${next}`, put(world, i, { files: ring(next) })];
  }
  const mayAbandon = fault === "abandon-held" || heldMs === 0;
  if (mayAbandon && (fault === "abandon-running" || !host.up)) {
    yield [`${i} gives ${next} up`, put(world, i, { files: ring(current) })];
  }
}

function* daemonSteps(
  world: World,
  i: 0 | 1,
  budget: Budget,
  fault: Fault | undefined,
): Generator<readonly [string, World]> {
  const host = world.hosts[i];
  const read = rotated(host.durable, { kind: "loaded", ring: host.files });
  if (!host.up) {
    yield [`${i} comes up`, put(world, i, { up: true, durable: read })];
    return;
  }
  if (read !== host.durable) yield [`${i} reloads`, put(world, i, { durable: read })];
  if (world.crashes < budget.crashes) {
    const down = { up: false, initiated: [], sessions: [] };
    yield [`${i} goes down`, put(world, i, down, { crashes: world.crashes + 1 })];
  }
  const keys = with1(world.sent, `keys ${i} ${host.durable.ring.next}`);
  if (host.durable.ring.next !== undefined)
    yield [`${i} lists keys`, put(world, i, {}, { sent: keys })];
  for (const role of sealingOrder(host.durable)) {
    const name = host.durable.ring[role] ?? "";
    if (name === CURRENT) continue;
    const sent = with1(world.sent, `initiation ${i} ${name}`);
    const initiated = with1(host.initiated, name);
    yield [`${i} initiates ${name}`, put(world, i, { initiated }, { sent })];
  }
  for (const name of host.sessions) {
    const held = noted(host, name, "held");
    const durable = fault === "held-late" ? host.durable : held;
    const sent = with1(world.sent, `packet ${i} ${name}`);
    yield [`${i} sends under ${name}`, put(world, i, { durable }, { sent })];
  }
  for (const datagram of world.sent) {
    const [kind, from, what] = datagram.split(" ");
    if (from === String(i)) continue;
    const next = taken(world, i, kind, what, fault);
    if (next !== undefined) yield [`${i} takes ${datagram}`, next];
  }
}

function taken(
  world: World,
  i: 0 | 1,
  kind: string,
  what: string,
  fault: Fault | undefined,
): World | undefined {
  const host = world.hosts[i];
  const has = namesOf(host.durable.ring).includes(what);
  if (kind === "initiation" && has) {
    const durable = fault === "held-late" ? host.durable : noted(host, what, "held");
    const sent = with1(world.sent, `response ${i} ${what}`);
    return put(world, i, { durable, sessions: with1(host.sessions, what) }, { sent });
  }
  if (kind === "response" && host.initiated.includes(what)) {
    return put(world, i, { sessions: with1(host.sessions, what) });
  }
  if (kind === "packet" && host.sessions.includes(what)) {
    return put(world, i, { durable: noted(host, what, "used") });
  }
  if (kind === "keys") return put(world, i, { durable: noted(host, what, "held") });
  return undefined;
}

function noted({ durable }: Pick<Host, "durable">, name: string, kind: "held" | "used") {
  const roles = ["current", "next", "previous"] as const;
  const role = roles.find((each) => durable.ring[each] === name);
  return role === undefined ? durable : rotated(durable, { kind, role, wallMs: WALL_MS });
}
