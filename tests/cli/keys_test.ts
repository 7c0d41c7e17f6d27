/** `tessera keys` on a real bus: the first key of an edge that is open to other machines, and its end. */
import { startNatsServer } from "@tessera/infra/nats";
import { ROOT } from "@tessera/infra/paths";
import { supervise, type Supervised } from "@tessera/infra/process";
import type { ApiKey } from "@tessera/shared";
import assert from "node:assert/strict";

const until = async (holds: () => Promise<boolean>) => {
  const end = performance.now() + 20_000;
  while (!await holds()) {
    assert.ok(performance.now() < end, `waited too long until ${holds}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
};

Deno.test("keys: an open edge starts with the first key, takes it, and refuses it once revoked", async () => {
  const nats = await startNatsServer();
  const env = { TESSERA_NATS_URL: nats.url, TESSERA_HOST: "0.0.0.0", TESSERA_PORT: "0", TESSERA_TILE_WORKERS: "1" };
  const main = (script: string, ...args: string[]) =>
    new Deno.Command(Deno.execPath(), {
      args: ["run", "--allow-all", "--no-check", `${ROOT}/${script}`, ...args],
      env,
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    });
  const keys = async (...args: string[]) => {
    const { code, stdout, stderr } = await main("infra/cli/main.ts", "keys", ...args).output();
    return { code, out: new TextDecoder().decode(stdout), err: new TextDecoder().decode(stderr) };
  };
  let edge: Supervised | null = null;
  try {
    const without = await main("edge/main.ts").output();
    assert.equal(without.code, 2);
    assert.match(new TextDecoder().decode(without.stderr), /there is no API key.*tessera keys create/);

    assert.match((await keys("list")).out, /No keys/);
    const made = await keys("create", "phone app", "--requests", "100", "--scopes", "inference,files", "--json");
    const { key: secret, ...record } = JSON.parse(made.out) as ApiKey & { key: string };
    assert.equal(made.code, 0, made.err);
    assert.deepEqual(record.scopes, ["inference", "files"]);
    assert.equal(record.limits.requests_per_minute, 100);
    const listed = await keys("list");
    assert.match(listed.out, new RegExp(`${record.id}  active   phone app\n.*requests_per_minute 100`));
    assert.ok(!listed.out.includes(secret));

    const lines: string[] = [];
    edge = supervise(Deno.execPath(), ["run", "--allow-all", "--no-check", `${ROOT}/edge/main.ts`], {
      env: { ...env, TESSERA_SUPERVISED: "true" },
      onLine: (line) => lines.push(line),
    });
    const portOf = () => /"url":"http:\/\/0\.0\.0\.0:(\d+)"/.exec(lines.join("\n"))?.[1];
    await until(() => Promise.resolve(portOf() !== undefined));
    const port = portOf();
    const ask = async (key: string) => {
      const response = await fetch(`http://127.0.0.1:${port}/v1/models`, {
        headers: { authorization: `Bearer ${key}` },
      });
      await response.body?.cancel();
      return response.status;
    };
    await until(async () => await ask(secret) === 200);
    assert.equal(await ask(`${secret}x`), 401);
    assert.match((await keys("delete", record.id)).err, /Revoke it first/);
    assert.equal((await keys("revoke", record.id)).code, 0);
    await until(async () => await ask(secret) === 401);
    assert.match((await keys("list")).out, /revoked/);
    assert.equal((await keys("delete", record.id)).code, 0);
    assert.match((await keys("list")).out, /No keys/);
    assert.match((await keys("revoke", record.id)).err, /No key key-/);
    assert.match((await keys("create", "x", "--scopes", "root")).err, /Unknown scope "root"/);
  } finally {
    await edge?.stop(5_000);
    await nats.stop();
  }
});

Deno.test("keys: a bus that is not there is told at once", async () => {
  const { code, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--allow-all", "--no-check", `${ROOT}/infra/cli/main.ts`, "keys", "list"],
    env: { TESSERA_NATS_URL: "nats://127.0.0.1:1" },
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).output();
  assert.equal(code, 1);
  assert.match(new TextDecoder().decode(stderr), /Cannot connect to NATS/);
});
