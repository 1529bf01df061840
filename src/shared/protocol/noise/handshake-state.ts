// HandshakeState of Noise rev 34 §5.3: runs one handshake by the tokens of its pattern, for either
// side. All secrets are in one block of memory, given by the crypto worker, wiped at the end. A
// message that is refused, by whatever token, leaves no trace: the true one can still come.

import { assert } from "../../base/assert.js";
import { HandshakeVariables, handshakeVariablesBytes } from "./handshake-variables.js";
import { Hkdf, hkdfBytes, labelBytes } from "./hkdf.js";
import { type HandshakePattern, patternOf, type Token } from "./patterns.js";
import {
  CIPHER_KEY_BYTES,
  CIPHER_TAG_BYTES,
  DH_BYTES,
  type HashFunction,
  type KeyPair,
  NOISE_MESSAGE_BYTES_MAX,
  type NoisePrimitives,
  Stretches,
} from "./primitives.js";
import { symmetricScratchBytes } from "./symmetric-state.js";

/** Memory of a handshake with `hash`, bytes (1,120 with BLAKE2b). */
export const handshakeStateBytes = (hash: HashFunction): number =>
  2 * handshakeVariablesBytes(hash) + hkdfBytes(hash) + symmetricScratchBytes(hash) + DH_BYTES;

export interface HandshakeOptions {
  readonly primitives: NoisePrimitives;
  /** Name of the pattern with its modifiers: "KKpsk0". */
  readonly pattern: string;
  readonly initiator: boolean;
  readonly prologue: Uint8Array;
  /** At least {@link handshakeStateBytes}; belongs to the state until it is wiped or split. */
  readonly memory: Uint8Array;
  /** Our static pair, if the pattern has one for us. Lent until the handshake is over. */
  readonly s?: KeyPair;
  /** The remote static key, if the pattern wants it known. Copied. */
  readonly rs?: Uint8Array;
  /** The pre-shared keys (32 bytes each) in the order of their tokens. Lent like `s`. */
  readonly psks?: readonly Uint8Array[];
}

/** Where `split` writes: two keys of 32 bytes, and the handshake hash. */
export interface SplitKeys {
  readonly initiatorKey: Uint8Array;
  readonly responderKey: Uint8Array;
  readonly handshakeHash: Uint8Array;
}

export class HandshakeState {
  readonly #primitives: NoisePrimitives;
  readonly #pattern: HandshakePattern;
  readonly #initiator: boolean;
  readonly #s: KeyPair | undefined;
  readonly #psks: readonly Uint8Array[];
  readonly #memory: Uint8Array;
  readonly #shared: Uint8Array;
  #current: HandshakeVariables;
  #draft: HandshakeVariables;
  #messages = 0;
  #wiped = false;

  constructor(options: HandshakeOptions) {
    const { primitives, memory } = options;
    const { hash } = primitives;
    const stretches = new Stretches(memory);
    this.#primitives = primitives;
    this.#pattern = patternOf(options.pattern);
    this.#initiator = options.initiator;
    this.#s = options.s;
    this.#psks = options.psks ?? [];
    this.#memory = memory;
    const tools = {
      primitives,
      hkdf: new Hkdf(primitives, stretches.next(hkdfBytes(hash))),
      scratch: stretches.next(symmetricScratchBytes(hash)),
    };
    this.#shared = stretches.next(DH_BYTES);
    const bytes = handshakeVariablesBytes(hash);
    this.#current = new HandshakeVariables(tools, stretches.next(bytes));
    this.#draft = new HandshakeVariables(tools, stretches.next(bytes));
    this.#initialize(options);
  }

  /** True when all messages went over: `exportKey`, then `split`, may be called. */
  get finished(): boolean {
    return this.#messages === this.#pattern.messages.length;
  }

