// The keys of a configuration: the shared ring, the peers' classic rings, our identities, and what each
// session peer shares with us. All of it is read, or nothing: a refusal wipes what came before it.

import { existsSync } from "node:fs";
import { DaemonError } from "../shared/base/errors.js";
import { ENV_IDENTITY, ENV_SECRET, type Sources } from "./config-sources.js";
import { type Identities, MAKE_IDENTITY, readIdentityFile, wipeIdentities } from "./identity.js";
import {
  type ConfigRing,
  copyKeys,
  makeRing,
  peerRings,
  readKeys,
  refuseSharedSecrets,
  wipeRing,
} from "./peers.js";
import {
  base64Text,
  MAKE_SECRET,
  parseSecret,
  readSecretFile,
  type SecretPlaces,
  secretPath,
} from "./secrets.js";
import {
  hasOwnRing,
  judgePeers,
  needsIdentity,
  readPeers,
  type SessionPeer,
  wipePeers,
} from "./session-peers.js";

/** Where the shared secret stood; one of the first two cannot change while the process lives. */
export type SecretOrigin = "flag" | "environment" | "env file" | "file" | "none";

/** All that is secret in a configuration, and what it belongs to. */
export interface Keys {
  /** The shared ring first, if there is one, then the peers' classic ones in the order of the file. */
  readonly rings: readonly ConfigRing[];
  /** All peers in the order of the file; each says which classic ring is its own. */
  readonly peers: readonly SessionPeer[];
  /** Ours, when a peer speaks sessions or a setting names one. */
  readonly identities: Identities | undefined;
  readonly secretOrigin: SecretOrigin;
  /** Files that any of it may have been read from. */
  readonly keyFiles: readonly string[];
}

/**
 * Overwrites what a reload reads anew: all but a shared secret that came from the command line or the
 * environment, where it is no more.
 */
export function wipeReadKeys({
  rings,
  peers,
  identities,
  secretOrigin,
}: Omit<Keys, "keyFiles">): void {
  const isKept = secretOrigin === "flag" || secretOrigin === "environment";
  wipeSecrets({ rings: isKept ? rings.slice(1) : rings, peers, identities });
}

/** Overwrites all secrets of a configuration. */
export function wipeSecrets({
  rings,
  peers,
  identities,
}: Pick<Keys, "rings" | "peers" | "identities">): void {
  for (const ring of rings) wipeRing(ring);
  wipePeers(peers);
  wipeIdentities(identities);
}

/**
 * Reads them. `portDefault`: of a peer's address without one. A secret that came from the command line
 * or the environment is taken from `old` at a reload, since it was wiped there.
 */
export function readAllKeys(sources: Sources, portDefault: number, old: Keys | undefined): Keys {
  const { file, env, cwd } = sources;
  const credentials = env["CREDENTIALS_DIRECTORY"];
  const places: SecretPlaces = { base: file?.directory ?? cwd, credentials };
  const { peer: tables = [], pair } = file?.table ?? {};
  const source = file?.path ?? "";
  const rings: ConfigRing[] = [];
  let identities: Identities | undefined;
  let peers: readonly SessionPeer[] = [];
  try {
    judgePeers(tables, source);
    const shared = sharedRing(sources, places, old);
    if (shared.ring !== undefined) rings.push(shared.ring);
    rings.push(...peerRings(tables.filter(hasOwnRing), pair, places, source));
    if (rings.length === 0 && tables.length === 0) throw noSecret(sources);
    refuseSharedSecrets(rings);
    for (const ring of rings) freezeRing(ring);
    identities = readIdentities(sources, places, needsIdentity(tables));
    peers = readPeers({ peers: tables, identities, rings, places, portDefault, source });
    const keyFiles = keyFilesOf(sources, places, identities !== undefined);
    return {
      rings: Object.freeze(rings),
      peers,
      identities,
      secretOrigin: shared.origin,
      keyFiles,
    };
  } catch (error) {
    wipeSecrets({ rings, peers, identities });
    throw error;
  }
}

/** Name of the file beside the configuration when nobody names another. */
export const IDENTITY_FILE_NAME = "identity";

/** Where our identity is, and where relative names start. */
export function identityFile(
  sources: Pick<Sources, "file" | "env" | "envFile" | "cwd">,
  places: SecretPlaces,
): { readonly name: string; readonly places: SecretPlaces; readonly isNamed: boolean } {
  const { file, env, envFile, cwd } = sources;
  const variable = env[ENV_IDENTITY] || envFile.get(ENV_IDENTITY);
  if (variable) return { name: variable, places: { ...places, base: cwd }, isNamed: true };
  const name = file?.table.identity_file;
  return { name: name ?? IDENTITY_FILE_NAME, places, isNamed: name !== undefined };
}

/** Every file that the tables name for a key, at the place where it is looked for. */
function keyFilesOf(
  sources: Sources,
  places: SecretPlaces,
  withIdentity: boolean,
): readonly string[] {
  const table = sources.file?.table;
  if (table === undefined) return [];
  const identity = identityFile(sources, places);
  const named = [table, table.pair, ...(table.peer ?? [])].flatMap((each) =>
    Object.entries(each ?? {}).flatMap(([key, value]) =>
      key.endsWith("_file") && key !== "pid_file" && typeof value === "string" ? [value] : [],
    ),
  );
  const paths = named.map((name) => secretPath(name, places));
  return withIdentity ? [secretPath(identity.name, identity.places), ...paths] : paths;
}

