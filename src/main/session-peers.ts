// From the tables of the file to peers: what is spoken with each, its public keys, and the ring of pair
// keys that it shares with us. Whatever does not fit together is refused here, with what to do, so
// that the core and the workers meet no surprise. The keys stay apart from what the core is told.

import { createHmac, randomBytes } from "node:crypto";
import { DaemonError } from "../shared/base/errors.js";
import { MESSAGE_BYTES_MAX } from "../shared/protocol/session/limits.js";
import {
  type ClassicPeerConfig,
  KEY_ROLE_NAMES,
  type KeyRoleName,
  type PairKeyParts,
  type PeerConfig,
} from "../shared/protocol/session/peer-config.js";
import type { PeerEntry, PeerMode } from "../shared/protocol/session/peer-table.js";
import { type Identities, MAKE_IDENTITY, pairKeyName, parsePublicKey } from "./identity.js";
import {
  type ConfigRing,
  type PeerAddress,
  peerAddresses,
  readKeys,
  refuseTwins,
} from "./peers.js";
import { base64Text, parseSecret, readSecretFile, type SecretPlaces, wipe } from "./secrets.js";
import { type PeerTable, SESSION_KEY_NAMES } from "./settings.js";

/** The secrets that a pair shares beside its identities, 32 bytes each. The holder's, to wipe. */
export interface PairSecrets {
  readonly current: Uint8Array | undefined;
  readonly next: Uint8Array | undefined;
  readonly previous: Uint8Array | undefined;
}

/** A peer, and what the core does not see of it. */
export interface SessionPeer {
  readonly config: PeerConfig;
  /** As configured; a port that is undefined stands for any. */
  readonly addresses: readonly PeerAddress[];
  readonly secrets: PairSecrets;
  /** Equal for equal settings and keys, within this process; says nothing about the keys. */
  readonly fingerprint: string;
}

export interface PeerSources {
  readonly peers: readonly PeerTable[];
  readonly identities: Identities | undefined;
  /** The classic rings by name; "" is that of the shared secret. */
  readonly rings: readonly ConfigRing[];
  readonly places: SecretPlaces;
  /** Port of a peer whose address has none. */
  readonly portDefault: number;
  /** Path of the file, for messages. */
  readonly source: string;
}

export const modeOf = (peer: PeerTable): PeerMode =>
  peer.mode ?? (peer.public_key === undefined ? "classic" : "session");

/** True when the peer has a classic ring of its own. */
export const hasOwnRing = (peer: PeerTable): boolean => {
  const mode = modeOf(peer);
  const hasSecret = peer.secret !== undefined || peer.secret_file !== undefined;
  return mode === "classic" || (mode === "auto" && (hasSecret || peer.id !== undefined));
};

/** True when the file's peers need an identity of ours. */
export const needsIdentity = (peers: readonly PeerTable[]): boolean =>
  peers.some((peer) => modeOf(peer) !== "classic");

/** Refuses what contradicts itself in the tables; needs no key, so an editor of the file can ask. */
export function judgePeers(peers: readonly PeerTable[], source: string): void {
  for (const peer of peers) judgePeer(peer, source);
  const named = peers.map((peer) => ({ name: peer.name, addresses: peerAddresses(peer, source) }));
  refuseTwins(named, source);
  publicKeysOf(peers, source);
}

/** Reads all peers, once they were judged. The secrets are the caller's, to wipe with {@link wipePeers}. */
export function readPeers(sources: PeerSources): readonly SessionPeer[] {
  const { peers, identities, source } = sources;
  const keys = publicKeysOf(peers, source);
  if (identities !== undefined) refuseOwnKeys(keys, identities, source);
  const read: SessionPeer[] = [];
  try {
    for (const [i, peer] of peers.entries()) read.push(readPeer(peer, keys[i], sources));
    return Object.freeze(read);
  } catch (error) {
    wipePeers(read);
    throw error;
  }
}

/** Overwrites the secrets of all peers. */
export function wipePeers(peers: readonly SessionPeer[]): void {
  for (const { secrets } of peers) wipeSecretsOf(secrets);
}

/** A copy whose secrets are its own to wipe. */
export const copyPairSecrets = ({ current, next, previous }: PairSecrets): PairSecrets => ({
  current: current && Uint8Array.from(current),
  next: next && Uint8Array.from(next),
  previous: previous && Uint8Array.from(previous),
});

/** What the core and the DB worker ask for about where rows go. */
export const peerEntry = (
  { config, addresses }: Pick<SessionPeer, "config" | "addresses">,
  sessionSince: boolean,
): PeerEntry => ({
  name: config.name,
  publicKey: config.publicKey === undefined ? undefined : base64Text(config.publicKey),
  mode: config.mode,
  addresses,
  sessionSince,
});

// --- One peer ------------------------------------------------------------------------------------

