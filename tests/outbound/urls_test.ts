/** URLs that try to look inside the network of the server: every one is refused before anything is connected to. */
import { TesseraError } from "@tessera/shared";
import assert from "node:assert/strict";
import { fetchPicture } from "../../edge/media/fetch_picture.ts";
import { PICTURE } from "../../edge/media/kind.ts";
import { HostList } from "../../edge/outbound/host_list.ts";
import { OutboundRules } from "../../edge/outbound/rules.ts";
import { type DnsServer, startDnsServer } from "./dns_server.ts";

/** PORT is that of a listener on every loopback address, and allowed: what keeps from it is the address alone. */
const FORBIDDEN: readonly string[] = [
  // Loopback, as the URL parser's many spellings have it.
  "https://127.0.0.1:PORT/",
  "https://127.0.0.1/",
  "https://127.1:PORT/",
  "https://127.0.1:PORT/",
  "https://2130706433:PORT/",
  "https://0x7f000001:PORT/",
  "https://0x7f.0x0.0x0.0x1:PORT/",
  "https://0x7f.1:PORT/",
  "https://017700000001:PORT/",
  "https://0177.0.0.01:PORT/",
  "https://00000177.0.0.1:PORT/",
  "https://127.0.0.1.:PORT/",
  "https://127.255.255.254:PORT/",
  "https://１２７.０.０.１:PORT/",
  "https://127。0。0。1:PORT/",
  "https://%31%32%37.0.0.1:PORT/",
  "https://①②⑦.⓪.⓪.①:PORT/",
  "ht\ntps://127.\t0.0.1:PORT/",
  "  https://127.0.0.1:PORT/  ",
  "https:127.0.0.1:PORT/",
  "https:\\\\127.0.0.1:PORT\\",
  "https:////127.0.0.1:PORT/",
  "HTTPS://127.0.0.1:PORT/",
  "https://0.0.0.0:PORT/",
  "https://0:PORT/",
  // IPv6: loopback, unspecified, IPv4 inside it.
  "https://[::1]:PORT/",
  "https://[0:0:0:0:0:0:0:1]:PORT/",
  "https://[::]:PORT/",
  "https://[::ffff:127.0.0.1]:PORT/",
  "https://[::ffff:7f00:1]:PORT/",
  "https://[0:0:0:0:0:ffff:7f00:0001]:PORT/",
  "https://[::127.0.0.1]:PORT/",
  "https://[64:ff9b::127.0.0.1]:PORT/",
  "https://[64:ff9b::a9fe:a9fe]/",
  "https://[64:ff9b:1::a00:1]/",
  "https://[2002:7f00:1::]:PORT/",
  "https://[2002:a9fe:a9fe::1]/",
  "https://[2001:0:7f00:1::]/",
  "https://[fe80::1]/",
  "https://[fec0::1]/",
  "https://[fc00::1]/",
  "https://[fd12:3456:789a::1]/",
  "https://[ff02::1]/",
  "https://[2001:db8::1]/",
  "https://[100::1]/",
  "https://[::ffff:0:7f00:1]:PORT/",
  // Private, shared, link-local, reserved.
  "https://10.0.0.1/",
  "https://012.0.0.1/",
  "https://167772161/",
  "https://172.16.0.1/",
  "https://172.31.255.255/",
  "https://192.168.0.1/",
  "https://192.168.257/",
  "https://0xc0a80001/",
  "https://100.64.0.1/",
  "https://198.18.0.1/",
  "https://192.0.0.1/",
  "https://224.0.0.1/",
  "https://240.0.0.1/",
  "https://255.255.255.255/",
  // Metadata services: AWS, Google, Azure, Alibaba, Oracle, AWS over IPv6.
  "https://169.254.169.254/latest/meta-data/iam/security-credentials/",
  "https://169.254.170.2/v2/credentials/",
  "https://0xa9fea9fe/",
  "https://2852039166/",
  "https://025177524776/",
  "https://[::ffff:a9fe:a9fe]/",
  "https://metadata.google.internal/computeMetadata/v1/",
  "https://168.63.129.16/machine?comp=goalstate",
  "https://100.100.100.200/latest/meta-data/",
  "https://192.0.0.192/opc/v2/instance/",
  "https://[fd00:ec2::254]/latest/meta-data/",
  // Names that lead there.
  "https://loopback.test:PORT/",
  "https://loopback.test.:PORT/",
  "https://LOOPBACK.TEST:PORT/",
  "https://127.0.0.1.wildcard.test:PORT/",
  "https://private.test/",
  "https://link-local.test/",
  "https://v6-loopback.test:PORT/",
  "https://v6-mapped.test:PORT/",
  "https://v6-nat64.test:PORT/",
  "https://v6-local.test/",
  "https://one-of-them.test:PORT/",
  "https://one-of-them-v6.test:PORT/",
  // The host is what stands behind the last @ before the path, or a backslash's path begins.
  "https://loopback.test\\@public.test/",
  "https://loopback.test:PORT#@public.test/",
  "https://loopback.test:PORT?@public.test/",
  // Ports of other services, and hosts on the list of those never connected to.
  "https://public.test:22/",
  "https://public.test:6379/",
  "https://8.8.8.8:8080/",
  "https://denied.test/",
  "https://denied.test./",
  "https://below.denied.org/",
  "https://8.8.4.4/",
  "https://[::ffff:8.8.4.4]/",
  "https://denied-by-address.test/",
];

