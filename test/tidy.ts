// The rules of the house that no linter knows, as pure functions from a source to its faults. Applied
// to the tree, and to fixtures that must and must not pass, by tidy.test.ts.

import { posix } from "node:path";
import { codeOf, functionsOf, textOf } from "./source-text.js";

/** A file of the project: its path from the root, with slashes, and its text. */
export interface Source {
  readonly path: string;
  readonly text: string;
}

/** One importer per outside package: what is imported, and by which files only. */
export const DOORS: Readonly<Record<string, readonly string[]>> = {
  "better-sqlite3": ["src/shared/store/driver.ts"],
  comlink: ["src/shared/runtime/control.ts", "src/shared/runtime/comlink-node-adapter.d.ts"],
  koffi: ["src/main/socket/libc.ts"],
  "node:dgram": ["src/main/socket/dgram.ts"],
  "node:dns": ["src/main/connector.ts"],
  "p-queue": ["src/main/connector.ts"],
  pino: ["src/main/log.ts"],
  "smol-toml": ["src/main/config-file.ts"],
  "sodium-native": ["src/workers/aead.ts", "src/workers/noise-primitives.ts"],
  tinybench: ["bench/micro.ts"],
  yargs: ["src/main/commands/arguments.ts"],
  zod: ["src/main/settings.ts"],
};

/** Rooms under src, and the rooms that each may import besides itself. */
const ROOMS: Readonly<Record<string, readonly string[]>> = {
  "src/shared/base": [],
  "src/shared/protocol": ["src/shared/base"],
  "src/shared/runtime": ["src/shared/base", "src/shared/protocol"],
  "src/shared/store": ["src/shared/base", "src/shared/protocol", "src/shared/runtime"],
  "src/client": ["src/shared/base", "src/shared/protocol", "src/shared/store"],
  "src/main": ["src/shared", "src/client"],
  "src/workers": ["src/shared"],
};

/** Who may name memory that changes hands: the slabs' way, and the ports that a worker is born with. */
const TRANSFERERS = [
  "src/shared/runtime/channel.ts",
  "src/main/crypto-pool.ts",
  "src/main/store.ts",
  "src/workers/crypto.worker.ts",
];
/** Who may put names of tables and columns into a statement: literals of their own, never input. */
const SQL_COMPOSERS = [
  "src/shared/store/schema.ts",
  "src/shared/store/migrate.ts",
  "src/main/client/purge.ts",
  "src/client/message-pages.ts",
  "src/main/commands/control.ts",
  "src/workers/recover.ts",
];

const FILE_LINES_MAX = 450;
/** Truth tables and cases one after the other are long, and still read from top to bottom. */
const TEST_LINES_MAX = 700;
const FUNCTION_LINES_MAX = 70;
const TIME_WORDS = /(^|_)(AGE|DEADLINE|DELAY|EVERY|INTERVAL|LIFE|NAP|TIMEOUT|WAIT)(_|$)/;
const TIME_UNITS = /(^|_)(NS|US|MS|SECONDS|MINUTES|HOURS|DAYS)(_|$)/;
/** A unit is a plural noun (BYTES, ROWS, NS), or one of the things that are counted bare. */
const UNITS = /(S|SHARE|VERSION|GROWTH|NESTING|WORD|ID|TAG)(_|$)/;

const isCore = ({ path }: Source): boolean => /^src\/shared\/(base|protocol)\//.test(path);
const isOurs = ({ path }: Source): boolean => /^(src|bench)\//.test(path);

