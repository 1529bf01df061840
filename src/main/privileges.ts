// From root to the user that the daemon runs as, for good: groups first, then the group, then the
// user, then proof that there is no way back. After the socket is bound, before any thread starts.

import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { userInfo } from "node:os";
import { DaemonError, reasonOf } from "../shared/base/errors.js";

export interface Dropped {
  /** Who the process is now. */
  readonly uid: number;
  readonly gid: number;
  /** False when nothing had to be, or could be, done. */
  readonly changed: boolean;
  /** A sentence that a person should hear: the process is root and was told to stay so. */
  readonly warning: string | undefined;
}

interface Account {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  readonly groups: readonly number[];
}

const ID_PATHS = ["/usr/bin/id", "/bin/id"];
const ID_DEADLINE_MS = 5_000;
const USER_NAME = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}\$?$/;

/**
 * Becomes `user` when we are root. Otherwise it is nothing to do, unless the user was named
 * explicitly and is another one: that is refused. Throws DaemonError, and then the process must
 * end.
 */
export function dropPrivileges(user: string, isExplicit: boolean): Dropped {
  const { geteuid, getegid } = process;
  if (geteuid === undefined || getegid === undefined) {
    return { uid: -1, gid: -1, changed: false, warning: undefined };
  }
  const current = { uid: geteuid(), gid: getegid(), changed: false, warning: undefined };
  if (current.uid !== 0) {
    if (isExplicit && user !== ownName() && accountOf(user).uid !== current.uid) {
      throw new DaemonError(
        "ERR_PERMISSION",
        `only root can become user ${user}`,
        "Start it as root, or leave --user out.",
      );
    }
    return current;
  }
  const account = accountOf(user);
  if (account.uid === 0) {
    return { ...current, warning: "the daemon runs as root; name another user with --user" };
  }
  refuseIoUring();
  become(account);
  proveDropped(account);
  return { uid: account.uid, gid: account.gid, changed: true, warning: undefined };
}

/**
 * Under io_uring the kernel may go on working with root's rights; Node then refuses to change
 * users.
 */
function refuseIoUring(): void {
  const value = process.env["UV_USE_IO_URING"];
  if (value === undefined || value === "" || value === "0") return;
  throw new DaemonError(
    "ERR_PERMISSION",
    "privileges cannot be dropped while UV_USE_IO_URING is set",
    "Unset UV_USE_IO_URING, or start the daemon as its user.",
  );
}

function become({ name, uid, gid }: Account): void {
  // Missing in the type declarations, and there on every POSIX system.
  const posix: NodeJS.Process & { initgroups?(user: string, group: number): void } = process;
  try {
    posix.initgroups?.(name, gid);
    process.setgid?.(gid);
    process.setuid?.(uid);
  } catch (error) {
    throw new DaemonError(
      "ERR_PERMISSION",
      `cannot become user ${name}: ${reasonOf(error)}`,
      "Give the process CAP_SETUID and CAP_SETGID, or start it as its user.",
      error,
    );
  }
}

/** Asks the kernel who we are and tries to go back. What fails here must never serve. */
function proveDropped(account: Account): void {
  const allowed = new Set([account.gid, ...account.groups]);
  const groups = process.getgroups?.() ?? [];
  const facts: readonly (readonly [string, boolean])[] = [
    ["user id", process.getuid?.() === account.uid && process.geteuid?.() === account.uid],
    ["group id", process.getgid?.() === account.gid && process.getegid?.() === account.gid],
    ["groups", groups.every((group) => allowed.has(group))],
    ["capabilities", !hasCapabilities()],
    ["setuid(0)", isForbidden(() => process.setuid?.(0))],
    ["seteuid(0)", isForbidden(() => process.seteuid?.(0))],
    ["setgid(0)", account.gid === 0 || isForbidden(() => process.setgid?.(0))],
    ["setegid(0)", account.gid === 0 || isForbidden(() => process.setegid?.(0))],
  ];
  const broken = facts.find(([, holds]) => !holds);
  if (broken === undefined) return;
  throw new DaemonError(
    "ERR_PERMISSION",
    `privileges were not dropped for good: ${broken[0]}`,
    "Start the daemon as its user, as the systemd unit does.",
  );
}

function isForbidden(attempt: () => void): boolean {
  try {
    attempt();
    return false;
  } catch {
    return true;
  }
}

/** True when Linux says that some capability is still there. */
function hasCapabilities(): boolean {
  let status: string;
  try {
    status = readFileSync("/proc/self/status", "latin1");
  } catch {
    return false;
  }
  return /^Cap(Eff|Prm|Amb):\s*0*[1-9a-f]/m.test(status);
}

/** Looks a user up the way the system does (files, LDAP, ...), by id(1). */
function accountOf(user: string): Account {
  const uid = askId(user, "-u");
  const gid = askId(user, "-g");
  const groups = askId(user, "-G");
  if (uid === undefined || gid === undefined || groups === undefined) {
    throw new DaemonError(
      "ERR_CONFIG",
      `there is no user ${USER_NAME.test(user) ? user : "of that name"}`,
      "Name one that exists with --user.",
    );
  }
  return { name: user, uid: uid[0], gid: gid[0], groups };
}

function askId(user: string, question: "-u" | "-g" | "-G"): readonly number[] | undefined {
  if (!USER_NAME.test(user)) return undefined;
  for (const path of ID_PATHS) {
    const { status, stdout } = spawnSync(path, [question, user], {
      encoding: "utf8",
      env: {},
      timeout: ID_DEADLINE_MS,
    });
    if (status === null) continue;
    const isAnswer = status === 0 && /^\d+( \d+)*\s*$/.test(stdout);
    return isAnswer ? stdout.trim().split(" ").map(Number) : undefined;
  }
  return undefined;
}

function ownName(): string | undefined {
  try {
    return userInfo().username;
  } catch {
    return undefined;
  }
}
