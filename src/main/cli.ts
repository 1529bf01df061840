#!/usr/bin/env node
// `securedgram`: every command of the package under one name. A command is one line here; its module
// loads when it is called.

import type { CommandEntry } from "./commands/command.js";
import { DAEMON_OPTIONS } from "./commands/daemon-options.js";
import { launchProgram } from "./commands/program.js";

const COMMANDS: readonly CommandEntry[] = [
  {
    name: "send",
    summary: "queue a message",
    load: async () => (await import("./commands/send.js")).sendCommand,
  },
  {
    name: "recv",
    summary: "read messages",
    load: async () => (await import("./commands/recv.js")).recvCommand,
  },
  {
    name: "clean",
    summary: "delete old messages",
    load: async () => (await import("./commands/clean.js")).cleanCommand,
  },
  {
    name: "completion",
    summary: "print a completion script for the shell",
    load: async () => (await import("./commands/completion.js")).completionCommand,
  },
];

await launchProgram("securedgram", COMMANDS, DAEMON_OPTIONS);
