// Keeps the rules of tidy.ts over the whole tree, and proves each rule on a fixture that breaks it and
// on one that comes close and keeps it: a checker that accepts everything would pass as well.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join, relative, sep } from "node:path";
import { test } from "node:test";
import { projectRoot } from "./project.js";
import { DOORS, faultsOf, importsOf, packageOf, RULES, type Source } from "./tidy.js";

const ROOT = projectRoot();
const FIXTURES = join(ROOT, "test", "fixtures", "tidy");
/** Text that a rule must see: prose too may name a machine. */
const PROSE = /\.(md|toml|json|service|sh|sql)$/;

test("the whole tree keeps the rules of the house", () => {
  const sources = sourcesUnder("src", "test", "bench");

  assert.deepEqual(sources.flatMap(faultsOf), []);
});

test("the tree that was looked at is the whole one", () => {
  const sources = sourcesUnder("src", "test", "bench");

  assert.ok(sources.length > 120, `${sources.length} sources`);
  for (const room of ["src/main", "src/workers", "src/shared/protocol", "src/shared/store"]) {
    assert.ok(sources.filter(({ path }) => path.startsWith(room)).length >= 8, room);
  }
});

test("every door has somebody who goes through it", () => {
  const sources = sourcesUnder("src", "bench");
  for (const [name, [importer]] of Object.entries(DOORS)) {
    const source = sources.find(({ path }) => path === importer);

    assert.ok(source, `${importer} exists`);
    assert.ok(
      importsOf(source).some((each) => packageOf(each) === name),
      `${importer}: ${name}`,
    );
  }
});

test("what is written for people names no folder of a machine either", () => {
  const prose = filesUnder(ROOT, PROSE).filter(({ path }) => !/^(package-lock|test\/)/.test(path));

  assert.deepEqual(
    prose.flatMap((source) => RULES["machine-path"](source)),
    [],
  );
});

for (const [rule, check] of Object.entries(RULES)) {
  test(`${rule}: the wrong fixture is rejected at each marked line, its twin accepted`, () => {
    const wrong = fixture(`${rule}.wrong.txt`);
    const right = fixture(`${rule}.right.txt`);
    const marks = wrong.text.split("<<").length - 1;

    assert.ok(marks > 0, "a wrong fixture marks its faults");
    assert.equal(check(wrong).length, marks, check(wrong).join("\n"));
    assert.deepEqual(check(right), []);
  });
}

/** First line: the path it is to be judged as. `<<`: a fault ends here; `repeat n`: lines of filler. */
function fixture(name: string): Source {
  const [head, ...lines] = readFileSync(join(FIXTURES, name), "utf8").split("\n");
  const text = lines.join("\n").replace(/^repeat (\d+)$/gm, (_, times) => {
    return Array.from({ length: Number(times) }, (_, i) => `  each(${i});`).join("\n");
  });
  return { path: head.replace("// as ", ""), text };
}

function sourcesUnder(...folders: readonly string[]): readonly Source[] {
  return folders.flatMap((folder) => filesUnder(join(ROOT, folder), /\.ts$/));
}

function filesUnder(folder: string, kind: RegExp): readonly Source[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) {
      return /^(\.git|node_modules|dist|fixtures|vectors|results)$/.test(entry.name)
        ? []
        : filesUnder(path, kind);
    }
    if (!kind.test(entry.name)) return [];
    const fromRoot = relative(ROOT, path).split(sep).join("/");
    return [{ path: fromRoot, text: readFileSync(path, "utf8") }];
  });
}
