// What people are told about the folder in which large messages gather.

import assert from "node:assert/strict";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { spoolContent, spoolFolder, spoolSentence } from "../../src/main/client/spool-folder.js";
import { DaemonError } from "../../src/shared/base/errors.js";

const NOW_MS = 1_800_000_000_000;
const NAME = "00112233445566778899aabbccddeeff";

test("without a folder there is nothing to say", (t) => {
  const database = databaseIn(t);

  assert.equal(spoolContent(database, NOW_MS), undefined);
});

test("an empty folder has no message under way", (t) => {
  const database = databaseIn(t, 0o700);
  const content = spoolContent(database, NOW_MS);

  assert.deepEqual(content, { files: 0, bytes: 0, strangers: [], oldestSeconds: undefined });
  assert.equal(content && spoolSentence(content), "no large message is under way");
});

test("files of the daemon are counted with their age, others are named", (t) => {
  const database = databaseIn(t, 0o700);
  const file = join(spoolFolder(database), NAME);
  writeFileSync(file, Buffer.alloc(100_000, 1));
  utimesSync(file, NOW_MS / 1_000 - 90, NOW_MS / 1_000 - 90);
  writeFileSync(join(spoolFolder(database), "notes.txt"), "x");
  mkdirSync(join(spoolFolder(database), NAME.replace("00", "ff")));

  const content = spoolContent(database, NOW_MS);

  assert.equal(content?.files, 1);
  assert.equal(content?.oldestSeconds, 90);
  assert.ok((content?.bytes ?? 0) >= 100_000);
  assert.deepEqual([...(content?.strangers ?? [])].sort(), [NAME.replace("00", "ff"), "notes.txt"]);
  assert.match(content === undefined ? "" : spoolSentence(content), /under way: 1, 0\.1 MiB/);
});

test("a folder that others can look into is refused, with the remedy; a private one is not", (t) => {
  const database = databaseIn(t, 0o700);
  assert.doesNotThrow(() => spoolContent(database, NOW_MS));

  chmodSync(spoolFolder(database), 0o750);

  assert.throws(
    () => spoolContent(database, NOW_MS),
    (error) => error instanceof DaemonError && error.next.includes("chmod 0700"),
  );
});

test("a file in place of the folder is refused", (t) => {
  const database = databaseIn(t);
  writeFileSync(spoolFolder(database), "", { mode: 0o600 });

  assert.throws(() => spoolContent(database, NOW_MS), DaemonError);
});

/** A path for a database, with a spool folder of that mode where one is given. */
function databaseIn(t: TestContext, mode?: number): string {
  const directory = mkdtempSync(join(tmpdir(), "securedgram-test-"));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const database = join(directory, "securedgram.db");
  writeFileSync(database, "", { mode: 0o600 });
  if (mode !== undefined) {
    mkdirSync(spoolFolder(database));
    chmodSync(spoolFolder(database), mode);
  }
  return database;
}
