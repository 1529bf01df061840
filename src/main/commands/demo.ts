// `securedgram demo`: real daemons on loopback, messages both ways, receipts shown, a daemon killed in
// the middle and started again; first by classic, then in sessions. What it prints is read back from
// the databases.

import { randomBytes } from "node:crypto";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as nap } from "node:timers/promises";
import { DaemonError, EXIT, type ExitCode } from "../../shared/base/errors.js";
import { temporaryFolder } from "../private-file.js";
import { defineCommand } from "./command.js";
import { DemoHost, freePort, LOOPBACK, requireAll, type Say, showInbound } from "./demo-host.js";
import { showSessions } from "./demo-sessions.js";
import type { Io } from "./io.js";

export const demoCommand = defineCommand({
  name: "demo",
  summary: "daemons on loopback, messages both ways, a crash in the middle; classic and sessions",
  usage: "",
  options: {},
  positionals: [0, 0],
  async run(_args, io): Promise<ExitCode> {
    const directory = temporaryFolder("securedgram-demo-");
    const hosts: DemoHost[] = [];
    const interruption = io.interruption();
    try {
      return await Promise.race([show(directory, hosts, io), interrupted(interruption)]);
    } catch (error) {
      // On a terminal the interrupt reaches the daemons as well, and they may end first.
      if (interruption.aborted) throw cancelled();
      throw error;
    } finally {
      for (const host of hosts) host.end();
      rmSync(directory, { recursive: true, force: true });
    }
  },
});

const cancelled = (): DaemonError =>
  new DaemonError("ERR_CANCELLED", "interrupted", "nothing is left behind");

function interrupted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener("abort", () => reject(cancelled()), { once: true });
  });
}

async function show(directory: string, hosts: DemoHost[], io: Io): Promise<ExitCode> {
  const say: Say = (line) => io.write(`${line}\n`);
  await showClassic(directory, hosts, say);
  await showSessions(directory, hosts, say);
  await say("All daemons have stopped cleanly. All receipts were true.");
  return EXIT.done;
}

async function showClassic(directory: string, hosts: DemoHost[], say: Say): Promise<void> {
  const secret = randomBytes(32).toString("hex");
  const host = async (name: string): Promise<DemoHost> => {
    const environment = { SECUREDGRAM_SECRET: secret };
    const made = new DemoHost(name, join(directory, name), await freePort(), environment);
    hosts.push(made);
    return made;
  };
  const [alice, bob] = [await host("alice"), await host("bob")];

  await say("1. Two hosts that share a secret, each a daemon with a database of its own:");
  for (const each of [alice, bob]) {
    await each.start();
    await say(`   ${each.name} listens on ${LOOPBACK} port ${each.port}`);
  }
  await say("2. A message is a row in a table. Three from alice, two from bob:");
  const toBob = { address: LOOPBACK, port: bob.port };
  const first = alice.insert(toBob, [
    "Hello, bob",
    "How is the weather?",
    "Gr\u00fc\u00dfe \u2603",
  ]);
  const answers = bob.insert({ address: LOOPBACK, port: alice.port }, ["Hello, alice", "Dry"]);
  await alice.showReceipts(first, say);
  await bob.showReceipts(answers, say);
  await say(
    "   An acknowledgement means: authenticated, stored and synced on the other host's disk.",
  );

  await say("3. Bob's process is killed (SIGKILL), and alice goes on writing:");
  await bob.kill();
  const waiting = alice.insert(toBob, ["Are you there?", "I can wait."]);
  await nap(300);
  await say(`   ${alice.states(waiting).join(", ")}`);
  await say("   Bob starts again on the same database:");
  await bob.start();
  await alice.showReceipts(waiting, say);

  await say("4. What bob has, each message once:");
  const stored = await showInbound(bob, say);
  await Promise.all([alice.stop(), bob.stop()]);
  requireAll(bob.name, stored, first.length + waiting.length);
}
