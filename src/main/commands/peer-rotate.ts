// `securedgram peer rotate`: a key changes in two phases, so that a peer that is off is never stranded.
// First the next key is installed on both hosts beside the current one; the daemons find out that both
// have it and go over by themselves. Then --finish makes it the current one, and only when traffic
// under it proved that the peer can follow (src/shared/protocol/session/rotation.ts).

import { randomBytes } from "node:crypto";
import { rmSync } from "node:fs";
import { basename, dirname, relative } from "node:path";
import { DaemonError, EXIT, type ExitCode } from "../../shared/base/errors.js";
import { type PeerConfig, speaksSession } from "../../shared/protocol/session/peer-config.js";
import { factsOf, ringFault, rotationPhase } from "../../shared/protocol/session/rotation.js";
import { readPeerRows } from "../client/peer-rows.js";
import { identityFile } from "../config-keys.js";
import { newPrivateKey, parsePublicKey, publicKeyOf } from "../identity.js";
import { lockHolder } from "../instance.js";
import { freePath, ownershipOf, writePrivateFile } from "../private-file.js";
import { base64Text, parseSecret, readSecretFile, secretPath, trimmed, wipe } from "../secrets.js";
import { usageError } from "./argv.js";
import type { Io } from "./io.js";
import { keyFromStdin } from "./key.js";
import { type KeyChange, PeerFile } from "./peer-file.js";
import type { PeerLine } from "./peer-options.js";
import { configuredPeers, rotationOf, rowOf } from "./peer-status.js";

type Options = PeerLine["options"];
const SECRET_BYTES = 32;

export async function rotatePeer(name: string, options: Options, io: Io): Promise<ExitCode> {
  if (options.identity !== (name === "")) {
    throw usageError(
      options.identity ? "--identity is about this host, not one peer" : "no peer was named",
      "Usage: securedgram peer rotate NAME, or securedgram peer rotate --identity",
    );
  }
  const file = new PeerFile(options, io);
  const rotation = new Rotation(file, options, io);
  if (options.identity) return await rotation.identity();
  return await rotation.peer(name);
}

class Rotation {
  readonly #file: PeerFile;
  readonly #options: Options;
  readonly #io: Io;

  constructor(file: PeerFile, options: Options, io: Io) {
    this.#file = file;
    this.#options = options;
    this.#io = io;
  }

  // --- The secret of a pair, and the public key of a peer ------------------------------------------

  async peer(name: string): Promise<ExitCode> {
    const { peer, index } = this.#file.find(name);
    const { finish, abandon, install, "public-key": publicKey } = this.#options;
    const config = this.#configOf(name);
    if (finish) return this.#finishPeer(config, index);
    if (abandon) return this.#abandonPeer(config, index);
    this.#refuseSecond(config);
    if (publicKey !== undefined) {
      const key = base64Text(parsePublicKey(publicKey, "--public-key"));
      this.#file.change([[index, "next_public_key", key]]);
      return EXIT.done;
    }
    if (peer.secret === undefined && peer.secret_file === undefined) {
      throw new DaemonError(
        "ERR_CONFIG",
        `peer ${name} shares no secret with us`,
        "To add one, set secret_file on both hosts; to change our identity, use --identity.",
      );
    }
    if (install !== undefined) {
      const secret = await this.#givenSecret(install);
      this.#installSecret(name, index, secret);
      return EXIT.done;
    }
    const secret = Uint8Array.from(randomBytes(SECRET_BYTES));
    const line = `${base64Text(secret)}\n`;
    this.#installSecret(name, index, secret);
    await this.#io.write(line);
    this.#say(`give this secret to ${name} on a private way; there, with its name for us:`);
    this.#say("securedgram peer rotate NAME --install -");
    this.#say("then apply it on both hosts, and see `securedgram peer status`");
    return EXIT.done;
  }

