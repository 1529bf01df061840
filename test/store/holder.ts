// Another process that holds the write lock of the database named on its command line: says "held"
// when it has it, and lets go when its standard input ends, or after so many ms.

import { connect } from "../../src/shared/store/driver.js";

const db = connect(String(process.argv[2]), { timeout: 5_000 });
db.exec("BEGIN IMMEDIATE");
process.stdout.write("held\n");
const letGo = (): void => {
  db.exec("ROLLBACK");
  db.close();
};
const holdMs = Number(process.argv[3] ?? 0);
if (holdMs > 0) {
  setTimeout(letGo, holdMs);
} else {
  process.stdin.resume();
  process.stdin.once("end", letGo);
}
