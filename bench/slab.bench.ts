// What a crypto worker spends on a packet of a slab: nonce, cipher and, opened, the scan of the body
// and its digest. On this thread, with the worker's own function; the hop is bench/channel.

import { NO_RING } from "../src/shared/protocol/slot.js";
import {
  BODY_OFFSET_BYTES,
  datagramLengthOf,
  JOB,
  OUTCOME,
  SlabTable,
  wordOf,
} from "../src/shared/runtime/slab.js";
import { randomBytes } from "../src/workers/aead.js";
import { inlineCrypto } from "../src/workers/inline-crypto.js";
import type { Part } from "./micro.js";
import { partsReport } from "./parts-report.js";
import { message } from "./payload.js";
import type { Suite } from "./suite.js";

const ENTRIES = [1, 8, 32, 128];
const SIZES_BYTES = [200, 1_200];

const { run, control } = inlineCrypto();

export const suite: Suite = {
  title: "slab: a crypto worker's work on a slab, this thread",
  run(context) {
    const current = new Uint8Array(32);
    randomBytes(current);
    control.installRings([{ current, previous: undefined, next: undefined, pairInfo: undefined }]);
    const parts = SIZES_BYTES.flatMap((bytes) =>
      [sealing, opening, restoring].flatMap((make) =>
        ENTRIES.map((entries) => make(entries, bytes)),
      ),
    );
    return partsReport(
      {
        title: "One slab, by packets in it and payload bytes",
        parts,
        settings: { key: "shared ring, current key", body: "canonical JSON" },
        notes: [
          "opening destroys its input, so each run of `open` copies the sealed slab back first; `restore` is " +
            "that copy alone, and is contained in `open`",
          "`open` checks the JSON, finds the message id and makes the BLAKE2b digest of the body",
        ],
        per: "packet",
      },
      context,
    );
  },
};

function slabOf(entries: number, bytes: number): SlabTable {
  const table = SlabTable.allocate();
  for (let n = 0; n < entries; n++) {
    const word = wordOf(table.add(datagramLengthOf(bytes)));
    const { words } = table;
    words[word] = JOB.seal;
    words[word + 2] = bytes;
    words[word + 3] = 0;
    table.bytes.set(message(n, bytes).payload, words[word + 1] + BODY_OFFSET_BYTES);
  }
  return table;
}

function sealing(entries: number, bytes: number): Part {
  const table = slabOf(entries, bytes);
  const runOnce = (): void => {
    for (let i = 0; i < entries; i++) table.words[wordOf(i)] = JOB.seal;
    run(table);
  };
  runOnce();
  expectAll(table, OUTCOME.sealed);
  return {
    name: `seal ${entries} x ${bytes} B`,
    packets: entries,
    bytes: entries * bytes,
    run: runOnce,
  };
}

function opening(entries: number, bytes: number): Part {
  const { table, restore } = sealedSlab(entries, bytes);
  const runOnce = (): void => {
    restore();
    run(table);
  };
  runOnce();
  expectAll(table, OUTCOME.message);
  return {
    name: `open ${entries} x ${bytes} B`,
    packets: entries,
    bytes: entries * bytes,
    run: runOnce,
  };
}

function restoring(entries: number, bytes: number): Part {
  const { restore } = sealedSlab(entries, bytes);
  return {
    name: `restore ${entries} x ${bytes} B`,
    packets: entries,
    bytes: entries * bytes,
    run: restore,
  };
}

/** A slab of sealed packets that are to be opened, and what makes it so again. */
function sealedSlab(entries: number, bytes: number) {
  const table = slabOf(entries, bytes);
  run(table);
  for (let i = 0; i < entries; i++) {
    table.words[wordOf(i)] = JOB.open;
    table.words[wordOf(i) + 4] = NO_RING;
  }
  const template = table.bytes.slice(0, table.words[1]);
  return { table, restore: () => table.bytes.set(template) };
}

function expectAll(table: SlabTable, outcome: number): void {
  for (let i = 0; i < table.entries; i++) {
    if (table.codeOf(i) !== outcome) throw new Error(`entry ${i} came out as ${table.codeOf(i)}`);
  }
}
