// The tables of one host in memory, as the schema has them, with what its triggers do: the rows of the
// owners and the daemon's own. What SQLite keeps and the daemon never reads back is left out.

import { type AgedSpan, UNSEEN_MS } from "../../src/workers/tombstone-ages.js";
import { Layers } from "./layers.js";
import { SpoolModel } from "./spool-model.js";

export type OutboundState = "pending" | "sent" | "acknowledged" | "send_failed";

/** Times are wall ms since the epoch. */
export interface OutboundRow {
  readonly id: number;
  readonly messageId: string | undefined;
  readonly payload: string;
  readonly address: string;
  readonly port: number;
  readonly state: OutboundState;
  readonly retries: number;
  readonly generation: number;
  readonly priority: number;
  readonly createdAt: number;
  readonly redrivenAt: number | undefined;
  readonly notBefore: number | undefined;
  readonly expiresAt: number | undefined;
  readonly lastError: string | undefined;
  /** Of rows that go in sessions: "" when unordered. */
  readonly stream: string;
}

export interface InboundRow {
  readonly id: number;
  /** Scope of its id: the peer, or "" for the secret of all. */
  readonly scope: string;
  readonly messageId: string;
  readonly digest: string;
  readonly payload: string;
  /** Transaction that inserted it. */
  readonly transaction: number;
  /** Where it came in a session. */
  readonly came: Came | undefined;
}

/** Boot of the sender, in hex, and the number that a message came under. */
export interface Came {
  readonly boot: string;
  readonly number: number;
  /** "" and 0 when unordered. */
  readonly stream: string;
  readonly sequence: number;
}

/** Stamps of handshakes with one peer. */
export interface Stamps {
  readonly sent: bigint;
  readonly accepted: bigint;
}

/** With the payload, which no real one has, for the oracle. */
export interface Tombstone {
  readonly scope: string;
  readonly messageId: string;
  readonly digest: string;
  readonly payload: string;
  readonly deletedAt: number;
  readonly came: Came | undefined;
}

export const isWorked = ({ state }: OutboundRow): boolean =>
  state === "pending" || state === "sent";
export const gapKey = (scope: string, stream: string, boot: string, first: number): string =>
  `${scope}|${boot}|${stream}|${first}`;
export const idKey = (scope: string, messageId: string): string => `${scope}|${messageId}`;

/** A copy of all tables, as a backup has it. */
export interface Backup {
  readonly outbound: ReadonlyMap<number, OutboundRow>;
  readonly inbound: ReadonlyMap<number, InboundRow>;
  readonly tombstones: ReadonlyMap<string, readonly Tombstone[]>;
  readonly meta: ReadonlyMap<string, number>;
  readonly stamps: ReadonlyMap<string, Stamps>;
  readonly gaps: ReadonlyMap<string, number>;
}

export class Tables {
  readonly layers = new Layers();
  readonly outbound = new Map<number, OutboundRow>();
  readonly inbound = new Map<number, InboundRow>();
  /** By {@link idKey}. */
  readonly tombstones = new Map<string, readonly Tombstone[]>();
  /** Sequences of the two tables, and the last stamp that may have been sealed. */
  readonly meta = new Map<string, number>();
  /** Of handshakes, by peer. */
  readonly stamps = new Map<string, Stamps>();
  /** Last sequence that was left out, by {@link gapKey}. */
  readonly gaps = new Map<string, number>();
  readonly spool = new SpoolModel();
  /** How often the file was replaced by another one. */
  replaced = 0;
  /** Inbound rows by {@link idKey}. */
  readonly inboundIds = new Map<string, readonly number[]>();
  readonly outboundIds = new Map<string, number>();

  sequence(table: "outbound" | "inbound"): number {
    const next = (this.meta.get(table) ?? 0) + 1;
    this.layers.put(this.meta, table, next);
    return next;
  }

  putOutbound(row: OutboundRow): void {
    const before = this.outbound.get(row.id)?.messageId;
    if (before !== row.messageId) {
      if (before !== undefined) this.layers.put(this.outboundIds, before, undefined);
      if (row.messageId !== undefined) this.layers.put(this.outboundIds, row.messageId, row.id);
    }
    this.layers.put(this.outbound, row.id, row);
  }

  // --- Owners -------------------------------------------------------------------------------------

  enqueue(row: Omit<OutboundRow, "id" | "state" | "retries" | "generation" | "lastError">): number {
    const id = this.sequence("outbound");
    this.putOutbound({
      ...row,
      id,
      state: "pending",
      retries: 0,
      generation: 0,
      lastError: undefined,
    });
    return id;
  }

  /** Sets a row's state; a final row set to pending is a message of its own from then on. */
  setState(row: OutboundRow, state: "pending" | "send_failed", nowMs: number): void {
    const redriven = state === "pending" && !isWorked(row);
    if (!redriven) {
      this.putOutbound({ ...row, state });
      return;
    }
    const isOver = row.expiresAt !== undefined && row.expiresAt <= nowMs;
    this.putOutbound({
      ...row,
      state,
      generation: row.generation + 1,
      redrivenAt: nowMs,
      retries: 0,
      lastError: undefined,
      expiresAt: isOver ? undefined : row.expiresAt,
    });
  }

  readdress(row: OutboundRow, address: string, nowMs: number): void {
    const changes = row.messageId !== undefined && address !== row.address;
    const wasSent = row.state === "sent";
    this.putOutbound({
      ...row,
      address,
      ...(changes ? { generation: row.generation + 1 } : {}),
      ...(changes && wasSent ? { state: "pending", retries: 0, redrivenAt: nowMs } : {}),
    });
  }

