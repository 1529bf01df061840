// A child process that floods one UDP port from sources that are not its own, as fast as one core can:
// noise of 1,200 B, noise under session ids that exist, around tags that were seen, and copies of what
// was recorded. It says how many left, and ends with its parent.

import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { randomFrom } from "../daemon/kill-rounds.js";
import { type FloodOrder, HINT_TAIL_BYTES } from "./flood-process.js";

const SESSION_ID_BYTES = 4;
const HEADER_BYTES = 12;
const TAG_BYTES = 16;
const DATAGRAM_BYTES = 1_200;
/** Different datagrams; many more are sent. */
const DATAGRAMS = 4_096;
/** Between two turns of the event loop, which tells how many left. */
const AT_ONCE = 64;
const TELL_MS = 250;

const [order] = (await once(process, "message")) as [FloodOrder];
const random = randomFrom(order.seed);
const below = (limit: number): number => Math.floor(random() * limit);
const bytesOf = (base64: string): Buffer => Buffer.from(base64, "base64");
const handshakes = order.handshakes.map(bytesOf);
const packets = order.packets.map(bytesOf);
const datagrams = Array.from({ length: DATAGRAMS }, datagram);
const sockets = await Promise.all(order.sources.map(spoof));
let sent = 0;
setImmediate(burst);
setInterval(() => process.send?.(sent), TELL_MS);
process.on("disconnect", () => process.exit(0));

/** A socket that sends as that address: it is local here. */
async function spoof({ address, port }: FloodOrder["sources"][number]): Promise<Socket> {
  const socket = createSocket({ type: "udp4", sendBufferSize: 1 << 20 });
  socket.bind(port, address);
  await once(socket, "listening");
  socket.connect(order.target.port, order.target.address);
  await once(socket, "connect");
  // Nobody is there to hear the ICMP of a network that has had enough.
  socket.on("error", () => {});
  return socket;
}

function datagram(): Buffer {
  const bytes = Buffer.from(Array.from({ length: DATAGRAM_BYTES }, () => below(256)));
  const kind = random();
  const packet = packets[below(packets.length)];
  const handshake = handshakes[below(handshakes.length)];
  if (kind < 0.4 || packet === undefined || handshake === undefined) return bytes;
  if (kind < 0.65) packet.copy(bytes, 0, 0, SESSION_ID_BYTES);
  else if (kind < 0.75) {
    packet.copy(bytes, 0, 0, HEADER_BYTES);
    packet.copy(bytes, DATAGRAM_BYTES - TAG_BYTES, packet.length - TAG_BYTES);
  } else if (kind < 0.85) {
    handshake.copy(bytes, DATAGRAM_BYTES - HINT_TAIL_BYTES, handshake.length - HINT_TAIL_BYTES);
  } else return kind < 0.95 ? handshake : packet;
  return bytes;
}

function burst(): void {
  for (let n = 0; n < AT_ONCE; n++) {
    const socket = sockets[sent % sockets.length] as Socket;
    socket.send(datagrams[(sent * 7) % DATAGRAMS] as Buffer);
    sent += 1;
  }
  setImmediate(burst);
}
