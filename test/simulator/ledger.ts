// The oracle: an account outside the hosts of what was handed out, what was stored and what was called
// acknowledged. It believes no host, only what the tables were at the moment in question.

import { blake2b256 } from "../../src/workers/aead.js";
import type { HostClock } from "./clocks.js";
import { expiryOf, type StoreWitness } from "./store-jobs.js";
import { StreamLedger } from "./stream-ledger.js";
import {
  type Backup,
  type InboundRow,
  idKey,
  isWorked,
  type OutboundRow,
  type Tables,
} from "./tables.js";
import { Violation } from "./violation.js";

const BRIEF_CHARACTERS = 512;

/** A host as the ledger sees it. */
export interface Account {
  readonly index: number;
  /** Whose keys it has: a clone has those of the host it was made from. */
  readonly identity: number;
  readonly tables: Tables;
  readonly clock: HostClock;
  /** Its wall clock, ns since the epoch. */
  readonly wallNs: number;
  readonly trueNow: number;
  /** Nobody answers for what a clone still has to send when it goes. */
  readonly isClone: boolean;
  /** What was once synced there: content by key, and the transaction that stored it. */
  readonly held: Map<string, number>;
  /** What it held until its file was replaced by an older one. */
  readonly lost: Set<string>;
  /** What was deleted and then settled by its sender, and how often it was stored by then. */
  readonly settledAway: Map<string, number>;
  /** Processes so far. */
  readonly lives: number;
}

const contentKey = (scope: string, messageId: string, payload: string): string =>
  `${idKey(scope, messageId)}|${brief(payload)}`;

/** A payload, or what stands for a long one. */
function brief(payload: string): string {
  if (payload.length <= BRIEF_CHARACTERS) return payload;
  return Buffer.from(blake2b256(Buffer.from(payload, "latin1"))).toString("hex");
}

const nameOf = (index: number, { replaced }: Tables, { id, generation }: OutboundRow): string =>
  `${index}.${replaced}.${id}.${generation}`;

interface Leased {
  readonly identity: number;
  readonly payload: string;
  /** Each generation of a row that left under this id, from each file. */
  readonly generations: Set<string>;
}

export class Ledger {
  readonly #shared: boolean;
  readonly scopeOf: (identity: number) => string;
  readonly #accounts: () => readonly Account[];
  readonly #hostAt: (address: string, port: number) => number;
  /** What left under a message id, and whose. */
  readonly #leased = new Map<string, Leased[]>();
  /** Identities that did not keep to the protocol: nobody answers for what comes from or goes to them. */
  readonly hostile = new Set<number>();
  /** When what was handed out expires, wall ms: by row and generation, the earliest of all times. */
  readonly #expiries = new Map<string, number>();
  readonly #streams = new StreamLedger();
  acknowledged = 0;
  stored = 0;
  expired = 0;

  constructor(options: {
    /** All hosts have one secret: who holds it may answer for any of them. */
    readonly shared: boolean;
    /** Scope under which others file what an identity sends. */
    readonly scopeOf: (identity: number) => string;
    readonly accounts: () => readonly Account[];
    readonly hostAt: (address: string, port: number) => number;
  }) {
    this.#shared = options.shared;
    this.scopeOf = options.scopeOf;
    this.#accounts = options.accounts;
    this.#hostAt = options.hostAt;
  }

  /** What the store of one host tells. */
  witness(account: Account): StoreWitness {
    return {
      leased: (row) => this.#noteLeased(account, row),
      known: (scope, came) => this.#streams.passed(account, scope, came),
      inserted: (row) => this.#checkInserted(account, row),
      acknowledged: (row) => this.#checkAcknowledged(account, row),
      failed: (row) => this.#checkFailed(account, row),
      forgotten: ({ scope, messageId, payload }) => {
        this.#checkForgotten(account, messageId);
        const key = contentKey(scope, messageId, payload);
        if (account.held.delete(key)) account.lost.add(key);
      },
      settled: ({ scope, messageId, payload }) => {
        const key = contentKey(scope, messageId, payload);
        if (!account.held.delete(key)) return;
        account.settledAway.set(key, (account.settledAway.get(key) ?? 0) + 1);
      },
    };
  }

  /** Power failed: what is not in the file any more was never synced, and may come again. */
  lostPower(account: Account): void {
    const { committed } = account.tables.layers;
    this.#streams.forget(account);
    for (const [key, transaction] of account.held) {
      if (transaction > committed) account.held.delete(key);
    }
  }

  /** Replaces a host's file by a backup; `held` is what that one knows. */
  restore(account: Account, backup: Backup, held: ReadonlyMap<string, number>): void {
    const { tables } = account;
    this.#streams.forget(account);
    for (const [key, transaction] of account.held) {
      if (transaction <= tables.layers.synced) account.lost.add(key);
    }
    tables.restore(backup);
    account.held.clear();
    for (const key of held.keys()) account.held.set(key, tables.layers.synced);
  }

