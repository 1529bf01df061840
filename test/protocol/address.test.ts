import assert from "node:assert/strict";
import { isIP, isIPv4, isIPv6 } from "node:net";
import { test } from "node:test";
import fc from "fast-check";
import {
  canonicalAddress,
  isMapped,
  parseAddress,
  parseIpv4,
  parseIpv6,
} from "../../src/shared/protocol/address.js";

test("every address has one spelling", () => {
  const rows: [number, string, string | undefined][] = [
    [1, "127.0.0.1", "127.0.0.1"],
    [2, "255.255.255.255", "255.255.255.255"],
    [3, "::ffff:192.0.2.7", "192.0.2.7"],
    [4, "::FFFF:c000:207", "192.0.2.7"],
    [5, "0:0:0:0:0:ffff:192.0.2.7", "192.0.2.7"],
    [6, "2001:DB8:0:0:0:0:0:1", "2001:db8::1"],
    [7, "2001:0db8::0001", "2001:db8::1"],
    [8, "::", "::"],
    [9, "::1", "::1"],
    [10, "1::", "1::"],
    [11, "2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"],
    [12, "1:0:0:2:0:0:0:3", "1:0:0:2::3"],
    [13, "1:0:0:2:0:0:3:4", "1::2:0:0:3:4"],
    [14, "64:ff9b::192.0.2.33", "64:ff9b::c000:221"],
    [15, "1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"],
    [16, "fe80::1%eth0", "fe80::1%eth0"],
    [17, "FE80:0::1%br_lan", "fe80::1%br_lan"],
    [18, "febf::1%2", "febf::1%2"],
    [19, "fe80::1", "fe80::1"],
    // Refused.
    [20, "", undefined],
    [21, "localhost", undefined],
    [22, "127.1", undefined],
    [23, "127.0.0.01", undefined],
    [24, "0127.0.0.1", undefined],
    [25, "0x7f.0.0.1", undefined],
    [26, "256.0.0.1", undefined],
    [27, "1.2.3.4.", undefined],
    [28, "1.2.3.4.5", undefined],
    [29, "1..2.3", undefined],
    [30, " 1.2.3.4", undefined],
    [31, "1.2.3.4\n", undefined],
    [32, "2130706433", undefined],
    [33, ":", undefined],
    [34, ":::", undefined],
    [35, "1::2::3", undefined],
    [36, "12345::", undefined],
    [37, "1:2:3:4:5:6:7", undefined],
    [38, "1:2:3:4:5:6:7:8:9", undefined],
    [39, "1:2:3:4:5:6:7:8::", undefined],
    [40, "::1:2:3:4:5:6:7:8", undefined],
    [41, ":1:2:3:4:5:6:7", undefined],
    [42, "1:2:3:4:5:6:7:", undefined],
    [43, "1:2:3:4:5:6:7:1.2.3.4", undefined],
    [44, "1.2.3.4::", undefined],
    [45, "::1.2.3.04", undefined],
    [46, "[::1]", undefined],
    [47, "::1%eth0", undefined],
    [48, "::ffff:1.2.3.4%eth0", undefined],
    [49, "fe80::1%", undefined],
    [50, "fe80::1%a b", undefined],
    [51, `fe80::1%${"x".repeat(65)}`, undefined],
    [52, "1.2.3.4%eth0", undefined],
    [53, "fec0::1%eth0", undefined],
    [54, "::g", undefined],
  ];
  for (const [number, text, expected] of rows) {
    assert.equal(canonicalAddress(text), expected, `row ${number}: ${text}`);
  }
});

test("words are most significant first, and IPv4 is mapped", () => {
  const words = new Uint32Array(4);

  assert.equal(parseIpv4("1.2.3.254"), 0x010203fe);
  assert.equal(parseIpv4("255.0.0.0"), 0xff000000);
  assert.equal(parseIpv6("2001:db8::8:800:200c:417a", words), true);
  assert.deepEqual([...words], [0x20010db8, 0, 0x00080800, 0x200c417a]);
  assert.equal(isMapped(words), false);
  assert.equal(parseIpv6("fe80::1%eth0", words), false);
  assert.equal(parseAddress("fe80::1%eth0", words), true);
  assert.deepEqual([...words], [0xfe800000, 0, 0, 1]);
  assert.equal(parseAddress("1.2.3.4", words), true);
  assert.deepEqual([...words], [0, 0, 0xffff, 0x01020304]);
  assert.equal(isMapped(words), true);
  assert.equal(parseAddress("example.org", words), false);
});

test("what is an address here is an address to node:net, and the other way round", () => {
  const words = new Uint32Array(4);
  // Texts made of the characters of addresses: about one in five is one.
  const piece = fc.constantFrom(
    "0",
    "1",
    "ff",
    "db8",
    "255",
    "256",
    "01",
    "::",
    ":",
    ".",
    "1.2.3.4",
    "g",
  );
  const text = fc.oneof(
    fc.array(piece, { maxLength: 12 }).map((pieces) => pieces.join("")),
    fc.array(piece, { maxLength: 10 }).map((pieces) => pieces.join(":")),
    fc.array(piece, { minLength: 3, maxLength: 5 }).map((pieces) => pieces.join(".")),
    fc.string(),
  );
  fc.assert(
    fc.property(text, (each) => {
      assert.equal(parseIpv4(each) >= 0, isIPv4(each));
      assert.equal(parseIpv6(each, words), isIPv6(each) && !each.includes("%"));
      if (!each.includes("%")) assert.equal(canonicalAddress(each) !== undefined, isIP(each) !== 0);
    }),
    { numRuns: 3_000 },
  );
});

test("any IPv6 address reads as itself and is spelled as a URL spells it", () => {
  const words = new Uint32Array(4);
  const group = fc.oneof(fc.constant(0), fc.constant(0), fc.nat(0xffff));
  fc.assert(
    fc.property(fc.array(group, { minLength: 8, maxLength: 8 }), (groups) => {
      const long = groups.map((each) => each.toString(16).padStart(4, "0")).join(":");
      const expected = new URL(`http://[${long}]/`).hostname.slice(1, -1);

      assert.equal(parseIpv6(long, words), true);
      assert.deepEqual(
        [...words],
        [0, 2, 4, 6].map((i) => (groups[i] as number) * 0x10000 + (groups[i + 1] as number)),
      );
      const canonical = canonicalAddress(long);
      if (!isMapped(words)) assert.equal(canonical, expected);
      assert.equal(
        canonicalAddress(canonical ?? ""),
        canonical,
        "the spelling is its own spelling",
      );
    }),
  );
});

test("any IPv4 address reads as itself, mapped or not", () => {
  fc.assert(
    fc.property(fc.ipV4(), (text) => {
      assert.equal(canonicalAddress(text), text);
      assert.equal(canonicalAddress(`::ffff:${text}`), text);
    }),
  );
});
