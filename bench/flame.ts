// A flame graph out of what `perf script` prints, as one SVG file that needs nothing else:
//   perf record -F 999 -g -p PID -- sleep 10
//   perf script -F comm,tid,ip,sym | node dist/bench/flame.js "sender" > sender.svg
// One tower for each thread name; the width of a frame is its share of all samples of that thread.

import { readFileSync } from "node:fs";
import { escaped } from "./chart.js";

interface Frame {
  readonly name: string;
  samples: number;
  readonly calls: Map<string, Frame>;
}

const WIDTH = 1_200;
const ROW = 15;
const TOP = 34;
const GAP = 26;
/** Frames narrower than this are left out, px. */
const LEAST = 4;
const CHARACTER = 6.4;
const DEPTH_MAX = 60;

/** What every stack has and says nothing: the ways from one language into the other, and the loop. */
const DULL = new RegExp(
  [
    "^\\[unknown\\]$",
    "^(start_thread|__clone3?|main|entry_SYSCALL.*|do_syscall_64|__x64_sys.*)$",
    "^uv_",
    "^node::(?!.*(Read|Write))",
    "^v8::(Function|internal::(Execution|.anonymous namespace.::Invoke|FunctionCallback|Builtin_Handle))",
    "^(Builtins_(JSEntry|CallApi|CEntry|InterpreterEntry|BaselineOut)|HandleApiCall)",
    "(per_context/messageport|internal/event_target)",
  ].join("|"),
);

/** What stands in the SVG: a function's name, without where the package lies. */
function shortName(symbol: string): string {
  const script =
    /^(?:JS:)?[*^~+]?((?:[gs]et )?\S*) (?:file:\/\/)?\S*?((?:[\w.-]+\/)?[\w.-]+\.js):(\d+)/.exec(
      symbol,
    );
  if (script !== null) return `${script[1] || "(anonymous)"} ${script[2]}`;
  return symbol.replace(/\+0x[0-9a-f]+$/, "").replace(/\(.*$/, "");
}

/** Stacks by thread name, the outermost frame first. */
function read(text: string): ReadonlyMap<string, Frame> {
  const threads = new Map<string, Frame>();
  for (const block of text.split(/\n\s*\n/)) {
    const [head, ...lines] = block.split("\n").filter((line) => line.trim() !== "");
    const thread = head?.trim().split(/\s+/)[0];
    if (thread === undefined || lines.length === 0) continue;
    const root = threads.get(thread) ?? { name: thread, samples: 0, calls: new Map() };
    threads.set(thread, root);
    root.samples += 1;
    let at = root;
    for (const line of lines.toReversed().slice(0, DEPTH_MAX)) {
      const name = shortName(line.trim().replace(/^[0-9a-f]+ /, ""));
      if (DULL.test(name)) continue;
      const frame = at.calls.get(name) ?? { name, samples: 0, calls: new Map() };
      at.calls.set(name, frame);
      frame.samples += 1;
      at = frame;
    }
  }
  return threads;
}

/** Rows that are drawn. */
function depthOf(frame: Frame, scale: number): number {
  let deepest = 0;
  for (const call of frame.calls.values()) {
    if (call.samples * scale >= LEAST) deepest = Math.max(deepest, depthOf(call, scale));
  }
  return deepest + 1;
}

/** Of one hue a name, so that the same function looks alike in all towers. */
function colour(name: string): string {
  let hash = 0;
  for (const character of name) hash = (hash * 31 + character.charCodeAt(0)) % 997;
  return name.includes(".js")
    ? `hsl(${190 + (hash % 50)},55%,72%)`
    : `hsl(${20 + (hash % 36)},80%,70%)`;
}

function draw(
  frame: Frame,
  x: number,
  y: number,
  scale: number,
  all: number,
  into: string[],
): void {
  const width = frame.samples * scale;
  const share = ((100 * frame.samples) / all).toFixed(1);
  const room = Math.floor((width - 4) / CHARACTER);
  const label = room < 4 ? "" : frame.name.slice(0, room);
  into.push(
    `<g><title>${escaped(frame.name)}: ${share} %</title>` +
      `<rect x="${x.toFixed(1)}" y="${y}" width="${width.toFixed(1)}" height="${ROW - 1}" rx="1" ` +
      `fill="${colour(frame.name)}"/>` +
      (label === ""
        ? ""
        : `<text x="${(x + 2).toFixed(1)}" y="${y + 11}">${escaped(label)}</text>`) +
      "</g>",
  );
  let at = x;
  for (const call of [...frame.calls.values()].sort((a, b) => b.samples - a.samples)) {
    if (call.samples * scale >= LEAST) draw(call, at, y + ROW, scale, all, into);
    at += call.samples * scale;
  }
}

function svgOf(title: string, threads: readonly Frame[]): string {
  const parts: string[] = [];
  const all = threads.reduce((sum, { samples }) => sum + samples, 0);
  let y = TOP;
  for (const thread of threads) {
    const scale = WIDTH / thread.samples;
    const share = ((100 * thread.samples) / all).toFixed(0);
    parts.push(
      `<text class="head" x="0" y="${y}">${escaped(thread.name)}: ${share} % of the process</text>`,
    );
    draw(thread, 0, y + 6, scale, thread.samples, parts);
    y += 6 + depthOf(thread, scale) * ROW + GAP;
  }
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${y}" font-family="monospace" font-size="10">` +
    "<style>.head{font-size:13px;font-weight:bold}</style>" +
    `<rect width="${WIDTH}" height="${y}" fill="#fff"/>` +
    `<text class="head" x="0" y="14">${escaped(title)}</text>${parts.join("")}</svg>\n`
  );
}

const SHARE_LEAST = 0.02;
const threads = [...read(readFileSync(0, "utf8")).values()].sort((a, b) => b.samples - a.samples);
const total = threads.reduce((sum, { samples }) => sum + samples, 0);
const shown = threads.filter(({ samples }) => samples >= SHARE_LEAST * total);
process.stdout.write(svgOf(process.argv[2] ?? "profile", shown));
