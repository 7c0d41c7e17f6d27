/** Lists of NATS servers are read with their scheme and credentials, or refused. */
import assert from "node:assert/strict";
import { parseServers } from "@tessera/shared";

Deno.test("servers: the scheme chooses the transport, credentials leave the URL", () => {
  assert.deepEqual(parseServers("nats://a:4222, nats://b:4223"), {
    transport: "tcp",
    encrypted: false,
    urls: ["nats://a:4222", "nats://b:4223"],
    credentials: null,
  });
  assert.deepEqual(parseServers("127.0.0.1:4222").urls, ["nats://127.0.0.1:4222"]);
  assert.equal(parseServers("tls://a").encrypted, true);
  assert.deepEqual(parseServers("wss://u%40x:p%3A@a:443/path"), {
    transport: "websocket",
    encrypted: true,
    urls: ["wss://a/path"],
    credentials: { user: "u@x", pass: "p:" },
  });
  assert.deepEqual(parseServers("nats://token@a").credentials, { token: "token" });
});

Deno.test("servers: what cannot be used is said without the credentials", () => {
  for (const list of ["", " , ", "http://a", "nats://", "nats://a,ws://b", "nats://secret@:::"]) {
    assert.throws(() => parseServers(list), (error: Error) => !error.message.includes("secret"), list);
  }
});
