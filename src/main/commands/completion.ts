// `completion`: the script by which a shell completes the words of all our programs.

import { EXIT } from "../../shared/base/errors.js";
import { completionScript } from "./arguments.js";
import { usageError } from "./argv.js";
import { defineCommand } from "./command.js";
import { quoted } from "./printable.js";

const SHELLS = ["bash", "zsh", "fish"] as const;
const PROGRAMS = ["securedgram", "sg-send", "sg-recv", "sg-clean"] as const;

export const completionCommand = defineCommand({
  name: "completion",
  summary: "Print a completion script for the shell",
  usage: "[bash|zsh|fish]",
  options: {},
  positionals: [0, 1],
  epilogue:
    'Put into ~/.bashrc: eval "$(securedgram completion bash)"; into ~/.zshrc the same with zsh; ' +
    "into ~/.config/fish/config.fish: securedgram completion fish | source",
  async run({ positionals }, io) {
    const asked = positionals[0] ?? io.environment.SHELL?.split("/").at(-1) ?? "bash";
    const shell = SHELLS.find((name) => name === asked);
    if (shell === undefined && positionals.length > 0) {
      throw usageError(`no completion for ${quoted(asked)}`, `Shells: ${SHELLS.join(", ")}.`);
    }
    await io.write(PROGRAMS.map((program) => completionScript(program, shell ?? "bash")).join(""));
    return EXIT.done;
  },
});
