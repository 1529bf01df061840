// What the clients of other systems have in common, as bench/peer-child uses them. Their packages are no
// dependencies of this one: they are loaded from a folder that a variable of the environment names.

import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

/** Names the folder in which `npm install` put the clients. */
export const PEERS_VARIABLE = "SECUREDGRAM_BENCH_PEERS";

export interface PeerPlace {
  /** TCP port of the server; of udx-native: UDP port of the consumer. */
  readonly port: number;
  /** UDP port of the producer, of udx-native. */
  readonly fromPort: number;
  /** Certificate that the server is to have, a file. */
  readonly certificate: string;
  /** Of MQTT. */
  readonly qos: 1 | 2;
  /** Messages that are under way at most. */
  readonly underWay: number;
}

export interface PeerProducer {
  /** Resolves when all are acknowledged. */
  sendBatch(payloads: readonly Uint8Array[]): Promise<void>;
  close(): Promise<void>;
}

export interface PeerConsumer {
  /** What was handled is acknowledged; nothing comes any more. */
  close(): Promise<void>;
}

/** One system: both ends of it. */
export interface PeerClient {
  produce(place: PeerPlace): Promise<PeerProducer>;
  consume(place: PeerPlace, take: (payload: Uint8Array) => void): Promise<PeerConsumer>;
}

const folderOf = (): string | undefined => process.env[PEERS_VARIABLE];

/** Version of an installed client; undefined when it is not there. */
export function peerVersion(name: string): string | undefined {
  const folder = folderOf();
  if (folder === undefined) return undefined;
  const file = join(folder, "node_modules", name, "package.json");
  if (!existsSync(file)) return undefined;
  const { version } = JSON.parse(readFileSync(file, "utf8")) as { readonly version: string };
  return version;
}

/** Loads a client; the caller says which part of it is used, as its type. */
export function peerPackage<Module>(name: string): Module {
  const folder = folderOf();
  if (folder === undefined) throw new Error(`${PEERS_VARIABLE} names no folder`);
  return createRequire(join(folder, "package.json"))(name) as Module;
}

/** A promise, and what settles it. */
export function deferred(): {
  readonly done: Promise<void>;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
} {
  let [resolve, reject]: [() => void, (error: Error) => void] = [() => {}, () => {}];
  const done = new Promise<void>((yes, no) => {
    [resolve, reject] = [yes, no];
  });
  return { done, resolve, reject };
}
