// The two kinds of trouble that are not programmer errors: what the network may cause (a counted
// literal, never thrown) and what the operator must hear of (DaemonError: one sentence, what to do next).

/** Exit codes of every command. Source: sysexits(3) where it has a fitting one. */
export const EXIT = {
  done: 0,
  failed: 1,
  usage: 2,
  unreachable: 69,
  tryLater: 75,
  permission: 77,
  configuration: 78,
  interrupted: 130,
} as const;
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

export type DaemonErrorCode =
  | "ERR_USAGE"
  | "ERR_PAYLOAD"
  | "ERR_MESSAGE_ID"
  | "ERR_OUTPUT"
  | "ERR_CONFIG"
  | "ERR_CONFIG_SECRET"
  | "ERR_FILE_MODE"
  | "ERR_PERMISSION"
  | "ERR_PORT_IN_USE"
  | "ERR_SOCKET"
  | "ERR_ALREADY_RUNNING"
  | "ERR_NOT_RUNNING"
  | "ERR_DB_MISSING"
  | "ERR_DB_OPEN"
  | "ERR_DB_DAMAGED"
  | "ERR_DB_SCHEMA"
  | "ERR_DB_BUSY"
  | "ERR_DB_FULL"
  | "ERR_OUTBOX_FULL"
  | "ERR_DB_IO"
  | "ERR_NATIVE_MODULE"
  | "ERR_NODE_VERSION"
  | "ERR_WORKER"
  | "ERR_NOT_YET"
  | "ERR_TIMEOUT"
  | "ERR_CANCELLED";

const EXIT_OF: Readonly<Record<DaemonErrorCode, ExitCode>> = {
  ERR_USAGE: EXIT.usage,
  ERR_PAYLOAD: EXIT.failed,
  ERR_MESSAGE_ID: EXIT.failed,
  ERR_OUTPUT: EXIT.failed,
  ERR_CONFIG: EXIT.configuration,
  ERR_CONFIG_SECRET: EXIT.configuration,
  ERR_FILE_MODE: EXIT.permission,
  ERR_PERMISSION: EXIT.permission,
  ERR_PORT_IN_USE: EXIT.failed,
  ERR_SOCKET: EXIT.failed,
  ERR_ALREADY_RUNNING: EXIT.failed,
  ERR_NOT_RUNNING: EXIT.unreachable,
  ERR_DB_MISSING: EXIT.failed,
  ERR_DB_OPEN: EXIT.failed,
  ERR_DB_DAMAGED: EXIT.failed,
  ERR_DB_SCHEMA: EXIT.configuration,
  ERR_DB_BUSY: EXIT.tryLater,
  ERR_DB_FULL: EXIT.tryLater,
  ERR_OUTBOX_FULL: EXIT.tryLater,
  ERR_DB_IO: EXIT.failed,
  ERR_NATIVE_MODULE: EXIT.failed,
  ERR_NODE_VERSION: EXIT.failed,
  ERR_WORKER: EXIT.failed,
  ERR_NOT_YET: EXIT.tryLater,
  ERR_TIMEOUT: EXIT.tryLater,
  ERR_CANCELLED: EXIT.interrupted,
};

/**
 * An operating error. `message` is one line that says what is wrong, `next` one that says what to do.
 * Structured clone strips class and code, so across threads it travels as {@link ErrorData}.
 */
export class DaemonError extends Error {
  readonly code: DaemonErrorCode;
  readonly next: string;
  constructor(code: DaemonErrorCode, message: string, next: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = "DaemonError";
    this.code = code;
    this.next = next;
  }
  get exitCode(): ExitCode {
    return EXIT_OF[this.code];
  }
}

/** A DaemonError as plain data, for a trip between threads or processes. */
export interface ErrorData {
  readonly code: DaemonErrorCode;
  readonly message: string;
  readonly next: string;
}

export const errorData = (error: DaemonError): ErrorData => ({
  code: error.code,
  message: error.message,
  next: error.next,
});

export const daemonError = (data: ErrorData): DaemonError =>
  new DaemonError(data.code, data.message, data.next);

/** The message of whatever was thrown, on one line. */
export const reasonOf = (thrown: unknown): string =>
  (thrown instanceof Error ? thrown.message : String(thrown)).split("\n")[0] ?? "unknown";

/**
 * Why a datagram was not taken. Counted, never thrown, never answered, never logged one by one.
 * Order: as checked on the way in.
 */
export const DROP_REASONS = [
  "too_short",
  "too_long",
  "reflected",
  "replayed",
  "nonce_memory_full",
  "source_budget",
  "stranger_budget",
  "open_queue_full",
  "store_queue_full",
  "not_authentic",
  "stamp_range",
  "stamp_outside_window",
  "stamp_before_start",
  "body_not_object",
  "body_hostile",
  "message_id_missing",
  "ack_unknown",
  "ack_other_ring",
  "session_expired",
  "counter_range",
  "forgery_budget",
  "hint_budget",
  "handshake_busy",
  "handshake_budget",
  "stamp_not_newer",
  "classic_ended",
] as const;
export type DropReason = (typeof DROP_REASONS)[number];
