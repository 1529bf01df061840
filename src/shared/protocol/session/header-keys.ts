// The keys that mask packet counters, one a direction (docs/PROTOCOL.md section 15, step 6). They
// are the only keys of a session that leave its crypto worker: main unmasks counters with them, and
// they tell nothing about the keys that packets are sealed with (SymmetricState.exportKey says
// why).

import type { HandshakeState } from "../noise/handshake-state.js";
import { labelBytes } from "../noise/hkdf.js";

/** Key of SipHash-2-4. */
export const HEADER_KEY_BYTES = 16;

const INITIATOR_TO_RESPONDER = labelBytes("securedgram header i>r");
const RESPONDER_TO_INITIATOR = labelBytes("securedgram header r>i");

/** Header keys, {@link HEADER_KEY_BYTES} each, by who sends the packet. */
export interface HeaderKeys {
  readonly initiatorKey: Uint8Array;
  readonly responderKey: Uint8Array;
}

/**
 * Writes the header keys of a handshake whose last message went over and that was not split yet.
 */
export function deriveHeaderKeys(handshake: HandshakeState, into: HeaderKeys): void {
  handshake.exportKey(into.initiatorKey, INITIATOR_TO_RESPONDER);
  handshake.exportKey(into.responderKey, RESPONDER_TO_INITIATOR);
}
