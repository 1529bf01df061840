// A process for tests to look at from outside: one role a run, answers as lines on stdout.

import { readFileSync } from "node:fs";
import { loadPlaces } from "../../src/main/config.js";
import { isDetached, reportBusy, reportFailure, reportReady } from "../../src/main/detach.js";
import { holdInstanceLock } from "../../src/main/instance.js";
import { createLog } from "../../src/main/log.js";
import { dropPrivileges } from "../../src/main/privileges.js";
import { hardenProcess } from "../../src/main/process.js";
import { parseSecret, readSecretFile } from "../../src/main/secrets.js";
import { DaemonError, reasonOf } from "../../src/shared/base/errors.js";

const say = (line: string): void => console.log(line);
const stay = (): void => {
  setInterval(() => {}, 1_000);
};

const ROLES: Readonly<Record<string, (...words: string[]) => void>> = {
  hold(db) {
    holdInstanceLock(db);
    say("held");
    stay();
  },
  holdDeaf(db) {
    process.on("SIGTERM", () => {});
    ROLES.hold(db);
  },
  holdAs(db, title) {
    process.title = title;
    ROLES.hold(db);
  },
  dropTwice(user, other) {
    dropPrivileges(user, true);
    say(JSON.stringify(dropPrivileges("root", false)));
    say(JSON.stringify(dropPrivileges(user, true)));
    dropPrivileges(other, true);
  },
  stay() {
    say("here");
    stay();
  },
  harden() {
    hardenProcess();
    say(`umask ${process.umask().toString(8)}`);
    stay();
  },
  drop(user, explicit) {
    const dropped = dropPrivileges(user, explicit === "explicit");
    say(JSON.stringify(dropped));
    say(JSON.stringify(readFileSync("/proc/self/status", "latin1")));
  },
  dropAndRead(user, path) {
    dropPrivileges(user, true);
    readSecretFile(path, { base: "/", credentials: undefined });
    say("read");
  },
  dropAndHold(user, db) {
    dropPrivileges(user, true);
    ROLES.hold(db);
  },
  places(user, cwd, file) {
    dropPrivileges(user, true);
    const flags = file === "securedgram-test" ? {} : { config: file };
    say(loadPlaces({ flags, env: { XDG_CONFIG_HOME: cwd }, cwd }).db);
  },
  detached(how, count) {
    say(String(isDetached()));
    if (how === "ready") {
      reportReady(["mind the gap"]);
      stay();
    } else if (how === "refuse") {
      reportFailure(new DaemonError("ERR_PORT_IN_USE", "port 1 is taken", "Take another."));
      process.exitCode = 1;
    } else if (how === "secret") {
      const bytes = parseSecret(process.env["SECUREDGRAM_SECRET"] ?? "", "environment");
      const argv = readFileSync("/proc/self/cmdline", "latin1");
      const limits = readFileSync("/proc/self/limits", "latin1");
      const core = /Max core file size\s+(\S+)/.exec(limits)?.[1];
      reportReady([`${bytes.length} ${/[0-9a-f]{64}/i.test(argv)} ${core}`]);
    } else if (how === "busy") {
      let left = Number(count);
      const timer = setInterval(() => {
        if (left-- > 0) return reportBusy("opening");
        clearInterval(timer);
        if (Number(count) > 10) reportReady();
        stay();
      }, 250);
    } else if (how === "hang") {
      stay();
    } else {
      process.exitCode = 3;
    }
  },
  log(target, sentence) {
    const log = createLog({ target, level: "info" });
    log.warn(sentence);
    say(log.target);
    process.exit(0);
  },
};

const [role, ...words] = process.argv.slice(2);
try {
  ROLES[role](...words);
} catch (error) {
  console.error(error instanceof DaemonError ? `${error.code} ${error.message}` : reasonOf(error));
  process.exitCode = error instanceof DaemonError ? error.exitCode : 1;
}
