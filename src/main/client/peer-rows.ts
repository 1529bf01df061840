// What the daemon knows of its session peers, from the table `peers`. Read by name of the column: a
// file of an older program lacks some, and then there is nothing to say.

import { existsSync } from "node:fs";
import { DaemonError } from "../../shared/base/errors.js";
import { parseRotation, type RotationState } from "../../shared/protocol/session/rotation.js";
import { openDatabase } from "../../shared/store/open.js";

export interface PeerRow {
  /** Base64. */
  readonly publicKey: string;
  readonly name: string | undefined;
  /** Text times, UTC. First session ever; start of the one that is up; newest handshake. */
  readonly sessionSince: string | undefined;
  readonly upSince: string | undefined;
  readonly lastHandshakeAt: string | undefined;
  /** Since when classic is spoken although sessions were tried, and how often in vain. */
  readonly classicSince: string | undefined;
  readonly handshakesUnanswered: number;
  /** How far the peer's clock is ahead, ms. */
  readonly skewMs: number | undefined;
  readonly endpoint: string | undefined;
  readonly rotation: RotationState | undefined;
}

/** All rows, by public key in base64; none where there is no database, or an older one. */
export function readPeerRows(path: string): ReadonlyMap<string, PeerRow> {
  if (!existsSync(path)) return new Map();
  try {
    const db = openDatabase(path, { role: "client", create: false });
    try {
      const rows = db.prepare("SELECT * FROM peers").all() as Record<string, unknown>[];
      return new Map(rows.map(peerRow).map((row) => [row.publicKey, row]));
    } finally {
      db.close();
    }
  } catch (error) {
    if (error instanceof DaemonError && error.code === "ERR_DB_SCHEMA") return new Map();
    throw error;
  }
}

function peerRow(row: Readonly<Record<string, unknown>>): PeerRow {
  const key = row["public_key"];
  const rotation = text(row["rotation"]);
  return {
    publicKey: key instanceof Uint8Array ? Buffer.from(key).toString("base64") : "",
    name: text(row["name"]),
    sessionSince: text(row["session_since"]),
    upSince: text(row["session_up_since"]),
    lastHandshakeAt: text(row["last_handshake_at"]),
    classicSince: text(row["classic_since"]),
    handshakesUnanswered: number(row["handshakes_unanswered"]) ?? 0,
    skewMs: number(row["skew_ms"]),
    endpoint: text(row["endpoint"]),
    rotation: rotation === undefined ? undefined : parseRotation(rotation),
  };
}

const text = (value: unknown): string | undefined =>
  typeof value === "string" && value !== "" ? value : undefined;
const number = (value: unknown): number | undefined =>
  typeof value === "number" && Number.isFinite(value) ? value : undefined;
