// Just enough of the language for tidy.ts: where comments, strings and regular expressions are, and
// where functions begin and end. No parser: what it cannot tell apart it takes for code.

const BLANK = /[^\n]/g;
/** After these a slash begins a regular expression, not a division. */
const BEFORE_REGEX = /(^|[=([{,;:!&|?+\-*%<>~^]|=>|\b(?:return|typeof|case|in|of))\s*$/;
/** How far back one looks to tell a division from a regular expression, and a body from a block. */
const TAIL_LENGTH = 24;
const HEAD_LENGTH = 400;
/** One piece of text that is no code, by its first characters. */
const PIECES: Readonly<Record<string, RegExp>> = {
  "//": /\/\/[^\n]*/y,
  "/*": /\/\*[\s\S]*?\*\//y,
  '"': /"(?:[^"\\\n]|\\.)*"/y,
  "'": /'(?:[^'\\\n]|\\.)*'/y,
  "`": /`(?:[^`\\]|\\[\s\S])*`/y,
  "/": /\/(?:[^/\\[\n]|\\.|\[(?:[^\]\\\n]|\\.)*\])+\/\w*/y,
};

type Kind = "code" | "comments" | "strings";

/** What was asked of the text last looked at: every rule asks for the same few. */
let latest = { text: "", answers: new Map<string, string>() };

/** The text with everything but these kinds blanked; every line and column stays where it was. */
export function textOf(text: string, ...kinds: readonly Kind[]): string {
  if (latest.text !== text) latest = { text, answers: new Map() };
  const key = kinds.join();
  const answer = latest.answers.get(key) ?? keep(text, kinds);
  latest.answers.set(key, answer);
  return answer;
}

function keep(text: string, kinds: readonly Kind[]): string {
  let kept = "";
  let tail = "";
  for (let at = 0; at < text.length; ) {
    const [opening, piece] = pieceAt(text, at, tail);
    const taken = piece || text[at];
    const kind = piece === "" ? "code" : kindOf(opening);
    const blank = taken.replace(BLANK, " ");
    kept += kind !== undefined && kinds.includes(kind) ? taken : blank;
    tail = (tail + (kind === "code" ? taken : blank)).slice(-TAIL_LENGTH);
    at += taken.length;
  }
  return kept;
}

/** The text without comments, strings and regular expressions. */
export const codeOf = (text: string): string => textOf(text, "code");

/** Undefined: a regular expression, which is nothing that a rule looks at. */
function kindOf(opening: string): Kind | undefined {
  if (opening === "//" || opening === "/*") return "comments";
  return opening === "/" ? undefined : "strings";
}

function pieceAt(text: string, at: number, before: string): readonly [string, string] {
  const two = text.slice(at, at + 2);
  const opening = two in PIECES ? two : text[at];
  const pattern = PIECES[opening];
  if (pattern === undefined) return [opening, ""];
  if (opening === "/" && !BEFORE_REGEX.test(before)) return [opening, ""];
  pattern.lastIndex = at;
  return [opening, pattern.exec(text)?.[0] ?? ""];
}

/** First line, and number of lines with both braces, of every function with a body in braces. */
export function functionsOf(
  text: string,
): readonly { readonly line: number; readonly lines: number }[] {
  const code = codeOf(text);
  const open: { readonly line: number; readonly isFunction: boolean }[] = [];
  const found: { line: number; lines: number }[] = [];
  let line = 1;
  for (let at = 0; at < code.length; at++) {
    if (code[at] === "\n") line += 1;
    if (code[at] === "{")
      open.push({ line, isFunction: opensFunction(code.slice(Math.max(0, at - HEAD_LENGTH), at)) });
    if (code[at] !== "}") continue;
    const block = open.pop();
    if (block?.isFunction) found.push({ line: block.line, lines: line - block.line + 1 });
  }
  return found;
}

/** True when the brace behind this code opens a body: after an arrow, or a list of parameters. */
function opensFunction(before: string): boolean {
  const head = before.trimEnd();
  if (head.endsWith("=>")) return true;
  const list = /\)(?:\s*:\s*[^(){};=]+)?$/.exec(head);
  if (list === null) return false;
  let depth = 0;
  for (let at = list.index; at >= 0; at--) {
    if (head[at] === ")") depth += 1;
    if (head[at] === "(") depth -= 1;
    if (depth === 0) return !/\b(if|for|while|switch|catch|with|await)\s*$/.test(head.slice(0, at));
  }
  return true;
}
