// From the tables of the file to key rings: addresses in one spelling, secrets as bytes, and no two
// peers that could be taken for each other.

import { createHmac, randomBytes } from "node:crypto";
import { assert } from "../shared/base/assert.js";
import { DaemonError } from "../shared/base/errors.js";
import { canonicalAddress } from "../shared/protocol/address.js";
import type { RingKeys } from "../shared/runtime/messages.js";
import { quoted } from "./commands/printable.js";
import { parseSecret, readSecretFile, type SecretPlaces, wipe } from "./secrets.js";
import type { PairTable, PeerTable } from "./settings.js";

/** Head of the HKDF info of a pair's key; a change of the construction changes the number. */
export const PAIR_LABEL = "securedgram pair secret 1";

export interface PeerAddress {
  /** IP in its one spelling, or a host name in lower case. */
  readonly address: string;
  /** Undefined: any port. */
  readonly port: number | undefined;
}

/** A key ring as configured. The secrets are the holder's, to wipe. */
export interface ConfigRing {
  /** Scope of message ids: the peer's name, "" for the secret that all share. */
  readonly name: string;
  readonly addresses: readonly PeerAddress[];
  readonly keys: RingKeys;
  /** Equal for equal keys and addresses, within this process; says nothing about the secrets. */
  readonly fingerprint: string;
}

/**
 * HKDF-SHA-512 info of a pair's key: the label's ASCII, then both ids as u16 BE length and bytes,
 * in ascending order of the bytes. The same on both hosts. Ids: 1 to 65,535 bytes each, not equal.
 */
export function pairInfo(idA: string, idB: string): Uint8Array {
  const encoder = new TextEncoder();
  const ids = [encoder.encode(idA), encoder.encode(idB)].sort(Buffer.compare);
  assert(idA !== idB && ids.every(({ length }) => length > 0 && length < 65_536), "two ids");
  const parts: Uint8Array[] = [encoder.encode(PAIR_LABEL)];
  for (const id of ids) parts.push(Uint8Array.of(id.length >> 8, id.length & 255), id);
  return Uint8Array.from(Buffer.concat(parts));
}

/** Makes a ring; `keys` are taken over. */
export function makeRing(
  name: string,
  addresses: readonly PeerAddress[],
  keys: RingKeys,
): ConfigRing {
  return { name, addresses, keys, fingerprint: fingerprintOf(addresses, keys) };
}

/** Classic rings of peers that have a secret or an id. `source` is the file's path, for messages. */
export function peerRings(
  peers: readonly PeerTable[],
  pair: PairTable | undefined,
  places: SecretPlaces,
  source: string,
): readonly ConfigRing[] {
  const masters = pair === undefined ? undefined : readMasters(pair, places);
  const rings: ConfigRing[] = [];
  try {
    for (const peer of peers) {
      const addresses = peerAddresses(peer, source);
      rings.push(makeRing(peer.name, addresses, peerKeys(peer, pair, masters, places, source)));
    }
    return rings;
  } catch (error) {
    for (const ring of rings) wipeRing(ring);
    throw error;
  } finally {
    if (masters !== undefined) wipeKeys(masters);
  }
}

/** Refuses one secret in two rings: what one peer sealed would pass for the other's. */
export function refuseSharedSecrets(rings: readonly ConfigRing[]): void {
  const owners = new Map<string, { readonly ring: number; readonly pair: string | undefined }>();
  rings.forEach(({ keys, name }, ring) => {
    const pair = keys.pairInfo === undefined ? undefined : hex(keys.pairInfo);
    for (const secret of [keys.current, keys.previous, keys.next]) {
      if (secret === undefined) continue;
      const digest = createHmac("sha256", FINGERPRINT_KEY).update(secret).digest("hex");
      const owner = owners.get(digest);
      owners.set(digest, { ring, pair });
      if (owner === undefined || owner.ring === ring) continue;
      if (owner.pair !== undefined && pair !== undefined && owner.pair !== pair) continue;
      throw new DaemonError(
        "ERR_CONFIG_SECRET",
        `${ringName(name)} and ${ringName(rings[owner.ring].name)} have the same secret`,
        "Give each its own, made with `openssl rand -hex 32`.",
      );
    }
  });
}

