/** The environment becomes the edge's settings; every fault is told at once. */
import { EnvError } from "@tessera/shared";
import assert from "node:assert/strict";
import { readEdgeConfig } from "./config.ts";

Deno.test("config: defaults, and what the environment says", () => {
  const env: Record<string, string> = {
    TESSERA_NATS_URL: "nats://127.0.0.1:4222",
    TESSERA_PORT: "0",
    TESSERA_HELD_MB: "64",
  };
  const config = readEdgeConfig((name) => env[name]);
  assert.equal(config.port, 0);
  assert.equal(config.maxHeldBytes, 64 * 1024 * 1024);
  assert.equal(config.allowPrivateUrls, false);
  assert.deepEqual(config.log, { level: "info", format: "json" });
});

Deno.test("config: every fault at once, the missing server among them", () => {
  const env: Record<string, string> = {
    TESSERA_PORT: "99999",
    TESSERA_LOG_FORMAT: "xml",
    TESSERA_FETCH_DENY: "10.0.0.0/64",
  };
  assert.throws(() => readEdgeConfig((name) => env[name]), (error: unknown) => {
    assert.ok(error instanceof EnvError);
    for (const name of ["TESSERA_NATS_URL", "TESSERA_PORT", "TESSERA_LOG_FORMAT", "TESSERA_FETCH_DENY"]) {
      assert.match(error.message, new RegExp(name));
    }
    return true;
  });
  assert.throws(() => readEdgeConfig(() => undefined), /TESSERA_NATS_URL/);
});
