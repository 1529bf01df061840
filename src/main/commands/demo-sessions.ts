// The second half of the demonstration: two hosts in sessions, set up by the commands that people use.

import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { setTimeout as nap } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { DaemonError } from "../../shared/base/errors.js";
import { DemoHost, freePort, LOOPBACK, requireAll, type Say, showInbound } from "./demo-host.js";

const CLI = fileURLToPath(new URL("../cli.js", import.meta.url));
const CONFIG = "securedgram.toml";
const LARGE_BYTES = 1_024 * 1_024;
const COMMAND_MS_MAX = 20_000;
const run = promisify(execFile);

export async function showSessions(directory: string, hosts: DemoHost[], say: Say): Promise<void> {
  await say("5. Two hosts with an identity each. Nothing secret leaves either of them:");
  const carol = await makeHost("carol", directory, hosts);
  const dave = await makeHost("dave", directory, hosts);
  await introduce(carol, dave, say);
  for (const host of [carol, dave]) await host.start();

  const [toDave, toCarol] = [
    { address: "dave", port: dave.port },
    { address: "carol", port: carol.port },
  ];
  await say("6. Messages in a session: any text or bytes, in streams where the order counts:");
  const first = carol.insertRows(toDave, [
    { payload: "No JSON needed here" },
    { payload: "one", stream: "numbers" },
    { payload: "two", stream: "numbers" },
    { payload: "three", stream: "numbers" },
  ]);
  const answers = dave.insert(toCarol, ["Hello, carol"]);
  await carol.showReceipts(first, say);
  await dave.showReceipts(answers, say);
  await say(`   carol$ securedgram peer status\n   ${await command(carol, ["peer", "status"])}`);

  await say("7. Dave's process is killed, and carol writes on, 1 MiB of random bytes among it:");
  await dave.kill();
  const large = randomBytes(LARGE_BYTES);
  const waiting = carol.insertRows(toDave, [
    { payload: large },
    { payload: "four", stream: "numbers" },
  ]);
  await nap(300);
  await say(`   ${carol.states(waiting).join(", ")}`);
  await say("   Dave starts again, and there is a new session, with new keys:");
  await dave.start();
  await carol.showReceipts(waiting, say);

  await say("8. What dave has, each message once:");
  const stored = await showInbound(dave, say);
  const same = dave
    .inbound()
    .some(({ payload }) => typeof payload !== "string" && large.equals(payload));
  await Promise.all([carol.stop(), dave.stop()]);
  requireAll(dave.name, stored, first.length + waiting.length);
  if (same) return;
  throw new DaemonError(
    "ERR_WORKER",
    "the large message is not what was sent",
    "report this: it must never happen",
  );
}

async function makeHost(name: string, directory: string, hosts: DemoHost[]): Promise<DemoHost> {
  const environment = { SECUREDGRAM_CONFIG: CONFIG };
  const host = new DemoHost(name, join(directory, name), await freePort(), environment);
  hosts.push(host);
  return host;
}

/** Each gets an identity, and the public key of the other. */
async function introduce(one: DemoHost, other: DemoHost, say: Say): Promise<void> {
  const keys = new Map<DemoHost, string>();
  for (const host of [one, other]) {
    const key = await command(host, ["key", "new", "--out", "identity"]);
    keys.set(host, key);
    await say(`   ${host.name}$ securedgram key new --out identity\n   ${key}`);
  }
  for (const [host, peer] of [
    [one, other],
    [other, one],
  ] as const) {
    const key = keys.get(peer) ?? "";
    const words = ["peer", "add", peer.name, "--public-key", key];
    await command(host, [
      ...words,
      ...["--address", `${LOOPBACK}:${peer.port}`, "--config", CONFIG],
    ]);
    await say(`   ${host.name}$ securedgram ${words.join(" ")} --address ...`);
  }
}

/** Runs a command as a person on that host would; what it prints, without the last line end. */
async function command(host: DemoHost, words: readonly string[]): Promise<string> {
  const isNew = words[0] === "key" || words[1] === "add";
  const config = isNew ? {} : { SECUREDGRAM_CONFIG: CONFIG };
  const { stdout } = await run(process.execPath, [CLI, ...words], {
    cwd: host.directory,
    env: { PATH: process.env["PATH"] ?? "", HOME: host.directory, ...config },
    timeout: COMMAND_MS_MAX,
  });
  return stdout.trimEnd();
}
