/** Concurrency of a key: one count for all edges, exact whoever races, free again when an edge was killed. */
import { startNatsServer } from "@tessera/infra/nats";
import { newApiKeySecret, silentLogger } from "@tessera/shared";
import assert from "node:assert/strict";
import { KeyPlaces } from "../../edge/auth/key_places.ts";
import { Bus } from "../../edge/dispatch/bus.ts";
import { apiKey, NO_LIMITS, putApiKey } from "../support/api_keys.ts";
import { Fleet, pause } from "../support/fleet.ts";
import { errorOf, until } from "./harness.ts";

/** Edges as far as places go. */
async function openPlaces(natsUrl: string, names: readonly string[]) {
  const all = names.map((name) => {
    const bus = new Bus({ url: natsUrl, name, log: silentLogger });
    bus.start();
    return { bus, places: new KeyPlaces(bus, name, silentLogger) };
  });
  await until(() => all.every(({ bus }) => bus.isConnected));
  return {
    places: all.map(({ places }) => places),
    close: () =>
      Promise.all(all.map(async ({ bus, places }) => {
        places.close();
        await bus.close();
      })),
  };
}

Deno.test("key places: of many that race on three edges never more than the limit are in, and none is lost", async () => {
  const nats = await startNatsServer({});
  const { places, close } = await openPlaces(nats.url, ["edge-a", "edge-b", "edge-c"]);
  const MAX = 4;
  let numIn = 0;
  let most = 0;
  const client = async (edge: KeyPlaces) => {
    for (let turn = 0; turn < 15; turn++) {
      while (!await edge.enter("key-1", MAX)) await pause(1 + Math.random() * 4);
      most = Math.max(most, ++numIn);
      await pause(Math.random() * 3);
      numIn--;
      edge.leave("key-1");
    }
  };
  await Promise.all(places.flatMap((edge) => [client(edge), client(edge), client(edge)]));
  assert.equal(most, MAX);
  // All of them are free again, for any of the edges; other keys were never in the way.
  const last = places[2]!;
  assert.deepEqual(await Promise.all([1, 2, 3, 4, 5].map(() => last.enter("key-1", MAX))), [
    true,
    true,
    true,
    true,
    false,
  ]);
  assert.deepEqual([await places[0]!.enter("key-1", MAX), await places[0]!.enter("key-2", 1)], [false, true]);
  // Without the bus each edge counts its own.
  await nats.stop();
  assert.deepEqual([await last.enter("key-1", MAX), await last.enter("key-1", 6)], [false, true]);
  await close();
});

Deno.test("key places: a key's requests on two edges are counted together; those of an edge that is killed end by themselves", () =>
  Fleet.run(async (fleet) => {
    const secret = newApiKeySecret();
    await putApiKey(fleet.nats.url, secret, apiKey({ limits: { ...NO_LIMITS, concurrency: 2 } }));
    await fleet.worker({ latencyMs: 20 });
    const [one, two] = await Promise.all([1, 2].map(() => fleet.edge({ TESSERA_AUTH: "keys" })));
    const headers = { authorization: `Bearer ${secret}`, "content-type": "application/json" };
    const ask = (url: string, max_tokens: number) =>
      fetch(`${url}/v1/chat/completions`, {
        method: "POST",
        headers,
        body: JSON.stringify({
          model: "fake",
          messages: [{ role: "user", content: "Go on" }],
          max_tokens,
          stream: true,
        }),
      });
    const [first, second] = [await ask(one!.url, 1_500), await ask(two!.url, 1_500)];
    assert.deepEqual([first.status, second.status], [200, 200]);
    for (const { url } of [one!, two!]) {
      const refused = await errorOf(await ask(url, 1), 429);
      assert.match(refused.message, /At most 2 requests of the API key run at once/);
    }
    await second.body!.cancel();
    await until(async () => {
      const third = await ask(one!.url, 1);
      await third.text();
      return third.status === 200;
    });
    const kept = await ask(two!.url, 1_500);
    assert.equal(kept.status, 200);
    one!.signal("SIGKILL");
    await first.text().catch(() => {});
    await errorOf(await ask(two!.url, 1), 429);
    const killedAt = performance.now();
    for (let status = 429; status === 429; await pause(200)) {
      const next = await ask(two!.url, 1);
      await next.text();
      status = next.status;
      assert.ok(performance.now() - killedAt < 30_000, "the killed edge still holds its place");
    }
    await kept.body!.cancel();
  }));
