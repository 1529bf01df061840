// A process that spools large messages until it is killed: after each batch it says on its standard
// output which bytes of which message it was told are on disk, "<id> <from> <to>", or that a message
// became a row, "<id> row".

import { join } from "node:path";
import { DELIVERED } from "../../src/shared/protocol/session/ports.js";
import { Delivery } from "../../src/workers/delivery.js";
import { InboundIds } from "../../src/workers/inbound-ids.js";
import { SessionInbox } from "../../src/workers/session-inbox.js";
import { SettledTombstones } from "../../src/workers/settled-tombstones.js";
import { Spool, spoolFolder } from "../../src/workers/spool.js";
import { daemonDatabase, idOf } from "./fixture.js";
import {
  deliveredOf,
  deliveryBatch,
  largePayload,
  type Piece,
  piecesOf,
} from "./session-fixture.js";

const [folder, firstText] = process.argv.slice(2) as [string, string];
const PIECE_BYTES = 60_000;
const PIECES_PER_BATCH = 3;
const TOTAL = 600_000;
const INTERLEAVED = 3;

const path = join(folder, "queue.db");
const db = daemonDatabase(path);
const ids = new InboundIds(db);
const inbox = new SessionInbox(db, ids);
const now = (): number => Date.now();
const spool = new Spool({ folder: spoolFolder(path), now });
spool.load((scope, id) => inbox.isStored(scope, id));
const delivery = new Delivery(db, {
  inbox,
  ids,
  spool,
  settled: new SettledTombstones(db),
  report: () => {},
  nameOf: (scope) => scope,
  now,
  quotaBytes: Number.MAX_SAFE_INTEGER,
});

function say(pieces: readonly Piece[]): void {
  const batch = deliveryBatch(pieces);
  delivery.apply(batch, 1_000);
  const lines = deliveredOf(batch).map((outcome, i) => {
    const { id, from, to } = pieces[i] as Piece;
    if (outcome === DELIVERED.spooled) return `${id} ${from} ${to}\n`;
    return outcome === DELIVERED.inserted ? `${id} row\n` : `${id} outcome ${outcome}\n`;
  });
  process.stdout.write(lines.join(""));
}

function spoolOn(first: number): void {
  const messages = Array.from({ length: INTERLEAVED }, (_, i) => {
    const id = idOf(first + i);
    return piecesOf({ id, payload: largePayload(TOTAL, first + i), flags: 2 }, PIECE_BYTES);
  });
  const pieces = (messages[0] as readonly Piece[]).flatMap((_, at) =>
    messages.map((each) => each[at] as Piece),
  );
  for (let at = 0; at < pieces.length; at += PIECES_PER_BATCH) {
    say(pieces.slice(at, at + PIECES_PER_BATCH));
  }
  setImmediate(() => spoolOn(first + INTERLEAVED));
}
spoolOn(Number(firstText));
