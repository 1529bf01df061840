// One simulated computer: clocks, a file, and the process that comes and goes. Every event of a process
// belongs to its life; what a dead process had under way never happens.

import type { StoreJob } from "../../src/shared/runtime/messages.js";
import { HostClock } from "./clocks.js";
import type { SimEvent } from "./events.js";
import type { Birth, HostInput, HostOutputs, SimProcess } from "./host.js";
import type { Account } from "./ledger.js";
import { addressOf, PORT_OF_HOSTS } from "./network.js";
import type { Fault, OutputKind } from "./scenario.js";
import { readSealed, writeSealed } from "./store-jobs.js";
import type { StoreModel, StoreSurroundings } from "./store-model.js";
import { type Backup, Tables } from "./tables.js";

/** What a machine needs of the world around it. */
export interface MachineSurroundings {
  /** True time, ns. */
  readonly now: () => number;
  readonly push: (at: number, event: SimEvent) => void;
  readonly newProcess: (machine: Machine, birth: Birth) => SimProcess;
  readonly newStore: (
    machine: Machine,
    life: Pick<StoreSurroundings, "later" | "deliver" | "passed" | "broken">,
  ) => StoreModel;
  readonly outputs: (machine: Machine) => Omit<HostOutputs, "job" | "work">;
  /** How long the crypto workers take for a piece of work, ns. */
  readonly cryptoDelayNs: () => number;
  /** `undone`: commits that the failure took back. */
  readonly lostPower: (machine: Machine, undone: number) => void;
  readonly armedCrash: (output: OutputKind) => void;
  readonly handled: (machine: Machine) => void;
  readonly ended: (process: SimProcess) => void;
}

export type Crash = Pick<Extract<Fault, { kind: "crash" }>, "downNs" | "power" | "kept">;

/** A process that broke ends, and is started again by its supervisor. */
const RESTART_NS = 1e9;
/** As setTimeout has it. */
const TIMER_NS_MIN = 1e6;

export class Machine implements Account {
  readonly index: number;
  readonly identity: number;
  readonly isClone: boolean;
  readonly tables = new Tables();
  readonly clock: HostClock;
  readonly held = new Map<string, number>();
  readonly lost = new Set<string>();
  readonly settledAway = new Map<string, number>();
  backup: { readonly tables: Backup; readonly held: ReadonlyMap<string, number> } | undefined;
  process: SimProcess | undefined;
  store: StoreModel | undefined;
  lives = 0;
  storeJobsDone = 0;
  readonly #around: MachineSurroundings;
  #armed: { readonly output: OutputKind; left: number; readonly crash: Crash }[] = [];
  #dying: Crash | undefined;
  #suspendedUntil = 0;
  #skipped = false;
  #timerAt = Number.POSITIVE_INFINITY;
  /** Timers set so far: the last one counts. */
  #timers = 0;

  constructor(
    around: MachineSurroundings,
    options: {
      readonly index: number;
      readonly identity: number;
      readonly isClone: boolean;
      readonly driftPpm: number;
    },
  ) {
    this.#around = around;
    this.index = options.index;
    this.identity = options.identity;
    this.isClone = options.isClone;
    this.clock = new HostClock(options.driftPpm);
  }

