#!/usr/bin/env node
// `securedgram`: every command of the package under one name. A command is one line here; its module
// loads when it is called.

import "./node-floor.js";
import type { CommandEntry } from "./commands/command.js";
import { DAEMON_OPTIONS } from "./commands/daemon-options.js";
import { launchProgram } from "./commands/program.js";

const COMMANDS: readonly CommandEntry[] = [
  {
    name: "start",
    summary: "start the daemon in the background",
    load: async () => (await import("./commands/control.js")).startCommand,
  },
  {
    name: "stop",
    summary: "stop the daemon",
    load: async () => (await import("./commands/control.js")).stopCommand,
  },
  {
    name: "restart",
    summary: "stop the daemon if it runs, and start it",
    load: async () => (await import("./commands/control.js")).restartCommand,
  },
  {
    name: "status",
    summary: "say whether the daemon runs, and what waits",
    load: async () => (await import("./commands/control.js")).statusCommand,
  },
  {
    name: "poll",
    summary: "wait until the daemon has ended",
    load: async () => (await import("./commands/control.js")).pollCommand,
  },
  {
    name: "run",
    summary: "run the daemon in the foreground",
    load: async () => (await import("./commands/run.js")).runCommand,
  },
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
    name: "key",
    summary: "make and show keys",
    load: async () => (await import("./commands/key.js")).keyCommand,
  },
  {
    name: "peer",
    summary: "list and change peers, rotate keys",
    load: async () => (await import("./commands/peer.js")).peerCommand,
  },
  {
    name: "doctor",
    summary: "check this host and name remedies",
    load: async () => (await import("./commands/doctor.js")).doctorCommand,
  },
  {
    name: "demo",
    summary: "show two daemons on loopback",
    load: async () => (await import("./commands/demo.js")).demoCommand,
  },
  {
    name: "bench",
    summary: "measure this machine, advise on crypto workers",
    load: async () => (await import("./commands/bench.js")).benchCommand,
  },
  {
    name: "completion",
    summary: "print a completion script for the shell",
    load: async () => (await import("./commands/completion.js")).completionCommand,
  },
];

await launchProgram("securedgram", COMMANDS, DAEMON_OPTIONS);
