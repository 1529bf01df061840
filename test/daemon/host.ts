// A daemon as a child process with options that the command must not offer: a small disk, a store that
// does not sync. Otherwise the same actors, log lines and exit codes as `securedgram run`.

import { DaemonError, EXIT, reasonOf } from "../../src/shared/base/errors.js";
import { nanoseconds, NS_PER_MS, NS_PER_SECOND } from "../../src/shared/base/units.js";
import { Daemon } from "../../src/main/daemon.js";
import { createLog } from "../../src/main/log.js";
import { hardenProcess } from "../../src/main/process.js";

/** What the test hands over, as JSON in the environment. */
export interface HostOptions {
  readonly port: number;
  readonly database: string;
  /** 64 hex digits. */
  readonly secret: string;
  readonly synchronous?: "FULL" | "NORMAL";
  /** 0: as many pages as the disk takes. */
  readonly pagesMax?: number;
}

export const HOST_VARIABLE = "SECUREDGRAM_TEST_HOST";
const DRAIN_MS = 5_000;
const LIFE_SECONDS = 7 * 86_400;
const QUOTA_BYTES = 2 ** 33;
/** First wait for an ACK, so that retries fall into a test's time. */
const RETRY_MS = 250;

if (process.env[HOST_VARIABLE] !== undefined) {
  await serve(JSON.parse(process.env[HOST_VARIABLE]) as HostOptions);
}

async function serve(options: HostOptions): Promise<void> {
  hardenProcess();
  const log = createLog({ target: "stdout", level: "info" });
  let end: (code: number) => void = () => {};
  const ended = new Promise<number>((resolve) => {
    end = resolve;
  });
  const daemon = new Daemon({
    address: "127.0.0.1",
    port: options.port,
    cryptoWorkers: 1,
    store: {
      path: options.database,
      pagesMax: options.pagesMax ?? 0,
      synchronous: options.synchronous ?? "FULL",
    },
    settings: {
      protocol: {
        rings: [{ name: "", addresses: [], keys: 1 }],
        windowNs: 10 * NS_PER_SECOND,
        ratePerSecond: 0,
        burst: 64,
        retry: { intervalNs: nanoseconds(RETRY_MS * NS_PER_MS), retriesMax: undefined },
        knownShare: 0.5,
        strangerShare: 0.05,
        strangersShare: 0.25,
      },
      keys: [
        {
          current: Uint8Array.from(Buffer.from(options.secret, "hex")),
          previous: undefined,
          next: undefined,
          pairInfo: undefined,
        },
      ],
      lifeSeconds: LIFE_SECONDS,
      quotaBytes: QUOTA_BYTES,
    },
    drainMs: DRAIN_MS,
    afterBind: () => {},
    log,
    onFatal: (error) => {
      log.error(error.message, { next: error.next });
      void daemon.abandon().then(() => end(error.exitCode));
    },
  });
  process.on("SIGTERM", () => void daemon.stop().then(() => end(EXIT.done)));
  try {
    await daemon.start();
    log.warn("ready", { port: daemon.port });
    process.exitCode = await ended;
  } catch (error) {
    console.error(reasonOf(error));
    process.exitCode = error instanceof DaemonError ? error.exitCode : EXIT.failed;
  }
  await log.close();
  process.exit();
}
