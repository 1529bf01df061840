// Daemons on loopback as a suite uses them: the program that people run, each with a folder and a
// database of its own, one secret or an identity each, no setting but those.

import { randomBytes } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { userInfo } from "node:os";
import { join } from "node:path";
import { ChildDaemon } from "../src/main/client/child-daemon.js";
import { newPrivateKey, publicKeyOf } from "../src/main/identity.js";
import { base64Text } from "../src/main/secrets.js";
import { DgramSocket } from "../src/main/socket/dgram.js";
import { forget, remember } from "./children.js";
import type { Protocol } from "./suite.js";

export const LOOPBACK = "127.0.0.1";
const CONFIG = "securedgram.toml";
const THREAD_NAMES = new URL("./thread-names.js", import.meta.url).href;

export class Host {
  readonly name: string;
  readonly port: number;
  readonly database: string;
  readonly #daemon: ChildDaemon;

  /** `folder` exists, with the files that `environment` names. */
  constructor(
    name: string,
    folder: string,
    port: number,
    environment: Readonly<Record<string, string>>,
    flags: readonly string[] = [],
    switches: readonly string[] = [],
  ) {
    this.name = name;
    this.port = port;
    this.database = join(folder, "securedgram.db");
    this.#daemon = new ChildDaemon({
      directory: folder,
      environment,
      flags: [
        ...["--bind", LOOPBACK, "--port", `${port}`, "--db", this.database],
        ...["--log", "stdout", "--user", userInfo().username],
        ...flags,
      ],
      switches: [`--import=${THREAD_NAMES}`, ...switches],
    });
  }

  get pid(): number {
    const { pid } = this.#daemon;
    if (pid === undefined) throw new Error(`${this.name} does not run`);
    return pid;
  }

  async start(): Promise<void> {
    remember(this.#daemon);
    await this.#daemon.start();
  }

  /** A clean end: fails when the daemon's exit code is not 0. */
  async stop(): Promise<void> {
    await this.#daemon.stop();
    forget(this.#daemon);
  }

  end(): void {
    this.#daemon.abandon();
    forget(this.#daemon);
  }
}

export interface HostOptions {
  /** Default classic. */
  readonly protocol?: Protocol;
  /** More flags of each daemon. */
  readonly flags?: readonly string[];
  /** More switches of Node. */
  readonly switches?: readonly string[];
  /** Called with the path of each database before its daemon starts. */
  readonly prepare?: (database: string) => void;
}

/** Starts a daemon for each name, gives them to `work`, and stops them whatever it does. */
export async function withHosts<T>(
  folder: string,
  names: readonly string[],
  work: (hosts: readonly Host[]) => Promise<T>,
  options: HostOptions = {},
): Promise<T> {
  const { protocol = "classic", flags = [], switches = [], prepare } = options;
  const secret = randomBytes(32).toString("hex");
  const members: Member[] = [];
  for (const name of names) {
    const directory = join(folder, name);
    mkdirSync(directory, { mode: 0o700 });
    members.push({ name, directory, port: await freePort(), privateKey: newPrivateKey() });
  }
  if (protocol === "session") for (const member of members) configure(member, members);
  const hosts: Host[] = [];
  try {
    for (const { name, directory, port } of members) {
      const environment: Record<string, string> =
        protocol === "session" ? { SECUREDGRAM_CONFIG: CONFIG } : { SECUREDGRAM_SECRET: secret };
      const host = new Host(name, directory, port, environment, flags, switches);
      hosts.push(host);
      prepare?.(host.database);
      await host.start();
    }
    const result = await work(hosts);
    for (const host of hosts) await host.stop();
    return result;
  } finally {
    for (const host of hosts) host.end();
  }
}

interface Member {
  readonly name: string;
  readonly directory: string;
  readonly port: number;
  readonly privateKey: Uint8Array;
}

/** An identity, and all others as session peers under their names. */
function configure(member: Member, members: readonly Member[]): void {
  const write = (name: string, text: string): void =>
    writeFileSync(join(member.directory, name), text, { mode: 0o600 });
  const entries = members
    .filter((each) => each !== member)
    .map(
      ({ name, port, privateKey }) =>
        `[[peer]]\nname = "${name}"\naddress = "${LOOPBACK}:${port}"\n` +
        `public_key = "${base64Text(publicKeyOf(privateKey))}"\n`,
    );
  write("identity", `${base64Text(member.privateKey)}\n`);
  write(CONFIG, entries.join("\n"));
}

/** A port that was free a moment ago. */
export async function freePort(): Promise<number> {
  const socket = new DgramSocket();
  await socket.start(LOOPBACK, 0);
  const { port } = socket;
  await socket.stop();
  return port;
}