/** Name of each rule, and what it finds wrong with a source, one phrase a fault. */
export const RULES: Readonly<Record<string, (source: Source) => readonly string[]>> = {
  "core-clock": (source) =>
    isCore(source) ? matches(codeOf(source.text), /\bMath\.random\b|\bDate\b/g) : [],
  door: (source) =>
    importsOf(source).filter((name) => {
      const door = DOORS[packageOf(name)];
      return isOurs(source) && door !== undefined && !door.includes(source.path);
    }),
  layer: (source) => importsOf(source).filter((name) => !mayImport(source.path, name)),
  "file-length": (source) => {
    const lines = source.text.split("\n").length - 1;
    return lines > (isOurs(source) ? FILE_LINES_MAX : TEST_LINES_MAX) ? [`${lines} lines`] : [];
  },
  "function-length": (source) =>
    isOurs(source)
      ? functionsOf(source.text)
          .filter(({ lines }) => lines > FUNCTION_LINES_MAX)
          .map(({ line, lines }) => `${lines} lines from line ${line}`)
      : [],
  "unit-suffix": ({ text }) => numbersOf(codeOf(text)).filter((name) => !hasUnit(name)),
  "any-type": ({ text }) => matches(codeOf(text), /[:<,|&(]\s*any\b|\bas any\b|\bas unknown as\b/g),
  suppression: ({ path, text }) =>
    matches(
      textOf(text, "comments"),
      /@ts-ignore|@ts-nocheck|@ts-expect-error|biome-ignore/g,
    ).filter((found) => found !== "@ts-expect-error" || path !== "test/types.test.ts"),
  unfinished: ({ text }) =>
    matches(textOf(text, "comments"), /\b(TODO|FIXME|XXX|HACK)\b|\bfor now\b/g),
  "skipped-test": ({ text }) =>
    matches(codeOf(text), /\b(test|it|describe|suite|t)\.(skip|only|todo)\(|\b(skip|only|todo):/g),
  shape: ({ path, text }) =>
    path.endsWith(".d.ts")
      ? []
      : matches(codeOf(text), /^\s*export default\b|^\s*(export )?(const )?(enum|namespace) \w/gm),
  transfer: ({ path, text }) =>
    path.startsWith("src/") && !TRANSFERERS.includes(path)
      ? matches(codeOf(text), /\btransferList\b|\.postMessage\([^()]*,/g)
      : [],
  "machine-path": ({ text }) => matches(text, /(?<![\w.])\/(work|home|root)\/\w+/g),
  "sql-input": ({ path, text }) =>
    SQL_COMPOSERS.includes(path) || !path.startsWith("src/") ? [] : sqlInputs(text),
};

/** Faults of a source under every rule, or under one, each with the rule's name in front. */
export function faultsOf(source: Source): readonly string[] {
  return Object.entries(RULES).flatMap(([rule, check]) =>
    check(source).map((fault) => `${source.path}: ${rule}: ${fault.trim()}`),
  );
}

/** What a source imports, in any way. */
export function importsOf({ text }: Source): readonly string[] {
  const pattern = /(?:\bfrom|^\s*import|\bimport\(|\brequire\()\s*"([^"]+)"/gm;
  return [...textOf(text, "code", "strings").matchAll(pattern)].map((match) => match[1]);
}

/** The package behind `name/part`, one for each build of SQLite's driver. */
export function packageOf(name: string): string {
  const parts = name.split("/");
  const top = name.startsWith("@") ? `${parts[0]}/${parts[1]}` : parts[0];
  return top.startsWith("better-sqlite3") ? "better-sqlite3" : top;
}

function mayImport(path: string, name: string): boolean {
  const room = roomOf(path);
  if (room === undefined) return true;
  if (!name.startsWith(".")) return !/^src\/shared\/(base|protocol)$/.test(room);
  const target = posix.join(posix.dirname(path), name);
  return [room, ...ROOMS[room]].some((allowed) => target.startsWith(`${allowed}/`));
}

const roomOf = (path: string): string | undefined =>
  Object.keys(ROOMS).find((room) => path.startsWith(`${room}/`));

/** Exported constants whose value is a decimal number or a sum of such. */
function numbersOf(code: string): readonly string[] {
  const pattern = /^export const ([A-Z][A-Z0-9_]*)(?:: number)? =\s*([^;]*);/gm;
  return [...code.matchAll(pattern)]
    .filter(([, , value]) => /^[\s\d_.*+\-/()A-Z]+$/.test(value) && !/^\s*0[xo]/.test(value))
    .filter(([, , value]) => /\d|_(BYTES|NS|MS)/.test(value))
    .map((match) => match[1]);
}

const hasUnit = (name: string): boolean =>
  TIME_WORDS.test(name) ? TIME_UNITS.test(name) : UNITS.test(name);

/** Expressions that are not constants, in template strings that hold a statement. */
function sqlInputs(text: string): readonly string[] {
  const templates = textOf(text, "code", "strings").match(/`(?:[^`\\]|\\.)*`/g) ?? [];
  return templates
    .filter((each) => /\b(SELECT|INSERT|UPDATE|DELETE|ALTER|CREATE|DROP|PRAGMA) /.test(each))
    .flatMap((each) => matches(each, /\$\{(?![A-Z][A-Z0-9_]*\})[^}]*\}/g));
}

const matches = (text: string, pattern: RegExp): readonly string[] =>
  [...text.matchAll(pattern)].map((match) => match[0]);
