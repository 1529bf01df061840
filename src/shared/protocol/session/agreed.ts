// A handshake that both ends have finished.

import type { HandshakePayload } from "./handshake-payload.js";
import type { HandshakePlace } from "./handshakes.js";
import type { HandshakeResult, KeyRole } from "./ports.js";

/** A handshake that is finished: the keys of a session lie in the worker. */
export interface Agreed {
  readonly initiator: boolean;
  readonly role: KeyRole;
  readonly keySlot: number;
  readonly localId: number;
  readonly remoteId: number;
  readonly headerKeyOut: Uint8Array;
  readonly headerKeyIn: Uint8Array;
  readonly payload: HandshakePayload;
  /** Where what the other end answered to had been sent, or where our answer goes. */
  readonly address: string;
  readonly port: number;
}

/** What a result of a worker makes of a handshake. */
export function agreedOf(
  initiator: boolean,
  role: KeyRole,
  localId: number,
  remoteId: number,
  payload: HandshakePayload,
  result: HandshakeResult,
  place: HandshakePlace = result,
): Agreed {
  return {
    initiator,
    role,
    keySlot: result.keySlot,
    localId,
    remoteId,
    headerKeyOut: result.headerKeyOut.slice(),
    headerKeyIn: result.headerKeyIn.slice(),
    payload,
    address: place.address,
    port: place.port,
  };
}
