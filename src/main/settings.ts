// The table of settings: for each its name in the file, the environment and on the command line,
// what values fit, its default, and whether a reload may change it. Only importer of zod.

import { availableParallelism } from "node:os";
import { z } from "zod";
import { canonicalAddress } from "../shared/protocol/address.js";
import {
  CREDIT_BYTES_ALL,
  CREDIT_BYTES_MIN,
  CREDIT_MESSAGES_MIN,
  MESSAGE_BYTES_MAX,
  UNFINISHED_MESSAGES_MAX,
} from "../shared/protocol/session/limits.js";
import {
  MTU_PINNED_BYTES_MAX,
  MTU_PINNED_BYTES_MIN,
  PADDING_BYTES_MAX,
  type Padding,
  PEER_MESSAGE_BYTES_MIN,
  PEER_MODES,
} from "../shared/protocol/session/peer-config.js";
import { parseTime } from "../shared/store/text-time.js";
import { SOCKET_WISHES } from "./socket/datagram-socket.js";

/** Crypto workers at most when nobody says how many. Source: ours; bench/pipeline. */
const CRYPTO_WORKERS_DEFAULT_MAX = 4;
/** As many as crypto-pool.ts has memory for. */
const CRYPTO_WORKERS_MAX = 16;
const DAY_SECONDS = 86_400;

const UNIT_SECONDS = { s: 1, m: 60, h: 3_600, d: DAY_SECONDS, w: 7 * DAY_SECONDS } as const;
const UNIT_BYTES = {
  "": 1,
  b: 1,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  tb: 1e12,
  kib: 2 ** 10,
  mib: 2 ** 20,
  gib: 2 ** 30,
  tib: 2 ** 40,
} as const;

const raw = z.union([z.string(), z.number()]);

/** A schema for text or number whose one message is what it expects. */
function fitting<T>(expects: string, read: (value: string | number) => T | undefined) {
  return z.unknown().transform((value, context): T => {
    const given = raw.safeParse(value);
    const result = given.success ? read(given.data) : undefined;
    if (result !== undefined) return result;
    context.addIssue({ code: "custom", message: expects });
    return z.NEVER;
  });
}

function between(min: number, max: number, number: number): number | undefined {
  return number >= min && number <= max ? number : undefined;
}

function whole(min: number, max: number) {
  return fitting(`a whole number from ${min} to ${max}`, (value) => {
    if (typeof value === "string" && !/^\d{1,15}$/.test(value.trim())) return undefined;
    return Number.isSafeInteger(Number(value)) ? between(min, max, Number(value)) : undefined;
  });
}

function decimal(min: number, max: number, unit: string) {
  return fitting(`a number from ${min} to ${max}${unit}`, (value) => {
    if (typeof value === "string" && !/^\d{1,15}(\.\d{1,9})?$/.test(value.trim())) return undefined;
    return between(min, max, Number(value));
  });
}

const duration = fitting("a time like 12h, 7d or 4w, from 1s to 366d", (value) => {
  const match = /^(\d{1,12}(?:\.\d{1,9})?)\s*([smhdw]?)$/.exec(String(value).trim());
  if (match === null) return undefined;
  const unit = UNIT_SECONDS[(match[2] || "s") as keyof typeof UNIT_SECONDS];
  return between(1, 366 * DAY_SECONDS, Number(match[1]) * unit);
});

function size(expects: string, min: number, max: number) {
  return fitting(expects, (value) => {
    const match = /^(\d{1,15}(?:\.\d{1,9})?)\s*([kmgt]?i?b?)$/i.exec(String(value).trim());
    const unit = match?.[2].toLowerCase() ?? "?";
    if (match === null || !Object.hasOwn(UNIT_BYTES, unit)) return undefined;
    const bytes = Math.floor(Number(match[1]) * UNIT_BYTES[unit as keyof typeof UNIT_BYTES]);
    return between(min, max, bytes);
  });
}

const bytes = size("a size like 512MiB or 8GiB, from 64KiB to 1024TiB", 65_536, 2 ** 50);