/** Overwrites the secrets of a ring. */
export const wipeRing = (ring: ConfigRing): void => wipeKeys(ring.keys);

/** Reads `IP`, `IP:port`, `[IPv6]:port`, `name` or `name:port`; undefined for other text. */
export function parsePeerAddress(text: string): PeerAddress | undefined {
  const whole = canonicalAddress(text);
  if (whole !== undefined) return { address: whole, port: undefined };
  const match = /^(?:\[([^\]]+)\]|([^:[\]]+))(?::(\d{1,5}))?$/.exec(text);
  if (match === null) return undefined;
  const [, bracketed, bare, digits] = match;
  const port = digits === undefined ? undefined : Number(digits);
  if (port !== undefined && (port < 1 || port > 65_535)) return undefined;
  if (bracketed !== undefined) {
    const address = canonicalAddress(bracketed);
    return address === undefined || !bracketed.includes(":") ? undefined : { address, port };
  }
  const address = canonicalAddress(bare) ?? hostName(bare);
  return address === undefined ? undefined : { address, port };
}

// --- Addresses ---------------------------------------------------------------------------------

const LABEL = /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/;

/** Lower case without a final dot. The last label of a name is never a number: that is a bad IP. */
function hostName(text: string): string | undefined {
  const name = text.toLowerCase().replace(/\.$/, "");
  const labels = name.split(".");
  const fits = name.length <= 253 && labels.every((label) => LABEL.test(label));
  return fits && !/^(\d+|0x[0-9a-f]*)$/.test(labels[labels.length - 1]) ? name : undefined;
}

/** The addresses of a peer in one spelling each; none is for sessions to judge. */
export function peerAddresses(peer: PeerTable, source: string): readonly PeerAddress[] {
  const texts = typeof peer.address === "string" ? [peer.address] : (peer.address ?? []);
  return texts.map((text) => {
    const parsed = parsePeerAddress(text.trim());
    if (parsed === undefined) {
      throw new DaemonError(
        "ERR_CONFIG",
        `${source}: peer ${peer.name} has the address ${quoted(text)}, which is none`,
        "Write an IP address, IP:port, [IPv6]:port or a host name.",
      );
    }
    if (peer.port !== undefined && parsed.port !== undefined && parsed.port !== peer.port) {
      throw new DaemonError(
        "ERR_CONFIG",
        `${source}: peer ${peer.name} has port ${parsed.port} in its address and port ${peer.port}`,
        "Leave one of them out.",
      );
    }
    return Object.freeze({ address: parsed.address, port: parsed.port ?? peer.port });
  });
}

/** Two peers under one name or one address could not be told apart. */
export function refuseTwins(
  peers: readonly Pick<ConfigRing, "name" | "addresses">[],
  source: string,
): void {
  const refuse = (message: string, next: string): DaemonError =>
    new DaemonError("ERR_CONFIG", `${source}: ${message}`, next);
  const names = new Set<string>();
  for (const { name } of peers) {
    if (names.has(name)) throw refuse(`two peers are named ${name}`, "Rename one of them.");
    if (canonicalAddress(name) !== undefined) {
      throw refuse(`peer name ${name} is an IP address`, "Give it a name of its own.");
    }
    names.add(name);
  }
  const owners = new Map<string, string>();
  for (const { name, addresses } of peers) {
    for (const { address, port } of addresses) {
      const place = port === undefined ? address : `${address}, port ${port}`;
      const owner = owners.get(place);
      owners.set(place, name);
      if (owner === name) throw refuse(`peer ${name} lists ${place} twice`, "Leave one of them.");
      if (owner !== undefined) {
        throw refuse(`peers ${owner} and ${name} both have ${place}`, "Leave it to one of them.");
      }
      if (address !== name && names.has(address)) {
        throw refuse(`${address} is one peer's name and ${name}'s address`, "Rename that peer.");
      }
    }
  }
}