type PublicKeys = Readonly<Record<KeyRoleName, Uint8Array | undefined>>;
const ROLES_BY_FIELD = {
  public_key: "current",
  next_public_key: "next",
  previous_public_key: "previous",
} as const satisfies Record<string, KeyRoleName>;
const PUBLIC_KEY_FIELDS = ["public_key", "next_public_key", "previous_public_key"] as const;

function judgePeer(peer: PeerTable, source: string): void {
  const refuse = refusal(peer, source);
  const mode = modeOf(peer);
  if (peer.public_key === undefined) {
    if (mode !== "classic") {
      throw refuse(
        `has mode ${mode} and no public_key`,
        "Add what `securedgram key show` prints there.",
      );
    }
    const useless = SESSION_KEY_NAMES.find((key) => peer[key] !== undefined);
    if (useless !== undefined) {
      throw refuse(`has ${useless} and no public_key`, `Add public_key, or remove ${useless}.`);
    }
  }
  if (mode !== "session" && peer.address === undefined) {
    throw refuse(
      "has no address",
      "Add address; only a peer that comes to us in sessions needs none.",
    );
  }
  if (peer.auto_until !== undefined && mode !== "auto") {
    throw refuse(`has auto_until and mode ${mode}`, 'Set mode = "auto", or remove auto_until.');
  }
  if (mode === "session" && peer.id !== undefined) {
    throw refuse("has an id, which sessions do not use", "Remove id; the public key is enough.");
  }
  if (peer.secret !== undefined && peer.secret_file !== undefined) {
    throw refuse("has both secret and secret_file", "Leave one of them.");
  }
  const hasSecret = peer.secret !== undefined || peer.secret_file !== undefined;
  const hasOther = peer.next_secret_file ?? peer.previous_secret_file;
  if (mode !== "classic" && !hasSecret && hasOther !== undefined) {
    throw refuse(
      "has a next or previous secret and no current one",
      "Add secret_file, or remove it.",
    );
  }
}

function readPeer(peer: PeerTable, keys: PublicKeys, sources: PeerSources): SessionPeer {
  const { rings, source, portDefault } = sources;
  const mode = modeOf(peer);
  const addresses = peerAddresses(peer, source);
  const classicRing = rings.findIndex(({ name }) => name === (hasOwnRing(peer) ? peer.name : ""));
  const publicKey = keys.current;
  if (mode === "classic" || publicKey === undefined) {
    const config: ClassicPeerConfig = {
      mode: "classic",
      name: peer.name,
      publicKey,
      classicRing,
    };
    return frozen(config, addresses, { current: undefined, next: undefined, previous: undefined });
  }
  const secrets = readPairSecrets(peer, sources);
  try {
    if (mode === "auto" && classicRing < 0) {
      throw refusal(peer, source)(
        "has mode auto and no secret for classic",
        "Add secret_file, an id and [pair], or the shared secret_file; or set mode to session.",
      );
    }
    const common = {
      name: peer.name,
      publicKey,
      nextPublicKey: keys.next,
      previousPublicKey: keys.previous,
      ring: ringOf(peer, keys, secrets, sources),
      hasSecret: secrets.current !== undefined,
      places: addresses.map((place) => placeOf(place, portDefault)),
      mtuBytes: peer.mtu,
      padding: peer.padding ?? { kind: "none" },
      keepaliveSeconds: peer.keepalive,
      limits: {
        messageBytesMax: peer.message_bytes_max ?? MESSAGE_BYTES_MAX,
        creditMessages: peer.credit_messages,
        creditBytes: peer.credit_bytes,
      },
    } as const;
    if (mode === "session") return frozen({ ...common, mode }, addresses, secrets);
    const untilWallMs = peer.auto_until;
    return frozen({ ...common, mode, classicRing, untilWallMs }, addresses, secrets);
  } catch (error) {
    wipeSecretsOf(secrets);
    throw error;
  }
}

const placeOf = ({ address, port }: PeerAddress, portDefault: number) =>
  Object.freeze({ address, port: port ?? portDefault });

/** The secret of a peer's table: in `auto` it serves classic and the sessions alike. */
function readPairSecrets(peer: PeerTable, { places, source }: PeerSources): PairSecrets {
  const { secret, secret_file: file } = peer;
  if (secret === undefined && file === undefined) {
    return { current: undefined, next: undefined, previous: undefined };
  }
  const current = (): Uint8Array =>
    secret === undefined
      ? readSecretFile(file ?? "", places)
      : parseSecret(secret, `${source}: secret of peer ${peer.name}`);
  const { pairInfo: _pairInfo, ...keys } = readKeys(
    current,
    peer.previous_secret_file,
    peer.next_secret_file,
    places,
  );
  return keys;
}

