// The crypto worker's work without its thread, for --crypto-workers 0 and for measurements.

import type { CryptoControl } from "../shared/runtime/messages.js";
import type { SlabTable } from "../shared/runtime/slab.js";
import { KeyRings } from "./key-rings.js";
import { SessionWork } from "./session-work.js";
import { SlabWork } from "./slab-work.js";

/** Work and control of one crypto worker, on the calling thread. Owns its keys until `close`. */
export function inlineCrypto(): {
  readonly run: (table: SlabTable) => void;
  readonly control: CryptoControl;
} {
  const rings = new KeyRings();
  const sessions = new SessionWork();
  const work = new SlabWork(rings, sessions);
  return {
    run: (table) => work.run(table),
    control: {
      installRings(installed) {
        rings.install(installed);
        return { installed: installed.length };
      },
      installPeers: (identities, peers) => sessions.install(identities, peers),
      counters: () => ({
        packets_sealed: work.packetsSealed,
        packets_opened: work.packetsOpened,
        packets_refused: work.packetsRefused,
        session_packets_sealed: sessions.packetsSealed,
        session_packets_opened: sessions.packetsOpened,
        session_packets_refused: sessions.packetsRefused,
        handshakes_refused: sessions.handshakesRefused,
      }),
      close() {
        rings.free();
        sessions.free();
      },
    },
  };
}
