// Two hundred damaged files: each is refused in a sentence, or serves every row that was in it. None
// passes for an empty queue, none crashes the process. SEED=n reproduces a run.

import assert from "node:assert/strict";
import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { DaemonError } from "../../src/shared/base/errors.js";
import { connect } from "../../src/shared/store/driver.js";
import { daemonDatabase, idOf, oldSchema, payloadOf, temporaryFolder } from "./fixture.js";

const ROWS = 20;
const FILES = 100;
const SEED = Number(process.env.SEED ?? 1);
const CODES = ["ERR_DB_DAMAGED", "ERR_DB_SCHEMA", "ERR_DB_OPEN", "ERR_DB_IO"];

/** xorshift32. */
function generator(seed: number): (below: number) => number {
  let state = (seed * 2_654_435_761) >>> 0 || 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

type Damage = (file: Buffer, random: (below: number) => number) => Buffer;

const flip = (file: Buffer, at: number, bit: number): Buffer => {
  file[at] ^= 1 << bit;
  return file;
};

const DAMAGES: readonly Damage[] = [
  (file, random) => flip(file, random(100), random(8)),
  (file, random) => flip(file, 100 + random(8_092), random(8)),
  (file, random) => flip(file, random(Math.min(file.length, 40_000)), random(8)),
  (file, random) => file.subarray(0, random(file.length)),
  (file, random) => file.subarray(0, 8_192 * random(file.length / 8_192)),
  (file, random) => file.fill(0, random(8_192), 8_192),
  (file, random) => file.fill(random(256), random(100), 100 + random(1_000)),
  (file, random) => {
    const from = random(file.length - 4_096);
    return file.fill(0, from, from + 4_096);
  },
];

for (const kind of ["our file", "an older daemon's file"] as const) {
  test(`${kind}, damaged in a hundred ways, is refused or served, never empty`, (t) => {
    const folder = temporaryFolder(t);
    const path = join(folder, "whole.db");
    const db = kind === "our file" ? daemonDatabase(path) : connect(path, {});
    if (kind !== "our file") db.exec(oldSchema(true));
    for (let i = 0; i < ROWS; i++) {
      db.prepare(
        "INSERT INTO outbound_messages(message_id, dst_addr, dst_port, payload) VALUES (?, ?, ?, ?)",
      ).run(idOf(i), "192.0.2.1", 5_000, payloadOf(idOf(i), "x".repeat(500)));
    }
    db.close();
    const whole = readFileSync(path);
    const random = generator(SEED);
    let refused = 0;

    for (let i = 0; i < FILES; i++) {
      const victim = join(folder, `damaged-${i}.db`);
      const damage = DAMAGES[i % DAMAGES.length] as Damage;
      writeFileSync(victim, damage(Buffer.from(whole), random));
      chmodSync(victim, 0o600);
      if (serves(victim, `SEED=${SEED}, file ${i}`) === "refused") refused += 1;
    }

    assert.ok(refused > FILES / 4 && refused < FILES, `${refused} refused`);
  });
}

/** Opens the file; when that works, all rows are there, or reading them says what is wrong. */
function serves(path: string, which: string): "refused" | "served" {
  try {
    const db = daemonDatabase(path);
    try {
      const rows = db.prepare("SELECT count(*) FROM outbound_messages NOT INDEXED").pluck().get();
      assert.equal(rows, ROWS, which);
      return "served";
    } catch (thrown) {
      assert.match(String((thrown as { code?: unknown }).code), /^SQLITE_(CORRUPT|NOTADB)/, which);
      return "refused";
    } finally {
      db.close();
    }
  } catch (thrown) {
    assert.ok(thrown instanceof DaemonError, `${which}: ${String(thrown)}`);
    assert.ok(CODES.includes(thrown.code), `${which}: ${thrown.code} ${thrown.message}`);
    assert.doesNotMatch(thrown.message, /\n/);
    return "refused";
  }
}
