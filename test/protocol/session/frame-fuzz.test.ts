// Hostile packets: random bytes, and honest packets with something broken. The reader never throws, never
// reads outside of the packet (what lies around it is changed between two runs, and must not matter),
// and shows nothing that reaches beyond the packet.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { FrameReader } from "../../../src/shared/protocol/session/frame.js";
import { FRAME, NO_FRAME } from "../../../src/shared/protocol/session/frame-type.js";
import { encode } from "./said.js";
import { anyFrame } from "./said-arbitrary.js";

const PACKETS = 200_000;
const AROUND = 64;
const SEED = 20_261_123;

const random = prng(SEED);
const below = (limit: number): number => random() % limit;

test("of 200,000 hostile packets none makes the reader throw, or look around", () => {
  const honest = honestPackets(400);
  const memory = new Uint8Array(4_096);
  const reader = new FrameReader();
  const verdicts = { faults: 0, ends: 0 };
  for (let i = 0; i < PACKETS; i++) {
    const packet = i % 4 === 0 ? randomPacket() : broken(honest);

    memory.fill(0x00, 0, packet.length + 2 * AROUND);
    memory.set(packet, AROUND);
    const heard = fingerprint(reader, memory, packet.length);
    memory.fill(0xff, 0, AROUND);
    memory.fill(0xff, AROUND + packet.length, packet.length + 2 * AROUND);

    const again = fingerprint(reader, memory, packet.length);

    assert.equal(
      again,
      heard,
      `packet ${i} of seed ${SEED}: ${Buffer.from(packet).toString("hex")}`,
    );
    if (heard % 2 === 1) verdicts.faults += 1;
    else verdicts.ends += 1;
  }

  assert.ok(verdicts.faults > PACKETS / 4, `${verdicts.faults} faults`);
  assert.ok(verdicts.ends > PACKETS / 50, `${verdicts.ends} without a fault`);
});

test("an honest packet has no fault: the fuzzer begins with what is accepted", () => {
  const reader = new FrameReader();
  for (const packet of honestPackets(100)) {
    const memory = new Uint8Array(packet.length + 2 * AROUND);
    memory.set(packet, AROUND);

    assert.equal(fingerprint(reader, memory, packet.length) % 2, 0);
  }
});

/** A number from all that a reader shows; odd when it ended with a fault. Checks every offset. */
function fingerprint(reader: FrameReader, memory: Uint8Array, length: number): number {
  let sum = 17;
  const mix = (value: number) => {
    assert.ok(Number.isSafeInteger(value) || value % 8 === 0, `${value} is a number`);
    sum = (Math.imul(sum, 31) + (value % 2 ** 31)) | 0;
  };
  const inside = (at: number, bytes: number) => {
    assert.ok(at >= AROUND && bytes >= 0 && at + bytes <= AROUND + length, "inside of the packet");
    mix(at);
    for (let i = at; i < at + Math.min(bytes, 64); i++) mix(memory[i]);
  };
  reader.open(memory, AROUND, length);
  for (let frames = 0; frames <= length; frames++) {
    const frame = reader.next();
    if (frame === NO_FRAME.end) return (sum >>> 1) * 2;
    if (frame === NO_FRAME.fault) return (sum >>> 1) * 2 + 1;
    mix(frame);
    show(reader, frame, mix, inside);
  }
  assert.fail("more frames than bytes");
}

