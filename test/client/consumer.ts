// A consumer as a process of its own: says each message that it has in hand and each that it is done
// with, on stdout, before and after working on it for a moment.

import { writeSync } from "node:fs";
import { setTimeout as nap } from "node:timers/promises";
import { Mailbox } from "../../src/client/mailbox.js";

const [database, consumer, leaseMs] = process.argv.slice(2);
const say = (line: string): void => void writeSync(1, `${line}\n`);

await using mailbox = await Mailbox.open({ database });
const inbox = mailbox.inbox({ consumer, batch: 16, leaseMs: Number(leaseMs) });
process.once("SIGTERM", () => void inbox.close());
say("ready");
for await (const message of inbox) {
  say(`has ${message.rowId}`);
  if (message.rowId % 8 === 0) await nap(1);
  say(`did ${message.rowId}`);
  message.done();
}
say("closed");
