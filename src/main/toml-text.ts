// Changes a TOML text without touching what it does not change: comments, order, spaces, line ends.
// It knows where statements begin and end, not what they mean; config-edit.ts parses the result and
// throws it away unless it says exactly what was meant.

/** A statement of the file: a table's header, or a key with its value. Offsets into the text. */
interface Statement {
  readonly kind: "header" | "key";
  /** `peer` of `[[peer]]` and of `peer = 1`. */
  readonly name: string;
  readonly isArray: boolean;
  /** Start of its first line, and start of the line behind it. */
  readonly from: number;
  readonly to: number;
  readonly valueFrom: number;
  readonly valueTo: number;
}

/** Where a key stands: in front of all tables, or in the nth `[[peer]]`, from 0. */
export type Section = "top" | number;

/** A text as a basic string of TOML. */
export const tomlString = (text: string): string =>
  JSON.stringify(text).replaceAll("\u007f", "\\u007f");

/** Adds a `[[peer]]` table at the end; values are TOML already. */
export function addPeer(
  text: string,
  entries: readonly (readonly [key: string, value: string])[],
): string {
  const eol = eolOf(text);
  const lines = ["[[peer]]", ...entries.map(([key, value]) => `${key} = ${value}`)];
  const block = lines.map((line) => line + eol).join("");
  if (text === "") return block;
  return `${text}${text.endsWith("\n") ? "" : eol}${eol}${block}`;
}

/** Removes the nth `[[peer]]`: its header and its keys. Undefined when there is none. */
export function removePeer(text: string, index: number): string | undefined {
  const section = sectionOf(statementsOf(text), index);
  if (section === undefined) return undefined;
  const [header] = section;
  const { to } = section[section.length - 1];
  let rest = text.slice(to);
  let before = text.slice(0, header.from);
  // The empty line that set the table apart goes with it.
  if (/(^|\n)[ \t]*\r?\n$/.test(before)) {
    if (rest === "") before = before.replace(/[ \t]*\r?\n$/, "");
    else rest = rest.replace(/^[ \t]*\r?\n/, "");
  }
  return before + rest;
}

/**
 * Sets a key to a value that is TOML already, or removes it with `undefined`. Undefined when the section
 * does not exist.
 */
export function setKey(
  text: string,
  section: Section,
  key: string,
  value: string | undefined,
): string | undefined {
  const statements = statementsOf(text);
  const scope = section === "top" ? topOf(statements) : sectionOf(statements, section);
  if (scope === undefined) return undefined;
  const found = scope.find(({ kind, name }) => kind === "key" && name === key);
  if (found !== undefined) {
    return value === undefined
      ? text.slice(0, found.from) + text.slice(found.to)
      : text.slice(0, found.valueFrom) + value + text.slice(found.valueTo);
  }
  if (value === undefined) return text;
  const last = scope.at(-1);
  const at = last === undefined ? startOf(text, statements) : last.to;
  const eol = eolOf(text);
  const start = at > 0 && text[at - 1] !== "\n" ? eol : "";
  return `${text.slice(0, at)}${start}${key} = ${value}${eol}${text.slice(at)}`;
}

const eolOf = (text: string): string => (text.includes("\r\n") ? "\r\n" : "\n");

/** Keys in front of the first table. */
function topOf(statements: readonly Statement[]): readonly Statement[] {
  const first = statements.findIndex(({ kind }) => kind === "header");
  return first < 0 ? statements : statements.slice(0, first);
}

/** Header and keys of the nth `[[peer]]`. */
function sectionOf(
  statements: readonly Statement[],
  index: number,
): readonly Statement[] | undefined {
  const headers = statements.flatMap((each, i) =>
    each.kind === "header" && each.isArray && each.name === "peer" ? [i] : [],
  );
  if (index >= headers.length) return undefined;
  const rest = statements.slice(headers[index] + 1);
  const next = rest.findIndex(({ kind }) => kind === "header");
  return [statements[headers[index]], ...(next < 0 ? rest : rest.slice(0, next))];
}

