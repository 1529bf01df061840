// Frames that steer a session and carry no message: what is to be written of them, and what becomes of
// them when their packet is lost.

import { CONTENT } from "./content-log.js";
import {
  keysBytes,
  PATH_FRAME_BYTES,
  putKeys,
  putPath,
  putRekey,
  type RingKey,
  rekeyBytes,
} from "./frame-control.js";
import { FRAME } from "./frame-type.js";
import type { PacketBuilder } from "./packet-builder.js";
import type { PeerPath } from "./peer-path.js";
import type { Rekeys } from "./rekeys.js";

export class ControlFrames {
  readonly #path: PeerPath;
  readonly #rekeys: Rekeys;
  /** Keys of our ring for this peer, as it may know them. */
  #keys: readonly RingKey[] = [];
  #tellKeys = false;
  /** Data of the newest challenge of the peer that is not answered. */
  #response: Uint8Array | undefined;

  constructor(path: PeerPath, rekeys: Rekeys) {
    this.#path = path;
    this.#rekeys = rekeys;
  }

  /** Something waits to be written. */
  get waiting(): boolean {
    return (
      this.#tellKeys ||
      this.#response !== undefined ||
      this.#path.challenging ||
      this.#rekeys.frame !== undefined
    );
  }

  /** The keys that the peer should know we hold; told in every session. */
  set keys(keys: readonly RingKey[]) {
    this.#keys = keys;
    this.#tellKeys = keys.length > 0;
  }

  /** A session began: what both ends should know of each other is said again. */
  sessionUp(): void {
    this.#tellKeys = this.#keys.length > 0;
    this.#response = undefined;
  }

  /** PATH_CHALLENGE: the same 8 bytes go back. */
  answer(bytes: Uint8Array, dataAt: number): void {
    this.#response = bytes.slice(dataAt, dataAt + PATH_FRAME_BYTES - 1);
  }

  write(packet: PacketBuilder): void {
    if (this.#response !== undefined && packet.room >= PATH_FRAME_BYTES) {
      packet.at = putPath(packet.bytes, packet.at, FRAME.pathResponse, this.#response);
      packet.eliciting = true;
      this.#response = undefined;
    }
    if (this.#path.challenging) this.writeChallenge(packet);
    this.#writeRekeys(packet);
    if (this.#tellKeys && packet.room >= keysBytes(this.#keys.length)) {
      if (!packet.note(CONTENT.keys, 0, 0, 0)) return;
      packet.at = putKeys(packet.bytes, packet.at, this.#keys);
      packet.eliciting = true;
      this.#tellKeys = false;
    }
  }

  /** PATH_CHALLENGE for the place where the peer is now. */
  writeChallenge(packet: PacketBuilder): void {
    if (packet.room < PATH_FRAME_BYTES) return;
    if (!packet.note(CONTENT.challenge, 0, 0, 0)) return;
    packet.at = putPath(packet.bytes, packet.at, FRAME.pathChallenge, this.#path.challenge);
    packet.eliciting = true;
    this.#path.challenging = false;
  }

  /** The packet with KEYS, or with the challenge, was lost. */
  keysLost(): void {
    this.#tellKeys = this.#keys.length > 0;
  }
  challengeLost(): void {
    this.#path.challenging = !this.#path.proven;
  }

  #writeRekeys(packet: PacketBuilder): void {
    for (let frame = this.#rekeys.frame; frame !== undefined; frame = this.#rekeys.frame) {
      if (packet.room < rekeyBytes(frame.noise.length)) return;
      if (!packet.note(CONTENT.rekey, frame.type, frame.sessionId, 0)) return;
      const { type, sessionId, answers, noise } = frame;
      packet.at = putRekey(packet.bytes, packet.at, type, sessionId, answers, noise);
      packet.eliciting = true;
      this.#rekeys.sent();
    }
  }
}
