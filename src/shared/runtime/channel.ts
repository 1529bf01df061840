// Typed ends of a MessagePort: a missing kind, or a result sent on the job channel, does not compile.

import type { MessagePort } from "node:worker_threads";
import type { Channels } from "./messages.js";

declare const channel: unique symbol;
export type Port<C extends keyof Channels> = MessagePort & { readonly [channel]: C };

/** Names the channel that a fresh port carries. The one cast of this file. */
export const port = <C extends keyof Channels>(raw: MessagePort): Port<C> => raw as Port<C>;

export type Handlers<M extends { kind: string }> = {
  readonly [K in M["kind"]]: (message: Extract<M, { kind: K }>) => void;
};

/** Posts a message; memory named in `transfer` belongs to the receiver afterwards. */
export const send = <C extends keyof Channels>(
  to: Port<C>,
  message: Channels[C],
  transfer: readonly ArrayBuffer[] = [],
): void => {
  to.postMessage(message, transfer);
};

/** Calls the handler of each message's kind. */
export const receive = <C extends keyof Channels>(
  from: Port<C>,
  handlers: Handlers<Channels[C]>,
): void => {
  const table: Readonly<Record<string, unknown>> = handlers;
  from.on("message", (message: Channels[C]) => {
    const handler = table[message.kind] as (message: Channels[C]) => void;
    handler(message);
  });
};
