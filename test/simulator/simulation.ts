// One run: hosts, network, attacker and oracle on one queue of events. First the phase with faults, then
// all is healed and fate holds still, and what is alive has to get through and fall quiet.

import { MESSAGE_IN_MEMORY_BYTES_MAX } from "../../src/shared/protocol/session/limits.js";
import { Attacker } from "./attacker.js";
import { EventQueue } from "./events.js";
import { Faults } from "./faults.js";
import type { HostOutputs } from "./host.js";
import { Watch } from "./invariants.js";
import { Ledger } from "./ledger.js";
import { Machine } from "./machine.js";
import { addressOf, HOSTS_MAX, Network, PORT_OF_HOSTS } from "./network.js";
import type { Plant } from "./plants.js";
import { Prng } from "./prng.js";
import { drawAttack, drawPlan, drawSetting } from "./profiles.js";
import type { ProtocolAdapter } from "./protocol-adapter.js";
import type { Decision, Fault, Scenario, Setting, Step } from "./scenario.js";
import { StoreModel } from "./store-model.js";
import type { OutboundRow } from "./tables.js";
import { type Counts, Tally } from "./tally.js";
import { lineOf, Trace } from "./trace.js";
import { Violation } from "./violation.js";
import { applyStep, drawSteps } from "./workload.js";

/** Longest wait between two tries, three times, and two round trips. Source: figure B2. */
const LIVENESS_NS = 3 * 3_600e9 + 2 * 10e9;
/** Once every row is final, the last answers and timers run out; then nothing may be sent. */
const SETTLING_NS = 120e9;
const SILENCE_NS = 480e9;
const SILENT_ATTACKS = 6;
const SILENT_NS = 2e9;
const SILENT_TRIES = 100;
const ANNOUNCEMENT_DATAGRAMS = 24;
const STEPS_MAX = 1_000_000;
const LOOK_NS = 1e9;

export interface RunResult {
  readonly scenario: Scenario;
  readonly decisions: readonly Decision[];
  readonly hash: string;
  readonly steps: number;
  /** Virtual ns. */
  readonly spanNs: number;
  readonly stored: number;
  readonly acknowledged: number;
  readonly expired: number;
  readonly datagrams: number;
  readonly crashes: number;
  readonly drops: Readonly<Record<string, number>>;
  /** How often what befell whom, as tally.ts has it. */
  readonly happened: Counts;
  /** Undefined when all went as it should. */
  readonly violation: Violation | undefined;
  /** What happened last, as lines for a person. */
  readonly tail: readonly string[];
}

export interface RunOptions {
  readonly adapter: ProtocolAdapter;
  readonly plant?: Plant;
  /** Sees every event; for a verbose replay. */
  readonly onEvent?: (line: string) => void;
}

/** The scenario that a seed stands for. */
export function scenarioOf(seed: number, protocol: Setting["protocol"] = "classic"): Scenario {
  const setting = drawSetting(seed, protocol);
  return { seed, setting, steps: drawSteps(seed, setting), decisions: undefined };
}

export function run(scenario: Scenario, options: RunOptions): RunResult {
  const undo = options.plant?.patch?.();
  try {
    return new Simulation(scenario, options).run();
  } finally {
    undo?.();
  }
}

class Simulation {
  readonly #scenario: Scenario;
  readonly #options: RunOptions;
  readonly #faults: Faults;
  readonly #queue: EventQueue;
  readonly #network: Network;
  readonly #attacker = new Attacker();
  readonly #ledger: Ledger;
  readonly #watch: Watch;
  readonly #machines: Machine[] = [];
  readonly #trace = new Trace();
  readonly #tally = new Tally();
  readonly #freshIds: Prng;
  #now = 0;
  #crashes = 0;

