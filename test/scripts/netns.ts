// `npm run netns [-- messages] [-- messages "qdisc of tc"]`: two daemons in network namespaces of their
// own, a router between them, tc netem on it: mixed mail over a path that loses a third, changes the
// order and carries 576 bytes. Where that is not allowed it says so, and a relay stands in for the path.

import { execFileSync } from "node:child_process";
import { randomInt } from "node:crypto";
import { Place } from "../daemon/harness.js";
import { randomFrom } from "../daemon/kill-rounds.js";
import { exchange, mixedMail } from "../daemon/mixed-mail.js";
import { type PairOptions, SessionPair } from "../daemon/session-hosts.js";

const MESSAGES = 10_000;
const QDISC = "netem loss 30% delay 5ms 5ms";
const LOSS_SHARE = 0.3;
const DELAY_MS_MAX = 10;
const PATH_BYTES = 576;
/** What of it is left for UDP payload. */
const PAYLOAD_BYTES_MAX = PATH_BYTES - 28;
const SECONDS_MAX = 1_800;
/** Benchmarking range (RFC 2544): nobody's network. */
const ALICE = { address: "198.18.77.2", router: "198.18.77.1" } as const;
const BOB = { address: "198.19.77.2", router: "198.19.77.1" } as const;

const messages = Number(process.argv[2] ?? MESSAGES);
const qdisc = process.argv[3] ?? QDISC;
const seed = Number(process.env["SEED"] ?? randomInt(2 ** 32));
const names = {
  alice: `sgd-a-${process.pid}`,
  bob: `sgd-b-${process.pid}`,
  router: `sgd-r-${process.pid}`,
} as const;

const place = new Place();
const isEnded = { value: false };
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => {
    isEnded.value = true;
    void place.end().then(() => process.exit(1));
  });
}
try {
  const trouble = makeNetwork();
  const random = randomFrom(seed);
  let pair: SessionPair;
  if (trouble === undefined) {
    console.log(`namespaces, ${qdisc}, a link of ${PATH_BYTES} bytes; SEED=${seed}`);
    pair = await SessionPair.make(place, { places: placesOf() });
  } else {
    console.log(`NOT RUN in network namespaces: ${trouble}`);
    console.log(
      `in place of it a relay on loopback: ${LOSS_SHARE * 100} % loss, 0 to ${DELAY_MS_MAX} ms each ` +
        `way, nothing above ${PAYLOAD_BYTES_MAX} bytes of payload; SEED=${seed}`,
    );
    pair = await SessionPair.make(place, { relayed: true });
    pair.relay.passes = ({ length }) => length <= PAYLOAD_BYTES_MAX && random() >= LOSS_SHARE;
    pair.relay.delayMs = () => random() * DELAY_MS_MAX;
  }
  const { alice, bob } = await pair.start();
  const report = await exchange([alice, bob], mixedMail(messages, random), {
    secondsMax: SECONDS_MAX,
    say: console.log,
  });
  const codes = [await alice.stop(), await bob.stop()];
  if (codes.some((code) => code !== 0)) throw new Error(`exit codes ${codes}`);
  console.log(
    `${report.messages} messages, ${report.bytes} bytes, all acknowledged and stored once, in ` +
      `${report.seconds.toFixed(0)} s`,
  );
} finally {
  if (!isEnded.value) await place.end();
}

function placesOf(): NonNullable<PairOptions["places"]> {
  const wrapper = (name: string) => ["ip", "netns", "exec", name];
  return {
    alice: { address: ALICE.address, wrapper: wrapper(names.alice) },
    bob: { address: BOB.address, wrapper: wrapper(names.bob) },
  };
}

/** Makes namespaces and links; what was made goes with the place. Says why it cannot be done here. */
function makeNetwork(): string | undefined {
  if (process.getuid?.() !== 0) return "only root may make them";
  try {
    for (const name of Object.values(names)) {
      run("ip", "netns", "add", name);
      // Links inside go with it.
      place.after(() => run("ip", "netns", "del", name));
    }
    link("alice", ALICE.address, ALICE.router);
    link("bob", BOB.address, BOB.router);
    run("ip", "netns", "exec", names.router, "sysctl", "-qw", "net.ipv4.ip_forward=1");
    return undefined;
  } catch (error) {
    const { stderr, message } = error as { readonly stderr?: Buffer; readonly message: string };
    return (stderr?.toString().trim() || message).replaceAll("\n", "; ");
  }
}

/** A link between a host and the router, shaped both ways; bob's is the narrow one. */
function link(host: "alice" | "bob", address: string, router: string): void {
  const inner = `v${host[0]}-${process.pid}`;
  const outer = `r${host[0]}-${process.pid}`;
  const within = (name: string, ...words: readonly string[]) => run("ip", "-n", name, ...words);
  const { router: middle, [host]: end } = names;
  run("ip", "link", "add", inner, "netns", end, "type", "veth", "peer", outer, "netns", middle);
  within(end, "address", "add", `${address}/24`, "dev", inner);
  within(middle, "address", "add", `${router}/24`, "dev", outer);
  for (const [name, device] of [
    [end, inner],
    [middle, outer],
  ] as const) {
    if (host === "bob") within(name, "link", "set", device, "mtu", String(PATH_BYTES));
    within(name, "link", "set", device, "up");
    within(name, "link", "set", "lo", "up");
  }
  within(end, "route", "add", "default", "via", router);
  run("tc", "-n", middle, "qdisc", "add", "dev", outer, "root", ...qdisc.split(" "));
}

function run(command: string, ...words: readonly string[]): void {
  execFileSync(command, words, { stdio: ["ignore", "ignore", "pipe"] });
}
