// What is kept of handshakes inside a session, whatever the other end acknowledges.

import assert from "node:assert/strict";
import { test } from "node:test";
import { type Nanoseconds, NS_PER_SECOND, nanoseconds } from "../../../src/shared/base/units.js";
import { encodeHandshakePayload } from "../../../src/shared/protocol/session/handshake-payload.js";
import {
  type HandshakeResult,
  type HandshakeSink,
  KEY_ROLE,
} from "../../../src/shared/protocol/session/ports.js";
import { Rekeys } from "../../../src/shared/protocol/session/rekeys.js";
import { SessionIds } from "../../../src/shared/protocol/session/session-ids.js";

const PARENT = { keySlot: 9 };
const PAYLOAD = encodeHandshakePayload(
  {
    boot: new Uint8Array(8),
    wallNs: 1n,
    accepted: 1n,
    messageBytesMax: 1_000,
    datagramBytesMax: 1_452,
    ackDelayMs: 25,
    creditMessages: 10,
    creditBytes: 10_000,
  },
  0,
);
const RESULT: Omit<HandshakeResult, "kind"> = {
  peer: 0,
  tag: 0,
  parentKeySlot: PARENT.keySlot,
  role: KEY_ROLE.current,
  keySlot: 1,
  remoteId: 0,
  answers: 0,
  stampHigh: 0,
  stampLow: 0,
  payload: PAYLOAD,
  message: new Uint8Array(48),
  headerKeyOut: new Uint8Array(16),
  headerKeyIn: new Uint8Array(16),
  address: "",
  port: 0,
};

/** One end, and the other end's rekeys as a worker would read them. */
class End {
  readonly rekeys: Rekeys;
  #sessionId = 0;
  readonly #sink: HandshakeSink = {
    initiate: () => true,
    readDatagram: () => true,
    readRekey: () => true,
    respond: ({ sessionId }) => {
      this.#sessionId = sessionId;
      return true;
    },
    forget: () => {},
  };

  constructor() {
    let drawn = 0;
    const ids = new SessionIds((into) => {
      drawn += 1;
      new DataView(into.buffer, into.byteOffset).setUint32(0, drawn);
    });
    this.rekeys = new Rekeys(0, ids, () => PAYLOAD);
  }

  /** The other end began one; returns the session id of the answer. */
  answer(now: Nanoseconds, remoteId: number): number {
    this.#result(now, { ...RESULT, kind: "initiation", remoteId });
    this.#result(now, { ...RESULT, kind: "responded", tag: this.#sessionId });
    return this.#sessionId;
  }

  abandon(): void {
    this.rekeys.abandon(this.#sink);
  }

  #result(now: Nanoseconds, result: HandshakeResult): void {
    this.rekeys.handleResult(now, result, PARENT, this.#sink);
  }
}

test("of answers that are never acknowledged the newest alone is kept, and sent again", () => {
  const end = new End();
  let answered = 0;
  for (let i = 1; i <= 1_000; i++) {
    answered = end.answer(nanoseconds(i * NS_PER_SECOND), i);
    end.rekeys.sent();
    assert.equal(end.rekeys.framesOpen, 1);
    end.rekeys.lost(answered - 1);
    assert.equal(end.rekeys.frame, undefined, "nobody waits for an older answer");
  }

  end.rekeys.lost(answered);
  assert.equal(end.rekeys.frame?.sessionId, answered);
  end.rekeys.sent();
  end.rekeys.acked(answered);
  assert.equal(end.rekeys.framesOpen, 0);
});

test("without a session nothing waits to be sent in one", () => {
  const end = new End();
  end.answer(nanoseconds(0), 1);
  assert.equal(end.rekeys.framesOpen, 1);
  end.abandon();
  assert.equal(end.rekeys.framesOpen, 0);
  assert.equal(end.rekeys.frame, undefined);
});
