// `securedgram bench`: what this machine does with how many crypto workers, so that an operator can
// choose. The pool alone, then two daemons on loopback, in a folder that is gone afterwards.

import { mkdirSync, rmSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { DaemonError, EXIT, type ExitCode } from "../../shared/base/errors.js";
import { temporaryFolder } from "../private-file.js";
import { cryptoWorkersDefault } from "../settings.js";
import { measureSealing, SEALED_BYTES } from "./bench-crypto.js";
import { measureLoad } from "./bench-load.js";
import { type Arguments, defineCommand } from "./command.js";
import type { Io } from "./io.js";

const SECONDS = 20;
const SECONDS_MIN = 5;
const SECONDS_MAX = 600;
const BYTES = 200;
const BYTES_MAX = 1_048_576;
const WORKERS_MAX = 4;
/** Of the whole time, for the pool alone. */
const SEALING_SHARE = 0.15;
/** Starting and stopping two daemons, and the last acknowledgements. */
const AROUND_LOAD_MS = 2_500;
const LOAD_MS_MIN = 500;
const SEALING_MS_MIN = 100;
/** What the same machine does twice differs by so much. */
const SAME_SHARE = 0.1;

const OPTIONS = {
  seconds: {
    kind: "number",
    placeholder: "SECONDS",
    min: SECONDS_MIN,
    max: SECONDS_MAX,
    summary: `how long it may take in all, about (${SECONDS})`,
  },
  bytes: {
    kind: "integer",
    placeholder: "BYTES",
    min: 1,
    max: BYTES_MAX,
    summary: `size of a message (${BYTES})`,
  },
  json: { kind: "flag", summary: "print one JSON object" },
} as const;

export const benchCommand = defineCommand({
  name: "bench",
  summary:
    "Measure this machine with 0, 1, 2 and more crypto workers, and say which number suits it",
  usage: "[options]",
  options: OPTIONS,
  positionals: [0, 0],
  epilogue:
    "Two daemons of its own on loopback, with keys, ports and files for this run only; a daemon that runs " +
    "here is not touched, but takes its share of the machine. Run it while nothing else is busy. Ends with 0 " +
    "when it could measure.",
  run,
});

/** What was measured with so many workers. */
export interface BenchRow {
  readonly workers: number;
  readonly sealMbPerSecond: number;
  /** 0 to 1. */
  readonly mainBusy: number;
  readonly messagesPerSecond: number;
}

async function run({ options }: Arguments<typeof OPTIONS>, io: Io): Promise<ExitCode> {
  const { seconds = SECONDS, bytes = BYTES, json } = options;
  const interruption = io.interruption();
  const check = (): void => {
    if (!interruption.aborted) return;
    throw new DaemonError("ERR_CANCELLED", "interrupted", "nothing is left behind");
  };
  const directory = temporaryFolder("securedgram-bench-");
  try {
    const rows = await measureAll(directory, {
      seconds,
      bytes,
      check,
      say: (line) => io.say(line),
    });
    const preset = cryptoWorkersDefault();
    const advice = adviceOf(rows, preset);
    if (json) {
      const cores = availableParallelism();
      await io.write(`${JSON.stringify({ bytes, cores, default: preset, rows, advice })}\n`);
    } else await io.write(`${tableText(rows, bytes)}\n${advice}\n`);
    return EXIT.done;
  } catch (error) {
    // On a terminal the interrupt reaches the daemons as well, and they may end first.
    check();
    throw error;
  } finally {
    rmSync(directory, { recursive: true, force: true, maxRetries: 3 });
  }
}

async function measureAll(
  directory: string,
  options: {
    readonly seconds: number;
    readonly bytes: number;
    readonly check: () => void;
    readonly say: (line: string) => void;
  },
): Promise<readonly BenchRow[]> {
  const { bytes, check, say } = options;
  const counts = workerCounts(availableParallelism());
  const allMs = options.seconds * 1_000;
  const endsAt = performance.now() + allMs;
  const sealingMs = Math.max(SEALING_MS_MIN, (allMs * SEALING_SHARE) / counts.length);
  const rows: BenchRow[] = [];
  for (const [done, workers] of counts.entries()) {
    check();
    const shareMs = (endsAt - performance.now()) / (counts.length - done);
    const measureMs = Math.max(LOAD_MS_MIN, shareMs - sealingMs - AROUND_LOAD_MS);
    say(`${workersText(workers)} ...`);
    const { mbPerSecond, mainBusy } = await measureSealing(workers, sealingMs);
    const folder = join(directory, `${workers}`);
    mkdirSync(folder, { mode: 0o700 });
    const { perSecond } = await measureLoad({
      directory: folder,
      workers,
      bytes,
      measureMs,
      check,
    });
    // The next one should not find a fuller disk.
    rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
    rows.push({ workers, sealMbPerSecond: mbPerSecond, mainBusy, messagesPerSecond: perSecond });
  }
  return rows;
}

/** None, one, two; three and four where there are cores for them beside main and the database's thread. */
export const workerCounts = (cores: number): readonly number[] =>
  Array.from({ length: WORKERS_MAX + 1 }, (_, workers) => workers).filter(
    (workers) => workers <= Math.max(2, cores - 2),
  );

const workersText = (workers: number): string =>
  `${workers} crypto worker${workers === 1 ? "" : "s"}`;

/** One sentence: the fewest workers that are as good as the best, beside what the daemon would take. */
export function adviceOf(rows: readonly BenchRow[], preset: number): string {
  const best = Math.max(...rows.map(({ messagesPerSecond }) => messagesPerSecond));
  const isAsGood = ({ messagesPerSecond }: BenchRow): boolean =>
    messagesPerSecond >= best * (1 - SAME_SHARE);
  const usual = rows.find(({ workers }) => workers === preset);
  if (usual !== undefined && isAsGood(usual)) {
    return `Keep the default, ${workersText(preset)}: no other number did better by more than a tenth.`;
  }
  const chosen = rows.find(isAsGood);
  if (chosen === undefined) return "Nothing was measured.";
  const beside =
    usual === undefined
      ? `; the default, ${preset}, was not measured`
      : ` against ${whole(usual.messagesPerSecond)} with the default, ${preset}`;
  return (
    `Start the daemon with --crypto-workers ${chosen.workers}: ` +
    `${whole(chosen.messagesPerSecond)} messages/s${beside}.`
  );
}

const whole = (value: number): string => Math.round(value).toLocaleString("en-US");

function tableText(rows: readonly BenchRow[], bytes: number): string {
  const head = [
    "workers",
    `sealing ${SEALED_BYTES} B, MB/s`,
    "main busy",
    `${bytes} B, messages/s`,
  ];
  const cells = rows.map(({ workers, sealMbPerSecond, mainBusy, messagesPerSecond }) => [
    `${workers}`,
    whole(sealMbPerSecond),
    `${whole(100 * mainBusy)} %`,
    whole(messagesPerSecond),
  ]);
  const line = (texts: readonly string[]): string =>
    texts.map((text, i) => text.padStart(head[i]?.length ?? 0)).join("   ");
  return [line(head), ...cells.map(line)].join("\n");
}
