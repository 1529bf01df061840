// What `doctor` says about our identity and the session peers: by the configuration, and by what the
// daemon wrote about them. Structural twin of the findings in doctor.ts.

import { type PeerConfig, speaksSession } from "../../shared/protocol/session/peer-config.js";
import { ringFault } from "../../shared/protocol/session/rotation.js";
import { type PeerRow, readPeerRows } from "../client/peer-rows.js";
import type { Config } from "../config.js";
import { base64Text } from "../secrets.js";
import { ringNames, rowOf, sentence, stateOf } from "./peer-status.js";

interface KeyFinding {
  readonly about: string;
  readonly verdict: "ok" | "note" | "trouble";
  readonly found: string;
  readonly remedy?: string;
}

/** A clock so far off is worth a word; sessions do not mind, stamps in tables do. */
const SKEW_MS_MAX = 60_000;

/** Nothing where no peer speaks sessions. `isServed`: a daemon runs. */
export function keyFindings(
  config: Config,
  isServed: boolean,
  wallMs: number = Date.now(),
): readonly KeyFinding[] {
  const { identities } = config;
  if (identities === undefined) return [];
  const peers = config.peers.map((peer) => peer.config).filter(speaksSession);
  const open = peers.filter((peer) => !peer.hasSecret).length;
  const quantum =
    open === 0 ? "" : `; ${open} without a secret, whose recordings a quantum computer could read`;
  const findings: KeyFinding[] = [
    { about: "identity", verdict: "ok", found: base64Text(identities.current.publicKey) },
    { about: "session peers", verdict: "ok", found: `${peers.length}${quantum}` },
  ];
  const rows = rowsOf(config.db);
  for (const peer of peers)
    findings.push(...peerFindings(peer, rowOf(peer, rows), wallMs, isServed));
  return findings;
}

/** A database that cannot be read is a finding of its own. */
function rowsOf(path: string): ReadonlyMap<string, PeerRow> {
  try {
    return readPeerRows(path);
  } catch {
    return new Map();
  }
}

function* peerFindings(
  peer: PeerConfig,
  row: PeerRow | undefined,
  wallMs: number,
  isServed: boolean,
): Generator<KeyFinding> {
  const about = `peer ${peer.name}`;
  const state = stateOf(peer, row, wallMs, isServed);
  const found = sentence(state, wallMs);
  if (state.overdue) {
    const remedy = "upgrade that host; or set auto_until to a later day";
    yield { about, verdict: "trouble", found, remedy };
  } else if (state.mode === "auto" && state.speaks === "classic") {
    const remedy = "upgrade that host, and give it our public key";
    yield { about, verdict: "note", found: `still classic: ${found}`, remedy };
  } else if (state.speaks === "session" && state.handshakesUnanswered > 0) {
    const remedy = "see that both have each other's public key and the same secret, or none";
    yield { about, verdict: "note", found, remedy };
  }
  const ring = ringNames(peer);
  const known = row?.rotation;
  const fault = known === undefined || ring === undefined ? undefined : ringFault(known, ring);
  if (fault !== undefined) yield { about, verdict: "trouble", ...FAULTS[fault] };
  const change = CHANGES[state.rotation ?? "none"];
  if (change !== undefined) {
    const remedy = change.remedy.replace("NAME", () => peer.name);
    yield { about, verdict: "note", found: change.found, remedy };
  }
  const skewMs = Math.abs(state.skewMs ?? 0);
  if (skewMs > SKEW_MS_MAX) {
    const seconds = Math.round(skewMs / 1_000);
    const remedy = "set the clocks: times in the tables are off, messages are not";
    yield { about, verdict: "note", found: `its clock and ours differ by ${seconds} s`, remedy };
  }
}

const FAULTS = {
  unproven: {
    found: "a key was removed before the peer was heard under the new one",
    remedy: "put the old key back as previous (previous_secret_file, previous_identity_file, ...)",
  },
  relied: {
    found: "a next key was removed that the peer has, and may rely on",
    remedy: "put it back as next, and finish the rotation",
  },
  foreign: {
    found: "all keys that the peer knew are gone",
    remedy: "put the old key back as previous; or see that the peer has the new one",
  },
} as const;

const CHANGES = {
  none: undefined,
  installed: {
    found: "a rotation waits until the peer has the next key",
    remedy: "install it there: docs/KEYS.md",
  },
  confirmed: {
    found: "a rotation waits for traffic under the next key",
    remedy: "nothing to do; it comes with the next session",
  },
  proven: {
    found: "a rotation can be finished",
    remedy: "securedgram peer rotate NAME --finish",
  },
  switched: {
    found: "the previous key is needed until the peer was heard under the new one",
    remedy: "nothing to do; it comes with the next session",
  },
  retirable: {
    found: "the previous key is no longer needed",
    remedy: "securedgram peer rotate NAME --finish",
  },
} as const;
