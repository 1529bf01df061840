// Switches of Node with which a process or a thread runs a script before its own: how tests plant a
// failure in what the system offers.

/** `script`: the text of an ES module. */
export const preload = (script: string): readonly string[] => [
  "--import",
  `data:text/javascript,${encodeURIComponent(script)}`,
];

/** A script that replaces functions of node:fs; `text` sees the real module as `fs`. */
export const preloadFileSystem = (text: string): readonly string[] =>
  preload(
    `import fs from "node:fs";
     import { syncBuiltinESMExports } from "node:module";
     const failure = (code) => Object.assign(new Error(code + ": planted by a test"), { code });
     ${text}
     syncBuiltinESMExports();`,
  );
