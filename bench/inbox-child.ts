// A consumer by our client library, a process of its own: takes what is stored at the receiver, counts
// it and marks it as done.

import { Mailbox } from "../src/client/mailbox.js";
import { optionsOf, tell } from "./child.js";
import { MessageCount } from "./message-count.js";
import type { PeerConsumed } from "./peer-child.js";

export interface InboxOptions {
  readonly database: string;
  readonly bytes: number;
}

const BATCH_MESSAGES = 512;
const ENCODER = new TextEncoder();

async function main({ database, bytes }: InboxOptions): Promise<void> {
  const mailbox = await Mailbox.open({ database });
  const count = new MessageCount(bytes);
  await tell({ kind: "started" });
  const inbox = mailbox.inbox({ batch: BATCH_MESSAGES });
  for await (const message of inbox) {
    const { payload } = message;
    count.take(typeof payload === "string" ? ENCODER.encode(payload) : payload);
    message.done();
    if (count.isWhole) break;
  }
  await inbox.flush();
  const lastAtMs = performance.timeOrigin + performance.now();
  if (!count.isWhole) throw new Error("the inbox ended early");
  await mailbox.close();
  const { messages, again } = count;
  await tell<PeerConsumed>({ kind: "finished", result: { messages, again, lastAtMs } });
}

await main(optionsOf<InboxOptions>());
