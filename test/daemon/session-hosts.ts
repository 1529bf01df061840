// Two real daemons that speak sessions: identities and configurations made here, and, where a test wants
// to see or to rule the wire, a relay between them that stands in for the network.

import { generateKeyPairSync } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { LOOPBACK, makeSecret, type Place, TestDaemon } from "./harness.js";
import type { HostOptions } from "./host.js";
import { Relay } from "./relay.js";

export const CONFIG_NAME = "securedgram.toml";

/** Base64 lines as `securedgram key` writes them. */
export interface Identity {
  readonly privateKey: string;
  readonly publicKey: string;
}

export function makeIdentity(): Identity {
  const { privateKey } = generateKeyPairSync("x25519");
  const { d = "", x = "" } = privateKey.export({ format: "jwk" });
  const base64 = (text: string) => Buffer.from(text, "base64url").toString("base64");
  return { privateKey: base64(d), publicKey: base64(x) };
}

export interface PairOptions {
  /** Lines for the [[peer]] tables of both. */
  readonly peer?: string;
  /** Lines for the top of both configurations. */
  readonly top?: string;
  /** True: each knows the other by the address of a relay. */
  readonly relayed?: boolean;
  /** Serve with host.ts and these options, by name. */
  readonly hosts?: Readonly<
    Partial<Record<"alice" | "bob", Omit<HostOptions, "port" | "database">>>
  >;
  /** False: the pair has no secret beside the identities. */
  readonly secret?: boolean;
  /** Where each lives, when it is not loopback: address to bind, and words in front of the program. */
  readonly places?: Readonly<
    Record<"alice" | "bob", { readonly address: string; readonly wrapper: readonly string[] }>
  >;
}

/** Two daemons with sessions, not started. */
export class SessionPair {
  readonly alice: TestDaemon;
  readonly bob: TestDaemon;
  readonly identities: Record<"alice" | "bob", Identity>;
  readonly addresses: Readonly<Record<"alice" | "bob", string>>;
  /** 64 hex digits, or "". */
  readonly secret: string;
  readonly #relay: Relay | undefined;

  private constructor(
    daemons: readonly [TestDaemon, TestDaemon],
    keys: Pick<SessionPair, "identities" | "addresses" | "secret">,
    relay: Relay | undefined,
  ) {
    [this.alice, this.bob] = daemons;
    this.identities = keys.identities;
    this.addresses = keys.addresses;
    this.secret = keys.secret;
    this.#relay = relay;
  }

  static async make(place: Place, options: PairOptions = {}): Promise<SessionPair> {
    const { hosts = {}, relayed = false, places } = options;
    const make = (name: "alice" | "bob"): Promise<TestDaemon> => {
      const host = hosts[name];
      return TestDaemon.make(place, {
        name,
        secret: "",
        secretInEnvironment: false,
        flags: ["--config", CONFIG_NAME],
        ...(host === undefined ? {} : { host: { ...host, config: CONFIG_NAME } }),
        ...places?.[name],
      });
    };
    const [alice, bob] = [await make("alice"), await make("bob")];
    const identities = { alice: makeIdentity(), bob: makeIdentity() };
    const secret = options.secret === false ? "" : makeSecret();
    const relay = relayed ? await Relay.make(place, alice.port, bob.port) : undefined;
    const addresses = {
      alice: places?.alice.address ?? LOOPBACK,
      bob: places?.bob.address ?? LOOPBACK,
    };
    const pair = new SessionPair([alice, bob], { identities, addresses, secret }, relay);
    const { peer = "", top = "" } = options;
    pair.configure("alice", { peer, top });
    pair.configure("bob", { peer, top });
    return pair;
  }

