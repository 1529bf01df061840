// A child process of session-figures: 1,200 B of noise from many sources to one port of loopback, as
// fast as one core can, until it is killed.

import { randomBytes } from "node:crypto";
import { createSocket } from "node:dgram";
import { once } from "node:events";

const SOURCES = 64;
const DATAGRAM_BYTES = 1_200;
const NOISE_BYTES = 1 << 20;
const AT_ONCE = 32;

const port = Number(process.argv[2]);
const noise = randomBytes(NOISE_BYTES);
const sockets = await Promise.all(
  Array.from({ length: SOURCES }, async (_, n) => {
    const socket = createSocket("udp4");
    socket.bind(0, `127.0.${1 + (n >> 4)}.${1 + (n & 15)}`);
    await once(socket, "listening");
    return socket;
  }),
);
let sent = 0;
/** Each socket keeps so many under way, and the next follows the one that left. */
for (const socket of sockets.slice(0, AT_ONCE)) next(socket);

function next(first: (typeof sockets)[number]): void {
  const socket = sockets[(sent * 7) % SOURCES] ?? first;
  const at = (sent * 997) % (NOISE_BYTES - DATAGRAM_BYTES);
  sent += 1;
  socket.send(noise, at, DATAGRAM_BYTES, port, "127.0.0.1", () => next(first));
}
process.on("disconnect", () => process.exit(0));
