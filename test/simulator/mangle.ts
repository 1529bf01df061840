// What a host with valid keys may put into packets in place of honest frames.

import { FRAME } from "../../src/shared/protocol/session/frame-type.js";
import type { SessionLayer } from "../../src/shared/protocol/session/session-layer.js";
import { putVarint } from "../../src/shared/protocol/session/varint.js";
import type { Manner } from "./host.js";
import type { Prng } from "./prng.js";

const FRAME_TYPES = Object.values(FRAME);
/** Numbers where fields of frames have their borders. */
const BORDERS = [0, 1, 63, 64, 16_383, 16_384, 2 ** 30 - 1, 2 ** 32, 2 ** 53 - 1];
const FIELD_BYTES_MAX = 8;

/** Writes over all of the frames of a packet, in place. */
export function mangle(frames: Uint8Array, manner: Manner, draws: Prng, layer: SessionLayer): void {
  switch (manner) {
    case "flip":
      for (let i = draws.between(1, 4); i > 0 && frames.length > 0; i--) {
        frames[draws.below(frames.length)] ^= 1 << draws.below(8);
      }
      return;
    case "noise":
      return draws.fill(frames);
    case "frames":
      return makeUp(frames, draws);
    case "receipts":
      return lie(frames, draws, layer);
  }
}

/** Types that exist, with fields that are at their borders, or nothing of the kind. */
function makeUp(frames: Uint8Array, draws: Prng): void {
  let at = 0;
  while (at + 1 + FIELD_BYTES_MAX < frames.length) {
    frames[at] = draws.pick(FRAME_TYPES);
    at += 1;
    for (let field = draws.below(8); field > 0; field--) {
      if (at + FIELD_BYTES_MAX >= frames.length) break;
      const number = draws.chance(0.7) ? draws.pick(BORDERS) : draws.below(200);
      at = putVarint(frames, at, number);
    }
  }
  frames.fill(FRAME.padding, at);
}

/** A receipt for a number that is probably in flight, with the digest of another message. */
function lie(frames: Uint8Array, draws: Prng, { peers }: SessionLayer): void {
  const { boot } = draws.pick(peers).receiver;
  const number = draws.between(1, 20);
  if (frames.length < 1 + boot.length + 2 + 8) return;
  frames.fill(FRAME.padding);
  frames[0] = FRAME.receipt;
  frames.set(boot, 1);
  frames[1 + boot.length] = 1;
  frames[2 + boot.length] = number;
  draws.fill(frames.subarray(3 + boot.length, 11 + boot.length));
}