  /** How much longer than its payload the next message is, bytes: keys and tags. */
  get overheadBytes(): number {
    assert(!this.#wiped && !this.finished, "a message is still to come");
    let hasKey = this.#current.symmetric.hasKey;
    let bytes = 0;
    for (const token of this.#tokens()) {
      if (token === "e") bytes += DH_BYTES;
      else if (token === "s") bytes += DH_BYTES + (hasKey ? CIPHER_TAG_BYTES : 0);
      if (token === "e" ? this.#pattern.psks > 0 : token !== "s") hasKey = true;
    }
    return bytes + (hasKey ? CIPHER_TAG_BYTES : 0);
  }

  /**
   * Writes the next message and returns its length; undefined, and no change of state, when a key
   * of the other side leads to an all-zero DH. Buffers must not overlap.
   * `context` is not in Noise. What: public bytes, mixed into the handshake hash in front of the
   * payload. Why: it binds the envelope of message 2, as the prologue does that of message 1.
   * Effect: a reader with other bytes refuses the message; without a context it is plain Noise.
   */
  writeMessage(payload: Uint8Array, message: Uint8Array, context?: Uint8Array): number | undefined {
    assert(this.#isWriter(), "a side writes when it is its turn");
    const bytes = payload.length + this.overheadBytes;
    assert(bytes <= NOISE_MESSAGE_BYTES_MAX, "a Noise message has at most 65,535 bytes");
    assert(message.length >= bytes, "a message has room");
    const draft = this.#begin();
    let at = 0;
    for (const token of this.#tokens()) {
      if (token === "e" || token === "s") at = this.#writeKey(draft, token, message, at);
      else if (!this.#mix(draft, token)) return this.#refuse();
    }
    if (context !== undefined) draft.symmetric.mixHash(context);
    draft.symmetric.encryptAndHash(message.subarray(at, bytes), payload);
    return this.#accept(bytes);
  }

  /**
   * Reads the next message and returns the length of its payload, written to `payload`; undefined,
   * and no change of state, when it is not authentic. `context` as in {@link writeMessage}.
   */
  readMessage(message: Uint8Array, payload: Uint8Array, context?: Uint8Array): number | undefined {
    assert(!this.#wiped && !this.finished && !this.#isWriter(), "a side reads at the other's turn");
    const bytes = message.length - this.overheadBytes;
    if (bytes < 0 || message.length > NOISE_MESSAGE_BYTES_MAX) return undefined;
    assert(payload.length >= bytes, "a payload has room");
    const draft = this.#begin();
    let at = 0;
    for (const token of this.#tokens()) {
      if (token === "e") at = this.#readEphemeral(draft, message, at);
      else if (token === "s") {
        const end = at + DH_BYTES + (draft.symmetric.hasKey ? CIPHER_TAG_BYTES : 0);
        if (!draft.symmetric.decryptAndHash(draft.rs, message.subarray(at, end))) {
          return this.#refuse();
        }
        at = end;
      } else if (!this.#mix(draft, token)) return this.#refuse();
    }
    if (context !== undefined) draft.symmetric.mixHash(context);
    const opened = draft.symmetric.decryptAndHash(payload.subarray(0, bytes), message.subarray(at));
    return opened ? this.#accept(bytes) : this.#refuse();
  }

  /** Writes a key for another purpose than Split's keys; SymmetricState says why that is sound. */
  exportKey(into: Uint8Array, label: Uint8Array): void {
    assert(this.finished && !this.#wiped, "a key is exported between the last message and Split");
    this.#current.symmetric.exportKey(into, label);
  }

  /** Writes the keys of both directions and the handshake hash, then wipes itself. */
  split({ initiatorKey, responderKey, handshakeHash }: SplitKeys): void {
    assert(this.finished && !this.#wiped, "Split follows the last message, once");
    this.#current.symmetric.split(initiatorKey, responderKey);
    handshakeHash.set(this.#current.symmetric.handshakeHash);
    this.wipe();
  }

  /** Zeroes its memory, which is the caller's again. Nothing else may be called afterwards. */
  wipe(): void {
    this.#primitives.wipe(this.#memory);
    this.#wiped = true;
  }

  #initialize({ primitives, pattern, prologue, rs, initiator }: HandshakeOptions): void {
    const { symmetric, rs: remoteStatic } = this.#current;
    const { initiatorKnown, responderKnown, psks } = this.#pattern;
    const [weAreKnown, theyAreKnown] = initiator
      ? [initiatorKnown, responderKnown]
      : [responderKnown, initiatorKnown];
    assert(this.#s !== undefined || !(weAreKnown || this.#sends("s")), "our static key is there");
    assert((rs !== undefined) === theyAreKnown, "the remote static key is there if it is known");
    assert(this.#psks.length === psks, "there are as many pre-shared keys as tokens");
    assert(
      this.#psks.every((psk) => psk.length === CIPHER_KEY_BYTES),
      "a pre-shared key has 32 bytes",
    );
    symmetric.initializeSymmetric(
      labelBytes(`Noise_${pattern}_25519_ChaChaPoly_${primitives.hash.name}`),
    );
    symmetric.mixHash(prologue);
    if (rs !== undefined) remoteStatic.set(rs);
    const ours = this.#s?.publicKey ?? remoteStatic;
    if (initiatorKnown) symmetric.mixHash(initiator ? ours : remoteStatic);
    if (responderKnown) symmetric.mixHash(initiator ? remoteStatic : ours);
  }

  #tokens(): readonly Token[] {
    return this.#pattern.messages[this.#messages];
  }

  #sends(token: Token): boolean {
    const ours = this.#initiator ? 0 : 1;
    return this.#pattern.messages.some((tokens, i) => i % 2 === ours && tokens.includes(token));
  }

  #isWriter(): boolean {
    return !this.#wiped && !this.finished && (this.#messages % 2 === 0) === this.#initiator;
  }

  #writeKey(draft: HandshakeVariables, token: "e" | "s", message: Uint8Array, at: number): number {
    if (token === "s") {
      const end = at + DH_BYTES + (draft.symmetric.hasKey ? CIPHER_TAG_BYTES : 0);
      assert(this.#s !== undefined, "our static key is there");
      draft.symmetric.encryptAndHash(message.subarray(at, end), this.#s.publicKey);
      return end;
    }
    this.#primitives.random(draft.e.privateKey);
    this.#primitives.publicKey(draft.e.publicKey, draft.e.privateKey);
    message.set(draft.e.publicKey, at);
    this.#mixEphemeral(draft, draft.e.publicKey);
    return at + DH_BYTES;
  }

  #readEphemeral(draft: HandshakeVariables, message: Uint8Array, at: number): number {
    draft.re.set(message.subarray(at, at + DH_BYTES));
    this.#mixEphemeral(draft, draft.re);
    return at + DH_BYTES;
  }

  /** With pre-shared keys an ephemeral key is mixed into the key too. Source: Noise rev 34 §9.2. */
  #mixEphemeral({ symmetric }: HandshakeVariables, publicKey: Uint8Array): void {
    symmetric.mixHash(publicKey);
    if (this.#pattern.psks > 0) symmetric.mixKey(publicKey);
  }

  /**
   * A DH token or "psk". False when the DH is all zero. What: Noise leaves it open (§12.1). Why: a
   * low-order key would make the result known to all. Effect: the message is refused.
   */
  #mix(draft: HandshakeVariables, token: Exclude<Token, "e" | "s">): boolean {
    if (token === "psk") {
      draft.symmetric.mixKeyAndHash(this.#psks[draft.psksMixed]);
      draft.psksMixed += 1;
      return true;
    }
    const mineIsStatic = token === "ss" || token === (this.#initiator ? "se" : "es");
    const theirsIsStatic = token === "ss" || token === (this.#initiator ? "es" : "se");
    const mine = mineIsStatic ? this.#s : draft.e;
    assert(mine !== undefined, "our static key is there");
    const theirs = theirsIsStatic ? draft.rs : draft.re;
    const good = this.#primitives.dh(this.#shared, mine.privateKey, theirs);
    if (good) draft.symmetric.mixKey(this.#shared);
    this.#primitives.wipe(this.#shared);
    return good;
  }

  #begin(): HandshakeVariables {
    this.#draft.copyFrom(this.#current);
    return this.#draft;
  }

  #refuse(): undefined {
    this.#draft.wipe();
  }

  #accept(bytes: number): number {
    const before = this.#current;
    this.#current = this.#draft;
    this.#draft = before;
    before.wipe();
    this.#messages += 1;
    return bytes;
  }
}
