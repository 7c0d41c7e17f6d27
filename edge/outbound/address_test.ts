/** Which addresses pictures may be fetched from. */
import fc from "fast-check";
import assert from "node:assert/strict";
import { isPublicAddress, isWithin, parseNetwork, parseV6 } from "./address.ts";

Deno.test("addresses that may be fetched from", () => {
  const table: readonly (readonly [boolean, ...string[]])[] = [
    [
      true,
      "8.8.8.8",
      "1.1.1.1",
      "93.184.216.34",
      "172.15.255.255",
      "172.32.0.1",
      "168.63.129.17",
      "192.167.1.1",
      "100.63.1.1",
      "223.255.255.255",
    ],
    [false, "0.0.0.0", "10.0.0.1", "127.0.0.1", "127.255.255.254", "169.254.169.254", "172.16.0.1", "172.31.255.255"],
    [
      false,
      "192.168.1.1",
      "168.63.129.16",
      "100.64.0.1",
      "192.0.2.1",
      "198.18.0.1",
      "203.0.113.9",
      "224.0.0.1",
      "255.255.255.255",
    ],
    [true, "2606:4700:4700::1111", "2a00:1450:4001:80b::200e", "2002:808:808::1"],
    [false, "::", "::1", "fe80::1", "fc00::1", "fd12:3456::1", "ff02::1", "2001:db8::1", "fec0::1", "2001::1"],
    // IPv4 inside IPv6: mapped, compatible, NAT64, 6to4.
    [
      false,
      "::ffff:127.0.0.1",
      "::ffff:7f00:1",
      "::127.0.0.1",
      "64:ff9b::10.0.0.1",
      "2002:7f00:1::",
      "::ffff:a9fe:a9fe",
    ],
    [true, "::ffff:8.8.8.8", "64:ff9b::808:808"],
    [
      false,
      "",
      "localhost",
      "1.2.3",
      "1.2.3.4.5",
      "256.1.1.1",
      "08.8.8.8",
      "fe80::1%eth0",
      "1::2::3",
      ":::",
      "2606:4700",
      "g::",
    ],
  ];
  for (const [expected, ...addresses] of table) {
    for (const address of addresses) assert.equal(isPublicAddress(address), expected, address);
  }
});

Deno.test("IPv6: any groups, shortened as the URL parser does, read back the same", () => {
  const group = fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 0xffff }));
  fc.assert(fc.property(fc.array(group, { minLength: 8, maxLength: 8 }), (groups) => {
    const long = groups.map((g) => g.toString(16)).join(":");
    const short = new URL(`http://[${long}]/`).hostname.slice(1, -1);
    assert.deepEqual(parseV6(long), groups);
    assert.deepEqual(parseV6(short), groups);
    assert.equal(isPublicAddress(short), isPublicAddress(long));
  }));
});

Deno.test("networks: read, and what lies in them", () => {
  const within = (address: string, text: string) => isWithin(address, parseNetwork(text)!);
  assert.ok(within("10.1.2.3", "10.0.0.0/8") && !within("11.1.2.3", "10.0.0.0/8"));
  assert.ok(within("10.1.2.3", "10.1.2.3") && !within("10.1.2.4", "10.1.2.3"));
  assert.ok(within("10.1.2.131", "10.1.2.128/25") && !within("10.1.2.127", "10.1.2.128/25"));
  assert.ok(within("fd00::1", "[fd00::]/8") && within("fd00::1", "fd00::1") && !within("fe00::1", "fd00::/8"));
  // IPv4 inside IPv6, and the other way round.
  assert.ok(within("::ffff:10.1.2.3", "10.0.0.0/8") && within("64:ff9b::a01:203", "10.0.0.0/8"));
  assert.ok(within("1.2.3.4", "0.0.0.0/0") && !within("1.2.3.4", "::/0") && within("::1", "::/0"));
  for (
    const text of ["", "10.0.0.0/33", "::/129", "10.0.0/8", "example.org", "10.0.0.0/", "10.0.0.0/-1", "fd00::1%1"]
  ) {
    assert.equal(parseNetwork(text), null, text);
  }
});
