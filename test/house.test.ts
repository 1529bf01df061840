// Proves that the walls stand: the compiler and Biome themselves, run on copies of our settings, reject
// what each wall is for and accept the nearest thing that is allowed.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { projectRoot } from "./project.js";
import { DOORS } from "./tidy.js";

const ROOT = projectRoot();
const TOOL_DEADLINE_MS = 60_000;

test("the compiler rejects the core that reaches for Node, line by line, and accepts its twin", () => {
  const wrong = fixture("core-uses-node.ts.txt");
  const marked = wrong.split("\n").flatMap((line, i) => (line.endsWith("// error") ? [i + 1] : []));

  assert.ok(marked.length >= 8);
  assert.deepEqual(compileCore(wrong), marked);
  assert.deepEqual(compileCore(fixture("core-uses-base.ts.txt")), []);
});

test("Biome rejects what each room may not import or use, and accepts what it may", () => {
  const rows: [number, string, string, string | undefined][] = [
    [1, "src/shared/base/x.ts", 'import "node:fs";', "noRestrictedImports"],
    [2, "src/shared/base/x.ts", 'import "../protocol/pacer.js";', "noRestrictedImports"],
    [3, "src/shared/base/x.ts", 'import "./units.js";', undefined],
    [4, "src/shared/protocol/x.ts", 'import "node:fs";', "noRestrictedImports"],
    [5, "src/shared/protocol/x.ts", 'import "zod";', "noRestrictedImports"],
    [6, "src/shared/protocol/x.ts", 'import "../runtime/slab.js";', "noRestrictedImports"],
    [7, "src/shared/protocol/x.ts", 'import "../base/units.js";', undefined],
    [8, "src/shared/protocol/x.ts", "export const now = Date.now();", "noRestrictedGlobals"],
    [9, "src/shared/protocol/x.ts", "export const b = Buffer.alloc(1);", "noRestrictedGlobals"],
    [10, "src/shared/protocol/x.ts", "export const m = Math.max(1, 2);", undefined],
    [11, "src/shared/runtime/x.ts", 'import "../store/driver.js";', "noRestrictedImports"],
    [12, "src/shared/runtime/x.ts", 'import "../../main/daemon.js";', "noRestrictedImports"],
    [13, "src/shared/runtime/x.ts", 'import "../protocol/slot.js";', undefined],
    [14, "src/shared/store/x.ts", 'import "../../workers/outbox.js";', "noRestrictedImports"],
    [15, "src/shared/store/x.ts", 'import "../runtime/messages.js";', undefined],
    [16, "src/main/x.ts", 'import "../workers/outbox.js";', "noRestrictedImports"],
    [17, "src/main/commands/x.ts", 'import "../../workers/outbox.js";', "noRestrictedImports"],
    [18, "src/main/x.ts", 'import "../shared/runtime/messages.js";', undefined],
    [19, "src/workers/x.ts", 'import "../main/daemon.js";', "noRestrictedImports"],
    [20, "src/workers/x.ts", 'import "../shared/store/driver.js";', undefined],
    [
      21,
      "src/main/x.ts",
      "const f = async () => {};\nexport const g = () => { f(); };",
      "noFloatingPromises",
    ],
    [22, "src/main/x.ts", "const f = async () => {};\nexport const g = () => f();", undefined],
    [23, "src/main/x.ts", "export default 1;", "noDefaultExport"],
    [
      24,
      "src/main/x.ts",
      'import { y } from "./y.js";\nexport const x = () => y;',
      "noImportCycles",
    ],
    [25, "src/client/x.ts", 'import "../main/daemon.js";', "noRestrictedImports"],
    [26, "src/client/x.ts", 'import "../workers/outbox.js";', "noRestrictedImports"],
    [27, "src/client/x.ts", 'import "../shared/runtime/messages.js";', "noRestrictedImports"],
    [28, "src/client/x.ts", 'import "../shared/store/open.js";', undefined],
    [29, "src/workers/x.ts", 'import "../client/outbox.js";', "noRestrictedImports"],
    [30, "src/shared/store/x.ts", 'import "../../client/watch.js";', "noRestrictedImports"],
    [31, "src/main/commands/x.ts", 'import "../../client/outbox.js";', undefined],
  ];
  const files = rows.map(([number, path, text]) => [pathOf(path, number), text] as const);

  const found = lint([
    ...files,
    ["src/main/y.ts", 'import { x } from "./x24.js";\nexport const y = () => x;'],
  ]);

  for (const [number, path, text, rule] of rows) {
    const rules = found.get(pathOf(path, number)) ?? [];
    assert.deepEqual(
      rules.map(([each]) => each),
      rule === undefined ? [] : [rule],
      `row ${number}: ${text}`,
    );
  }
});

