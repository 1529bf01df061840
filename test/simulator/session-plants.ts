// Bugs of sessions to be planted: switches of the models, or methods of the real core and of the real
// crypto worker that are replaced while a run lasts.

import { nanoseconds } from "../../src/shared/base/units.js";
import { signedWordAt } from "../../src/shared/protocol/session/byte-order.js";
import { MESSAGE_DIGEST_BYTES } from "../../src/shared/protocol/session/limits.js";
import { Outgoing } from "../../src/shared/protocol/session/outgoing.js";
import { OutgoingStream } from "../../src/shared/protocol/session/outgoing-stream.js";
import { Receiver } from "../../src/shared/protocol/session/receiver.js";
import { ReplayWindow } from "../../src/shared/protocol/session/replay-window.js";
import { Sender } from "../../src/shared/protocol/session/sender.js";
import type { Session } from "../../src/shared/protocol/session/session.js";
import { SessionPeer } from "../../src/shared/protocol/session/session-peer.js";
import { SessionSet } from "../../src/shared/protocol/session/session-set.js";
import { SettledNumbers } from "../../src/shared/protocol/session/settled-numbers.js";
import { SessionSink } from "../../src/shared/runtime/session-sink.js";
import { HandshakeWork } from "../../src/workers/handshake-work.js";
import { HeldStreams } from "../../src/workers/held-streams.js";
import type { Plant } from "./plants.js";

type SessionPlant = Omit<Plant, "protocol">;

const NOTHING = { store: {}, host: {} } as const;

export const SESSION_PLANTS: readonly SessionPlant[] = [
  { name: "receipt before commit", store: { reportsBeforeCommit: true }, host: {} },
  { name: "receipt before sync", store: { reportsBeforeSync: true }, host: {} },
  { name: "receipt of a refused batch", store: {}, host: { acknowledgesFailedBatches: true } },
  { name: "session dedupe by id only", store: { dedupesById: true }, host: {} },
  { name: "no session dedupe", store: { storesCopies: true }, host: {} },
  { name: "no tombstones of sessions", store: { forgetsTombstones: true }, host: {} },
  { name: "stamps not synced before sending", store: { stampsBeforeCommit: true }, host: {} },
  {
    name: "state reset on a bad reply",
    store: {},
    host: { forgetsInitiationsOnForgery: true },
    patch: endOnForgery,
  },
  { name: "random of an earlier start", store: {}, host: { repeatsNonces: true } },
  { name: "packet counter begins anew", ...NOTHING, patch: repeatCounters },
  { name: "window moved before the tag check", ...NOTHING, patch: commitAtPeek },
  { name: "no window", ...NOTHING, patch: believeReplays },
  { name: "reassembly without generation", ...NOTHING, patch: keepNumbersOverBoots },
  { name: "responder speaks first", ...NOTHING, patch: confirmAtOnce },
  { name: "roaming on any packet", ...NOTHING, patch: roamAlways },
  { name: "receipt matched by number only", ...NOTHING, patch: takeAnyReceipt },
  { name: "settled before the commit", ...NOTHING, patch: settleEarly },
  { name: "base passes what is owed", ...NOTHING, patch: overtakeBase },
  { name: "streams are not held", ...NOTHING, patch: holdNothing },
  { name: "session ended twice", ...NOTHING, patch: endTwice },
];

/** Replaces a method; what comes back puts it back. */
function swap<K extends PropertyKey, T extends Record<K, unknown>>(
  prototype: T,
  name: K,
  made: T[K],
): () => void {
  const before = prototype[name];
  prototype[name] = made;
  return () => {
    prototype[name] = before;
  };
}

function endOnForgery(): () => void {
  const { run } = HandshakeWork.prototype;
  return swap(HandshakeWork.prototype, "run", function (this: HandshakeWork, job) {
    const answer = run.call(this, job);
    if (answer === undefined) this.forgetAll();
    return answer;
  });
}

/** What leaves is sealed under counters that begin anew every so many packets. */
const PACKETS_UNTIL_ANEW = 20;

function repeatCounters(): () => void {
  const { sealPacket } = SessionSink.prototype;
  return swap(
    SessionSink.prototype,
    "sealPacket",
    function (this: SessionSink, frameBytes, keySlot, remoteId, high, low, ...rest) {
      const repeated = low % PACKETS_UNTIL_ANEW;
      sealPacket.call(this, frameBytes, keySlot, remoteId, high, repeated, ...rest);
    },
  );
}

function commitAtPeek(): () => void {
  const { peek, commit } = ReplayWindow.prototype;
  let committing = false;
  const undoPeek = swap(ReplayWindow.prototype, "peek", function (this: ReplayWindow, counter) {
    if (committing) return peek.call(this, counter);
    committing = true;
    const fresh = commit.call(this, counter);
    committing = false;
    return fresh;
  });
  const undoCommit = swap(ReplayWindow.prototype, "commit", () => true);
  return () => {
    undoPeek();
    undoCommit();
  };
}

