// Places that no host ever had: an attacker writes them on what he heard. What goes there reaches
// somebody who has nothing to do with it, so little may, for each byte that claimed to come from there.

import { Violation } from "./violation.js";

/** Bytes for each that came. Source: RFC 9000 8.1. */
const AMPLIFICATION = 3;

interface Account {
  came: number;
  went: number;
}

export class Nowhere {
  readonly #real = new Set<string>();
  readonly #accounts = new Map<string, Account>();
  /** Bytes that went to such places. */
  went = 0;

  /** Some host is at this place, and may be written to from now on. */
  isSomewhere(address: string, port: number): void {
    this.#real.add(`${address}:${port}`);
  }

  arrives(host: number, from: string, fromPort: number, bytes: number): void {
    const account = this.#account(host, from, fromPort);
    if (account !== undefined) account.came += bytes;
  }

  leaves(host: number, to: string, toPort: number, bytes: number): void {
    const account = this.#account(host, to, toPort);
    if (account === undefined) return;
    account.went += bytes;
    this.went += bytes;
    if (account.went <= AMPLIFICATION * account.came) return;
    throw new Violation(
      "sent to a place that nobody proved",
      `host ${host} sent ${account.went} bytes to ${to}:${toPort}, from where ${account.came} came`,
    );
  }

  #account(host: number, address: string, port: number): Account | undefined {
    const place = `${address}:${port}`;
    if (this.#real.has(place)) return undefined;
    const name = `${host} ${place}`;
    let account = this.#accounts.get(name);
    if (account === undefined) {
      account = { came: 0, went: 0 };
      this.#accounts.set(name, account);
    }
    return account;
  }
}
