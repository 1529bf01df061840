// Options of the daemon, which the older program took before its command word as well as after it.
// Values stay text: config.ts joins them with the environment and the file, and judges all alike.

import type { ExitCode } from "../../shared/base/errors.js";
import { type Arguments, type Command, defineCommand, type OptionTable } from "./command.js";
import type { Io } from "./io.js";

export const DAEMON_OPTIONS = {
  config: { kind: "text", placeholder: "FILE", summary: "configuration file (TOML)" },
  verbose: { kind: "flag", short: "v", summary: "log more" },
  debug: { kind: "flag", short: "d", summary: "log everything but content, show stack traces" },
  log: { kind: "text", short: "l", placeholder: "TARGET", summary: "syslog, stdout or a file" },
  pidfile: { kind: "text", short: "P", placeholder: "FILE", summary: "pid file" },
  port: { kind: "text", short: "p", placeholder: "PORT", summary: "UDP port to listen on" },
  bind: { kind: "text", short: "b", placeholder: "ADDRESS", summary: "address to listen on" },
  socket: {
    kind: "text",
    placeholder: "KIND",
    summary: "how datagrams travel: auto, dgram or linux",
  },
  secret: {
    kind: "text",
    short: "s",
    placeholder: "HEX",
    summary: "shared secret, 64 hex digits (other users can see it)",
  },
  db: { kind: "text", placeholder: "FILE", summary: "database" },
  window: {
    kind: "text",
    short: "w",
    placeholder: "SECONDS",
    summary: "how far clocks may differ",
  },
  "max-retries": { kind: "text", short: "r", placeholder: "N", summary: "retries of one message" },
  user: { kind: "text", short: "u", placeholder: "USER", summary: "user to run as" },
  "retry-interval": { kind: "text", placeholder: "SECONDS", summary: "wait between retries" },
  rate: { kind: "text", placeholder: "N", summary: "messages a second at most (0: no limit)" },
  burst: { kind: "text", placeholder: "N", summary: "messages that may go at once" },
  "crypto-workers": {
    kind: "text",
    placeholder: "N",
    summary: "threads that seal and open (0: the main thread does)",
  },
  life: { kind: "text", placeholder: "AGE", summary: "how long a message is tried (7d)" },
  quota: {
    kind: "text",
    placeholder: "SIZE",
    summary: "bytes that one peer may have stored (8GiB)",
  },
  "drain-deadline": {
    kind: "text",
    placeholder: "SECONDS",
    summary: "how long a stop waits for what is in flight",
  },
  "receive-cpu": {
    kind: "text",
    placeholder: "CORES",
    summary: "CPU time for what a known source sends (0.5)",
  },
  "stranger-cpu": {
    kind: "text",
    placeholder: "CORES",
    summary: "the same for one stranger (0.05)",
  },
  "strangers-cpu": { kind: "text", placeholder: "CORES", summary: "for all strangers (0.25)" },
} as const satisfies OptionTable;

/** What was given of them. */
export type DaemonFlags = Arguments<typeof DAEMON_OPTIONS>["options"];

/** A command that takes the options of the daemon and nothing else. */
export const daemonCommand = (
  name: string,
  summary: string,
  run: (options: DaemonFlags, io: Io) => Promise<ExitCode>,
): Command<typeof DAEMON_OPTIONS> =>
  defineCommand({
    name,
    summary,
    usage: "[options]",
    options: DAEMON_OPTIONS,
    positionals: [0, 0],
    run: ({ options }, io) => run(options, io),
  });