  /**
   * A row that is still to go, not of a clone, whose time has come and that an honest pair owes each other;
   * with `all`, also one that may go later or between hosts of which one wrote what none would.
   */
  openRow(all = false): OutboundRow | undefined {
    for (const account of this.#accounts()) {
      if (account.isClone) continue;
      const { tables, wallNs } = account;
      for (const row of tables.outbound.values()) {
        if (!all && this.#isHostilePair(account, row)) continue;
        if (isWorked(row) && (all || (row.notBefore ?? 0) <= wallNs / 1e6)) return row;
      }
    }
    return undefined;
  }

  #noteLeased({ identity, index, tables }: Account, row: OutboundRow): void {
    const { messageId = "", payload } = row;
    const before = this.#leased.get(messageId) ?? [];
    this.#leased.set(messageId, before);
    let known = before.find((each) => each.identity === identity && each.payload === payload);
    if (known === undefined) {
      known = { identity, payload, generations: new Set() };
      before.push(known);
    }
    const name = nameOf(index, tables, row);
    known.generations.add(name);
    const expiry = Math.min(this.#expiries.get(name) ?? Number.POSITIVE_INFINITY, expiryOf(row));
    this.#expiries.set(name, expiry);
  }

  /** Whether somebody other than the host itself sent it, under a name that the scope stands for. */
  #sent(account: Account, { scope, messageId, payload }: InboundRow): Leased | undefined {
    const sent = this.#leased.get(messageId) ?? [];
    return sent.find(
      (each) =>
        each.payload === payload &&
        each.identity !== account.identity &&
        this.scopeOf(each.identity) === scope,
    );
  }

  #isHostilePair({ identity }: Account, { address, port }: OutboundRow): boolean {
    if (this.hostile.size === 0) return false;
    const to = this.#accounts()[this.#hostAt(address, port)]?.identity ?? -1;
    return this.hostile.has(identity) || this.hostile.has(to);
  }

  #checkInserted(account: Account, row: InboundRow): void {
    const { scope, messageId, payload, transaction, came } = row;
    this.stored += 1;
    const key = contentKey(scope, messageId, payload);
    for (const identity of this.hostile) {
      if (this.scopeOf(identity) !== scope) continue;
      account.held.set(key, transaction);
      return;
    }
    const times = account.settledAway.get(key) ?? 0;
    if (came !== undefined) this.#streams.inserted(account, scope, came, times > 0);
    const sent = this.#sent(account, row);
    if (sent === undefined) {
      throw new Violation(
        "stored what nobody sent",
        `host ${account.index} has ${messageId} of scope "${scope}"`,
      );
    }
    if (account.held.has(key)) {
      throw new Violation("stored twice", `host ${account.index} stores ${messageId} again`);
    }
    if (times >= sent.generations.size) {
      throw new Violation(
        "stored twice",
        `host ${account.index} stores ${messageId} again, which was settled and sent no more`,
      );
    }
    account.held.set(key, transaction);
  }

  #checkAcknowledged(account: Account, row: OutboundRow): void {
    this.acknowledged += 1;
    const scope = this.scopeOf(account.identity);
    const key = contentKey(scope, row.messageId ?? "", row.payload);
    const to = this.#hostAt(row.address, row.port);
    const answerable = this.#accounts().filter(
      ({ identity }) => this.#shared || identity === this.#accounts()[to]?.identity,
    );
    const holds = answerable.some(
      ({ held, lost, settledAway, tables }) =>
        lost.has(key) ||
        settledAway.has(key) ||
        (held.get(key) ?? Number.POSITIVE_INFINITY) <= tables.layers.synced,
    );
    if (holds) return;
    throw new Violation(
      "acknowledged and not stored",
      `row ${row.id} (${row.messageId}) of host ${account.index} to ${row.address}`,
    );
  }

  /** No run lasts as long as a tombstone, whatever clocks say. */
  #checkForgotten({ index }: Account, messageId: string): void {
    throw new Violation("forgot a tombstone", `host ${index} forgets ${messageId}`);
  }

  #checkFailed(account: Account, row: OutboundRow): void {
    const { index, clock, tables } = account;
    this.expired += 1;
    if (this.#isHostilePair(account, row)) return;
    const reason = row.lastError ?? "";
    // What an owner delays while it is out counts on as it was handed out.
    const handedOut = this.#expiries.get(nameOf(index, tables, row)) ?? Number.POSITIVE_INFINITY;
    const isOver = clock.highestWallNs / 1e6 >= Math.min(expiryOf(row), handedOut);
    if (reason.startsWith("expired") && isOver) return;
    throw new Violation("failed without a reason", `row ${row.id} of host ${index}: ${reason}`);
  }
}