const INVALID: readonly string[] = [
  "http://public.test/",
  "http://8.8.8.8/",
  "HTTP://public.test/",
  "http://127.0.0.1.nowhere/",
  "https://user@public.test/",
  "https://user:password@public.test/",
  "https://public.test@127.0.0.1:PORT/",
  "https://public.test:443@127.0.0.1:PORT/",
  "https://@:@127.0.0.1:PORT/",
  "https://:password@public.test/",
  "https://public.test%00.loopback.test/",
  "https://256.256.256.256/",
  "https://0x100000000/",
  "https://1.2.3.4.5/",
  "https://[::1%25lo]/",
  "https://[::1%lo]/",
  "https://[fe80::1%25eth0]/",
  "https://public.test:99999/",
  "https://",
  "https:///",
  "//127.0.0.1/",
  "127.0.0.1",
  "file:///etc/passwd",
  "file://127.0.0.1/etc/passwd",
  "ftp://public.test/",
  "gopher://127.0.0.1:6379/_FLUSHALL",
  "dict://127.0.0.1:11211/stat",
  "ldap://127.0.0.1/",
  "jar:https://public.test!/",
  "blob:https://public.test/1",
  "javascript:alert(1)",
  "ws://127.0.0.1:PORT/",
  "unix:/var/run/docker.sock",
  "nats://127.0.0.1:4222",
  `https://public.test/${"a".repeat(10_000)}`,
];

const NAMES: Readonly<Record<string, readonly string[]>> = {
  "loopback.test": ["127.0.0.1"],
  "127.0.0.1.wildcard.test": ["127.0.0.1"],
  "private.test": ["10.1.2.3"],
  "link-local.test": ["169.254.169.254"],
  "metadata.google.internal": ["169.254.169.254"],
  "v6-loopback.test": ["::1"],
  "v6-mapped.test": ["::ffff:7f00:1"],
  "v6-nat64.test": ["64:ff9b::7f00:1"],
  "v6-local.test": ["fd00::1"],
  "one-of-them.test": ["8.8.8.8", "127.0.0.1", "1.1.1.1"],
  "one-of-them-v6.test": ["8.8.8.8", "::1"],
  "public.test": ["8.8.8.8"],
  "denied.test": ["8.8.8.8"],
  "below.denied.org": ["8.8.8.8"],
  "denied-by-address.test": ["8.8.4.4"],
};

async function refusalOf(url: string, rules: OutboundRules, dns: DnsServer) {
  const { resolve } = dns;
  const signal = new AbortController().signal;
  const options = { kind: PICTURE, rules, resolve, timeoutMs: 5_000, signal, param: "p", onBytes: () => {} };
  const error = await fetchPicture(url, options).then(() => null, (error: unknown) => error);
  assert.ok(error instanceof TesseraError, `${url}: ${error}`);
  return error.code;
}

