// Sessions among hosts that each have an identity, every pair without a secret: what the layer of every
// process is made from, and who may be excused what.

import { endianness } from "node:os";
import type { SpeakingPeerConfig } from "../../src/shared/protocol/session/peer-surroundings.js";
import { KEY_ROLE, NO_KEY_SLOT } from "../../src/shared/protocol/session/ports.js";
import {
  HANDSHAKE_DATA,
  SESSION_JOB,
  SESSION_OUTCOME,
  SESSION_WORD,
} from "../../src/shared/runtime/session-slab.js";
import type { SlabTable } from "../../src/shared/runtime/slab.js";
import { NOISE_PRIMITIVES } from "../../src/workers/noise-primitives.js";
import { SessionWork } from "../../src/workers/session-work.js";
import type { Birth, SimProcess } from "./host.js";
import { type HostPlants, NO_HOST_PLANTS, type Plant } from "./plants.js";
import { Prng } from "./prng.js";
import type { ProtocolAdapter } from "./protocol-adapter.js";
import type { Scenario, Setting } from "./scenario.js";
import { SessionHost, type SimPeer } from "./session-host.js";
import { SessionVault } from "./session-vault.js";
import { hintKeyOf, type SessionCrypto, SymbolicSessionWork } from "./symbolic-session.js";
import { Violation } from "./violation.js";

const MESSAGE_BYTES_MAX = 4 * 1_024 * 1_024;

export class SessionAdapter implements ProtocolAdapter {
  readonly #plants: HostPlants;
  #vault = new SessionVault();
  #seed = 0;
  #setting: Setting | undefined;
  /** Highest stamp of a message 1, by who sent it to whom from which file. */
  readonly #stamps = new Map<string, bigint>();
  /** Messages 1 that were answered, by who did from which file. */
  readonly #answered = new Set<string>();

  constructor(plant?: Plant) {
    this.#plants = { ...NO_HOST_PLANTS, ...plant?.host };
  }

  begin({ seed, setting }: Scenario): void {
    this.#vault = new SessionVault();
    this.#seed = seed;
    this.#setting = setting;
    this.#stamps.clear();
    this.#answered.clear();
  }

  get firstAnswers(): number {
    return this.#answered.size;
  }

  scopeOf(identity: number): string {
    return Buffer.from(publicKeyOf(identity)).toString("base64");
  }

