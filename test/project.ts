// Where the project is, for tests that look at its files: they run from the compiled tree.

import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The folder that holds package.json and the sources. */
export function projectRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, "biome.json"))) {
    const above = dirname(folder);
    if (above === folder) throw new Error("the tests run outside the project");
    folder = above;
  }
  return folder;
}
