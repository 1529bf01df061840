// What a crypto worker does with the session jobs of a slab: packets are sealed and opened in place
// under the keys of their slot; handshakes are taken out, worked on and put back.

import { NONCE_BYTES, TAG_BYTES } from "../shared/protocol/constants.js";
import { PACKET_HEADER_BYTES, putPacketNonce } from "../shared/protocol/session/packet.js";
import type {
  IdentityPrivateKeys,
  InstalledPairKey,
  PeerKeys,
} from "../shared/runtime/messages.js";
import { SESSION_JOB, SESSION_OUTCOME, SESSION_WORD } from "../shared/runtime/session-slab.js";
import type { SlabTable } from "../shared/runtime/slab.js";
import { open, sealInPlace, wipe } from "./aead.js";
import { type HandshakeCode, putAnswer, takeJob } from "./handshake-job.js";
import { HandshakeWork } from "./handshake-work.js";
import { IdentityKeys } from "./identity-keys.js";
import { SessionKeys } from "./session-keys.js";

const NO_BYTES = new Uint8Array(0);

export class SessionWork {
  readonly keys = new SessionKeys();
  readonly #identities = new IdentityKeys();
  readonly handshakes = new HandshakeWork(this.#identities, this.keys);
  readonly #nonce = new Uint8Array(NONCE_BYTES);
  packetsSealed = 0;
  packetsOpened = 0;
  packetsRefused = 0;
  handshakesRefused = 0;

  /** Replaces identities and pair keys; handshakes under way end, sessions go on. Wipes its input. */
  install(
    identities: IdentityPrivateKeys,
    peers: readonly (PeerKeys | undefined)[],
  ): readonly (readonly InstalledPairKey[] | undefined)[] {
    this.handshakes.forgetAll();
    return this.#identities.install(identities, peers);
  }

  /** Does the job of one entry; its code is an outcome afterwards. */
  run(table: SlabTable, word: number): void {
    const code = table.words[word];
    switch (code) {
      case SESSION_JOB.sealPacket:
        return this.#seal(table, word);
      case SESSION_JOB.openPacket:
        return this.#open(table, word);
      case SESSION_JOB.forget:
        this.keys.forget(table.words[word + SESSION_WORD.keySlot]);
        this.handshakes.forget(table.words[word + SESSION_WORD.keySlot]);
        table.words[word] = SESSION_OUTCOME.forgotten;
        return;
      default:
        return this.#handshake(table, word, code as HandshakeCode);
    }
  }

  /** Wipes and unmaps every key. */
  free(): void {
    this.handshakes.free();
    this.#identities.free();
    this.keys.free();
  }

  #seal({ words, bytes }: SlabTable, word: number): void {
    const session = this.keys.of(words[word + SESSION_WORD.keySlot]);
    if (session === undefined) {
      words[word] = SESSION_OUTCOME.unsealedPacket;
      return;
    }
    const at = words[word + SESSION_WORD.at];
    const bodyAt = at + PACKET_HEADER_BYTES;
    const bodyEnd = bodyAt + words[word + SESSION_WORD.length];
    putPacketNonce(this.#nonce, 0, words[word + SESSION_WORD.high], words[word + SESSION_WORD.low]);
    sealInPlace(
      bytes.subarray(bodyAt, bodyEnd + TAG_BYTES),
      bytes.subarray(bodyAt, bodyEnd),
      this.#nonce,
      session.sealKey,
      bytes.subarray(at, bodyAt),
    );
    words[word] = SESSION_OUTCOME.sealedPacket;
    this.packetsSealed += 1;
  }

  /** In place: there is one key to try, and libsodium zeroes what does not open. */
  #open({ words, bytes }: SlabTable, word: number): void {
    const session = this.keys.of(words[word + SESSION_WORD.keySlot]);
    if (session === undefined) {
      words[word] = SESSION_OUTCOME.unopenedPacket;
      return;
    }
    const at = words[word + SESSION_WORD.at];
    const bodyAt = at + PACKET_HEADER_BYTES;
    const bodyEnd = bodyAt + words[word + SESSION_WORD.length];
    putPacketNonce(this.#nonce, 0, words[word + SESSION_WORD.high], words[word + SESSION_WORD.low]);
    const isAuthentic = open(
      bytes.subarray(bodyAt, bodyEnd),
      bytes.subarray(bodyAt, bodyEnd + TAG_BYTES),
      this.#nonce,
      session.openKey,
      bytes.subarray(at, bodyAt),
    );
    words[word] = isAuthentic ? SESSION_OUTCOME.openedPacket : SESSION_OUTCOME.refusedPacket;
    if (isAuthentic) this.packetsOpened += 1;
    else this.packetsRefused += 1;
  }

  #handshake(table: SlabTable, word: number, code: HandshakeCode): void {
    const job = takeJob(table, word, code);
    const answer = this.handshakes.run(job);
    wipe(job.input);
    if (answer === undefined) {
      this.handshakesRefused += 1;
      putAnswer(table, word, {
        outcome: SESSION_OUTCOME.refused,
        role: 0,
        keySlot: job.keySlot,
        remoteId: 0,
        answers: 0,
        stampHigh: 0,
        stampLow: 0,
        output: NO_BYTES,
        headerKeyOut: undefined,
        headerKeyIn: undefined,
      });
      return;
    }
    putAnswer(table, word, answer);
    for (const secret of [answer.output, answer.headerKeyOut, answer.headerKeyIn]) {
      if (secret !== undefined && secret.length > 0) wipe(secret);
    }
  }
}
