// The `.env` file of the working directory, in the format of the older daemon: KEY=VALUE lines, a
// comment is a line that starts with #, one pair of matching quotes around a value is stripped.
// Not util.parseEnv: that cuts an unquoted value at #, turns \n in quotes into a line feed, reads
// over line ends and knows back quotes, so a value that worked yesterday would read differently.

/**
 * Reads the assignments of a `.env` text; later lines win. Lines that assign nothing are skipped.
 */
export function parseEnvFile(text: string): ReadonlyMap<string, string> {
  const values = new Map<string, string>();
  for (const line of text.replace(/^\uFEFF/, "").split(/\r?\n/)) {
    const trimmed = line.trim();
    if (trimmed === "" || trimmed.startsWith("#")) continue;
    const at = trimmed.indexOf("=");
    if (at <= 0) continue;
    const name = trimmed
      .slice(0, at)
      .trimEnd()
      .replace(/^export\s+/, "");
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) continue;
    values.set(name, unquote(trimmed.slice(at + 1).trimStart()));
  }
  return values;
}

function unquote(value: string): string {
  const quote = value[0];
  if (value.length < 2 || (quote !== '"' && quote !== "'")) return value;
  return value.at(-1) === quote ? value.slice(1, -1) : value;
}
