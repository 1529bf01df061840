// Another process that holds the write lock of the database named on its command line: says "held"
// when it has it, and lets go when its standard input ends.

import { connect } from "../../src/shared/store/driver.js";

const db = connect(String(process.argv[2]), { timeout: 5_000 });
db.exec("BEGIN IMMEDIATE");
process.stdout.write("held\n");
process.stdin.resume();
process.stdin.once("end", () => {
  db.exec("ROLLBACK");
  db.close();
});
