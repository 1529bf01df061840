// A program with a mailbox, for tests of what keeps it alive: closes it, waits for a receipt that does
// not come, or says how opening failed. `user`: whom it becomes first; Node and this folder may be
// closed to him, so what it needs is loaded before.

import { writeSync } from "node:fs";
import { Mailbox } from "../../src/client/mailbox.js";
import { DaemonError } from "../../src/shared/base/errors.js";
import { openDatabase } from "../../src/shared/store/open.js";

const [database, how, user] = process.argv.slice(2);

if (user !== undefined) {
  openDatabase("own.db", { role: "daemon", create: true }).close();
  process.setgroups?.([]);
  process.setgid?.(Number(user));
  process.setuid?.(Number(user));
}

try {
  const mailbox = await Mailbox.open({ database });
  const id = await mailbox.send({ to: "beta", payload: "x" });
  const receipt = mailbox.receipt(id);
  const inbox = mailbox.inbox();
  const message = inbox.next();
  if (how === "close") {
    await Promise.all([mailbox.close(), receipt.catch(() => undefined), message]);
    writeSync(1, "closed\n");
  }
} catch (thrown) {
  writeSync(
    1,
    thrown instanceof DaemonError ? `${thrown.code} ${thrown.message}\n` : `${thrown}\n`,
  );
}
