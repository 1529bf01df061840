import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { parseToml } from "../../src/main/config-file.js";
import { addPeer, removePeer, setKey, tomlString } from "../../src/main/toml-text.js";

const FILE = `# Ours, since 2024.
port = 6000  # not the usual one
motd = """
[[peer]]
name = "not a peer"
"""
list = [
  "a", # one
  "]",
]

# alpha is in the cellar
[[peer]]
name = "alpha" # the first
address = '192.0.2.1'

[[ "peer" ]] # beta
name="beta"
address = [ "192.0.2.2",
  # the other line
  "192.0.2.3" ]
  # indented end

# about the pair
[pair]
id = "me"
`;

test("a peer is added at the end, everything else stays as it was", () => {
  const added = addPeer(FILE, [
    ["name", tomlString("gamma")],
    ["mtu", "1300"],
  ]);

  assert.equal(added, `${FILE}\n[[peer]]\nname = "gamma"\nmtu = 1300\n`);
  assert.equal(addPeer("", [["name", '"x"']]), '[[peer]]\nname = "x"\n');
  assert.equal(addPeer("a = 1", [["b", "2"]]), "a = 1\n\n[[peer]]\nb = 2\n");
  assert.equal(addPeer("a = 1\r\n", [["b", "2"]]), "a = 1\r\n\r\n[[peer]]\r\nb = 2\r\n");
});

test("a peer goes with its keys; comments and other tables stay", () => {
  const first = removePeer(FILE, 0) ?? "";
  const second = removePeer(FILE, 1) ?? "";

  assert.equal(
    first,
    FILE.replace(`[[peer]]\nname = "alpha" # the first\naddress = '192.0.2.1'\n`, ""),
  );
  assert.equal(second, FILE.replace(/\[\[ "peer" \]\][\s\S]*"192\.0\.2\.3" \]\n/, ""));
  assert.equal(removePeer(FILE, 2), undefined);
  assert.equal(removePeer("a = 1\n\n[[peer]]\nb = 2\n\n[x]\n", 0), "a = 1\n\n[x]\n");
});

test("a key is set where it stands, added behind the last one, or removed with its line", () => {
  const table: readonly (readonly [string, string, "top" | number, string, string | undefined])[] =
    [
      ["a = 1 # x\n", "a = 2 # x\n", "top", "a", "2"],
      ["a = 1 # x\nb = 2\n", "b = 2\n", "top", "a", undefined],
      ["a = 1\n", "a = 1\nb = 2\n", "top", "b", "2"],
      ["a = 1", "a = 1\nb = 2\n", "top", "b", "2"],
      ["# c\n\n# of p\n[[peer]]\n", "# c\n\nb = 2\n# of p\n[[peer]]\n", "top", "b", "2"],
      ["", "b = 2\n", "top", "b", "2"],
      ["[[peer]]\na = 1\n", "[[peer]]\na = 1\nb = 2\n", 0, "b", "2"],
      ["[[peer]]\n[x]\n", "[[peer]]\nb = 2\n[x]\n", 0, "b", "2"],
      ["[[peer]]\na = [1,\n2] # y\n", "[[peer]]\na = 3 # y\n", 0, "a", "3"],
      ["[[peer]]\r\n'a' = 1\r\n", "[[peer]]\r\n'a' = 3\r\n", 0, "a", "3"],
      ["[[peer]]\n[x]\na = 1\n", "[[peer]]\n[x]\na = 1\n", 0, "a", undefined],
    ];

  for (const [before, after, section, key, value] of table) {
    assert.equal(setKey(before, section, key, value), after, JSON.stringify(before));
  }
  assert.equal(setKey("[[peer]]\n", 1, "a", "1"), undefined);
});

const comment = fc.constantFrom("", " # x", " # ] \" '", "  ");
const value = fc.oneof(
  fc.integer().map(String),
  fc.string({ unit: fc.constantFrom("a", "#", "'", "[", "\\", '"', "é") }).map(tomlString),
  fc.constantFrom(
    "'#'",
    "'''\n[[peer]]\n'''",
    '"""\nx = "y""""',
    "[ 1, # ]\n 2 ]",
    "{ a = '}' }",
    "2030-01-01",
  ),
);
const line = fc
  .tuple(fc.constantFrom("a", "b", '"c"', "'d'"), value, comment)
  .map(([key, text, tail]) => ({
    key: key.replaceAll(/["']/g, ""),
    text: `${key} = ${text}${tail}\n`,
  }));
const lines = fc
  .uniqueArray(line, { selector: ({ key }) => key, maxLength: 4 })
  .map((all) => all.map(({ text }) => text).join("\n# between\n"));
const document = fc
  .tuple(lines, fc.array(lines, { minLength: 1, maxLength: 3 }), lines)
  .map(
    ([top, peers, pair]) =>
      `${top}\n# head\n${peers.map((peer) => `[[peer]]\n${peer}`).join("\n")}\n[pair] # p\n${pair}`,
  );

interface Parsed {
  [key: string]: unknown;
  peer: Record<string, unknown>[];
}
const parsed = (text: string | undefined): Parsed =>
  structuredClone(parseToml(text ?? "?", "x")) as Parsed;
const key = fc.constantFrom("a", "b", "c", "d", "e");

test("whatever the file looks like, an edit means what it should, and undoing it is the old text", () => {
  fc.assert(
    fc.property(document, key, fc.nat(), fc.boolean(), (text, name, pick, isTop) => {
      const before = parsed(text);
      const index = pick % before.peer.length;
      const section = isTop ? "top" : index;
      const scopeOf = (table: Parsed) => (isTop ? table : table.peer[index]);

      const set = parsed(text);
      scopeOf(set)[name] = 7;
      assert.deepEqual(parsed(setKey(text, section, name, "7")), set);
      const unset = parsed(text);
      delete scopeOf(unset)[name];
      assert.deepEqual(parsed(setKey(text, section, name, undefined)), unset);
      if (!(name in scopeOf(before))) {
        const added = setKey(text, section, name, "7") ?? "";
        assert.equal(setKey(added, section, name, undefined), text);
      }

      const rest = parsed(text);
      rest.peer.splice(index, 1);
      const removed: Partial<Parsed> = rest;
      if (rest.peer.length === 0) delete removed.peer;
      assert.deepEqual(parsed(removePeer(text, index)), removed);
      const added = addPeer(text, [["name", tomlString("new")]]);
      assert.deepEqual(parsed(added).peer.at(-1), { name: "new" });
      assert.equal(added.startsWith(text), true);
    }),
    { numRuns: 500 },
  );
});

test("any text is a string of TOML", () => {
  fc.assert(
    fc.property(fc.string({ unit: "grapheme" }), (text) => {
      assert.deepEqual(parsed(`a = ${tomlString(text)}`)["a"], text);
    }),
  );
});
