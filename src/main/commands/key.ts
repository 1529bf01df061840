// `securedgram key`: identities and pair secrets, one base64 line each, made for pipes:
// securedgram key new | tee identity | securedgram key public

import { randomBytes } from "node:crypto";
import { DaemonError, EXIT, type ExitCode } from "../../shared/base/errors.js";
import { identityFile } from "../config-keys.js";
import { openSources } from "../config-sources.js";
import {
  type Identity,
  newPrivateKey,
  parsePrivateKey,
  publicKeyOf,
  readIdentityFile,
} from "../identity.js";
import { writePrivateFile } from "../private-file.js";
import { base64Text, type SecretPlaces, secretPath, trimmed, wipe } from "../secrets.js";
import { type Arguments, defineCommand, type OptionTable } from "./command.js";
import type { Io } from "./io.js";

/** A key's line, and white space around it. */
const STDIN_BYTES_MAX = 4_096;
const SECRET_BYTES = 32;

const OPTIONS = {
  config: { kind: "text", placeholder: "FILE", summary: "configuration file (show)" },
  out: { kind: "text", short: "o", placeholder: "FILE", summary: "write to a file of mode 600" },
  force: { kind: "flag", summary: "write over a file: the key in it is lost" },
  json: { kind: "flag", summary: "print as JSON (show)" },
} as const satisfies OptionTable;

export const keyCommand = defineCommand({
  name: "key",
  summary: "make and show keys",
  usage: "ACTION [options]",
  options: OPTIONS,
  positionals: [1, 2],
  actions: [
    {
      name: "new",
      summary: "make an identity: print the private key, or write it and print the public one",
      usage: "",
      positionals: [0, 0],
      options: ["out", "force"],
    },
    {
      name: "public",
      summary: "read a private key, print its public one",
      usage: "[FILE|-]",
      positionals: [0, 1],
      options: [],
    },
    {
      name: "secret",
      summary: "make a secret for a pair of hosts",
      usage: "",
      positionals: [0, 0],
      options: ["out", "force"],
    },
    {
      name: "show",
      summary: "print the public key of this host",
      usage: "",
      positionals: [0, 0],
      options: ["config", "json"],
    },
  ],
  epilogue:
    "securedgram key new --out identity\nsecuredgram key new | tee identity | securedgram key public",
  run: (args, io) => ACTIONS[args.positionals[0] as keyof typeof ACTIONS](args, io),
});

type Line = Arguments<typeof OPTIONS>;

const ACTIONS = {
  async new({ options }: Line, io: Io): Promise<ExitCode> {
    const key = newPrivateKey();
    try {
      await give(key, options, io, async () => io.write(`${base64Text(publicKeyOf(key))}\n`));
    } finally {
      wipe(key);
    }
    return EXIT.done;
  },

  async public({ positionals }: Line, io: Io): Promise<ExitCode> {
    const [, file = "-"] = positionals;
    if (file === "-" && io.stdinIsTerminal) io.say(`${io.program}: waiting for a private key`);
    const key =
      file === "-"
        ? await privateKeyFromStdin(io)
        : readIdentityFile(file, { base: io.directory, credentials: undefined }).privateKey;
    try {
      await io.write(`${base64Text(publicKeyOf(key))}\n`);
    } finally {
      wipe(key);
    }
    return EXIT.done;
  },

  async secret({ options }: Line, io: Io): Promise<ExitCode> {
    const secret = Uint8Array.from(randomBytes(SECRET_BYTES));
    try {
      await give(secret, options, io, async () => undefined);
    } finally {
      wipe(secret);
    }
    return EXIT.done;
  },

  async show({ options }: Line, io: Io): Promise<ExitCode> {
    const input = { flags: options, env: io.environment, cwd: io.directory };
    const sources = openSources(input, "all");
    const places: SecretPlaces = {
      base: sources.file?.directory ?? io.directory,
      credentials: io.environment["CREDENTIALS_DIRECTORY"],
    };
    const found = identityFile(sources, places);
    const current = readIdentityFile(found.name, found.places);
    const nextFile = sources.file?.table.next_identity_file;
    const next = nextFile === undefined ? undefined : readIdentityFile(nextFile, places);
    const publicKey = publicText(current);
    const nextPublicKey = next === undefined ? undefined : publicText(next);
    if (options.json) {
      const file = secretPath(found.name, found.places);
      const shown = { v: 1, public_key: publicKey, next_public_key: nextPublicKey ?? null, file };
      await io.write(`${JSON.stringify(shown, undefined, 2)}\n`);
    } else {
      await io.write(`${publicKey}\n`);
      if (nextPublicKey !== undefined) {
        io.say(`${io.program}: a rotation is under way; the next public key is ${nextPublicKey}`);
      }
    }
    return EXIT.done;
  },
} as const;

function publicText({ privateKey, publicKey }: Identity): string {
  wipe(privateKey);
  return base64Text(publicKey);
}

/** Prints a key, or writes it and lets `written` say what is public of it. */
async function give(
  key: Uint8Array,
  { out, force }: Line["options"],
  io: Io,
  written: () => Promise<void>,
): Promise<void> {
  const line = Buffer.from(`${base64Text(key)}\n`);
  try {
    if (out === undefined) return await io.write(line);
    const path = secretPath(out, { base: io.directory, credentials: undefined });
    writePrivateFile(path, line, { replace: force });
    await written();
  } finally {
    line.fill(0);
  }
}

async function privateKeyFromStdin(io: Io): Promise<Uint8Array> {
  const bytes = await keyFromStdin(io);
  try {
    return parsePrivateKey(trimmed(bytes), "standard input");
  } finally {
    wipe(bytes);
  }
}

/** What came on standard input, if it is short enough to be a key. */
export async function keyFromStdin(io: Io): Promise<Uint8Array> {
  const bytes = new Uint8Array(STDIN_BYTES_MAX);
  let length = 0;
  for await (const chunk of io.stdin()) {
    if (length + chunk.length > bytes.length) {
      wipe(bytes);
      throw new DaemonError(
        "ERR_CONFIG_SECRET",
        "standard input is longer than a key",
        "Pipe one line of base64 into it.",
      );
    }
    bytes.set(chunk, length);
    length += chunk.length;
    chunk.fill(0);
  }
  return bytes.subarray(0, length);
}
