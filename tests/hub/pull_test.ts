/** Pulls from a hub that behaves: what is fetched, what is left alone, what a second pull does. */
import assert from "node:assert/strict";
import { PullState } from "../../infra/hub/state.ts";
import { findCheckpoint } from "../../gpu-worker/config.ts";
import { COMMIT } from "./fake_hub.ts";
import { ID, NEEDED, noise, repositoryFiles, scene, SHARD_1, SHARD_2 } from "./support.ts";

Deno.test("pull: the needed files, whole, by the commit that the branch named", async () => {
  await scene(async ({ hub, pull, check }) => {
    const pulled = await pull();
    assert.equal(pulled.numFetched, NEEDED.length);
    assert.equal(pulled.commit, COMMIT);
    await check();
    const asked = hub.seen.filter(({ path }) => path.includes("/resolve/"));
    assert.ok(asked.length === NEEDED.length && asked.every(({ path }) => path.includes(`/resolve/${COMMIT}/`)));
    assert.equal(asked.at(-1)!.path.split("/").at(-1), "config.json");
  });
});

Deno.test("pull: a second one asks for the list alone; --verify finds a file that was damaged", async () => {
  await scene(async ({ hub, folder, pull, check }) => {
    await pull();
    const before = hub.seen.length;
    assert.equal((await pull()).numFetched, 0);
    assert.ok(hub.seen.slice(before).every(({ host, path }) => host === "hub" && path.startsWith("/api/")));

    const damaged = noise(300_000, 9);
    const { mtime } = await Deno.stat(`${folder}/${SHARD_2}`);
    await Deno.writeFile(`${folder}/${SHARD_2}`, damaged);
    await Deno.utime(`${folder}/${SHARD_2}`, mtime!, mtime!);
    assert.equal((await pull()).numFetched, 0);
    // The file and config.json, which must not call the folder complete meanwhile.
    assert.equal((await pull({ verify: true })).numFetched, 2);
    await check();
  });
});

Deno.test("pull: files put there by hand are taken when their hash is right", async () => {
  await scene(async ({ hub, folder, pull, check }) => {
    await Deno.mkdir(folder);
    await Deno.writeFile(`${folder}/${SHARD_1}`, hub.files.get(SHARD_1)!);
    await Deno.writeFile(`${folder}/${SHARD_2}`, noise(300_000, 7));
    await pull();
    assert.deepEqual([hub.fetches(SHARD_1).length, hub.fetches(SHARD_2).length], [0, 1]);
    await check();
  });
});

Deno.test("pull: a newer revision fetches what changed and removes what is gone", async () => {
  await scene(async ({ hub, folder, pull }) => {
    await pull();
    hub.commit = "f".repeat(40);
    hub.files.set("vocab.json", new TextEncoder().encode('{"a":0}'));
    for (const shard of [SHARD_1, SHARD_2]) hub.files.delete(shard);
    hub.files.set("model.safetensors", noise(1_000, 5));
    const { numFetched } = await pull();
    assert.equal(numFetched, 3);
    await assert.rejects(Deno.stat(`${folder}/${SHARD_1}`), Deno.errors.NotFound);
    assert.equal(await Deno.readTextFile(`${folder}/vocab.json`), '{"a":0}');
  });
});

Deno.test("pull: one file of weights is enough; without safetensors it is refused", async () => {
  const { [SHARD_1]: weights, [SHARD_2]: _, ...rest } = repositoryFiles();
  await scene(async ({ pull }) => {
    await assert.rejects(pull(), /no weights as safetensors/);
  }, rest);
  await scene(async ({ pull, read }) => {
    await pull();
    assert.equal((await read("model.safetensors")).length, weights!.length);
  }, { ...rest, "model.safetensors": weights! });
  await scene(async ({ pull }) => {
    await assert.rejects(pull(), /1 weight files, expected 2/);
  }, { ...rest, [SHARD_1]: weights! });
});

Deno.test("pull: the token goes to the hub and nowhere else", async () => {
  await scene(async ({ hub, pull }) => {
    await pull({ hub: { endpoint: hub.endpoint, token: "hf_secret" } });
    for (const { host, authorization } of hub.seen) {
      assert.equal(authorization, host === "hub" ? "Bearer hf_secret" : undefined);
    }
  });
});

Deno.test("pull: two at once into one folder, or another repository's folder, are refused", async () => {
  await scene(async ({ folder, pull }) => {
    const state = await PullState.open(folder, ID, COMMIT);
    await assert.rejects(pull(), /another pull writes it now/);
    state.close();
    await pull();
    await assert.rejects(pull({ repository: "else/InternVL3-1B" }), /it holds OpenGVLab\/InternVL3-1B/);
  });
});

Deno.test("pull: what does not fit the disk is refused before anything is fetched", async () => {
  await scene(async ({ hub, pull }) => {
    hub.listedSizes.set(SHARD_1, 10 ** 15);
    await assert.rejects(pull(), /the disk has .* free, 1000 TB are needed/);
    assert.deepEqual(hub.seen.filter(({ host }) => host === "cdn"), []);
  });
});

Deno.test("findCheckpoint: bundled, by folder, pulled; a known name that is not there says how to get it", async () => {
  assert.match(await findCheckpoint("internvl3-tiny"), /models\/internvl3-tiny$/);
  await assert.rejects(findCheckpoint("internvl3-78b"), /tessera pull OpenGVLab\/InternVL3-78B/);
  const before = Deno.cwd();
  const root = await Deno.makeTempDir();
  try {
    await Deno.mkdir(`${root}/pretrained/InternVL3-8B`, { recursive: true });
    await Deno.writeTextFile(`${root}/pretrained/InternVL3-8B/config.json`, "{}");
    Deno.chdir(root);
    for (const name of ["InternVL3-8B", "OpenGVLab/InternVL3-8B", "pretrained/InternVL3-8B"]) {
      assert.equal(
        await Deno.realPath(await findCheckpoint(name)),
        await Deno.realPath(`${root}/pretrained/InternVL3-8B`),
      );
    }
  } finally {
    Deno.chdir(before);
    await Deno.remove(root, { recursive: true });
  }
});
