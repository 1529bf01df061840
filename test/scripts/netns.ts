// `npm run netns [-- messages]`: two daemons in network namespaces, mixed mail of 0 B to 1 MiB over a
// path that loses a third, changes the order and carries 576 bytes. Exit 0 when all of it is
// acknowledged, and stored once, byte for byte. What cannot be had here is said in a line of its own.

import { randomFrom } from "../daemon/kill-rounds.js";
import { exchange, mixedMail } from "../daemon/mixed-mail.js";
import { layPath } from "./bad-path.js";
import { inPlace, sayMachine, scriptSeed } from "./bounded.js";

const MESSAGES = 10_000;
const PATH_BYTES = 576;
/** What of it is left for UDP payload. */
const PAYLOAD_BYTES_MAX = PATH_BYTES - 28;
const MINUTES_MAX = 60;

const messages = Number(process.argv[2] ?? MESSAGES);
const seed = scriptSeed();
sayMachine(seed);
await inPlace(MINUTES_MAX, async (place) => {
  const { pair, relay } = await layPath(place, {
    lossShare: 0.3,
    delayMs: 0,
    jitterMs: 10,
    bytesMax: PAYLOAD_BYTES_MAX,
    linkBytes: PATH_BYTES,
    seed,
  });
  const { alice, bob } = await pair.start();
  const report = await exchange([alice, bob], mixedMail(messages, randomFrom(seed)), {
    secondsMax: MINUTES_MAX * 60,
    say: console.log,
  });
  const codes = [await alice.stop(), await bob.stop()];
  if (codes.some((code) => code !== 0)) throw new Error(`exit codes ${codes}`);
  if (relay !== undefined)
    console.log(`the relay: ${JSON.stringify((await relay.report()).carried)}`);
  console.log(
    `${report.messages} messages, ${report.bytes} bytes, all acknowledged and stored once, in ` +
      `${report.seconds.toFixed(0)} s`,
  );
});
