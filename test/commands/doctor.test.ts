// `securedgram doctor`: which socket the daemon would use, and why; what start would warn of.

import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { chooseSocket } from "../../src/main/socket/choose-socket.js";
import { loadLibc } from "../../src/main/socket/libc.js";
import { folder, run } from "./programs.js";

/** What doctor finds about a thing. */
async function findings(t: TestContext, socket: readonly string[], threads?: string) {
  const { stdout } = await run(t, "cli", ["doctor", "--json", ...socket], {
    directory: folder(t),
    environment: {
      SECUREDGRAM_SECRET: "2".repeat(64),
      ...(threads === undefined ? {} : { UV_THREADPOOL_SIZE: threads }),
    },
  });
  const all = JSON.parse(stdout).findings as {
    readonly about: string;
    readonly verdict: string;
    readonly found: string;
    readonly remedy?: string;
  }[];
  return (about: string) => all.find((each) => each.about === about);
}

test("doctor says which socket the daemon uses, and why", async (t) => {
  const { kind, why } = chooseSocket("auto");

  assert.equal((await findings(t, []))("socket")?.found, `${kind}: ${why}`);
  const plain = (await findings(t, ["--socket", "dgram"]))("socket");
  assert.deepEqual([plain?.verdict, plain?.found], ["ok", "dgram: it was asked for"]);
});

test("doctor says why the Linux socket does not work, and that auto goes on without it", async (t) => {
  const auto = (await findings(t, [], "1"))("socket");
  const asked = (await findings(t, ["--socket", "linux"], "1"))("socket");

  assert.equal(auto?.verdict, "ok");
  assert.match(auto?.found ?? "", /^dgram: the Linux socket does not work here: /);
  assert.equal(asked?.verdict, "trouble");
  assert.match(asked?.remedy ?? "", /--socket auto or dgram/);
  if (typeof loadLibc() !== "string") assert.match(auto?.found ?? "", /UV_THREADPOOL_SIZE is 1/);
});

test("a socket of another name is refused with the names that there are", async (t) => {
  const configuration = (await findings(t, ["--socket", "pigeon"]))("configuration");

  assert.equal(configuration?.verdict, "trouble");
  assert.match(`${configuration?.found} ${configuration?.remedy}`, /pigeon.*auto, dgram or linux/s);
});

test("doctor shows what start would warn of, and says nothing where it would not", async (t) => {
  const directory = folder(t);
  const notes = async () => {
    const { stdout } = await run(t, "cli", ["doctor"], {
      directory,
      environment: { SECUREDGRAM_SECRET: "2".repeat(64) },
    });
    return stdout.split("\n").filter((line) => /configuration/.test(line));
  };
  assert.equal((await notes()).length, 1);

  writeFileSync(join(directory, ".env"), "SECUREDGRAM_PROT=1\n", { mode: 0o600 });
  const shown = await notes();
  assert.equal(shown.length, 2);
  assert.match(shown[1] ?? "", /^note {4}configuration: .*SECUREDGRAM_PROT/);
});