function believeReplays(): () => void {
  const { commit } = ReplayWindow.prototype;
  const undoPeek = swap(ReplayWindow.prototype, "peek", () => true);
  const undoCommit = swap(ReplayWindow.prototype, "commit", function (this: ReplayWindow, counter) {
    if (counter > this.newest) commit.call(this, counter);
    return true;
  });
  return () => {
    undoPeek();
    undoCommit();
  };
}

function keepNumbersOverBoots(): () => void {
  const { sessionUp } = Receiver.prototype;
  const first = new WeakMap<Receiver, Uint8Array>();
  const latest = new WeakMap<Receiver, Uint8Array>();
  const bootOf = Object.getOwnPropertyDescriptor(Receiver.prototype, "boot");
  Object.defineProperty(Receiver.prototype, "boot", {
    configurable: true,
    get(this: Receiver) {
      return latest.get(this) ?? new Uint8Array(8);
    },
  });
  const undo = swap(Receiver.prototype, "sessionUp", function (this: Receiver, boot, fresh) {
    latest.set(this, Uint8Array.from(boot));
    if (!first.has(this)) first.set(this, Uint8Array.from(boot));
    sessionUp.call(this, first.get(this) ?? boot, fresh);
  });
  return () => {
    undo();
    if (bootOf !== undefined) Object.defineProperty(Receiver.prototype, "boot", bootOf);
  };
}

function confirmAtOnce(): () => void {
  const { answered } = SessionSet.prototype;
  return swap(SessionSet.prototype, "answered", function (this: SessionSet, session) {
    answered.call(this, session);
    this.confirm(session.bornAt, session);
  });
}

function roamAlways(): () => void {
  const { handleOpened } = SessionPeer.prototype;
  return swap(
    SessionPeer.prototype,
    "handleOpened",
    function (this: SessionPeer, now, wallNs, session, packet, sinks) {
      const dropped = handleOpened.call(this, now, wallNs, session, packet, sinks);
      if (dropped === undefined) this.path.handleNewest(now, packet.address, packet.port);
      return dropped;
    },
  );
}

function takeAnyReceipt(): () => void {
  const { handleReceipt, enqueue } = Sender.prototype;
  const { add } = Outgoing.prototype;
  let entering: Sender | undefined;
  const rows = new WeakMap<Sender, { readonly out: Outgoing; readonly peer: number }>();
  const undoAdd = swap(Outgoing.prototype, "add", function (this: Outgoing, peer, row) {
    if (entering !== undefined) rows.set(entering, { out: this, peer });
    return add.call(this, peer, row);
  });
  const undoEnqueue = swap(Sender.prototype, "enqueue", function (this: Sender, ...args) {
    entering = this;
    enqueue.apply(this, args);
    entering = undefined;
  });
  const undoReceipt = swap(
    Sender.prototype,
    "handleReceipt",
    function (this: Sender, now, number, low, high) {
      const { out, peer } = rows.get(this) ?? {};
      const slot = out?.numbers.findIndex(
        (each, at) => each === number && out.peers[at] === peer && out.standings[at] !== 0,
      );
      if (out === undefined || slot === undefined || slot < 0) {
        return handleReceipt.call(this, now, number, low, high);
      }
      const at = slot * MESSAGE_DIGEST_BYTES;
      return handleReceipt.call(
        this,
        now,
        number,
        signedWordAt(out.digests, at),
        signedWordAt(out.digests, at + 4),
      );
    },
  );
  return () => {
    undoAdd();
    undoEnqueue();
    undoReceipt();
  };
}

function settleEarly(): () => void {
  const { final } = SettledNumbers.prototype;
  return swap(SettledNumbers.prototype, "final", function (this: SettledNumbers, number) {
    final.call(this, number);
    this.gone(number, nanoseconds(0));
  });
}

function overtakeBase(): () => void {
  const base = Object.getOwnPropertyDescriptor(OutgoingStream.prototype, "base");
  Object.defineProperty(OutgoingStream.prototype, "base", {
    configurable: true,
    get(this: OutgoingStream) {
      return Math.max(1, this.next - 1);
    },
  });
  return () => {
    if (base !== undefined) Object.defineProperty(OutgoingStream.prototype, "base", base);
  };
}

function holdNothing(): () => void {
  return swap(HeldStreams.prototype, "holds", () => false);
}

/** Ends a session once more than it is there: its key slot is given to two. */
function endTwice(): () => void {
  const { end } = SessionSet.prototype;
  return swap(SessionSet.prototype, "end", function (this: SessionSet, session: Session) {
    end.call(this, session);
    if (session.closing > 0) {
      this.answered(session);
      end.call(this, session);
    }
  });
}
