// `npm run bench` as people call it: what it refuses, and a small suite with its files. And peers that are
// not there, which must be said and never guessed.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { PEERS_VARIABLE } from "../../bench/peer-client.js";
import { makeCertificate, PeerServer, programOf } from "../../bench/peer-server.js";
import { systems } from "../../bench/peers.js";

const RUN = fileURLToPath(new URL("../../bench/run.js", import.meta.url));
const DEADLINE_MS = 20_000;

interface Ended {
  readonly code: number | string | null | undefined;
  readonly stderr: string;
}
const bench = (...line: readonly string[]): Promise<Ended> =>
  new Promise((resolve) => {
    execFile(process.execPath, [RUN, ...line], { timeout: DEADLINE_MS }, (error, _out, stderr) =>
      resolve({ code: error === null ? 0 : error.code, stderr }),
    );
  });

const REFUSALS: readonly (readonly [line: readonly string[], says: RegExp])[] = [
  [["no-such-suite"], /no suite is named like that; there are aead, .*peers.*report/],
  [["aead", "--seconds", "0"], /--seconds takes a number above 0, 3600 at most/],
  [["aead", "--rounds", "1.5"], /--rounds takes a whole number above 0, 100 at most/],
  [["aead", "--protocol", "other"], /--protocol takes classic or session/],
  [["report", "aead"], /report stands alone/],
];
for (const [line, says] of REFUSALS) {
  test(`bench ${line.join(" ")} is refused`, async () => {
    const { code, stderr } = await bench(...line);

    assert.equal(code, 1);
    assert.match(stderr, says);
  });
}

test("a system whose client is not installed is said to be missing", (t) => {
  const before = process.env[PEERS_VARIABLE];
  t.after(() => {
    if (before === undefined) delete process.env[PEERS_VARIABLE];
    else process.env[PEERS_VARIABLE] = before;
  });
  process.env[PEERS_VARIABLE] = "/nonexistent";

  const found = new Map(systems().map((system) => [system.name, system.found]));

  assert.deepEqual(found.get("SecureDGram"), { versions: "this tree" });
  for (const name of ["NATS JetStream", "mosquitto, QoS 1", "udx-native + secret-stream"]) {
    const what = found.get(name);
    assert.ok(what !== undefined && "missing" in what, name);
    assert.match(what.missing, /package .* in the folder that SECUREDGRAM_BENCH_PEERS names/);
  }
});

test("a program is found where it lies, and one that nobody has is not", () => {
  assert.match(programOf("sh") ?? "", /\/sh$/);
  assert.equal(programOf("no-such-program-anywhere"), undefined);
});

test("a server that ends at once fails with what it said", async () => {
  const place = { folder: "/", port: 1 };

  await assert.rejects(
    PeerServer.start("/bin/sh", ["-c", "echo no port for me >&2; exit 3"], place),
    /ended at once: no port for me/,
  );
  await assert.rejects(PeerServer.start("/no/such/server", [], place), /ended at once: .*ENOENT/);
});

test("a certificate without openssl fails and says which program", () => {
  assert.throws(() => makeCertificate("/no/such/openssl", "/tmp"), /\/no\/such\/openssl/);
});