  /** Writes the payload with the id in it: to the triggers a change of content once there was an id. */
  setPayload(row: OutboundRow, messageId: string, payload: string, nowMs: number): OutboundRow {
    const changes = row.messageId !== undefined && payload !== row.payload;
    const wasSent = row.state === "sent";
    const written: OutboundRow = {
      ...row,
      messageId,
      payload,
      ...(changes ? { generation: row.generation + 1 } : {}),
      ...(changes && wasSent ? { state: "pending", retries: 0, redrivenAt: nowMs } : {}),
    };
    this.putOutbound(written);
    return written;
  }

  deleteOutbound(row: OutboundRow): void {
    if (row.messageId !== undefined) this.layers.put(this.outboundIds, row.messageId, undefined);
    this.layers.put(this.outbound, row.id, undefined);
  }

  deleteInbound(row: InboundRow, nowMs: number): void {
    const { scope, messageId, digest, payload, came } = row;
    const key = idKey(scope, messageId);
    this.layers.put(this.inbound, row.id, undefined);
    const left = (this.inboundIds.get(key) ?? []).filter((id) => id !== row.id);
    this.layers.put(this.inboundIds, key, left.length === 0 ? undefined : left);
    const others = (this.tombstones.get(key) ?? []).filter((each) => each.digest !== digest);
    const tombstone = { scope, messageId, digest, payload, deletedAt: nowMs, came };
    this.layers.put(this.tombstones, key, [...others, tombstone]);
  }

  // --- The daemon ---------------------------------------------------------------------------------

  insertInbound(row: Omit<InboundRow, "id" | "transaction">): InboundRow {
    const id = this.sequence("inbound");
    const inserted = { ...row, id, transaction: this.layers.next };
    const key = idKey(row.scope, row.messageId);
    this.layers.put(this.inbound, id, inserted);
    this.layers.put(this.inboundIds, key, [...(this.inboundIds.get(key) ?? []), id]);
    return inserted;
  }

  /** The same message came again, under a newer number. */
  renumber(row: InboundRow, came: Came): void {
    this.layers.put(this.inbound, row.id, { ...row, came });
  }
  renumberStone(stone: Tombstone, came: Came): void {
    const key = idKey(stone.scope, stone.messageId);
    const stones = this.tombstones.get(key) ?? [];
    const renumbered = stones.map((each) => (each === stone ? { ...each, came } : each));
    this.layers.put(this.tombstones, key, renumbered);
  }

  inboundOf(scope: string, messageId: string): readonly InboundRow[] {
    const ids = this.inboundIds.get(idKey(scope, messageId)) ?? [];
    return ids.map((id) => this.inbound.get(id)).filter((row) => row !== undefined);
  }

  /** Forgets what is old, and renews what only looks old; returns what is gone. */
  forgetTombstones({ before, from, to }: AgedSpan, nowMs: number): readonly Tombstone[] {
    for (const [key, stones] of this.tombstones) {
      const isMisdated = ({ deletedAt }: Tombstone): boolean =>
        deletedAt > nowMs + UNSEEN_MS ||
        (deletedAt < before && (deletedAt < from || deletedAt >= to));
      if (!stones.some(isMisdated)) continue;
      const renewed = stones.map((each) =>
        isMisdated(each) ? { ...each, deletedAt: nowMs } : each,
      );
      this.layers.put(this.tombstones, key, renewed);
    }
    return this.forgetStones(({ deletedAt }) => deletedAt >= from && deletedAt < to);
  }

  forgetStones(isOver: (stone: Tombstone) => boolean): readonly Tombstone[] {
    const forgotten: Tombstone[] = [];
    for (const [key, stones] of this.tombstones) {
      const left = stones.filter((stone) => !isOver(stone));
      if (left.length === stones.length) continue;
      forgotten.push(...stones.filter((each) => !left.includes(each)));
      this.layers.put(this.tombstones, key, left.length === 0 ? undefined : left);
    }
    return forgotten;
  }

  /** At a start: spool files of messages that became rows are left-overs. */
  tidySpool(): void {
    for (const { scope, messageId } of this.spool.files.values()) {
      const key = idKey(scope, messageId);
      if (this.inboundIds.has(key) || this.tombstones.has(key)) this.spool.drop(scope, messageId);
    }
  }

  // --- Backups ------------------------------------------------------------------------------------

  backup(): Backup {
    return {
      outbound: new Map(this.outbound),
      inbound: new Map(this.inbound),
      tombstones: new Map(this.tombstones),
      meta: new Map(this.meta),
      stamps: new Map(this.stamps),
      gaps: new Map(this.gaps),
    };
  }

  /** The file is replaced by a backup of it, or of the host that this one is a clone of. */
  restore(backup: Backup): void {
    refill(this.outbound, backup.outbound);
    refill(this.inbound, backup.inbound);
    refill(this.tombstones, backup.tombstones);
    refill(this.meta, backup.meta);
    refill(this.stamps, backup.stamps);
    refill(this.gaps, backup.gaps);
    this.replaced += 1;
    this.outboundIds.clear();
    this.inboundIds.clear();
    for (const { id, messageId } of this.outbound.values()) {
      if (messageId !== undefined) this.outboundIds.set(messageId, id);
    }
    for (const { id, scope, messageId } of this.inbound.values()) {
      const key = idKey(scope, messageId);
      this.inboundIds.set(key, [...(this.inboundIds.get(key) ?? []), id]);
    }
    this.layers.replaced();
    const { committed } = this.layers;
    for (const [id, row] of this.inbound) this.inbound.set(id, { ...row, transaction: committed });
  }
}

function refill<K, V>(table: Map<K, V>, from: ReadonlyMap<K, V>): void {
  table.clear();
  for (const [key, value] of from) table.set(key, value);
}