// --- Keys --------------------------------------------------------------------------------------

function peerKeys(
  peer: PeerTable,
  pair: PairTable | undefined,
  masters: RingKeys | undefined,
  places: SecretPlaces,
  source: string,
): RingKeys {
  const refuse = (trouble: string, next: string): DaemonError =>
    new DaemonError("ERR_CONFIG", `${source}: peer ${peer.name} ${trouble}`, next);
  const ways = [peer.secret, peer.secret_file, peer.id].filter((way) => way !== undefined);
  if (ways.length > 1) {
    throw refuse("has more than one of secret, secret_file and id", "Leave one of them.");
  }
  if (ways.length === 0) {
    throw refuse("has no secret", "Add public_key, or secret_file, or an id and a [pair] table.");
  }
  if (peer.id === undefined) {
    return readKeys(
      peer.secret === undefined
        ? () => readSecretFile(peer.secret_file ?? "", places)
        : () => parseSecret(peer.secret ?? "", `${source}: secret of peer ${peer.name}`),
      peer.previous_secret_file,
      peer.next_secret_file,
      places,
    );
  }
  if (peer.previous_secret_file !== undefined || peer.next_secret_file !== undefined) {
    throw refuse("has an id and secret files", "Leave the files out: a pair's are in [pair].");
  }
  if (pair === undefined || masters === undefined) {
    throw refuse("has an id and there is no [pair] table", "Add [pair] with id and master_file.");
  }
  if (pair.id === peer.id) {
    throw refuse("has our own id", "Give it the id that its own [pair] table has.");
  }
  return { ...copyKeys(masters), pairInfo: pairInfo(pair.id, peer.id) };
}

const readMasters = (pair: PairTable, places: SecretPlaces): RingKeys =>
  readKeys(
    () => readSecretFile(pair.master_file, places),
    pair.previous_master_file,
    pair.next_master_file,
    places,
  );

/** Reads a ring's secrets; what was read is wiped when a later one is refused. */
export function readKeys(
  current: () => Uint8Array,
  previousFile: string | undefined,
  nextFile: string | undefined,
  places: SecretPlaces,
): RingKeys {
  const read: Uint8Array[] = [];
  const keep = (secret: Uint8Array): Uint8Array => {
    read.push(secret);
    return secret;
  };
  const optional = (file: string | undefined): Uint8Array | undefined =>
    file === undefined ? undefined : keep(readSecretFile(file, places));
  try {
    return {
      current: keep(current()),
      previous: optional(previousFile),
      next: optional(nextFile),
      pairInfo: undefined,
    };
  } catch (error) {
    for (const secret of read) wipe(secret);
    throw error;
  }
}

/** A copy whose secrets are its own to wipe. */
export const copyKeys = ({ current, previous, next, pairInfo: info }: RingKeys): RingKeys => ({
  current: Uint8Array.from(current),
  previous: previous === undefined ? undefined : Uint8Array.from(previous),
  next: next === undefined ? undefined : Uint8Array.from(next),
  pairInfo: info,
});

function wipeKeys(keys: RingKeys): void {
  for (const secret of [keys.current, keys.previous, keys.next]) wipe(secret);
}

/** Drawn anew by each process, so that a fingerprint cannot be looked up. */
const FINGERPRINT_KEY = randomBytes(32);

function fingerprintOf(addresses: readonly PeerAddress[], keys: RingKeys): string {
  const hmac = createHmac("sha256", FINGERPRINT_KEY).update(JSON.stringify(addresses));
  for (const part of [keys.current, keys.previous, keys.next, keys.pairInfo]) {
    hmac.update(Uint8Array.of(part?.length ?? 0)).update(part ?? "");
  }
  return hmac.digest("hex");
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
const ringName = (name: string): string => (name === "" ? "the shared ring" : `peer ${name}`);
