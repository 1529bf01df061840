import assert from "node:assert/strict";
import { test } from "node:test";
import { parseEnv } from "node:util";
import { parseEnvFile } from "../../src/main/env-file.js";

const read = (text: string): Record<string, string> => Object.fromEntries(parseEnvFile(text));

test("lines of KEY=VALUE are read, comments and other lines are not", () => {
  const text = "# a comment\nA=1\n\n  B = two words \nnonsense\n=x\n1A=x\nexport C=3\r\nA=2\n";
  assert.deepEqual(read(text), { A: "2", B: "two words", C: "3" });
});

test("one pair of matching quotes is stripped", () => {
  const text = `A="x y"\nB='q'\nC="un\nD='mixed"\nE=""\nF="'inner'"\nG="\n`;
  const expected = { A: "x y", B: "q", C: '"un', D: "'mixed\"", E: "", F: "'inner'", G: '"' };
  assert.deepEqual(read(text), expected);
});

test("a value keeps what util.parseEnv would cut or turn", () => {
  const text = 'A=/var/log/a#b\nB="a\\nb"\nC=`z`\n';
  assert.deepEqual(read(text), { A: "/var/log/a#b", B: "a\\nb", C: "`z`" });
  assert.notDeepEqual({ ...parseEnv(text) }, read(text));
});

test("the name __proto__ is a name like others", () => {
  assert.equal(parseEnvFile("__proto__=1").get("__proto__"), "1");
});