  constructor(scenario: Scenario, options: RunOptions) {
    const { seed, setting } = scenario;
    this.#scenario = scenario;
    this.#options = options;
    this.#faults = new Faults(scenario, () => drawPlan(seed, setting));
    const ranks = Prng.of(seed, "order");
    this.#queue = new EventQueue(setting.fuzzedOrder ? () => ranks.u32() : () => 0);
    this.#freshIds = Prng.of(seed, "ids");
    this.#ledger = new Ledger({
      shared: setting.keys === "shared",
      scopeOf: (identity) => options.adapter.scopeOf(identity),
      accounts: () => this.#machines,
      hostAt: (address, port) => this.#network.hostAt(address, port),
    });
    this.#watch = new Watch();
    this.#network = new Network({
      setting: setting.network,
      faults: this.#faults,
      queue: this.#queue,
      tally: this.#tally,
      now: () => this.#now,
      overhears: (datagram) => this.#attacker.overhear(datagram),
      arrive: (host, { bytes, from, fromPort }) =>
        this.#machines[host]?.receive({ kind: "datagram", bytes, address: from, port: fromPort }),
    });
    options.adapter.begin(scenario);
  }

  run(): RunResult {
    let violation: Violation | undefined;
    try {
      this.#prepare();
      this.#runUntil(this.#scenario.setting.spanNs, () => false);
      this.#heal();
      this.#liveness();
    } catch (thrown) {
      violation =
        thrown instanceof Violation ? thrown : new Violation("exception", stackOf(thrown));
    }
    for (const machine of this.#machines) machine.end();
    return this.#result(violation);
  }

  // --- Phases -------------------------------------------------------------------------------------

  #prepare(): void {
    const { seed, setting, steps } = this.#scenario;
    const drifts = Prng.of(seed, "drifts");
    for (let host = 0; host < setting.hosts; host++) {
      const driftPpm = drifts.between(-setting.driftPpmMax, setting.driftPpmMax);
      this.#addMachine(host, driftPpm, false);
    }
    for (const machine of this.#machines) machine.start();
    for (const { at, fault } of this.#faults.plan) {
      const host = "host" in fault ? fault.host : -1;
      this.#queue.push(at, {
        kind: fault.kind,
        host,
        detail: 0,
        run: () => this.#befall(fault),
      });
    }
    for (const step of steps) {
      const { at, kind, host } = step;
      this.#queue.push(at, { kind, host, detail: 0, run: () => this.#step(step) });
    }
  }

  #heal(): void {
    this.#faults.frozen = true;
    this.#network.heal();
    for (const machine of this.#machines) {
      machine.disarm();
      if (machine.isClone) {
        machine.end();
        continue;
      }
      machine.resume();
      machine.clock.setOffset(0);
      machine.start();
    }
  }

  #liveness(): void {
    const open = (): OutboundRow | undefined => this.#ledger.openRow();
    if (!this.#runUntil(this.#now + LIVENESS_NS, () => open() === undefined)) {
      const row = open();
      throw new Violation("not through", `row ${row?.id} to ${row?.address} is ${row?.state}`);
    }
    // What is not owed to anybody may still get through, and then all is said.
    const idle = (): boolean => this.#ledger.openRow(true) === undefined;
    if (!this.#runUntil(this.#now + LIVENESS_NS, idle)) return;
    this.#runUntil(this.#now + SETTLING_NS, () => false);
    const before = this.#datagrams();
    this.#runUntil(this.#now + SILENCE_NS, () => false);
    const said = this.#datagrams() - before;
    if (said > this.#quietMost) {
      throw new Violation("not quiet", `${said} datagrams when there is nothing to say`);
    }
    if (this.#protocol === "session") this.#attackSilence();
  }

  get #protocol(): Setting["protocol"] {
    return this.#scenario.setting.protocol;
  }

  /** Hosts without a session announce themselves hourly: a handshake, and what proves the path. */
  get #quietMost(): number {
    const { protocol, hosts } = this.#scenario.setting;
    return protocol === "classic" ? 0 : hosts * (hosts - 1) * ANNOUNCEMENT_DATAGRAMS;
  }

  /** All sessions are over: nothing of what was ever sent may draw a single datagram. */
  #attackSilence(): void {
    const draws = Prng.of(this.#scenario.seed, "silence");
    for (let round = 0; round < SILENT_ATTACKS; round++) {
      const attack = { ...drawAttack(draws, this.#scenario.setting), count: 8 };
      // Only while nobody has anything to do of himself.
      if (!this.#untilIdle()) return;
      const before = this.#datagrams();
      const { firstAnswers } = this.#options.adapter;
      for (const each of this.#attacker.datagrams(attack, addressOf, PORT_OF_HOSTS)) {
        this.#network.inject(each);
      }
      this.#runUntil(this.#now + SILENT_NS, () => false);
      const drawn = this.#datagrams() - before;
      // What never arrived when it was sent is not a copy: it is late.
      const late = this.#options.adapter.firstAnswers > firstAnswers;
      if (drawn > 0 && !late && this.#machines.every(({ tables }) => tables.replaced === 0)) {
        throw new Violation("answer to a stranger", `${drawn} datagrams to ${attack.what}`);
      }
    }
  }

  /** Goes on until every process has nothing to do for a while; false: that does not come. */
  #untilIdle(): boolean {
    for (let tries = 0; tries < SILENT_TRIES; tries++) {
      const until = this.#now + 2 * SILENT_NS;
      const idle = this.#machines.every(({ process, clock }) => {
        if (process === undefined) return true;
        return clock.trueAt(process.deadline(clock.now(this.#now))) > until;
      });
      if (idle) return true;
      this.#runUntil(until, () => false);
    }
    return false;
  }

  /** Runs to an instant, or until `done`, looked at each second of the hosts' time; true if done. */
  #runUntil(end: number, done: () => boolean): boolean {
    let lookAt = this.#now;
    while (this.#queue.nextAt < end) {
      if (this.#queue.nextAt >= lookAt) {
        if (done()) return true;
        lookAt = this.#queue.nextAt + LOOK_NS;
      }
      this.#next();
    }
    this.#now = Math.max(this.#now, end);
    return done();
  }

  #next(): void {
    const at = this.#queue.nextAt;
    const event = this.#queue.pop();
    if (event === undefined) return;
    this.#now = Math.max(this.#now, at);
    const { kind, host, detail } = event;
    this.#trace.note(this.#now, kind, host, detail);
    const { onEvent } = this.#options;
    if (onEvent !== undefined) onEvent(lineOf(this.#trace.last(1)[0]));
    if (this.#trace.steps > STEPS_MAX) {
      throw new Violation("no rest", `${STEPS_MAX} events, and the last is ${kind}`);
    }
    event.run();
    if (host >= 0) this.#machines[host]?.afterEvent();
  }

  // --- Faults and steps ---------------------------------------------------------------------------

  #befall(fault: Fault): void {
    if (this.#faults.frozen) return;
    const machine = "host" in fault ? this.#machines[fault.host] : undefined;
    switch (fault.kind) {
      case "crash":
        this.#crashes += 1;
        if (!machine?.up) return;
        machine.kill(fault);
        break;
      case "armed crash":
        machine?.arm(fault.output, fault.nth, fault);
        return;
      case "stop":
        if (!machine?.up) return;
        machine.stop(fault.downNs);
        break;
      case "clock":
        machine?.clock.setOffset(fault.offsetNs);
        break;
      case "clock at epoch":
        machine?.clock.setWall(this.#now, 1e9, fault.stands);
        break;
      case "suspend":
        if (!machine?.up) return;
        machine.suspend(fault.spanNs, fault.clockStands);
        break;
      case "partition":
      case "clog": {
        const until = this.#now + fault.spanNs;
        const cut = fault.kind === "clog" ? this.#network.clog : this.#network.cut;
        cut.call(this.#network, fault.from, fault.to, until);
        if (fault.bothWays) cut.call(this.#network, fault.to, fault.from, until);
        break;
      }
      case "hostile": {
        if (!machine?.up) return;
        this.#ledger.hostile.add(machine.identity);
        machine.turnHostile({ ...fault, kind: "mangle" });
        this.#tally.add(`hostile ${fault.manner}`);
        return;
      }
      case "rebind":
        this.#network.rebind(fault.host, fault.port);
        break;
      case "backup":
        if (machine !== undefined) {
          machine.backup = { tables: machine.tables.backup(), held: new Map(machine.held) };
        }
        break;
      case "restore":
        if (machine?.backup === undefined) return;
        this.#restore(machine, fault.downNs);
        break;
      case "clone":
        if (machine === undefined || this.#machines.length >= HOSTS_MAX) return;
        this.#clone(machine, fault.spanNs);
        break;
      case "attack":
        for (const each of this.#attacker.datagrams(fault, addressOf, PORT_OF_HOSTS)) {
          this.#network.inject(each);
          this.#tally.add(fault.what);
        }
        return;
    }
    this.#tally.add(fault.kind);
  }

  #restore(machine: Machine, downNs: number): void {
    const { backup } = machine;
    if (backup === undefined) return;
    if (machine.up) machine.kill({ downNs, power: false, kept: 0 });
    this.#ledger.restore(machine, backup.tables, backup.held);
  }

  #clone(original: Machine, spanNs: number): void {
    const clone = this.#addMachine(original.identity, 0, true);
    this.#ledger.restore(clone, original.tables.backup(), original.held);
    clone.start();
    this.#queue.push(this.#now + spanNs, {
      kind: "clone ends",
      host: clone.index,
      detail: 0,
      run: () => clone.end(),
    });
  }

  #step(step: Step): void {
    const machine = this.#machines[step.host];
    if (machine === undefined || !applyStep(step, machine, this.#protocol)) return;
    machine.store?.changed();
    this.#tally.add(step.kind);
    if (step.kind !== "submit") return;
    if (step.stream !== "") this.#tally.add("stream message");
    if (step.bytes > MESSAGE_IN_MEMORY_BYTES_MAX) this.#tally.add("large message");
  }

  // --- Machines -----------------------------------------------------------------------------------

  #addMachine(identity: number, driftPpm: number, isClone: boolean): Machine {
    const { adapter, plant } = this.#options;
    const machine: Machine = new Machine(
      {
        now: () => this.#now,
        push: (at, event) => this.#queue.push(at, event),
        newProcess: (of, birth) => adapter.newProcess(birth, of.identity),
        newStore: (of, life) =>
          new StoreModel(
            {
              ...life,
              host: of.index,
              tally: this.#tally,
              faults: this.#faults,
              tables: of.tables,
              witness: this.#ledger.witness(of),
              plants: plant?.store ?? {},
              quotaBytes: () =>
                this.#faults.frozen ? Number.POSITIVE_INFINITY : this.#scenario.setting.quotaBytes,
              nowMs: () => of.wallMs,
              monotonicMs: () => of.clock.now(this.#now) / 1e6,
              freshId: () => this.#freshId(of.wallMs),
            },
            of.storeJobsDone,
          ),
        outputs: (of) => this.#outputsOf(of),
        cryptoDelayNs: () => this.#scenario.setting.cryptoDelayNs,
        lostPower: (of, undone) => {
          this.#ledger.lostPower(of);
          this.#tally.add("power lost");
          if (undone > 0) this.#tally.add("commits undone");
        },
        armedCrash: (output) => this.#tally.add(`crash at ${output}`),
        handled: (of) => this.#watch.handled(of),
        ended: (process) => this.#watch.ended(process),
      },
      { index: this.#machines.length, identity, isClone, driftPpm },
    );
    this.#machines.push(machine);
    return machine;
  }

  #outputsOf(machine: Machine): Omit<HostOutputs, "job" | "work"> {
    return {
      transmit: (bytes, answer, address, port) => {
        this.#watch.transmitted(machine, answer);
        this.#trace.mix(bytes.length);
        this.#network.send(machine.index, bytes, address, port);
      },
      sealed: (key, bytes, at) => this.#watch.sealed(machine, key, bytes, at),
      counted: (key, counter) => this.#watch.counted(machine, key, counter),
      believed: (key, counter) => this.#watch.believed(machine, key, counter),
      happened: (kind) => this.#tally.add(kind),
      settles: (rowId, generation) => this.#watch.settles(machine, rowId, generation),
      opened: (bytes, at, mayRepeat) => this.#watch.opened(machine, bytes, at, mayRepeat),
    };
  }

  /** Twelve bytes as the DB worker makes them: six of the clock, six at random. */
  #freshId(wallMs: number): Uint8Array {
    const id = new Uint8Array(12);
    this.#freshIds.fill(id);
    let clock = Math.floor(wallMs);
    for (let i = 5; i >= 0; i--) {
      id[i] = clock % 256;
      clock = Math.floor(clock / 256);
    }
    return id;
  }

  // --- Result -------------------------------------------------------------------------------------

  #datagrams(): number {
    return this.#network.sent.reduce((sum, each) => sum + (each ?? 0), 0);
  }

  #result(violation: Violation | undefined): RunResult {
    const { stored, acknowledged, expired } = this.#ledger;
    return {
      scenario: this.#scenario,
      decisions: this.#faults.taken,
      hash: this.#trace.hash,
      steps: this.#trace.steps,
      spanNs: this.#now,
      stored,
      acknowledged,
      expired,
      datagrams: this.#datagrams(),
      crashes: this.#crashes,
      drops: this.#watch.drops,
      happened: this.#tally.counts,
      violation,
      tail: violation === undefined ? [] : this.#trace.last(20).map(lineOf),
    };
  }
}

const stackOf = (thrown: unknown): string =>
  thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown);