  /** Writes the secret beside the others and names it as the next one. `secret` is wiped. */
  #installSecret(name: string, index: number, secret: Uint8Array): void {
    const { directory } = this.#home;
    const path = freePath(directory, `${name}.secret`);
    try {
      writePrivateFile(path, `${base64Text(secret)}\n`, { replace: false, like: this.#home.like });
    } finally {
      wipe(secret);
    }
    this.#nameFile(path, [index, "next_secret_file", basename(path)]);
  }

  async #givenSecret(from: string): Promise<Uint8Array> {
    if (from !== "-") {
      return readSecretFile(from, { base: this.#io.directory, credentials: undefined });
    }
    const bytes = await keyFromStdin(this.#io);
    try {
      return parseSecret(trimmed(bytes), "standard input");
    } finally {
      wipe(bytes);
    }
  }

  #finishPeer(config: PeerConfig, index: number): ExitCode {
    const part = this.#changingPart(config);
    if (part === "own") {
      throw new DaemonError(
        "ERR_CONFIG",
        "it is our identity that changes",
        "Use --identity --finish.",
      );
    }
    const state = this.#stateOf(config);
    const phase = rotationPhase(state);
    const { peer } = this.#file.find(config.name);
    const key = part === "peer" ? "public_key" : "secret_file";
    const [next, previous] = [`next_${key}`, `previous_${key}`] as const;
    if (state.ring.next === undefined) {
      if (phase !== "retirable") throw this.#unproven(config.name, phase);
      this.#file.change([[index, previous, undefined]]);
      this.#leftOver(part === "secret" ? peer.previous_secret_file : undefined);
      return EXIT.done;
    }
    const isProven = phase === "proven";
    if (!isProven && !this.#options.force) throw this.#unproven(config.name, phase);
    const value = part === "peer" ? peer.next_public_key : peer.next_secret_file;
    const old = part === "peer" ? peer.public_key : peer.secret_file;
    const changes: KeyChange[] = [
      [index, key, value],
      [index, next, undefined],
    ];
    if (part === "secret" && peer.secret !== undefined) changes.push([index, "secret", undefined]);
    if (!isProven && old !== undefined) changes.push([index, previous, old]);
    else if (peer[previous] !== undefined) changes.push([index, previous, undefined]);
    this.#file.change(changes);
    if (isProven && part === "secret") this.#leftOver(old);
    return EXIT.done;
  }

  #abandonPeer(config: PeerConfig, index: number): ExitCode {
    const part = this.#changingPart(config);
    if (part === "own") {
      throw new DaemonError(
        "ERR_CONFIG",
        "it is our identity that changes",
        "Use --identity --abandon.",
      );
    }
    this.#refuseAbandon([config]);
    const { peer } = this.#file.find(config.name);
    const key = part === "peer" ? "next_public_key" : "next_secret_file";
    if (peer[key] === undefined) {
      throw new DaemonError(
        "ERR_CONFIG",
        `peer ${config.name} has no next key: it is the current one already`,
        "Wait for traffic under it, then use --finish; to go back, rotate again behind that.",
      );
    }
    this.#file.change([[index, key, undefined]]);
    this.#leftOver(part === "secret" ? peer.next_secret_file : undefined);
    return EXIT.done;
  }

  // --- Our identity --------------------------------------------------------------------------------

  async identity(): Promise<ExitCode> {
    const found = identityFile(this.#file.sources, this.#file.places);
    const { finish, abandon } = this.#options;
    const table = this.#file.sources.file?.table;
    const peers = configuredPeers(this.#file).filter(speaksSession);
    if (finish) return this.#finishIdentity(peers, found.name);
    if (abandon) {
      this.#changingIdentity();
      this.#refuseAbandon(peers);
      this.#file.change([["top", "next_identity_file", undefined]]);
      this.#leftOver(table?.next_identity_file);
      return EXIT.done;
    }
    for (const peer of peers) this.#refuseSecond(peer);
    if (peers.length === 0) {
      throw new DaemonError(
        "ERR_CONFIG",
        "no peer speaks sessions, so nobody knows our identity",
        "Make a new one: `securedgram key new --out FILE --force`.",
      );
    }
    const { directory, like } = this.#home;
    const path = freePath(directory, "identity");
    const key = newPrivateKey();
    const publicKey = base64Text(publicKeyOf(key));
    try {
      writePrivateFile(path, `${base64Text(key)}\n`, { replace: false, like });
    } finally {
      wipe(key);
    }
    this.#nameFile(path, ["top", "next_identity_file", basename(path)]);
    await this.#io.write(`${publicKey}\n`);
    this.#say("this is our next public key; on each peer, with its name for us:");
    this.#say(`securedgram peer rotate NAME --public-key ${publicKey}`);
    this.#say(
      `peers: ${peers.map((peer) => peer.name).join(", ")}; then see \`securedgram peer status\``,
    );
    return EXIT.done;
  }

  #finishIdentity(peers: readonly PeerConfig[], current: string): ExitCode {
    const table = this.#file.sources.file?.table;
    const role = this.#changingIdentity();
    if (this.#io.environment["SECUREDGRAM_IDENTITY"]) {
      throw new DaemonError(
        "ERR_CONFIG",
        "SECUREDGRAM_IDENTITY names the identity, which this command cannot change",
        "Name it in the configuration file: identity_file.",
      );
    }
    const wanted = role === "next" ? "proven" : "retirable";
    const late = peers.filter((peer) => rotationPhase(this.#stateOf(peer)) !== wanted);
    if (late.length > 0 && (role === "previous" || !this.#options.force)) {
      const names = late.map((peer) => peer.name).join(", ");
      throw new DaemonError(
        "ERR_NOT_YET",
        `no traffic under the new identity from: ${names}`,
        role === "previous"
          ? "Wait until it came: the old identity is kept for them; remove those that are gone for good."
          : "Wait until it came; or keep the old identity as the previous one with --force.",
      );
    }
    if (role === "previous") {
      this.#file.change([["top", "previous_identity_file", undefined]]);
      this.#leftOver(table?.previous_identity_file);
      return EXIT.done;
    }
    const changes: KeyChange[] = [
      ["top", "identity_file", table?.next_identity_file],
      ["top", "next_identity_file", undefined],
    ];
    if (late.length > 0) changes.push(["top", "previous_identity_file", current]);
    else if (table?.previous_identity_file !== undefined) {
      changes.push(["top", "previous_identity_file", undefined]);
    }
    this.#file.change(changes);
    if (late.length === 0) this.#leftOver(current);
    return EXIT.done;
  }

  #changingIdentity(): "next" | "previous" {
    const table = this.#file.sources.file?.table;
    if (table?.next_identity_file !== undefined) return "next";
    if (table?.previous_identity_file !== undefined) {
      if (!this.#options.abandon) return "previous";
      throw new DaemonError(
        "ERR_CONFIG",
        "there is no next identity: it is the current one already",
        "Wait for traffic under it, then use --identity --finish.",
      );
    }
    throw new DaemonError(
      "ERR_CONFIG",
      "our identity does not change",
      "Start with: peer rotate --identity",
    );
  }

  // --- What may be done ----------------------------------------------------------------------------

  #configOf(name: string): PeerConfig {
    const config = configuredPeers(this.#file).find((peer) => peer.name === name);
    if (config !== undefined && speaksSession(config)) return config;
    throw new DaemonError(
      "ERR_CONFIG",
      `peer ${name} speaks classic, whose secrets change by hand`,
      "See docs/PROTOCOL.md 5.3.",
    );
  }

  #stateOf(config: PeerConfig) {
    const row = rowOf(config, readPeerRows(this.#file.database));
    const state = rotationOf(config, row);
    if (state !== undefined) return state;
    throw new DaemonError("ERR_CONFIG", `peer ${config.name} speaks classic`, "See docs/KEYS.md.");
  }

  /** Which of the three keys of a pair changes. */
  #changingPart(config: PeerConfig): "own" | "peer" | "secret" {
    const ring = speaksSession(config) ? config.ring : [];
    const [, other] = ring;
    if (other === undefined) {
      throw new DaemonError(
        "ERR_CONFIG",
        `no key of peer ${config.name} changes`,
        `Start with: securedgram peer rotate ${config.name}`,
      );
    }
    if (other.own !== "current") return "own";
    return other.peer !== "current" ? "peer" : "secret";
  }

  #refuseSecond(config: PeerConfig): void {
    if (speaksSession(config) && config.ring.length === 1) return;
    throw new DaemonError(
      "ERR_CONFIG",
      `a key of peer ${config.name} changes already`,
      "Finish or abandon that first; `securedgram peer status` says where it stands.",
    );
  }

  #unproven(name: string, phase: string): DaemonError {
    return new DaemonError(
      "ERR_NOT_YET",
      `peer ${name} has not been heard under the new key (${phase})`,
      phase === "switched"
        ? "Wait until it was: the old key is kept for it; if it is gone for good, remove the peer."
        : "Wait until it was; or keep the old key as the previous one with --force.",
    );
  }

  /** While the daemon runs it could go over to the next key in the same moment. */
  #refuseAbandon(peers: readonly PeerConfig[]): void {
    const holder = lockHolder(this.#file.database);
    if (holder !== undefined) {
      throw new DaemonError(
        "ERR_ALREADY_RUNNING",
        `the daemon runs (process ${holder.pid}) and may go over to the next key`,
        "Stop it, abandon, start it.",
      );
    }
    if (this.#options.force) return;
    for (const peer of peers) {
      const state = this.#stateOf(peer);
      const { next } = state.ring;
      if (next === undefined) continue;
      const fault = ringFault(state, { ...state.ring, next: undefined });
      if (fault === undefined && factsOf(state, next).heldMs === 0) continue;
      throw new DaemonError(
        "ERR_CONFIG",
        `peer ${peer.name} has the next key and may have no other soon`,
        "Finish the rotation, then rotate again.",
      );
    }
  }

  // --- Parts ---------------------------------------------------------------------------------------

  /** Where new key files go, and whose they are to be: beside the configuration, its owner's. */
  get #home() {
    return { directory: dirname(this.#file.path), like: ownershipOf(this.#file.path) };
  }

  /** Names a new key file in the configuration; a refusal leaves nothing behind. */
  #nameFile(path: string, change: KeyChange): void {
    try {
      this.#file.change([change]);
    } catch (error) {
      rmSync(path, { force: true });
      throw error;
    }
  }

  #leftOver(name: string | undefined): void {
    if (name === undefined) return;
    const path = secretPath(name, this.#file.places);
    this.#say(
      `${relative(this.#io.directory, path) || path} is no longer used; remove it once applied`,
    );
  }

  #say(text: string): void {
    this.#io.say(`${this.#io.program}: ${text}`);
  }
}
