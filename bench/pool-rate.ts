// How fast one thread seals full packets: libsodium alone, and a worker of the daemon's pool with main
// filling its slabs. No socket.

import { newPrivateKey } from "../src/main/identity.js";
import { PACKET_OVERHEAD_BYTES } from "../src/shared/protocol/session/packet.js";
import {
  KEY_BYTES,
  NONCE_BYTES,
  randomBytes,
  sealInPlace,
  TAG_BYTES,
} from "../src/workers/aead.js";
import { CryptoEnd, type EndEvents } from "./crypto-end.js";

const WARM_UP_MS = 200;
/** Between two looks at the clock. */
const PACKETS_A_LOOK = 256;
/** Packets under way: enough that the worker never waits, few enough to stay in the cache. */
const UNDER_WAY_PACKETS = 256;
const PLACE = { address: "192.0.2.1", port: 9 };

/** MB/s of plaintext, as much as a packet carries. */
export function measureRaw(datagramBytes: number, measureMs: number): number {
  const plainBytes = datagramBytes - PACKET_OVERHEAD_BYTES;
  const [key, nonce] = [new Uint8Array(KEY_BYTES), new Uint8Array(NONCE_BYTES)];
  for (const random of [key, nonce]) randomBytes(random);
  const slot = new Uint8Array(plainBytes + TAG_BYTES);
  const plain = slot.subarray(0, plainBytes);
  const sealFor = (ms: number): number => {
    const startedAt = performance.now();
    let packets = 0;
    while (performance.now() - startedAt < ms) {
      for (let i = 0; i < PACKETS_A_LOOK; i++) sealInPlace(slot, plain, nonce, key);
      packets += PACKETS_A_LOOK;
    }
    return (packets * plainBytes) / (performance.now() - startedAt) / 1_000;
  };
  sealFor(WARM_UP_MS);
  return sealFor(measureMs);
}

/** MB/s of plaintext through one worker of the pool. */
export async function measurePool(datagramBytes: number, measureMs: number): Promise<number> {
  const keys = [newPrivateKey(), newPrivateKey()];
  const payload = new Uint8Array(datagramBytes - PACKET_OVERHEAD_BYTES).fill(0x61);
  let [sealed, returned, isOver] = [0, 0, false];
  let failure: Error | undefined;
  let isOpen: () => void = () => {};
  const opened = new Promise<void>((resolve) => {
    isOpen = resolve;
  });
  const fill = (): void => {
    while (!isOver && sealed - returned < UNDER_WAY_PACKETS && from.seal(payload)) sealed += 1;
  };
  const common = {
    onOpened: () => {},
    onLost: (error: Error) => {
      failure ??= error;
    },
  };
  const deliver = (to: () => CryptoEnd) => (message: Uint8Array) => {
    to().take(message);
    to().flush();
  };
  const start = (i: number, workers: number, events: EndEvents): Promise<CryptoEnd> =>
    CryptoEnd.start({
      place: PLACE,
      workers,
      privateKey: Uint8Array.from(keys[i]),
      peerPrivateKey: Uint8Array.from(keys[1 - i]),
      events,
    });
  const to: CryptoEnd = await start(1, 0, {
    ...common,
    onHandshake: deliver(() => from),
    onSealed: (slab) => to.release(slab),
    onSession: () => {},
  });
  const from: CryptoEnd = await start(0, 1, {
    ...common,
    onHandshake: deliver(() => to),
    onSealed: (slab, packets) => {
      returned += packets;
      from.release(slab);
      fill();
    },
    onSession: () => isOpen(),
  });
  try {
    from.shake();
    await opened;
    fill();
    from.flush();
    await nap(WARM_UP_MS);
    const [before, startedAt] = [returned, performance.now()];
    await nap(measureMs);
    const rate = ((returned - before) * payload.length) / (performance.now() - startedAt) / 1_000;
    isOver = true;
    while (sealed > returned && failure === undefined) await nap(1);
    if (failure !== undefined) throw failure;
    return rate;
  } finally {
    isOver = true;
    await from.stop();
    await to.stop();
  }
}

const nap = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