/** At most one of the three parts changes at a time: so a ring has three keys at most. */
function ringOf(
  peer: PeerTable,
  keys: PublicKeys,
  secrets: PairSecrets,
  { identities, source }: PeerSources,
): readonly PairKeyParts[] {
  const refuse = refusal(peer, source);
  if (identities === undefined) {
    throw refuse("needs an identity of this host, and there is none", MAKE_IDENTITY);
  }
  const parts = { own: identities, peer: keys, secret: secrets } as const;
  const changing = (["own", "peer", "secret"] as const).filter(
    (part) => parts[part].next !== undefined || parts[part].previous !== undefined,
  );
  if (changing.length > 1) {
    const names = { own: "our identity", peer: "its public key", secret: "the secret" } as const;
    throw refuse(
      `changes two keys at a time: ${changing.map((part) => names[part]).join(" and ")}`,
      "Finish one first: `securedgram peer rotate --help`.",
    );
  }
  const ring: PairKeyParts[] = [];
  for (const role of KEY_ROLE_NAMES) {
    if (role !== "current" && changing.every((part) => parts[part][role] === undefined)) continue;
    const roleOf = (part: keyof typeof parts): KeyRoleName =>
      parts[part][role] === undefined ? "current" : role;
    const [own, theirs, secret] = [roleOf("own"), roleOf("peer"), roleOf("secret")];
    const publicKey = keys[theirs] ?? new Uint8Array();
    const ourKey = (identities[own] ?? identities.current).publicKey;
    const name = pairKeyName(ourKey, publicKey, secrets[secret]);
    if (ring.some((each) => each.name === name)) {
      throw refuse(`has the same key as current and as ${role}`, `Remove the ${role} one.`);
    }
    const used = secrets.current === undefined ? undefined : secret;
    ring.push(Object.freeze({ role, name, own, peer: theirs, secret: used }));
  }
  return Object.freeze(ring);
}

// --- Public keys ---------------------------------------------------------------------------------

/** Parses the public keys of all peers and refuses one that stands twice. */
function publicKeysOf(peers: readonly PeerTable[], source: string): readonly PublicKeys[] {
  const owners = new Map<string, string>();
  return peers.map((peer) => {
    const keys: Record<KeyRoleName, Uint8Array | undefined> = {
      current: undefined,
      next: undefined,
      previous: undefined,
    };
    for (const field of PUBLIC_KEY_FIELDS) {
      const text = peer[field];
      if (text === undefined) continue;
      const key = parsePublicKey(text, `${source}: ${field} of peer ${peer.name}`);
      const spelled = base64Text(key);
      const owner = owners.get(spelled);
      if (owner !== undefined) {
        const whose =
          owner === peer.name ? `peer ${owner} has` : `peers ${owner} and ${peer.name} have`;
        throw new DaemonError(
          "ERR_CONFIG",
          `${source}: ${whose} the same public key twice`,
          "Each key belongs to one host, once.",
        );
      }
      owners.set(spelled, peer.name);
      keys[ROLES_BY_FIELD[field]] = key;
    }
    return keys;
  });
}

/** Refuses a peer that is ourselves, and the slip of giving a private key away. */
function refuseOwnKeys(keys: readonly PublicKeys[], identities: Identities, source: string): void {
  const own = KEY_ROLE_NAMES.map((role) => identities[role]).filter((each) => each !== undefined);
  for (const key of keys.flatMap((each) => Object.values(each))) {
    if (key === undefined) continue;
    if (own.some(({ publicKey }) => Buffer.compare(publicKey, key) === 0)) {
      throw new DaemonError(
        "ERR_CONFIG",
        `${source}: a peer has our own public key`,
        "Give it what `securedgram key show` prints on the peer's host.",
      );
    }
    if (own.some(({ privateKey }) => Buffer.compare(privateKey, key) === 0)) {
      throw new DaemonError(
        "ERR_CONFIG_SECRET",
        `${source}: a peer has our private key as its public key`,
        "Make a new identity: whoever read that file has this one.",
      );
    }
  }
}

// --- Parts ---------------------------------------------------------------------------------------

const refusal =
  (peer: PeerTable, source: string) =>
  (trouble: string, next: string): DaemonError =>
    new DaemonError("ERR_CONFIG", `${source}: peer ${peer.name} ${trouble}`, next);

function wipeSecretsOf({ current, next, previous }: PairSecrets): void {
  for (const secret of [current, next, previous]) wipe(secret);
}

/** Drawn anew by each process, so that a fingerprint cannot be looked up. */
const FINGERPRINT_KEY = randomBytes(32);

function frozen(
  config: PeerConfig,
  addresses: readonly PeerAddress[],
  secrets: PairSecrets,
): SessionPeer {
  const shown = JSON.stringify([config, addresses], (_key, value: unknown) =>
    value instanceof Uint8Array ? base64Text(value) : value,
  );
  const fingerprint = createHmac("sha256", FINGERPRINT_KEY).update(shown).digest("hex");
  return Object.freeze({ config: Object.freeze(config), addresses, secrets, fingerprint });
}