const text = (expects: string) =>
  fitting(expects, (value) => {
    const usable = typeof value === "string" && value !== "" && !value.includes("\0");
    return usable ? value : undefined;
  });

const ipAddress = fitting("an IP address such as 0.0.0.0 or ::", (value) =>
  typeof value === "string" ? canonicalAddress(value.trim()) : undefined,
);

const socketWish = fitting("auto, dgram or linux", (value) =>
  SOCKET_WISHES.find((each) => each === value),
);

/** Workers when nobody says how many: one core is left to main and the database. */
export const cryptoWorkersDefault = (cores: number = availableParallelism()): number =>
  Math.min(CRYPTO_WORKERS_DEFAULT_MAX, Math.max(1, cores - 1));

/** Names of a setting, and whether a reload may change it. */
export interface SettingNames {
  /** In the TOML file. */
  readonly key: string;
  /** On the command line, without the dashes. */
  readonly flag: string;
  /** In the environment and in `.env`; ours have none. */
  readonly variable?: string;
  readonly reload: boolean;
  /** A path: relative ones start at the file they stand in, or at the working directory. */
  readonly path?: true;
}

const restart = false;
const reload = true;

/**
 * All settings but the secrets and the peers. `fallback` undefined: unset unless the user sets it.
 */
export const SETTINGS = {
  user: {
    key: "user",
    flag: "user",
    variable: "SECUREDGRAM_USER",
    reload: restart,
    schema: text("the name of a user"),
    fallback: "nobody",
  },
  log: {
    key: "log",
    flag: "log",
    variable: "SECUREDGRAM_LOG",
    reload: restart,
    path: true,
    schema: text("syslog, stdout or a file"),
    fallback: "syslog",
  },
  pidFile: {
    key: "pidfile",
    flag: "pidfile",
    variable: "SECUREDGRAM_PIDFILE",
    reload: restart,
    path: true,
    schema: text("a file"),
    fallback: "securedgram.pid",
  },
  address: {
    key: "address",
    flag: "bind",
    variable: "SECUREDGRAM_ADDRESS",
    reload: restart,
    schema: ipAddress,
    fallback: "0.0.0.0",
  },
  port: {
    key: "port",
    flag: "port",
    variable: "SECUREDGRAM_PORT",
    reload: restart,
    schema: whole(0, 65_535),
    fallback: 61_773,
  },
  socket: {
    key: "socket",
    flag: "socket",
    reload: restart,
    schema: socketWish,
    fallback: "auto",
  },
  windowSeconds: {
    key: "window",
    flag: "window",
    variable: "SECUREDGRAM_WINDOW",
    reload,
    schema: decimal(0.1, DAY_SECONDS, " seconds"),
    fallback: 10,
  },
  maxRetries: {
    key: "max_retries",
    flag: "max-retries",
    variable: "SECUREDGRAM_MAX_RETRIES",
    reload,
    schema: whole(0, 1_000_000),
    fallback: undefined,
  },
  retryIntervalSeconds: {
    key: "retry_interval",
    flag: "retry-interval",
    variable: "SECUREDGRAM_RETRY_INTERVAL",
    reload,
    schema: decimal(0.05, DAY_SECONDS, " seconds"),
    fallback: undefined,
  },
  db: {
    key: "db",
    flag: "db",
    variable: "SECUREDGRAM_DB",
    reload: restart,
    path: true,
    schema: text("a file"),
    fallback: "securedgram.db",
  },
  ratePerSecond: {
    key: "rate",
    flag: "rate",
    reload,
    schema: decimal(0, 1e9, " datagrams a second (0: no limit)"),
    fallback: 0,
  },
  burst: { key: "burst", flag: "burst", reload, schema: whole(1, 65_536), fallback: 64 },
  cryptoWorkers: {
    key: "crypto_workers",
    flag: "crypto-workers",
    reload: restart,
    schema: whole(0, CRYPTO_WORKERS_MAX),
    fallback: cryptoWorkersDefault(),
  },
  lifeSeconds: {
    key: "life",
    flag: "life",
    reload,
    schema: duration,
    fallback: 7 * DAY_SECONDS,
  },
  quotaBytes: { key: "quota", flag: "quota", reload, schema: bytes, fallback: 8 * 2 ** 30 },
  drainSeconds: {
    key: "drain_deadline",
    flag: "drain-deadline",
    reload: restart,
    schema: decimal(0, 3_600, " seconds"),
    fallback: 10,
  },
  receiveCpuShare: {
    key: "receive_cpu",
    flag: "receive-cpu",
    reload: restart,
    schema: decimal(0.01, 64, " cores"),
    fallback: 0.5,
  },
  strangerCpuShare: {
    key: "stranger_cpu",
    flag: "stranger-cpu",
    reload: restart,
    schema: decimal(0.01, 64, " cores"),
    fallback: 0.05,
  },
  strangersCpuShare: {
    key: "strangers_cpu",
    flag: "strangers-cpu",
    reload: restart,
    schema: decimal(0.01, 64, " cores"),
    fallback: 0.25,
  },
} as const satisfies Record<
  string,
  SettingNames & { readonly schema: z.ZodType; readonly fallback: unknown }