Deno.test(`outbound: ${FORBIDDEN.length + INVALID.length} URLs that attack are refused, nothing is connected to`, async () => {
  assert.ok(FORBIDDEN.length + INVALID.length >= 60);
  const listener = Deno.listen({ hostname: "0.0.0.0", port: 0 });
  let numConnections = 0;
  const counting = (async () => {
    for await (const connection of listener) {
      numConnections++;
      connection.close();
    }
  })();
  const { port } = listener.addr;
  const dns = await startDnsServer((name) => NAMES[name.toLowerCase()] ?? []);
  const deny = HostList.parse("denied.test, *.denied.org 8.8.4.0/24");
  const rules = new OutboundRules({ allowPrivate: false, deny, ports: [80, 443, port] });
  try {
    for (const [expected, urls] of [["image_url_forbidden", FORBIDDEN], ["image_url_invalid", INVALID]] as const) {
      for (const url of urls) {
        assert.equal(await refusalOf(url.replaceAll("PORT", `${port}`), rules, dns), expected, url.slice(0, 100));
      }
    }
    assert.equal(numConnections, 0);
    // The same listener can be reached, so that the count above means something.
    const open = new OutboundRules({ allowPrivate: true });
    assert.equal(await refusalOf(`http://loopback.test:${port}/`, open, dns), "image_fetch_failed");
    assert.equal(numConnections, 1);
  } finally {
    listener.close();
    await counting;
    dns.close();
  }
});

Deno.test("outbound: lists of hosts and networks", () => {
  const url = (text: string) => new URL(text);
  const list = HostList.parse("example.org, *.example.net\n10.0.0.0/8 minio:9000, [fd00::1]:8443,Dot.Example.");
  for (
    const host of ["https://example.org/", "https://EXAMPLE.org./", "https://a.b.example.net/", "https://dot.example"]
  ) {
    assert.ok(list.hasName(url(host)), host);
  }
  for (const host of ["https://a.example.org/", "https://example.net/", "https://badexample.net/", "http://minio/"]) {
    assert.ok(!list.hasName(url(host)), host);
  }
  assert.ok(list.hasName(url("http://minio:9000/")) && !list.hasName(url("http://minio:9001/")));
  assert.ok(
    list.hasAddress("10.9.9.9", url("https://any/")) && list.hasAddress("::ffff:10.9.9.9", url("https://any/")),
  );
  assert.ok(list.hasAddress("fd00::1", url("https://any:8443/")) && !list.hasAddress("fd00::1", url("https://any/")));
  for (const text of ["exa mple!", "https://example.org", "10.0.0.0/64", "*", "a/b", "[::1"]) {
    assert.throws(() => HostList.parse(text), /is neither/, text);
  }
});

Deno.test("outbound: only those allowed, and trusted ones with private addresses, over http and on any port", () => {
  const check = (rules: OutboundRules, text: string, ...addresses: string[]) => {
    const url = new URL(text);
    return rules.checkUrl(url) ?? (addresses.length === 0 ? null : rules.checkAddresses(url, addresses));
  };
  const named = new OutboundRules({ allowPrivate: false, allow: HostList.parse("a.test") });
  assert.equal(check(named, "https://a.test/", "8.8.8.8"), null);
  assert.equal(check(named, "https://a.test/", "10.0.0.1"), "forbidden");
  assert.equal(check(named, "https://b.test/"), "forbidden");
  assert.equal(check(named, "https://8.8.8.8/"), "forbidden");
  const ranged = new OutboundRules({ allowPrivate: false, allow: HostList.parse("8.8.8.0/24") });
  assert.equal(check(ranged, "https://b.test/", "8.8.8.8"), null);
  assert.equal(check(ranged, "https://b.test/", "8.8.8.8", "1.1.1.1"), "forbidden");
  const trust = HostList.parse("minio:9000, 10.1.0.0/16");
  const trusting = new OutboundRules({ allowPrivate: false, trust, deny: HostList.parse("10.1.9.9") });
  assert.equal(check(trusting, "http://minio:9000/a", "172.20.0.2"), null);
  assert.equal(check(trusting, "http://minio:9001/a", "172.20.0.2"), "forbidden");
  assert.equal(check(trusting, "http://store.test:8080/a", "10.1.2.3"), null);
  assert.equal(check(trusting, "http://10.1.2.3:8080/a"), null);
  assert.equal(check(trusting, "http://store.test/a", "8.8.8.8"), "invalid");
  assert.equal(check(trusting, "https://store.test/a", "10.1.2.3", "10.2.2.3"), "forbidden");
  assert.equal(check(trusting, "http://10.1.9.9/"), "forbidden");
  const anywhere = new OutboundRules({ allowPrivate: true, deny: HostList.parse("169.254.0.0/16") });
  assert.equal(check(anywhere, "http://127.0.0.1:1234/"), null);
  assert.equal(check(anywhere, "http://a.test/", "169.254.169.254"), "forbidden");
});