test("Biome rejects a second importer of every dependency in every room, and accepts the first", () => {
  const names = Object.keys(DOORS);
  const text = names.map((name) => `import "${name}";`).join("\n");
  const rooms = [
    "src/shared/runtime",
    "src/shared/store",
    "src/client",
    "src/main",
    "src/main/commands",
    "src/workers",
    "bench",
  ];
  const doors = [...new Set(Object.values(DOORS).flat())];
  const paths = [...rooms.map((room) => `${room}/second.ts`), ...doors];

  const found = lint(paths.map((path) => [path, text]));

  // A later override replaces an earlier one: each has to repeat the doors that are not its own.
  for (const path of paths) {
    const rejected = (found.get(path) ?? []).map(([, line]) => names[line - 1]);
    const others = names.filter((name) => !DOORS[name].includes(path));
    assert.deepEqual(rejected.sort(), others.sort(), path);
  }
});

/** Lines with errors when this text is a file of the core. */
function compileCore(text: string): readonly number[] {
  const folder = copyOfTheHouse();
  try {
    place(folder, "src/shared/protocol/fixture.ts", text);
    const settings = join("src", "shared", "protocol", "tsconfig.json");
    const { stdout } = run("tsc", ["-p", settings, "--pretty", "false"], folder);
    const lines = [...stdout.matchAll(/fixture\.ts\((\d+),\d+\): error/g)];
    assert.equal(lines.length, stdout.trim().split("\n").filter(Boolean).length, stdout);
    return lines.map((match) => Number(match[1]));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Rules that files break, each with its line, by path. */
function lint(
  files: readonly (readonly [string, string])[],
): ReadonlyMap<string, readonly [string, number][]> {
  const folder = copyOfTheHouse();
  try {
    for (const [path, text] of files) place(folder, path, `${text}\n`);
    const paths = files.map(([path]) => path);
    const args = ["lint", "--reporter=github", "--max-diagnostics=1000", ...paths];
    const { stdout } = run("biome", args, folder);
    const found = new Map<string, [string, number][]>();
    for (const [, rule, file, line] of stdout.matchAll(
      /title=lint\/\w+\/(\w+),file=([^,]+),line=(\d+)/g,
    )) {
      const path = paths.find((each) => file.endsWith(`/${each}`)) ?? file;
      found.set(path, [...(found.get(path) ?? []), [rule, Number(line)]]);
    }
    return found;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const pathOf = (path: string, number: number): string => path.replace("x.ts", `x${number}.ts`);

/** Our settings and the base in a folder of their own; the caller removes it. */
function copyOfTheHouse(): string {
  const folder = mkdtempSync(join(tmpdir(), "securedgram-house-"));
  for (const path of ["package.json", "tsconfig.json", "biome.json", "src/shared/base"]) {
    cpSync(join(ROOT, path), join(folder, path), { recursive: true });
  }
  place(folder, "src/shared/protocol/tsconfig.json", readCore("tsconfig.json"));
  symlinkSync(join(ROOT, "node_modules"), join(folder, "node_modules"));
  return folder;
}

function place(folder: string, path: string, text: string): void {
  mkdirSync(dirname(join(folder, path)), { recursive: true });
  writeFileSync(join(folder, path), text);
}

const readCore = (name: string): string =>
  readFileSync(join(ROOT, "src", "shared", "protocol", name), "utf8");

const fixture = (name: string): string =>
  readFileSync(join(ROOT, "test", "fixtures", name), "utf8");

function run(tool: string, args: readonly string[], cwd: string): { readonly stdout: string } {
  const binary = join(ROOT, "node_modules", ".bin", tool);
  const ended = spawnSync(binary, args, { cwd, encoding: "utf8", timeout: TOOL_DEADLINE_MS });
  assert.equal(ended.error, undefined, `${tool} runs`);
  return ended;
}
