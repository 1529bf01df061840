import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { PAIR_LABEL, pairInfo, parsePeerAddress } from "../../src/main/peers.js";

const id = fc.string({ unit: "grapheme", minLength: 1, maxLength: 20 });

test("the info of a pair is the same on both hosts", () => {
  fc.assert(
    fc.property(id, id, (a, b) => {
      fc.pre(a !== b);
      assert.deepEqual(pairInfo(a, b), pairInfo(b, a));
    }),
  );
});

test("no two pairs have the same info", () => {
  const text = fc.string({ unit: fc.constantFrom("a", "b"), minLength: 1, maxLength: 4 });
  fc.assert(
    fc.property(text, text, text, text, (a, b, c, d) => {
      fc.pre(a !== b && c !== d);
      const isSame = [a, b].sort().join() === [c, d].sort().join();
      assert.equal(Buffer.compare(pairInfo(a, b), pairInfo(c, d)) === 0, isSame);
    }),
  );
});

test("the info is the label and both ids behind their lengths, in the order of their bytes", () => {
  const expected = `${Buffer.from(PAIR_LABEL).toString("hex")}000162${"0002c3a9"}`;
  assert.equal(Buffer.from(pairInfo("é", "b")).toString("hex"), expected);
});

test("equal or empty ids are a fault of the caller", () => {
  assert.throws(() => pairInfo("a", "a"), /assertion/);
  assert.throws(() => pairInfo("", "a"), /assertion/);
});

test("addresses are read in all their forms, into one spelling", () => {
  const table: readonly (readonly [string, string, number | undefined])[] = [
    ["192.0.2.1", "192.0.2.1", undefined],
    ["192.0.2.1:6000", "192.0.2.1", 6000],
    ["2001:DB8:0::1", "2001:db8::1", undefined],
    ["[2001:db8::1]", "2001:db8::1", undefined],
    ["[2001:db8::1]:6000", "2001:db8::1", 6000],
    ["::ffff:192.0.2.1", "192.0.2.1", undefined],
    ["fe80::1%eth0", "fe80::1%eth0", undefined],
    ["Host.Example.", "host.example", undefined],
    ["host:65535", "host", 65535],
  ];
  for (const [text, address, port] of table) {
    assert.deepEqual(parsePeerAddress(text), { address, port }, text);
  }
});

test("what is no address is refused", () => {
  const bad =
    "|:|1.2.3|1.2.3.4.5|1.2.3.256|host:0|host:65536|host:|a b|[1.2.3.4]|[::1|::1]:1|" +
    "2001:db8::1:70000|-a.b|a..b|0x7f|[::1]x|a/b";
  for (const text of bad.split("|")) assert.equal(parsePeerAddress(text), undefined, text);
});
