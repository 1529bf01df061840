// The oracle: an account outside the hosts of what was handed out, what was stored and what was called
// acknowledged. It believes no host, only what the tables were at the moment in question.

import type { HostClock } from "./clocks.js";
import { expiryOf, type StoreWitness } from "./store-jobs.js";
import {
  type Backup,
  type InboundRow,
  idKey,
  isWorked,
  type OutboundRow,
  type Tables,
} from "./tables.js";

/** An invariant that does not hold. `name` stays the same while a run is cut shorter. */
export class Violation extends Error {
  override readonly name: string;

  constructor(name: string, message: string) {
    super(`${name}: ${message}`);
    this.name = name;
  }
}

/** A host as the ledger sees it. */
export interface Account {
  readonly index: number;
  /** Whose keys it has: a clone has those of the host it was made from. */
  readonly identity: number;
  readonly tables: Tables;
  readonly clock: HostClock;
  /** Its wall clock, ns since the epoch. */
  readonly wallNs: number;
  /** Nobody answers for what a clone still has to send when it goes. */
  readonly isClone: boolean;
  /** What was once synced there: content by key, and the transaction that stored it. */
  readonly held: Map<string, number>;
  /** What it held until its file was replaced by an older one. */
  readonly lost: Set<string>;
}

const contentKey = (scope: string, messageId: string, payload: string): string =>
  `${idKey(scope, messageId)}|${payload}`;

export class Ledger {
  readonly #shared: boolean;
  readonly #accounts: () => readonly Account[];
  readonly #hostAt: (address: string, port: number) => number;
  /** What left under a message id, and whose. */
  readonly #leased = new Map<string, { readonly identity: number; readonly payload: string }[]>();
  acknowledged = 0;
  stored = 0;
  expired = 0;

  constructor(options: {
    /** All hosts have one secret: who holds it may answer for any of them. */
    readonly shared: boolean;
    readonly accounts: () => readonly Account[];
    readonly hostAt: (address: string, port: number) => number;
  }) {
    this.#shared = options.shared;
    this.#accounts = options.accounts;
    this.#hostAt = options.hostAt;
  }

  /** Scope under which others file what an identity sends. */
  scopeOf(identity: number): string {
    return this.#shared ? "" : `host${identity}`;
  }

  /** What the store of one host tells. */
  witness(account: Account): StoreWitness {
    return {
      leased: (row) => this.#noteLeased(account, row),
      inserted: (row) => this.#checkInserted(account, row),
      acknowledged: (row) => this.#checkAcknowledged(account, row),
      failed: (row) => this.#checkFailed(account, row),
      forgotten: ({ scope, messageId, payload }) => {
        const key = contentKey(scope, messageId, payload);
        if (account.held.delete(key)) account.lost.add(key);
      },
    };
  }

  /** Power failed: what is not in the file any more was never synced, and may come again. */
  lostPower(account: Account): void {
    const { committed } = account.tables.layers;
    for (const [key, transaction] of account.held) {
      if (transaction > committed) account.held.delete(key);
    }
  }

  /** Replaces a host's file by a backup; `held` is what that one knows. */
  restore(account: Account, backup: Backup, held: ReadonlyMap<string, number>): void {
    const { tables } = account;
    for (const [key, transaction] of account.held) {
      if (transaction <= tables.layers.synced) account.lost.add(key);
    }
    tables.restore(backup);
    account.held.clear();
    for (const key of held.keys()) account.held.set(key, tables.layers.synced);
  }

  /** A row that is still to go, at a host that answers for it, and whose time has come. */
  openRow(excused: (account: Account) => boolean): OutboundRow | undefined {
    for (const account of this.#accounts()) {
      if (account.isClone || excused(account)) continue;
      const { tables, wallNs } = account;
      for (const row of tables.outbound.values()) {
        if (isWorked(row) && (row.notBefore ?? 0) <= wallNs / 1e6) return row;
      }
    }
    return undefined;
  }

  #noteLeased({ identity }: Account, { messageId = "", payload }: OutboundRow): void {
    const before = this.#leased.get(messageId) ?? [];
    this.#leased.set(messageId, before);
    const isKnown = before.some((each) => each.identity === identity && each.payload === payload);
    if (!isKnown) before.push({ identity, payload });
  }

  /** Whether somebody other than the host itself sent it, under a name that the scope stands for. */
  #wasSent(account: Account, { scope, messageId, payload }: InboundRow): boolean {
    const sent = this.#leased.get(messageId) ?? [];
    return sent.some(
      (each) =>
        each.payload === payload &&
        each.identity !== account.identity &&
        this.scopeOf(each.identity) === scope,
    );
  }

  #checkInserted(account: Account, row: InboundRow): void {
    const { scope, messageId, payload, transaction } = row;
    this.stored += 1;
    if (!this.#wasSent(account, row)) {
      throw new Violation(
        "stored what nobody sent",
        `host ${account.index} has ${messageId} of scope "${scope}"`,
      );
    }
    const key = contentKey(scope, messageId, payload);
    if (account.held.has(key)) {
      throw new Violation("stored twice", `host ${account.index} stores ${messageId} again`);
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
      ({ held, lost, tables }) =>
        lost.has(key) || (held.get(key) ?? Number.POSITIVE_INFINITY) <= tables.layers.synced,
    );
    if (holds) return;
    throw new Violation(
      "acknowledged and not stored",
      `row ${row.id} (${row.messageId}) of host ${account.index} to ${row.address}`,
    );
  }

  #checkFailed({ index, clock }: Account, row: OutboundRow): void {
    this.expired += 1;
    const reason = row.lastError ?? "";
    const isOver = clock.highestWallNs / 1e6 >= expiryOf(row);
    if (reason.startsWith("expired") && isOver) return;
    throw new Violation("failed without a reason", `row ${row.id} of host ${index}: ${reason}`);
  }
}
