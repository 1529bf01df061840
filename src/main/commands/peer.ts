// `securedgram peer`: the peers of the configuration file, their state, and the change of their keys.

import { DaemonError, EXIT, type ExitCode } from "../../shared/base/errors.js";
import type { Edit } from "../config-edit.js";
import { modeOf } from "../session-peers.js";
import { type PeerTable, readTable } from "../settings.js";
import { addPeer, removePeer, tomlString } from "../toml-text.js";
import { columns } from "./columns.js";
import { defineCommand } from "./command.js";
import type { Io } from "./io.js";
import { PeerFile } from "./peer-file.js";
import { PEER_OPTIONS, type PeerLine } from "./peer-options.js";
import { quoted } from "./printable.js";

const FILE = ["config"] as const;

export const peerCommand = defineCommand({
  name: "peer",
  summary: "list and change peers, rotate keys",
  usage: "ACTION [NAME] [options]",
  options: PEER_OPTIONS,
  positionals: [1, 2],
  conflicts: [
    ["install", "public-key", "finish", "abandon"],
    ["identity", "install"],
    ["identity", "public-key"],
  ],
  actions: [
    {
      name: "add",
      summary: "add a peer to the configuration file",
      usage: "NAME",
      positionals: [1, 1],
      options: [...FILE, "public-key", "secret-file", "address", "mode", "auto-until"],
    },
    {
      name: "list",
      summary: "list the peers of the configuration file",
      usage: "",
      positionals: [0, 0],
      options: [...FILE, "db", "json"],
    },
    {
      name: "show",
      summary: "show the settings of a peer",
      usage: "NAME",
      positionals: [1, 1],
      options: [...FILE, "json"],
    },
    {
      name: "remove",
      summary: "remove a peer from the configuration file",
      usage: "NAME",
      positionals: [1, 1],
      options: FILE,
    },
    {
      name: "rotate",
      summary: "change the secret of a pair, or with --identity our identity",
      usage: "[NAME]",
      positionals: [0, 1],
      options: [...FILE, "db", "identity", "install", "public-key", "finish", "abandon", "force"],
    },
    {
      name: "status",
      summary: "say what is spoken with a peer, and where its rotation stands",
      usage: "[NAME]",
      positionals: [0, 1],
      options: [...FILE, "db", "json"],
    },
  ],
  epilogue: "See docs/KEYS.md for a rotation step by step.",
  async run(args, io): Promise<ExitCode> {
    const [action, name = ""] = args.positionals;
    switch (action) {
      case "add":
        return add(name, args.options, io);
      case "list":
        return await list(args.options, io);
      case "show":
        return await show(name, args.options, io);
      case "remove":
        return remove(name, args.options, io);
      case "rotate":
        return await (await import("./peer-rotate.js")).rotatePeer(name, args.options, io);
      default:
        return await (await import("./peer-status.js")).peerStatus(name, args.options, io);
    }
  },
});

type Options = PeerLine["options"];

function add(name: string, options: Options, io: Io): ExitCode {
  const file = new PeerFile(options, io, true);
  if (file.peers.some((peer) => peer.name === name)) {
    throw new DaemonError(
      "ERR_CONFIG",
      `${file.path} has a peer ${quoted(name)}`,
      "Change it by hand, or remove it first: nothing is overwritten.",
    );
  }
  const { address } = options;
  const entries: readonly (readonly [string, string | readonly string[] | undefined])[] = [
    ["name", name],
    ["mode", options.mode],
    ["public_key", options["public-key"]],
    ["address", address.length > 1 ? address : address[0]],
    ["secret_file", options["secret-file"]],
    ["auto_until", options["auto-until"]],
  ];
  const given = entries.flatMap(([key, value]) =>
    value === undefined ? [] : [[key, value] as const],
  );
  judgeShape(given);
  const edit: Edit = {
    onText: (text) =>
      addPeer(
        text,
        given.map(([key, value]) => [key, tomlValue(value)] as const),
      ),
    onTable: (table) => {
      table.peer = [...(table.peer ?? []), Object.fromEntries(given)];
    },
  };
  file.edit(edit);
  return EXIT.done;
}

/** What does not fit is said in the words of the command line, before the file is touched. */
function judgeShape(given: readonly (readonly [string, string | readonly string[]])[]): void {
  const judged = readTable({ peer: [Object.fromEntries(given)] });
  if ("table" in judged) return;
  const key = judged.at.split(", ").at(-1) ?? "";
  const option = key === "name" ? "NAME" : `--${key.replaceAll("_", "-")}`;
  const expects = "expects" in judged ? judged.expects : "";
  throw new DaemonError("ERR_USAGE", `${option} does not fit`, `It takes ${expects}.`);
}

const tomlValue = (value: string | readonly string[]): string =>
  typeof value === "string" ? tomlString(value) : `[${value.map(tomlString).join(", ")}]`;

function remove(name: string, options: Options, io: Io): ExitCode {
  const file = new PeerFile(options, io);
  const { peer, index } = file.find(name);
  file.edit({
    removes: true,
    onText: (text) => removePeer(text, index),
    onTable: (table) => {
      table.peer?.splice(index, 1);
      if (table.peer?.length === 0) delete table.peer;
    },
  });
  const left = [peer.secret_file, peer.next_secret_file, peer.previous_secret_file];
  const files = left.filter((each) => each !== undefined);
  if (files.length > 0)
    io.say(`${io.program}: no longer used, and still there: ${files.join(", ")}`);
  return EXIT.done;
}

/** Settings of a peer that may be shown: an inline secret is not among them. */
function shownOf(peer: PeerTable): Readonly<Record<string, unknown>> {
  const { secret, address, ...rest } = peer;
  const addresses = typeof address === "string" ? [address] : (address ?? []);
  const until = peer.auto_until === undefined ? {} : { auto_until: new Date(peer.auto_until) };
  const hidden = secret === undefined ? {} : { secret: "(in the file)" };
  return { ...rest, mode: modeOf(peer), address: addresses, ...until, ...hidden };
}

async function list(options: Options, io: Io): Promise<ExitCode> {
  const file = new PeerFile(options, io);
  const { peers } = file;
  const { sessionsUp } = await import("./peer-status.js");
  const up = sessionsUp(file);
  if (options.json) {
    const listed = peers.map((peer) => ({
      ...shownOf(peer),
      session_up_since: up.get(peer.name) ?? null,
    }));
    const shown = { v: 1, peers: listed };
    await io.write(`${JSON.stringify(shown, undefined, 2)}\n`);
    return EXIT.done;
  }
  const rows = peers.map((peer) => [
    peer.name,
    modeOf(peer),
    peer.public_key ?? "-",
    [peer.address ?? "-"].flat().join(" "),
    up.has(peer.name) ? `up since ${up.get(peer.name)}` : "",
  ]);
  for (const line of columns(rows)) await io.write(`${line.trimEnd()}\n`);
  return EXIT.done;
}

async function show(name: string, options: Options, io: Io): Promise<ExitCode> {
  const { peer } = new PeerFile(options, io).find(name);
  const shown = shownOf(peer);
  if (options.json) {
    await io.write(`${JSON.stringify({ v: 1, ...shown }, undefined, 2)}\n`);
    return EXIT.done;
  }
  const rows = Object.entries(shown).map(([key, value]) => [
    key,
    typeof value === "string" ? value : JSON.stringify(value),
  ]);
  for (const line of columns(rows)) await io.write(`${line}\n`);
  return EXIT.done;
}