>;

export type SettingName = keyof typeof SETTINGS;
type Schemas = { readonly [K in SettingName]: (typeof SETTINGS)[K]["schema"] };
type Fallbacks = { readonly [K in SettingName]: (typeof SETTINGS)[K]["fallback"] };

/** The settings, read and judged. */
export type Settings = {
  readonly [K in SettingName]: undefined extends Fallbacks[K]
    ? z.output<Schemas[K]> | undefined
    : z.output<Schemas[K]>;
};

/** Names of the settings in the order of the table. */
export const SETTING_NAMES = Object.keys(SETTINGS) as readonly SettingName[];

export const namesOf = (name: SettingName): SettingNames => SETTINGS[name];

/** The value of a setting that nobody gave. */
export const fallbackOf = (name: SettingName): Settings[SettingName] => SETTINGS[name].fallback;

/** The value of a setting, or what would have fitted. */
export function readSetting(
  name: SettingName,
  value: unknown,
): { readonly value: Settings[SettingName] } | { readonly expects: string } {
  const result = SETTINGS[name].schema.safeParse(value);
  if (result.success) return { value: result.data };
  return { expects: result.error.issues[0].message };
}

// --- The file ----------------------------------------------------------------------------------

const optionalText = text("text").optional();
const name = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
const id = /^[A-Za-z0-9._:@-]{1,64}$/;

const PADDING_FORM = `"none", "full", or a multiple of bytes from 2 to ${PADDING_BYTES_MAX}`;
const padding = fitting(PADDING_FORM, (value): Padding | undefined => {
  if (value === "none" || value === "full") return { kind: value };
  const multiple = Number(value);
  if (!Number.isInteger(multiple) || multiple < 2) return undefined;
  return multiple <= PADDING_BYTES_MAX ? { kind: "multiple", bytes: multiple } : undefined;
});

/** Text, or a date of TOML, which is read as its text. A day without a time lasts until its end. */
const date = z.preprocess(
  (value) => (value instanceof Date ? value.toISOString() : value),
  fitting("a date like 2027-01-31 or 2027-01-31T12:00:00Z", (value) => {
    const written = String(value).trim();
    const wallMs = parseTime(written);
    return wallMs === undefined || written.length > 10 ? wallMs : wallMs + DAY_SECONDS * 1_000;
  }),
);

const mode = fitting(`${PEER_MODES.slice(0, -1).join(", ")} or ${PEER_MODES.at(-1)}`, (value) =>
  PEER_MODES.find((each) => each === value),
);