/** Where a first key goes: in front of the first table and of the comment that belongs to it. */
function startOf(text: string, statements: readonly Statement[]): number {
  let at = statements[0]?.from ?? text.length;
  while (at > 0) {
    const line = text.lastIndexOf("\n", at - 2) + 1;
    if (!/^[ \t]*#/.test(text.slice(line, at))) break;
    at = line;
  }
  return at;
}

function statementsOf(text: string): readonly Statement[] {
  const statements: Statement[] = [];
  let at = text.startsWith("\ufeff") ? 1 : 0;
  while (at < text.length) {
    const from = at;
    const first = from + (/^[ \t]*/.exec(text.slice(from))?.[0].length ?? 0);
    const head = text[first];
    if (head === undefined || head === "#" || head === "\n" || head === "\r") {
      at = lineEnd(text, first);
    } else if (head === "[") {
      at = lineEnd(text, first);
      statements.push(headerAt(text, from, first, at));
    } else {
      const equals = skipKey(text, first);
      const valueFrom = equals + 1 + (/^[ \t]*/.exec(text.slice(equals + 1))?.[0].length ?? 0);
      const valueTo = skipValue(text, valueFrom);
      at = lineEnd(text, valueTo);
      const name = plain(text.slice(first, equals));
      statements.push({ kind: "key", name, isArray: false, from, to: at, valueFrom, valueTo });
    }
  }
  return statements;
}

function headerAt(text: string, from: number, first: number, to: number): Statement {
  const isArray = text.startsWith("[[", first);
  const inner = text.slice(first + (isArray ? 2 : 1), to);
  const name = plain(inner.slice(0, Math.max(0, inner.indexOf("]"))));
  return { kind: "header", name, isArray, from, to, valueFrom: to, valueTo: to };
}

/** A bare or quoted key without white space and quotes. */
const plain = (key: string): string => key.trim().replace(/^(["'])(.*)\1$/, "$2");

/** Offset behind the end of the line. */
function lineEnd(text: string, at: number): number {
  const end = text.indexOf("\n", at);
  return end < 0 ? text.length : end + 1;
}

/** Offset of the equals sign behind a key, which may be quoted. */
function skipKey(text: string, from: number): number {
  let at = from;
  while (at < text.length && text[at] !== "=" && text[at] !== "\n") {
    at = text[at] === '"' || text[at] === "'" ? skipString(text, at) : at + 1;
  }
  return at;
}

/** Offset behind a value: strings of four kinds, brackets over lines, comments inside them. */
function skipValue(text: string, from: number): number {
  let depth = 0;
  let at = from;
  let end = from;
  while (at < text.length) {
    const character = text[at];
    if (character === "#") {
      if (depth === 0) return end;
      at = lineEnd(text, at);
    } else if (character === "\n") {
      if (depth === 0) return end;
      at += 1;
    } else if (character === '"' || character === "'") {
      at = skipString(text, at);
      end = at;
    } else {
      if (character === "[" || character === "{") depth += 1;
      if (character === "]" || character === "}") depth -= 1;
      at += 1;
      if (!/\s/.test(character)) end = at;
    }
  }
  return end;
}

/** Offset behind a string, of one line or of several. */
function skipString(text: string, from: number): number {
  const quote = text[from];
  const isLong = text.startsWith(quote.repeat(3), from);
  const close = isLong ? quote.repeat(3) : quote;
  let at = from + close.length;
  while (at < text.length) {
    if (!isLong && text[at] === "\n") return at;
    if (quote === '"' && text[at] === "\\") {
      at += 2;
    } else if (text.startsWith(close, at)) {
      at += close.length;
      // Up to two quotes may stand in front of the three that close.
      while (isLong && text[at] === quote) at += 1;
      return at;
    } else {
      at += 1;
    }
  }
  return text.length;
}
