// A daemon as a child process with options that the command must not offer: a small disk, a store that
// does not sync. Otherwise the settings, actors, log lines and exit codes of `securedgram run`.

import { loadConfig } from "../../src/main/config.js";
import { Daemon } from "../../src/main/daemon.js";
import { daemonSettings } from "../../src/main/daemon-settings.js";
import { createLog } from "../../src/main/log.js";
import { hardenProcess } from "../../src/main/process.js";
import { DaemonError, EXIT } from "../../src/shared/base/errors.js";

/** What the test hands over, as JSON in the environment. */
export interface HostOptions {
  readonly port: number;
  readonly database: string;
  readonly synchronous?: "FULL" | "NORMAL";
  /** As `--socket`; else what the environment of the test says. */
  readonly socket?: "dgram" | "linux";
  /** 0: as many pages as the disk takes. */
  readonly pagesMax?: number;
  /** Wait between two looks at the database's file, ms. */
  readonly fileCheckMs?: number;
  /** Path of a TOML file. */
  readonly config?: string;
}

export const HOST_VARIABLE = "SECUREDGRAM_TEST_HOST";

if (process.env[HOST_VARIABLE] !== undefined) {
  await serve(JSON.parse(process.env[HOST_VARIABLE]) as HostOptions);
}

async function serve(options: HostOptions): Promise<void> {
  hardenProcess();
  const config = loadConfig({
    flags: {
      bind: "127.0.0.1",
      port: options.port,
      db: options.database,
      "retry-interval": 0.25,
      socket: options.socket ?? (process.env["SECUREDGRAM_TEST_SOCKET"] || "auto"),
      ...(options.config === undefined ? {} : { config: options.config }),
    },
    env: process.env,
    cwd: process.cwd(),
  });
  const log = createLog({ target: "stdout", level: "info" });
  let end: (code: number) => void = () => {};
  const ended = new Promise<number>((resolve) => {
    end = resolve;
  });
  const daemon = new Daemon({
    address: config.address,
    port: config.port,
    socket: config.socket,
    cryptoWorkers: 1,
    store: {
      path: config.db,
      pagesMax: options.pagesMax ?? 0,
      synchronous: options.synchronous ?? "FULL",
      ...(options.fileCheckMs === undefined ? {} : { fileCheckMs: options.fileCheckMs }),
    },
    settings: daemonSettings(config),
    drainMs: config.drainSeconds * 1_000,
    afterBind: () => {},
    log,
    onFatal: (error) => {
      log.error(error.message, { next: error.next });
      void daemon.abandon().then(() => end(error.exitCode));
    },
  });
  process.on("SIGTERM", () => void daemon.stop().then(() => end(EXIT.done)));
  let code: number;
  try {
    await daemon.start();
    log.warn("ready", { port: daemon.port });
    code = await ended;
  } catch (error) {
    if (!(error instanceof DaemonError)) throw error;
    log.error(error.message, { next: error.next });
    code = error.exitCode;
  }
  await log.close();
  process.exit(code);
}