/** What a peer has only with a public key. */
const SESSION_KEYS = {
  next_public_key: optionalText,
  previous_public_key: optionalText,
  auto_until: date.optional(),
  mtu: whole(MTU_PINNED_BYTES_MIN, MTU_PINNED_BYTES_MAX).optional(),
  padding: padding.optional(),
  keepalive: decimal(1, 3_600, " seconds").optional(),
  message_bytes_max: size(
    "a size like 1MiB, from 1KiB to 64MiB",
    PEER_MESSAGE_BYTES_MIN,
    MESSAGE_BYTES_MAX,
  ).optional(),
  credit_messages: whole(CREDIT_MESSAGES_MIN, UNFINISHED_MESSAGES_MAX).optional(),
  credit_bytes: size(
    "a size like 8MiB, from 512KiB to 256MiB",
    CREDIT_BYTES_MIN,
    CREDIT_BYTES_ALL,
  ).optional(),
} as const;

/** Names of the settings that need a public key. */
export const SESSION_KEY_NAMES = Object.keys(
  SESSION_KEYS,
) as readonly (keyof typeof SESSION_KEYS)[];

const peerSchema = z.strictObject(
  {
    name: fitting("letters, digits, dots, _ and -, 64 at most", (value) =>
      typeof value === "string" && name.test(value) ? value : undefined,
    ),
    address: z
      .union([z.string(), z.array(z.string()).min(1)], {
        error: "an IP address or a host name, with or without a port, or a list of them",
      })
      .optional(),
    port: whole(1, 65_535).optional(),
    id: fitting("letters, digits and . _ : @ -, 64 at most", (value) =>
      typeof value === "string" && id.test(value) ? value : undefined,
    ).optional(),
    secret: optionalText,
    secret_file: optionalText,
    previous_secret_file: optionalText,
    next_secret_file: optionalText,
    mode: mode.optional(),
    public_key: optionalText,
    ...SESSION_KEYS,
  },
  { error: "a table with name, address and a public key or a secret" },
);

const pairSchema = z.strictObject(
  {
    id: fitting("letters, digits and . _ : @ -, 64 at most", (value) =>
      typeof value === "string" && id.test(value) ? value : undefined,
    ),
    master_file: text("a file"),
    previous_master_file: optionalText,
    next_master_file: optionalText,
  },
  { error: "a table with id and master_file" },
);

const settingKeys = Object.fromEntries(
  SETTING_NAMES.map((setting) => [SETTINGS[setting].key, z.unknown().optional()]),
);

const fileSchema = z.strictObject({
  ...settingKeys,
  secret: optionalText,
  secret_file: optionalText,
  previous_secret_file: optionalText,
  next_secret_file: optionalText,
  identity_file: optionalText,
  previous_identity_file: optionalText,
  next_identity_file: optionalText,
  peer: z.array(peerSchema, { error: "a list of [[peer]] tables" }).optional(),
  pair: pairSchema.optional(),
});

export type FileTable = z.output<typeof fileSchema> & Readonly<Record<string, unknown>>;
export type PeerTable = z.output<typeof peerSchema>;
export type PairTable = z.output<typeof pairSchema>;

/** What is wrong with a file's table: a key that nobody knows, or a value that does not fit. */
export type TableFault =
  | {
      readonly kind: "unknown";
      readonly key: string;
      readonly known: readonly string[];
      readonly at: string;
    }
  | { readonly kind: "unfit"; readonly at: string; readonly expects: string };

/**
 * Judges the shape of a file's table; setting values are judged with those of all other sources.
 */
export function readTable(table: unknown): { readonly table: FileTable } | TableFault {
  const result = fileSchema.safeParse(table);
  if (result.success) return { table: result.data };
  const issue = result.error.issues[0];
  const at = placeOf(issue.path);
  if (issue.code === "unrecognized_keys") {
    const shape = at === "" ? fileSchema : at === "pair" ? pairSchema : peerSchema;
    return { kind: "unknown", key: issue.keys[0], known: Object.keys(shape.shape), at };
  }
  return { kind: "unfit", at, expects: issue.message };
}

/** `peer 2, port`: tables are counted from 1. */
const placeOf = (path: readonly PropertyKey[]): string =>
  path
    .map((part) => (typeof part === "number" ? ` ${part + 1}` : `, ${String(part)}`))
    .join("")
    .replace(/^, /, "");
