// Runs every example of docs/CLIENT.md as a program of its own, and compiles a program of TypeScript
// against the declarations as somebody else's project would.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { openDatabase } from "../../src/shared/store/open.js";
import { projectRoot } from "../project.js";
import { arrive } from "./place.js";

const ROOT = projectRoot();
/** Where the compiled library lies, with the package.json that names it. */
const BUILT = fileURLToPath(new URL("../../src/", import.meta.url));
const DEADLINE_MS = 20_000;

const EXAMPLES = [
  ...readFileSync(join(ROOT, "docs", "CLIENT.md"), "utf8").matchAll(/```js\n(.*?)```/gs),
].map(([, code]) => code);
const SAID: readonly RegExp[] = [
  /^queued as [0-9a-f]{24}\n$/,
  /^512 queued\n$/,
  /^the outbox is full: .+; try again later.+\n$/,
  /^no answer yet; the daemon goes on trying\n$/,
  /^alice says 0\n(alice says \d+\n)*alice says the end\n$/,
  /^shares: \d+, \d+, \d+\n$/,
  /^$/,
];

test("the page has an example for each thing that is expected here", () => {
  assert.equal(EXAMPLES.length, SAID.length);
});

for (const [index, code] of EXAMPLES.entries()) {
  test(`example ${index + 1} of docs/CLIENT.md runs and says what it should`, async (t) => {
    const project = makeProject(t);
    const path = join(project, "securedgram.db");
    const db = openDatabase(path, { role: "daemon", create: true });
    t.after(() => db.close());
    const place = { folder: project, path, db };
    arrive(place, [
      ...Array.from({ length: 50 }, (_, n) => ({ payload: `${n}` })),
      { payload: "the end" },
    ]);
    writeFileSync(join(project, "example.mjs"), withoutUsing(code));

    const line = [join(project, "example.mjs")];
    const ended = await promisify(execFile)(process.execPath, line, {
      cwd: project,
      timeout: DEADLINE_MS,
    });

    assert.match(ended.stdout, SAID[index]);
    assert.equal(ended.stderr, "");
  });
}

test("the declarations hold in a strict project, and refuse what is wrong", async (t) => {
  const project = makeProject(t);
  const compile = async (text: string): Promise<string> => {
    writeFileSync(join(project, "program.ts"), text);
    const options = ["--strict", "--noEmit", "--pretty", "false", "--skipLibCheck", "false"];
    const kind = ["--target", "es2023", "--module", "nodenext", "--types", "node"];
    const tsc = join(ROOT, "node_modules", "typescript", "bin", "tsc");
    const line = [tsc, ...options, ...kind, "program.ts"];
    const ran = promisify(execFile)(process.execPath, line, { cwd: project, timeout: DEADLINE_MS });
    return await ran.then(
      () => "",
      (thrown: { readonly stdout: string }) => thrown.stdout,
    );
  };
  const head = 'import { type IncomingMessage, Mailbox, type Receipt } from "securedgram";\n';
  const open = "const mailbox: Mailbox = await Mailbox.open();\n";
  const right = `${head}${open}
    const id: string = await mailbox.send({ to: "b", payload: { n: [1, null, "x"] }, priority: "high" });
    const receipt: Receipt = await mailbox.receipt(id, { signal: AbortSignal.timeout(1) });
    if (receipt.state === "expired") console.log(receipt.mayHaveArrived);
    for await (const message of mailbox.inbox({ batch: 1 })) {
      const same: IncomingMessage = message;
      same.done();
    }
    await mailbox[Symbol.asyncDispose]();
    export {};`;

  assert.equal(await compile(right), "");
  for (const [wrong, code] of [
    ['await mailbox.send({ payload: "x" });', "TS2741"],
    ['await mailbox.send({ to: "b", payload: () => 1 });', "TS2322"],
    ['await mailbox.send({ to: "b", payload: "x", priority: "low" });', "TS2820|TS2322"],
    ["(await mailbox.receipt('x')).reason;", "TS2339"],
    ["new Mailbox();", "TS2673"],
  ]) {
    assert.match(await compile(`${head}${open}${wrong}\nexport {};`), new RegExp(code), wrong);
  }
});

/** A folder with the package in its node_modules, as npm install of a folder makes it. */
function makeProject(t: TestContext): string {
  const project = mkdtempSync(join(tmpdir(), "securedgram-docs-"));
  t.after(() => rmSync(project, { recursive: true, force: true }));
  const modules = join(project, "node_modules");
  mkdirSync(join(modules, "securedgram", "dist"), { recursive: true });
  symlinkSync(BUILT, join(modules, "securedgram", "dist", "src"));
  writeFileSync(
    join(modules, "securedgram", "package.json"),
    readFileSync(join(ROOT, "package.json")),
  );
  mkdirSync(join(modules, "@types"));
  symlinkSync(join(ROOT, "node_modules", "@types", "node"), join(modules, "@types", "node"));
  writeFileSync(join(project, "package.json"), '{ "type": "module" }');
  return project;
}

/** `await using` as Node 20 can take it: it is the compiler's business there. */
function withoutUsing(code: string): string {
  const plain = code.replaceAll("await using mailbox =", "const mailbox =");
  return `${plain}\nawait mailbox.close();\n`;
}
