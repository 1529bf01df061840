// Plain rows of a session on their way from the table straight into the answer, a block at a time:
// nothing is written for them, so nothing about them can fail any more once they are read.

import type { Connection } from "../shared/store/driver.js";
import type { Discovery } from "./discovery.js";
import { BLOCK_ROWS_MAX, LaneBlock } from "./lane-block.js";
import type { Lane, Lanes } from "./lanes.js";
import { type Answer, indexOf, recordBytesOf } from "./lease-answer.js";
import type { Circumstances } from "./outbound-row.js";
import type { SessionRoutes } from "./session-row.js";

/** What an attempt to fill an order has, as far as plain rows use it. */
interface Room {
  readonly answer: Answer;
  readonly circumstances: Circumstances;
  rowsLeft: number;
  bytesLeft: number;
}

export class PlainRows {
  readonly #lanes: Lanes;
  readonly #discovery: Discovery;
  readonly #routes: SessionRoutes | undefined;
  readonly #block: LaneBlock;

  constructor(
    db: Connection,
    options: {
      readonly lanes: Lanes;
      readonly discovery: Discovery;
      readonly routes: SessionRoutes | undefined;
    },
  ) {
    this.#lanes = options.lanes;
    this.#discovery = options.discovery;
    this.#routes = options.routes;
    this.#block = new LaneBlock(db);
  }

  /**
   * Hands out what the lane has ahead, at most `rowsMax` rows; undefined when its next row is not plain,
   * or there is none, or the lane is not one of a session.
   */
  take(room: Room, lane: Lane, rowsMax: number): "done" | "no room" | undefined {
    const { destination, cursor } = lane;
    const peer = this.#routes?.peerOf(destination.address, destination.port);
    if (peer === undefined) return undefined;
    const block = this.#block;
    if (!block.open(lane, Math.min(BLOCK_ROWS_MAX, rowsMax))) return undefined;
    const index = indexOf(room.answer, destination, peer);
    const outcome = this.#handOut(room, lane, index);
    if (lane.cursor === cursor) return outcome === "no room" ? outcome : undefined;
    if (outcome === "done" && !block.isCut) lane.dry = true;
    this.#lanes.used(lane);
    return outcome === "no room" ? outcome : "done";
  }

  #handOut(room: Room, lane: Lane, index: number): "done" | "no room" | "expired" {
    const { writer } = room.answer;
    const { lifeMs, now } = room.circumstances;
    const { outUnchanged } = lane.destination;
    const { outRows } = this.#lanes;
    const block = this.#block;
    while (block.next()) {
      const { rowId } = block;
      if (outRows.get(rowId)?.generation !== 0) {
        const expiresAt = block.createdAt + lifeMs;
        if (expiresAt <= now) return "expired";
        const bytes = recordBytesOf(block.payloadLength);
        if (bytes > room.bytesLeft) return "no room";
        block.hash();
        writer.appendPlain(block, index, expiresAt, lane.priority);
        room.bytesLeft -= bytes;
        room.rowsLeft -= 1;
        this.#lanes.lend(rowId, outUnchanged);
      }
      lane.cursor = rowId;
      this.#discovery.passed(rowId);
    }
    return "done";
  }
}