  newProcess(birth: Birth, identity: number): SimProcess {
    const setting = this.#setting as Setting;
    const identities = Array.from({ length: setting.hosts }, (_, host) => host).filter(
      (host) => host !== identity,
    );
    const { crypto, hintKeys } =
      setting.crypto === "real"
        ? realCrypto(identity, identities, this.#noteAnswer(birth))
        : this.#symbolic(birth, identity, identities);
    const { creditMessages, creditBytes } = setting;
    const incarnation = this.#plants.repeatsNonces ? 0 : birth.incarnation;
    const peers = identities.map(
      (each, peer): SimPeer => ({
        identity: each,
        key: this.scopeOf(each),
        config: configOf(each, creditMessages, creditBytes),
        hintKeys: hintKeys[peer] ?? [],
      }),
    );
    return new SessionHost(birth, {
      ownPublicKey: publicKeyOf(identity),
      peers,
      crypto,
      draws: Prng.of(this.#seed, "process", birth.host, incarnation),
      plants: this.#plants,
      creditMessages,
      creditBytes,
    });
  }

  /** No process answers, from one file, a message 1 again. */
  #noteAnswer({ host, replaced }: Birth): OnAnswer {
    return (initiation) => {
      const key = `${host}.${replaced}.${initiation}`;
      if (this.#answered.has(key))
        throw new Violation("answered a handshake twice", `host ${host}`);
      this.#answered.add(key);
    };
  }

  #symbolic(birth: Birth, identity: number, peers: readonly number[]): Crypto {
    const file = `${birth.host}.${birth.replaced}`;
    const crypto = new SymbolicSessionWork({
      vault: this.#vault,
      identity,
      peers,
      draws: Prng.of(this.#seed, "handshakes", birth.host, birth.incarnation),
      plants: this.#plants,
      onInitiate: (peer, stamp) => {
        const key = `${file}.${peer}`;
        const before = this.#stamps.get(key);
        if (before !== undefined && stamp <= before) {
          throw new Violation("stamp used twice", `host ${birth.host} to ${peers[peer]}`);
        }
        this.#stamps.set(key, stamp);
      },
      onAnswer: this.#noteAnswer(birth),
    });
    return { crypto, hintKeys: peers.map((peer) => [hintKeyOf(peer, identity)]) };
  }
}

/** Tells the name of each message 1 that is answered. */
type OnAnswer = (initiation: string) => void;

interface Crypto {
  readonly crypto: SessionCrypto;
  readonly hintKeys: readonly (readonly Uint8Array[])[];
}

const privateKeyOf = (identity: number): Uint8Array => new Uint8Array(32).fill(identity + 65);

/** Of X25519, so that one list of public keys serves both kinds of crypto. */
function publicKeyOf(identity: number): Uint8Array {
  let known = publicKeys[identity];
  if (known === undefined) {
    known = new Uint8Array(32);
    NOISE_PRIMITIVES.publicKey(known, privateKeyOf(identity));
    publicKeys[identity] = known;
  }
  return known;
}
const publicKeys: Uint8Array[] = [];

function realCrypto(identity: number, peers: readonly number[], onAnswer: OnAnswer): Crypto {
  const work = new SessionWork();
  const installed = work.install(
    [privateKeyOf(identity), undefined, undefined],
    peers.map((peer) => [
      {
        role: KEY_ROLE.current,
        own: KEY_ROLE.current,
        peerPublicKey: publicKeyOf(peer).slice(),
        secret: undefined,
      },
    ]),
  );
  const crypto: SessionCrypto = {
    run: noticing((table, word) => work.run(table, word), onAnswer),
    keyName: (keySlot, seals) => {
      const held = work.keys.of(keySlot);
      if (held === undefined) return undefined;
      return Buffer.from(seals ? held.sealKey : held.openKey).toString("latin1");
    },
    get open() {
      return work.handshakes.open;
    },
    free: () => work.free(),
  };
  const hintKeys = installed.map((ring) =>
    (ring ?? []).flatMap(({ hintKey }) => (hintKey === undefined ? [] : [hintKey])),
  );
  return { crypto, hintKeys };
}

/** Tells what a worker answers, from the jobs that it does. */
function noticing(run: SessionCrypto["run"], onAnswer: OnAnswer): SessionCrypto["run"] {
  const read = new Map<string, string>();
  return (table, word) => {
    const { words } = table;
    const isResponse = words[word] === SESSION_JOB.respond;
    const answers = isResponse ? answersOf(table, word) : 0;
    run(table, word);
    const peer = words[word + SESSION_WORD.peer];
    if (words[word + SESSION_WORD.parentKeySlot] !== NO_KEY_SLOT) return;
    if (words[word] === SESSION_OUTCOME.initiation) {
      const stamp = `${words[word + SESSION_WORD.high]}.${words[word + SESSION_WORD.low]}`;
      const id = words[word + SESSION_WORD.id];
      read.set(`${peer}.${id}`, `${peer}.${id}.${stamp}`);
    } else if (isResponse && words[word] === SESSION_OUTCOME.responded) {
      onAnswer(read.get(`${peer}.${answers}`) ?? "");
    }
  };
}

function answersOf({ words, bytes }: SlabTable, word: number): number {
  const at = words[word + SESSION_WORD.at] + HANDSHAKE_DATA.answers;
  return new DataView(bytes.buffer, bytes.byteOffset).getUint32(at, endianness() === "LE");
}

const configOf = (
  identity: number,
  creditMessages: number,
  creditBytes: number,
): SpeakingPeerConfig => ({
  mode: "session",
  name: `host${identity}`,
  publicKey: publicKeyOf(identity),
  nextPublicKey: undefined,
  previousPublicKey: undefined,
  ring: [{ role: "current", name: "00", own: "current", peer: "current", secret: undefined }],
  hasSecret: false,
  places: [],
  mtuBytes: undefined,
  padding: { kind: "none" },
  keepaliveSeconds: undefined,
  limits: { messageBytesMax: MESSAGE_BYTES_MAX, creditMessages, creditBytes },
});
