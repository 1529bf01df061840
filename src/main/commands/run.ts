// `securedgram run`: the daemon in the foreground, and what `start` starts. Order: harden, configure,
// bind, pid file, privileges, lock, log, threads, ready. Ends with 0 after a clean stop.

import { DaemonError, EXIT, type ExitCode, reasonOf } from "../../shared/base/errors.js";
import { NS_PER_MS } from "../../shared/base/units.js";
import { suspectUntil } from "../../shared/protocol/sealed-stamps.js";
import { READY_MESSAGE } from "../client/child-daemon.js";
import {
  type Config,
  type ConfigInput,
  loadConfig,
  reloadConfig,
  wipeReadKeys,
  wipeSecrets,
} from "../config.js";
import { Daemon } from "../daemon.js";
import { daemonSettings } from "../daemon-settings.js";
import { isDetached, reportBusy, reportFailure, reportReady } from "../detach.js";
import { holdInstanceLock, type InstanceLock, lockHolder } from "../instance.js";
import { createLog, type Log } from "../log.js";
import { type PidFile, writePidFile } from "../pid-file.js";
import { dropPrivileges } from "../privileges.js";
import { checkNodeVersion, hardenProcess } from "../process.js";
import { reloadFailure, requireSources, sourcesOf } from "../reload-sources.js";
import { wipeEnvironmentSecret } from "../secrets.js";
import { SOCKET_BUFFER_BYTES } from "../socket/datagram-socket.js";
import { notifySystemd } from "../systemd.js";
import { VERSION } from "../version.js";
import { daemonCommand } from "./daemon-options.js";
import type { Io } from "./io.js";
import { joined } from "./program.js";

/** A failed sync must end the process quickly, whatever else hangs, ms. */
const FATAL_DEADLINE_MS = 500;
/** A crash leaves stamps reserved for this long at most; more means that the clock went back, ms. */
const DEAF_MS_MAX = 5_000;
/** How often whoever waits for us hears that the start takes its time, ms. */
const BUSY_EVERY_MS = 10_000;
const OPENING = "the database is being opened; one of an older daemon is brought up to date first";
/** Signals that ask for a clean stop. */
const STOP_SIGNALS = ["SIGTERM", "SIGINT", "SIGQUIT"] as const;

export const runCommand = daemonCommand(
  "run",
  "run the daemon in the foreground",
  async (options, io) => {
    try {
      hardenProcess();
      checkNodeVersion();
      return await new Service({ flags: options, env: process.env, cwd: io.directory }, io).run();
    } catch (error) {
      if (!reportFailure(error)) throw error;
      return error instanceof DaemonError ? error.exitCode : EXIT.failed;
    }
  },
);

/** One run of the daemon, from configuration to exit code. */
class Service {
  readonly #input: ConfigInput;
  readonly #io: Io;
  #config: Config;
  #daemon: Daemon | undefined;
  #log: Log | undefined;
  #lock: InstanceLock | undefined;
  #pidFile: PidFile | undefined;
  readonly #sources: readonly string[];
  /** Who the process has become, when root started it. */
  #becameUser: string | undefined;
  #reloading: Promise<void> = Promise.resolve();
  #end: ((code: ExitCode) => void) | undefined;

  constructor(input: ConfigInput, io: Io) {
    this.#io = io;
    this.#config = loadConfig(input);
    this.#sources = sourcesOf(this.#config, input.cwd);
    // A reload must not find in the environment what is no longer there.
    this.#input = { ...input, env: { ...input.env } };
    wipeEnvironmentSecret();
  }

  async run(): Promise<ExitCode> {
    const config = this.#config;
    const holder = lockHolder(config.db);
    if (holder !== undefined) {
      throw new DaemonError(
        "ERR_ALREADY_RUNNING",
        `a daemon (process ${holder.pid}) already serves ${config.db}`,
        "Stop it with `securedgram stop`, or name another database with --db",
      );
    }
    const warnings = [...config.warnings];
    const ended = new Promise<ExitCode>((resolve) => {
      this.#end = resolve;
    });
    this.#listen();
    const daemon = this.#build(warnings);
    this.#daemon = daemon;
    const busy = setInterval(() => reportBusy(OPENING), BUSY_EVERY_MS);
    const opened = await daemon
      .start()
      .catch((error: unknown) => {
        this.#pidFile?.remove();
        throw error;
      })
      .finally(() => clearInterval(busy));
    wipeReadKeys(this.#config);
    this.#afterStart(daemon, warnings);
    const deafUntilMs = (suspectUntil(opened.sealed, Date.now() * NS_PER_MS) ?? 0) / NS_PER_MS;
    if (deafUntilMs - Date.now() > DEAF_MS_MAX) {
      this.#log?.error(
        "the clock was set back: acknowledgements are not believed until it is past",
        {
          until: new Date(deafUntilMs).toISOString(),
        },
      );
    }
    if (opened.migrated) this.#log?.warn("the database of an older daemon was brought up to date");
    await notifySystemd("READY", `port ${daemon.port}`);
    const code = await ended;
    await this.#close();
    return code;
  }

