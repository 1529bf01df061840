// Which rows go to a session peer, by what they say in dst_addr and dst_port.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  NO_PEER_ID,
  type PeerEntry,
  type PeerMode,
  PeerTable,
} from "../../../src/shared/protocol/session/peer-table.js";

const entry = (name: string, more: Partial<PeerEntry> = {}): PeerEntry => ({
  name,
  publicKey: `key of ${name}`,
  mode: "session",
  addresses: [],
  sessionSince: false,
  ...more,
});
const at = (address: string, port?: number) => ({ address, port });

test("a peer is found by its name, whatever the port, before any address", () => {
  const table = new PeerTable([
    entry("alice", { addresses: [at("bob.example")] }),
    entry("bob.example"),
  ]);

  assert.equal(table.ofDestination("alice", 1), 0);
  assert.equal(table.ofDestination("alice", 65_535), 0);
  assert.equal(table.ofDestination("bob.example", 5_000), 1);
  assert.equal(table.ofDestination("Alice", 1), NO_PEER_ID);
  assert.equal(table.ofDestination("", 1), NO_PEER_ID);
});

test("an address with its port stands before the address for any port", () => {
  const table = new PeerTable([
    entry("any", { addresses: [at("192.0.2.1")] }),
    entry("one", { addresses: [at("192.0.2.1", 5_001), at("192.0.2.2", 5_002)] }),
  ]);

  assert.equal(table.ofDestination("192.0.2.1", 5_000), 0);
  assert.equal(table.ofDestination("192.0.2.1", 5_001), 1);
  assert.equal(table.ofDestination("192.0.2.2", 5_002), 1);
  assert.equal(table.ofDestination("192.0.2.2", 5_001), NO_PEER_ID);
});

test("an address is the same in every spelling", () => {
  const table = new PeerTable([
    entry("alice", { addresses: [at("2001:db8::1"), at("192.0.2.1"), at("host.example")] }),
  ]);

  for (const address of [
    "2001:DB8:0:0::1",
    "2001:db8::1",
    "::ffff:192.0.2.1",
    "Host.Example.",
    "host.example",
  ]) {
    assert.equal(table.ofDestination(address, 7), 0, address);
  }
  for (const address of ["2001:db8::2", "192.0.2.01", "host.example..", "example"]) {
    assert.equal(table.ofDestination(address, 7), NO_PEER_ID, address);
  }
});

test("rows go in sessions when the mode says so, or a session was confirmed before", () => {
  const cases: readonly (readonly [PeerMode, boolean, boolean])[] = [
    ["session", false, true],
    ["session", true, true],
    ["auto", false, false],
    ["auto", true, true],
    ["classic", false, false],
    ["classic", true, false],
  ];
  for (const [mode, sessionSince, expected] of cases) {
    const table = new PeerTable([entry("alice", { mode, sessionSince })]);
    assert.equal(table.ofDestination("alice", 1) === 0, expected, `${mode} ${sessionSince}`);
    assert.equal(table.speaksSession(0), expected);
  }
  const keyless = new PeerTable([entry("alice", { publicKey: undefined })]);
  assert.equal(keyless.ofDestination("alice", 1), NO_PEER_ID);
});

test("the first confirmed session moves the rows of a peer in mode auto, once", () => {
  const table = new PeerTable([
    entry("alice", { mode: "auto" }),
    entry("bob"),
    entry("old", { mode: "classic" }),
  ]);

  assert.deepEqual([table.confirmed(0), table.confirmed(0)], [true, false]);
  assert.deepEqual([table.confirmed(1), table.confirmed(2)], [false, false]);
  assert.equal(table.ofDestination("alice", 1), 0);
  assert.equal(table.ofDestination("old", 1), NO_PEER_ID);
});

test("a peer is found by its public key", () => {
  const table = new PeerTable([entry("alice"), entry("none", { publicKey: undefined })]);

  assert.equal(table.ofKey("key of alice"), 0);
  assert.equal(table.ofKey("key of none"), NO_PEER_ID);
});
