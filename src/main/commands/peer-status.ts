// `securedgram peer status`: what is spoken with each session peer, and where the change of its keys
// stands, as the daemon last wrote it into the database.

import { DaemonError, EXIT, type ExitCode } from "../../shared/base/errors.js";
import { type PeerConfig, speaksSession } from "../../shared/protocol/session/peer-config.js";
import {
  initialRotation,
  type RingNames,
  type RotationPhase,
  type RotationState,
  rotated,
  rotationPhase,
} from "../../shared/protocol/session/rotation.js";
import { parseTime, timeText } from "../../shared/store/text-time.js";
import { type PeerRow, readPeerRows } from "../client/peer-rows.js";
import { loadConfig, wipeSecrets } from "../config.js";
import { base64Text } from "../secrets.js";
import { columns } from "./columns.js";
import type { Io } from "./io.js";
import { PeerFile } from "./peer-file.js";
import type { PeerLine } from "./peer-options.js";

/** Names of a ring as its state has them. */
export function ringNames(peer: PeerConfig): RingNames | undefined {
  if (!speaksSession(peer)) return undefined;
  const nameOf = (role: string): string | undefined =>
    peer.ring.find((each) => each.role === role)?.name;
  const current = nameOf("current") ?? "";
  return { current, next: nameOf("next"), previous: nameOf("previous") };
}

/** What is known of a peer's keys, as the file has them now. */
export function rotationOf(peer: PeerConfig, row: PeerRow | undefined): RotationState | undefined {
  const ring = ringNames(peer);
  if (ring === undefined) return undefined;
  return rotated(row?.rotation ?? initialRotation(ring), { kind: "loaded", ring });
}

/** The peers of a configuration without their keys. */
export function configuredPeers(file: PeerFile): readonly PeerConfig[] {
  const config = loadConfig(file.input);
  wipeSecrets(config);
  return config.peers.map((peer) => peer.config);
}

/** The row of a peer, under whichever of its public keys the daemon knows it. */
export function rowOf(peer: PeerConfig, rows: ReadonlyMap<string, PeerRow>): PeerRow | undefined {
  if (peer.publicKey === undefined) return undefined;
  const others = speaksSession(peer) ? [peer.previousPublicKey, peer.nextPublicKey] : [];
  for (const key of [peer.publicKey, ...others]) {
    const row = key === undefined ? undefined : rows.get(base64Text(key));
    if (row !== undefined) return row;
  }
  return undefined;
}

/** Since when the session of each peer is up, by name; nothing where that cannot be read. */
export function sessionsUp(file: PeerFile): ReadonlyMap<string, string> {
  try {
    if (!file.isServed) return new Map();
    const rows = readPeerRows(file.database);
    const since = configuredPeers(file).flatMap((peer): [string, string][] => {
      const { upSince } = rowOf(peer, rows) ?? {};
      return upSince === undefined ? [] : [[peer.name, upSince]];
    });
    return new Map(since);
  } catch (error) {
    if (error instanceof DaemonError) return new Map();
    throw error;
  }
}

export interface PeerState {
  readonly name: string;
  readonly mode: PeerConfig["mode"];
  readonly speaks: "classic" | "session";
  readonly publicKey: string | null;
  readonly sessionSince: string | null;
  readonly upSince: string | null;
  readonly lastHandshakeAt: string | null;
  readonly skewMs: number | null;
  readonly endpoint: string | null;
  readonly handshakesUnanswered: number;
  readonly classicSince: string | null;
  /** True when `auto_until` has passed and the peer is still classic. */
  readonly overdue: boolean;
  readonly rotation: RotationPhase | null;
}

/** `served`: a daemon runs; without one no session is up, whatever the last one wrote. */
export function stateOf(
  peer: PeerConfig,
  row: PeerRow | undefined,
  wallMs: number,
  served: boolean,
): PeerState {
  const isAuto = peer.mode === "auto";
  const speaks =
    peer.mode === "session" || (isAuto && row?.sessionSince !== undefined) ? "session" : "classic";
  const until = isAuto ? peer.untilWallMs : undefined;
  const rotation = rotationOf(peer, row);
  return {
    name: peer.name,
    mode: peer.mode,
    speaks,
    publicKey: peer.publicKey === undefined ? null : base64Text(peer.publicKey),
    sessionSince: row?.sessionSince ?? null,
    upSince: (served ? row?.upSince : undefined) ?? null,
    lastHandshakeAt: row?.lastHandshakeAt ?? null,
    skewMs: row?.skewMs ?? null,
    endpoint: row?.endpoint ?? null,
    handshakesUnanswered: row?.handshakesUnanswered ?? 0,
    classicSince: row?.classicSince ?? null,
    overdue: until !== undefined && speaks === "classic" && wallMs >= until,
    rotation: rotation === undefined ? null : rotationPhase(rotation),
  };
}

export async function peerStatus(
  name: string,
  options: PeerLine["options"],
  io: Io,
): Promise<ExitCode> {
  const file = new PeerFile(options, io);
  if (name !== "") file.find(name);
  const rows = readPeerRows(file.database);
  const now = Date.now();
  const { isServed } = file;
  const states = configuredPeers(file)
    .filter((peer) => name === "" || peer.name === name)
    .map((peer) => stateOf(peer, rowOf(peer, rows), now, isServed));
  if (options.json) {
    await io.write(`${JSON.stringify({ v: 1, peers: states }, undefined, 2)}\n`);
  } else {
    const table = states.map((state) => [state.name, state.speaks, sentence(state, now)]);
    for (const line of columns(table)) await io.write(`${line}\n`);
  }
  return states.some(({ overdue }) => overdue) ? EXIT.failed : EXIT.done;
}

const PHASES: Readonly<Record<RotationPhase, string | undefined>> = {
  none: undefined,
  installed: "rotation: next key installed here, the peer has not shown it",
  confirmed: "rotation: the peer has the next key, no traffic under it yet",
  proven: "rotation: traffic under the next key; finish it with peer rotate NAME --finish",
  switched: "rotation: switched, no traffic under the new key yet",
  retirable:
    "rotation: traffic under the new key; remove the previous one with peer rotate NAME --finish",
};

/** One line about a peer. */
export function sentence(state: PeerState, wallMs: number): string {
  const parts: string[] = [];
  if (state.mode !== "classic") {
    if (state.upSince !== null) parts.push(`up since ${state.upSince}`);
    const handshake = parseTime(state.lastHandshakeAt);
    if (handshake === undefined) {
      parts.push("no handshake yet");
    } else {
      parts.push(`last handshake ${Math.max(0, Math.round((wallMs - handshake) / 1_000))} s ago`);
    }
    if (state.endpoint !== null) parts.push(`at ${state.endpoint}`);
    if (state.skewMs !== null) parts.push(`its clock ${signed(state.skewMs)} ms`);
    if (state.handshakesUnanswered > 0) {
      const since = state.classicSince === null ? "" : ` since ${state.classicSince}`;
      parts.push(`${state.handshakesUnanswered} handshakes unanswered${since}`);
    }
    if (state.overdue) parts.push(`auto_until has passed (now ${timeText(wallMs)})`);
    const phase = state.rotation === null ? undefined : PHASES[state.rotation];
    if (phase !== undefined) parts.push(phase.replace("NAME", () => state.name));
  }
  return parts.join("; ");
}

const signed = (value: number): string => (value < 0 ? String(value) : `+${value}`);