  get wallNs(): number {
    return this.clock.wallNs(this.#around.now());
  }
  get wallMs(): number {
    return this.wallNs / 1e6;
  }
  get trueNow(): number {
    return this.#around.now();
  }
  get up(): boolean {
    return this.process !== undefined;
  }
  get address(): string {
    return addressOf(this.index);
  }

  // --- Lives --------------------------------------------------------------------------------------

  start(): void {
    if (this.up) return;
    const trueNow = this.#around.now();
    this.lives += 1;
    const life = this.lives;
    this.clock.start(trueNow);
    this.#timerAt = Number.POSITIVE_INFINITY;
    const later = (delayNs: number, kind: string, detail: number, run: () => void): void =>
      this.#later(life, this.#around.now() + delayNs, kind, detail, run);
    const passed = (output: OutputKind): void => {
      if (this.lives === life) this.#passed(output);
    };
    this.store = this.#around.newStore(this, {
      later,
      passed,
      deliver: (result) => {
        this.input({ kind: "result", result });
        passed("store result");
      },
      broken: () => {
        this.#dying ??= { downNs: RESTART_NS, power: false, kept: 0 };
      },
    });
    /** On their way to the store: they arrive in their order. */
    const jobs: StoreJob[] = [];
    const alive = (): boolean => this.lives === life && this.#dying === undefined;
    this.tables.tidySpool();
    const outputs = this.#around.outputs(this);
    this.process = this.#around.newProcess(this, {
      host: this.index,
      incarnation: this.lives,
      address: this.address,
      port: PORT_OF_HOSTS,
      now: this.clock.now(trueNow),
      wallNs: this.wallNs,
      sealed: readSealed(this.tables),
      stamps: new Map(this.tables.stamps),
      spools: [...this.tables.spool.files.values()],
      replaced: this.tables.replaced,
      outputs: {
        sealed: (...sealed) => outputs.sealed(...sealed),
        opened: (...opened) => outputs.opened(...opened),
        counted: (...counted) => outputs.counted(...counted),
        believed: (...believed) => outputs.believed(...believed),
        settles: (...settled) => outputs.settles(...settled),
        happened: (kind) => outputs.happened(kind),
        transmit: (...datagram) => {
          if (!alive()) return;
          outputs.transmit(...datagram);
          passed("transmit");
        },
        job: (job) => {
          if (!alive()) return;
          jobs.push(job);
          later(0, `job ${job.kind}`, 0, () => this.store?.submit(jobs.shift() as StoreJob));
        },
        work: (work, kind) => {
          if (!alive()) return;
          passed(kind);
          later(this.#around.cryptoDelayNs(), kind, work, () =>
            this.input({ kind: "worked", work }),
          );
        },
      },
    });
    this.input({ kind: "timer" });
  }

  /** The process ends as it stands. */
  kill({ downNs, power, kept }: Crash): void {
    this.#dying = undefined;
    if (power) {
      const { committed } = this.tables.layers;
      this.tables.layers.losePower(kept);
      this.tables.spool.losePower(kept);
      this.#around.lostPower(this, committed - this.tables.layers.committed);
    }
    this.#end();
    this.#startLater(downNs);
  }

  /** The process ends in good order. */
  stop(downNs: number): void {
    const sealed = this.process?.stop();
    if (sealed !== undefined) {
      const { layers } = this.tables;
      layers.transaction(() => writeSealed(this.tables, sealed));
      layers.sync();
    }
    this.#end();
    this.#startLater(downNs);
  }

  /** Ends a clone for good. */
  end(): void {
    this.#end();
  }

  /** The process gets no events for a while; `clockStands`: its monotonic clock stands still too. */
  suspend(spanNs: number, clockStands: boolean): void {
    if (!this.up) return;
    this.resume();
    this.#suspendedUntil = this.#around.now() + spanNs;
    this.#skipped = clockStands;
    if (clockStands) this.clock.skip(spanNs);
  }

  /** Ends a suspension, if there is one. */
  resume(): void {
    const leftNs = this.#suspendedUntil - this.#around.now();
    if (leftNs > 0 && this.#skipped) this.clock.skip(-leftNs);
    this.#suspendedUntil = 0;
  }

  arm(output: OutputKind, nth: number, crash: Crash): void {
    this.#armed.push({ output, left: nth, crash });
  }

  disarm(): void {
    this.#armed = [];
  }

  /** Does what an event made due: to be called after each. */
  afterEvent(): void {
    if (this.#dying !== undefined) this.kill(this.#dying);
  }

  #startLater(downNs: number): void {
    const life = this.lives;
    this.#around.push(this.#around.now() + downNs, {
      kind: "start",
      host: this.index,
      detail: life,
      run: () => {
        if (this.lives === life) this.start();
      },
    });
  }

  #end(): void {
    this.#suspendedUntil = 0;
    if (this.process !== undefined) this.#around.ended(this.process);
    this.process?.discard();
    this.process = undefined;
    this.tables.spool.endProcess();
    this.storeJobsDone = this.store?.jobsDone ?? this.storeJobsDone;
    this.store = undefined;
    this.#dying = undefined;
  }

  #passed(output: OutputKind): void {
    for (const armed of this.#armed) {
      if (armed.output !== output) continue;
      armed.left -= 1;
      if (armed.left !== 0) continue;
      this.#dying ??= armed.crash;
      this.#around.armedCrash(output);
    }
  }

  // --- Events -------------------------------------------------------------------------------------

  /** A datagram arrived; the kernel keeps it while the process sleeps. */
  receive(input: Extract<HostInput, { kind: "datagram" }>): void {
    this.#whenAwake("datagram kept", input.bytes.length, input);
  }

  /** The process turns against its peers, once it is awake. */
  turnHostile(input: Extract<HostInput, { kind: "mangle" }>): void {
    this.#whenAwake("hostile later", input.packets, input);
  }

  input(input: HostInput): void {
    const { process } = this;
    if (process === undefined || this.#dying !== undefined) return;
    const trueNow = this.#around.now();
    const now = this.clock.now(trueNow);
    process.handle(input, now, this.wallNs);
    this.#around.handled(this);
    const at = Math.max(this.clock.trueAt(process.deadline(now)), trueNow + TIMER_NS_MIN);
    if (at >= this.#timerAt || at === Number.POSITIVE_INFINITY) return;
    this.#timerAt = at;
    this.#timers += 1;
    const number = this.#timers;
    this.#later(this.lives, at, "timer", number, () => {
      // An earlier one took its place.
      if (number !== this.#timers) return;
      this.#timerAt = Number.POSITIVE_INFINITY;
      this.input({ kind: "timer" });
    });
  }

  #whenAwake(kind: string, detail: number, input: HostInput): void {
    if (!this.up) return;
    if (this.#around.now() >= this.#suspendedUntil) this.input(input);
    else this.#later(this.lives, this.#suspendedUntil, kind, detail, () => this.input(input));
  }

  #later(life: number, at: number, kind: string, detail: number, run: () => void): void {
    this.#around.push(at, {
      kind,
      host: this.index,
      detail,
      run: () => {
        if (this.lives !== life || !this.up) return;
        if (this.#around.now() < this.#suspendedUntil) {
          this.#later(life, this.#suspendedUntil, kind, detail, run);
        } else run();
      },
    });
  }
}