  get relay(): Relay {
    if (this.#relay === undefined) throw new Error("the pair was made without a relay");
    return this.#relay;
  }

  /** Ports at which rows of each find the other. */
  get toBob(): number {
    return this.#relay?.toBob ?? this.bob.port;
  }
  get toAlice(): number {
    return this.#relay?.toAlice ?? this.alice.port;
  }

  /** Writes the configuration of one of them. */
  configure(
    name: "alice" | "bob",
    options: Pick<PairOptions, "peer" | "top"> & {
      readonly secret?: string;
      /** 0: it does not know where the other is. */
      readonly port?: number;
      /** Where it looks for the other, when a relay of another kind stands there. */
      readonly address?: string;
    } = {},
  ): void {
    const daemon = this[name];
    const other = name === "alice" ? "bob" : "alice";
    const { secret = this.secret } = options;
    writeConfig(daemon, {
      identity: this.identities[name].privateKey,
      top: options.top ?? "",
      peers: [
        {
          name: other,
          publicKey: this.identities[other].publicKey,
          address: options.address ?? this.addresses[other],
          port: options.port ?? (name === "alice" ? this.toBob : this.toAlice),
          secret,
          more: options.peer ?? "",
        },
      ],
    });
  }

  async start(): Promise<this> {
    await Promise.all([this.alice.start(), this.bob.start()]);
    return this;
  }

  /** Waits until both have no row that is not acknowledged. */
  async settled(waitMs?: number): Promise<void> {
    await Promise.all([this.alice.settled(waitMs), this.bob.settled(waitMs)]);
  }
}

export interface PeerTable {
  readonly name: string;
  /** "": none, it speaks classic. */
  readonly publicKey: string;
  /** Loopback by default. */
  readonly address?: string;
  /** 0: its address is not known. */
  readonly port: number;
  /** "": none. */
  readonly secret: string;
  readonly more?: string;
}

/** A configuration in the daemon's folder, which is its working folder, with the keys beside it. */
export function writeConfig(
  daemon: TestDaemon,
  options: {
    readonly identity: string;
    readonly top?: string;
    readonly peers: readonly PeerTable[];
  },
): void {
  const file = (name: string, text: string): void =>
    writeFileSync(join(daemon.directory, name), text, { mode: 0o600 });
  file("identity", `${options.identity}\n`);
  const lines = [`identity_file = "identity"`, options.top ?? ""];
  for (const { name, publicKey, address = LOOPBACK, port, secret, more = "" } of options.peers) {
    lines.push("[[peer]]", `name = "${name}"`);
    if (publicKey !== "") lines.push(`public_key = "${publicKey}"`);
    if (port !== 0) lines.push(`address = "${address}:${port}"`);
    if (secret !== "") {
      file(`${name}.secret`, `${secret}\n`);
      lines.push(`secret_file = "${name}.secret"`);
    }
    lines.push(more);
  }
  file(CONFIG_NAME, `${lines.join("\n")}\n`);
}

/** Two started daemons with sessions, as kill rounds take them. */
export async function makeSessionPair(place: Place): Promise<readonly [TestDaemon, TestDaemon]> {
  const { alice, bob } = await (await SessionPair.make(place)).start();
  return [alice, bob];
}

export interface Message {
  readonly payload: string | Uint8Array;
  readonly stream?: string;
  /** 0 bulk, 1 normal, 2 high, 3 urgent. */
  readonly priority?: number;
  readonly messageId?: string;
}

/** Rows for the peer of that name, in one transaction; returns their ids. */
export function sendAll(
  from: TestDaemon,
  to: string,
  messages: readonly Message[],
): readonly number[] {
  return from.write(() => {
    const insert = from.db.prepare(
      `INSERT INTO outbound_messages(message_id, dst_addr, dst_port, payload, stream, priority)
       VALUES (?, ?, 1, ?, ?, ?)`,
    );
    return messages.map(({ messageId = null, payload, stream = null, priority = 1 }) =>
      Number(insert.run(messageId, to, payload, stream, priority).lastInsertRowid),
    );
  });
}

/** Payloads of one stream as they were stored, in the order of their rows. */
export const streamOf = (at: TestDaemon, stream: string): readonly string[] =>
  at.db
    .prepare("SELECT payload FROM inbound_messages WHERE stream = ? ORDER BY id")
    .pluck()
    .all(stream)
    .map(String);

/** A counter over all summary lines of a daemon's log. */
export const sumOf = (daemon: TestDaemon, counter: string): number =>
  daemon.log
    .map((line) => (JSON.parse(line) as Readonly<Record<string, unknown>>)[counter])
    .reduce((all: number, value) => all + (typeof value === "number" ? value : 0), 0);