function readIdentities(
  sources: Sources,
  places: SecretPlaces,
  isNeeded: boolean,
): Identities | undefined {
  const { next_identity_file: next, previous_identity_file: previous } = sources.file?.table ?? {};
  const found = identityFile(sources, places);
  const isWanted = isNeeded || found.isNamed || next !== undefined || previous !== undefined;
  if (!isWanted) return undefined;
  if (!found.isNamed && !existsSync(secretPath(found.name, found.places))) {
    throw new DaemonError(
      "ERR_CONFIG",
      `a peer speaks sessions, and ${secretPath(found.name, found.places)} does not exist`,
      MAKE_IDENTITY.replace("FILE", secretPath(found.name, found.places)),
    );
  }
  const identities: { -readonly [Role in keyof Identities]: Identities[Role] } = {
    current: readIdentityFile(found.name, found.places),
    next: undefined,
    previous: undefined,
  };
  try {
    if (next !== undefined) identities.next = readIdentityFile(next, places);
    if (previous !== undefined) identities.previous = readIdentityFile(previous, places);
    const { current } = identities;
    for (const role of ["next", "previous"] as const) {
      const other = identities[role]?.publicKey;
      if (other === undefined || Buffer.compare(other, current.publicKey) !== 0) continue;
      throw new DaemonError(
        "ERR_CONFIG",
        `identity_file and ${role}_identity_file hold the same key`,
        `Remove ${role}_identity_file.`,
      );
    }
    return Object.freeze(identities);
  } catch (error) {
    wipeIdentities(identities);
    throw error;
  }
}

function sharedRing(
  sources: Sources,
  places: SecretPlaces,
  old: Keys | undefined,
): { readonly ring: ConfigRing | undefined; readonly origin: SecretOrigin } {
  const table = sources.file?.table;
  const { previous_secret_file: previous, next_secret_file: next } = table ?? {};
  const { origin, read } = findSecret(sources, places, old);
  if (origin === "flag") {
    sources.warnings.push("--secret is visible to other users of this machine; use a secret file");
  }
  if (read === undefined) {
    if (previous === undefined && next === undefined) return { ring: undefined, origin };
    throw new DaemonError(
      "ERR_CONFIG",
      `${sources.file?.path} has a previous or next secret and no current one`,
      "Add secret_file.",
    );
  }
  return { ring: makeRing("", Object.freeze([]), readKeys(read, previous, next, places)), origin };
}

/** The strongest source of the shared secret, and how to read it. */
function findSecret(
  { flags, env, envFile, envFilePath, file }: Sources,
  places: SecretPlaces,
  old: Keys | undefined,
): { readonly origin: SecretOrigin; readonly read: (() => Uint8Array) | undefined } {
  const flag = flags["secret"];
  if (flag !== undefined)
    return { origin: "flag", read: () => parseSecret(String(flag), "--secret") };
  const variable = env[ENV_SECRET];
  if (variable) return { origin: "environment", read: () => parseSecret(variable, ENV_SECRET) };
  if (old?.secretOrigin === "flag" || old?.secretOrigin === "environment") {
    return { origin: old.secretOrigin, read: () => keptSecret(old) };
  }
  const line = envFile.get(ENV_SECRET);
  if (line) {
    return { origin: "env file", read: () => parseSecret(line, `${ENV_SECRET} in ${envFilePath}`) };
  }
  const { secret, secret_file: secretFile } = file?.table ?? {};
  if (secret !== undefined && secretFile !== undefined) {
    throw new DaemonError(
      "ERR_CONFIG",
      `${file?.path} has both secret and secret_file`,
      "Leave one of them.",
    );
  }
  if (secret !== undefined) {
    return { origin: "file", read: () => parseSecret(secret, `secret in ${file?.path}`) };
  }
  if (secretFile !== undefined) {
    return { origin: "file", read: () => readSecretFile(secretFile, places) };
  }
  return { origin: "none", read: undefined };
}

function keptSecret(old: Keys): Uint8Array {
  const secret = copyKeys(old.rings[0].keys).current;
  if (secret.some((byte) => byte !== 0)) return secret;
  throw new DaemonError(
    "ERR_CONFIG_SECRET",
    "the secret of the command line or the environment was wiped after the start",
    "Restart the daemon, or keep the secret in a file.",
  );
}

function noSecret({ file, envFilePath }: Sources): DaemonError {
  const place = file === undefined ? "" : ` or ${file.path}`;
  return new DaemonError(
    "ERR_CONFIG",
    `no secret in the environment, ${envFilePath}${place}, and no peer`,
    `${MAKE_SECRET.slice(0, -1)} and set ${ENV_SECRET} to it in a .env of mode 600.`,
  );
}

function freezeRing(ring: ConfigRing): void {
  Object.freeze(ring.addresses);
  Object.freeze(ring.keys);
  Object.freeze(ring);
}

/** Rings and peers that came, went, or have other keys, addresses or settings. */
export function changedKeys(old: Keys, fresh: Keys): readonly string[] {
  const before = fingerprints(old);
  const after = fingerprints(fresh);
  const names = new Set([...before.keys(), ...after.keys()]);
  return [...names].filter((name) => before.get(name) !== after.get(name));
}

function fingerprints({ rings, peers, identities }: Keys): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  const ours = [identities?.current, identities?.next, identities?.previous];
  if (identities !== undefined) {
    found.set("identity", ours.map((each) => (each ? base64Text(each.publicKey) : "")).join(" "));
  }
  for (const { name, fingerprint } of rings) {
    found.set(name === "" ? "secret" : `peer ${name}`, fingerprint);
  }
  for (const { config, fingerprint } of peers) {
    const key = `peer ${config.name}`;
    found.set(key, `${found.get(key) ?? ""} ${fingerprint}`);
  }
  return found;
}