  #build(warnings: string[]): Daemon {
    const config = this.#config;
    return new Daemon({
      address: config.address,
      port: config.port,
      socket: config.socket,
      cryptoWorkers: config.cryptoWorkers,
      store: { path: config.db, pagesMax: 0, synchronous: "FULL" },
      settings: daemonSettings(config),
      drainMs: config.drainSeconds * 1_000,
      afterBind: () => {
        this.#pidFile = writePidFile(config.pidFile);
        const dropped = dropPrivileges(config.user, config.userIsExplicit);
        if (dropped.warning !== undefined) warnings.push(dropped.warning);
        if (dropped.changed) this.#becameUser = config.user;
        this.#lock = holdInstanceLock(config.db);
        this.#log = createLog({ target: config.log, level: config.logLevel });
      },
      check: () => {
        if (this.#lock?.isIntact() !== false) return;
        throw new DaemonError(
          "ERR_DB_IO",
          `the lock file beside ${config.db} was removed or replaced`,
          "See who does that; start the daemon again",
        );
      },
      log: {
        error: (sentence, fields) => this.#log?.error(sentence, fields),
        warn: (sentence, fields) => this.#log?.warn(sentence, fields),
        info: (sentence, fields) => this.#log?.info(sentence, fields),
      },
      onFatal: (error) => void this.#fatal(error),
    });
  }

  #afterStart(daemon: Daemon, warnings: string[]): void {
    const { address } = this.#config;
    // What it became: without a syslog it is not what the configuration says.
    const target = this.#log?.target ?? this.#config.log;
    if (isDetached() && (target === "stdout" || target === "stderr")) {
      const why = this.#config.log === "syslog" ? "there is no syslog here" : "it goes to stdout";
      warnings.push(`nobody will read the log: ${why}; name a file with --log FILE`);
    }
    for (const warning of warnings) {
      this.#log?.warn(warning);
      if (!isDetached()) this.#io.say(`${this.#io.program}: warning: ${warning}`);
    }
    const bytes = daemon.receiveBufferBytes;
    if (bytes < SOCKET_BUFFER_BYTES) {
      const wanted = SOCKET_BUFFER_BYTES;
      const remedy = `sysctl -w net.core.rmem_max=${wanted}`;
      this.#log?.warn("the kernel gives a small receive buffer", { bytes, wanted, remedy });
    }
    // At this level the line is written whatever the log level is.
    const { kind: socket, why } = daemon.socketChoice;
    this.#log?.warn(READY_MESSAGE, { version: VERSION, address, port: daemon.port, socket });
    this.#log?.info("this is how datagrams travel", { socket, why });
    if (!isDetached() && target !== "stdout" && target !== "stderr") {
      this.#io.say(`${this.#io.program}: port ${daemon.port} is open; the log goes to ${target}`);
    }
    reportReady(warnings);
  }

  #listen(): void {
    let stopping = false;
    for (const signal of STOP_SIGNALS) {
      process.on(signal, () => {
        // Whoever asks twice does not want to wait; nothing acknowledged is lost either way.
        if (stopping) this.#end?.(EXIT.failed);
        stopping = true;
        void this.#stop(signal);
      });
    }
    process.on("SIGHUP", () => {
      this.#reloading = this.#reloading.then(() => this.#reload());
    });
  }

  async #stop(signal: string): Promise<void> {
    this.#log?.warn("stopping", { signal });
    void notifySystemd("STOPPING");
    try {
      await this.#daemon?.stop();
      this.#end?.(EXIT.done);
    } catch (error) {
      const next = error instanceof DaemonError ? error.next : "";
      this.#log?.error("the stop was not clean", { reason: reasonOf(error), next });
      this.#end?.(EXIT.failed);
    }
  }

  async #reload(): Promise<void> {
    const log = this.#log;
    const daemon = this.#daemon;
    if (daemon === undefined) return;
    void notifySystemd("RELOADING");
    try {
      log?.reopen();
      requireSources(this.#sources);
      const { config, changed, restartOnly } = reloadConfig(this.#config, this.#input);
      await daemon.reload(daemonSettings(config));
      wipeSecrets(this.#config);
      this.#config = config;
      wipeReadKeys(config);
      log?.warn("reloaded", { changed: changed.join(", ") || "nothing" });
      if (restartOnly.length > 0) {
        log?.warn("these settings need a restart and were left alone", {
          settings: restartOnly.join(", "),
        });
      }
    } catch (error) {
      const failure = reloadFailure(error, this.#becameUser);
      log?.error("nothing was reloaded; the daemon goes on as before", failure);
    }
    void notifySystemd("READY");
  }

  async #fatal(error: DaemonError): Promise<void> {
    this.#log?.error(error.message, { next: error.next });
    if (!isDetached()) this.#io.say(`${this.#io.program}: ${joined(error.message, error.next)}`);
    const timer = setTimeout(() => process.exit(error.exitCode), FATAL_DEADLINE_MS);
    await this.#daemon?.abandon();
    clearTimeout(timer);
    this.#end?.(error.exitCode);
  }

  async #close(): Promise<void> {
    this.#pidFile?.remove();
    this.#lock?.release();
    this.#log?.warn("stopped");
    await this.#log?.close();
  }
}