function show(
  reader: FrameReader,
  frame: number,
  mix: (value: number) => void,
  inside: (at: number, bytes: number) => void,
): void {
  const { ack, message: m, receipt, refuse, have, rekey, keys } = reader;
  switch (frame) {
    case FRAME.ack: {
      let previous = Number.POSITIVE_INFINITY;
      mix(ack.delayUs);
      do {
        assert.ok(ack.rangeFirst >= 0 && ack.rangeFirst <= ack.rangeLast);
        assert.ok(ack.rangeLast < previous - 1 && ack.rangeLast <= ack.largest);
        previous = ack.rangeFirst;
        mix(ack.rangeFirst);
      } while (ack.next());
      return;
    }
    case FRAME.message:
      for (const value of [m.number, m.total, m.sequence, m.base, m.priority]) mix(value);
      assert.ok(m.lifeSeconds >= 1 && m.offset + m.length <= m.total);
      inside(m.messageIdAt, 12);
      inside(m.dataAt, m.length);
      if (m.ordered) inside(m.streamAt, m.streamLength);
      if (m.fragmented) inside(m.digest16At, 16);
      return;
    case FRAME.receipt: {
      inside(receipt.bootAt, 8);
      let [previous, entries] = [0, 0];
      while (receipt.next()) {
        assert.ok(receipt.number > previous);
        previous = receipt.number;
        entries += 1;
        for (const value of [previous, receipt.digestLow, receipt.digestHigh]) mix(value);
      }
      assert.equal(entries, receipt.count);
      return;
    }
    case FRAME.refuse:
      inside(refuse.bootAt, 8);
      for (const value of [refuse.number, refuse.digestLow, refuse.reason]) mix(value);
      return;
    case FRAME.settled:
      return mix(reader.settled.below);
    case FRAME.have: {
      inside(have.messageIdAt, 12);
      inside(have.digest16At, 16);
      let end = 0;
      while (have.next()) {
        assert.ok(have.rangeStart >= end && have.rangeEnd > have.rangeStart);
        end = have.rangeEnd;
        mix(end);
      }
      assert.ok(end <= have.total);
      return;
    }
    case FRAME.credit:
      mix(reader.credit.creditMessages);
      return mix(reader.credit.creditBytes);
    case FRAME.rekey:
      mix(rekey.sessionId);
      return inside(rekey.noiseAt, rekey.noiseLength);
    case FRAME.pathChallenge:
    case FRAME.pathResponse:
      return inside(reader.path.dataAt, 8);
    case FRAME.close:
      return mix(reader.close.reason);
    case FRAME.keys:
      while (keys.next()) inside(keys.keyIdAt, 8);
      return;
    default:
      assert.equal(frame, FRAME.ping);
  }
}

function honestPackets(count: number): readonly Uint8Array[] {
  const frames = fc.array(anyFrame, { minLength: 1, maxLength: 4 });
  return fc
    .sample(frames, { numRuns: count, seed: SEED })
    .map((each) => encode(...each))
    .filter(({ length }) => length < 1_500);
}

/** Bytes whose first is often a type, so that what stands behind types is reached. */
function randomPacket(): Uint8Array {
  const packet = new Uint8Array(1 + below(120));
  for (let i = 0; i < packet.length; i++) packet[i] = random() >>> 7;
  if (below(8) !== 0) packet[0] = below(14);
  return packet;
}

/** An honest packet after one to three mutations. */
function broken(honest: readonly Uint8Array[]): Uint8Array {
  let packet: Uint8Array = honest[below(honest.length)].slice();
  for (let i = below(3); i >= 0; i--) packet = mutate(packet, honest);
  return packet;
}

function mutate(packet: Uint8Array, honest: readonly Uint8Array[]): Uint8Array {
  const at = below(packet.length + 1);
  switch (below(6)) {
    case 0:
      return packet.slice(0, at);
    case 1:
      return Uint8Array.of(...packet.subarray(0, at), random(), ...packet.subarray(at)).slice(
        0,
        2_000,
      );
    case 2:
      return Uint8Array.of(...packet.subarray(0, at), ...packet.subarray(at + 1));
    case 3: {
      const other = honest[below(honest.length)];
      return Uint8Array.of(...packet.subarray(0, at), ...other.subarray(below(other.length))).slice(
        0,
        2_000,
      );
    }
    case 4:
      packet.fill(below(2) * 0xff, at, at + below(9));
      return packet;
    default:
      if (at < packet.length) packet[at] ^= 1 << below(8);
      return packet;
  }
}

/** Numbers of 32 bits that are the same in every run. Source: Marsaglia, "Xorshift RNGs". */
function prng(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
}
