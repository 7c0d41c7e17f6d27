/** Pulls from a hub that misbehaves: broken connections, silence, lies about sizes, changed content, refusals. */
import assert from "node:assert/strict";
import { PULL_MAX_TRIES } from "@tessera/shared";
import { noise, repositoryFiles, scene, SHARD_1 } from "./support.ts";

Deno.test("pull: a connection that breaks goes on where it broke, by etag and range", async () => {
  await scene(async ({ hub, pull, check, printed }) => {
    hub.faults.set(SHARD_1, [{ breakAfter: 100_000 }, { breakAfter: 250_000 }, { endAfter: 1_000 }]);
    await pull();
    await check();
    const fetches = hub.fetches(SHARD_1);
    assert.equal(fetches.length, 4);
    const starts = fetches.map(({ range }) => Number(range?.match(/\d+/)?.[0] ?? 0));
    assert.ok(starts.every((start, i) => i === 0 || start > starts[i - 1]!), `${starts}`);
    assert.ok(fetches.slice(1).every(({ ifRange }) => ifRange?.startsWith('"')));
    assert.equal(printed.filter((line) => line.includes("Trying again")).length, 3);
  });
});

Deno.test("pull: a server that falls silent is asked again", async () => {
  await scene(async ({ hub, pull, check, printed }) => {
    hub.faults.set(SHARD_1, [{ stallAfter: 50_000 }]);
    await pull();
    await check();
    assert.ok(printed.some((line) => line.includes("stopped sending")));
  });
});

Deno.test("pull: tries that bring nothing new end, and the next pull goes on", async () => {
  await scene(async ({ hub, folder, pull, check, parts }) => {
    const breaks = Array.from({ length: PULL_MAX_TRIES }, () => ({ status: 503 }));
    hub.faults.set(SHARD_1, [{ breakAfter: 300_000 }, ...breaks]);
    await assert.rejects(pull(), /the server failed \(HTTP 503\).*Run the same command again/s);
    assert.equal((await parts()).filter((name) => name.startsWith(SHARD_1)).length, 1);
    await assert.rejects(Deno.stat(`${folder}/config.json`), Deno.errors.NotFound);
    hub.faults.clear();
    await pull();
    assert.match(hub.fetches(SHARD_1).at(-1)!.range!, /bytes=[1-9]\d*-/);
    await check();
  });
});

Deno.test("pull: a server that answers every try with the same beginning is not asked for ever", async () => {
  await scene(async ({ hub, pull }) => {
    hub.faults.set(SHARD_1, Array.from({ length: 50 }, () => ({ ignoreRange: true, breakAfter: 200_000 })));
    await assert.rejects(pull(), /connection broke|ended .* early/);
    assert.ok(hub.fetches(SHARD_1).length <= PULL_MAX_TRIES + 4);
  });
});

Deno.test("pull: an etag that changes between two tries starts over; one that stays while the bytes differ is found out", async () => {
  await scene(async ({ hub, pull, check }) => {
    hub.faults.set(SHARD_1, [{ content: noise(700_000, 99), breakAfter: 200_000 }]);
    await pull();
    await check();
  });
  await scene(async ({ hub, pull, check }) => {
    const whole = repositoryFiles()[SHARD_1]!;
    const etag = '"same"';
    hub.faults.set(SHARD_1, [{ content: noise(700_000, 99), etag, breakAfter: 200_000 }, { content: whole, etag }]);
    await pull();
    await check();
    assert.equal(hub.fetches(SHARD_1).length, 3);
  });
});

Deno.test("pull: content that is not what the hub lists is refused, and nothing of it stays", async () => {
  await scene(async ({ hub, folder, pull, parts, check }) => {
    hub.faults.set(SHARD_1, [{ content: noise(700_000, 99) }]);
    await assert.rejects(pull(), /its SHA-256 is [0-9a-f]{64}, the hub lists [0-9a-f]{64}/);
    await assert.rejects(Deno.stat(`${folder}/${SHARD_1}`), Deno.errors.NotFound);
    for (const part of await parts()) assert.equal((await Deno.stat(`${folder}/.pull/${part}`)).size, 0);
    hub.faults.set("vocab.json", [{ content: new TextEncoder().encode("[]") }]);
    await assert.rejects(pull(), /vocab.json: its git hash is/);
    await pull();
    await check();
  });
});

Deno.test("pull: sizes that lie are told: in the list, in the length, in the range, and bodies that are too long", async () => {
  await scene(async ({ hub, pull }) => {
    hub.listedSizes.set(SHARD_1, 700_001);
    await assert.rejects(pull(), /the server has 700000 bytes, the hub lists 700001/);
  });
  await scene(async ({ hub, pull }) => {
    hub.faults.set(SHARD_1, [{ breakAfter: 100_000 }, { claimTotal: 5 }, { claimTotal: 5 }, {}]);
    await pull();
    assert.equal(hub.fetches(SHARD_1).length, 3);
  });
  await scene(async ({ hub, pull }) => {
    hub.faults.set(SHARD_1, [{ content: noise(800_000, 1), endAfter: 800_000 }]);
    await assert.rejects(pull(), /sends more than the 700000 bytes listed/);
  });
});

Deno.test("pull: a part of an earlier run that was damaged costs one more try, not the pull", async () => {
  await scene(async ({ hub, folder, pull, check, parts }) => {
    hub.faults.set(SHARD_1, [
      { breakAfter: 300_000 },
      ...Array.from({ length: PULL_MAX_TRIES }, () => ({ status: 500 })),
    ]);
    await assert.rejects(pull());
    const part = (await parts()).find((name) => name.startsWith(SHARD_1))!;
    await Deno.writeFile(`${folder}/.pull/${part}`, noise(200_000, 50));
    await pull();
    await check();
  });
});

Deno.test("pull: refusals are told with what to do", async () => {
  const refused = async (status: number, headers: Record<string, string>, body: string, expected: RegExp) => {
    await scene(async ({ hub, pull }) => {
      hub.apiFault = { status, headers, body };
      await assert.rejects(pull(), expected);
    });
  };
  await refused(
    401,
    {},
    '{"error":"Invalid credentials"}',
    /wants a valid token \(HTTP 401: Invalid credentials\). Set HF_TOKEN/,
  );
  await refused(401, { "x-error-code": "RepoNotFound" }, "", /no such repository or revision/);
  await refused(404, {}, "<html>lost</html>", /no such repository or revision .* \(HTTP 404\)/);
  await refused(404, { "x-error-code": "RevisionNotFound" }, "", /no such revision/);
  await refused(403, { "x-error-code": "GatedRepo" }, "", /licence must be accepted first/);
  await refused(403, {}, "", /access is refused/);
  await refused(418, {}, "tea", /unexpected answer \(HTTP 418: tea\)/);
  await refused(429, { "retry-after": "3600" }, "", /too many requests/);
});

Deno.test("pull: too many requests for a file: waits as asked, but not for an hour", async () => {
  await scene(async ({ hub, pull, check, printed }) => {
    hub.faults.set(SHARD_1, [{ status: 429, headers: { "retry-after": "1" } }]);
    await pull();
    await check();
    assert.ok(printed.some((line) => /too many requests .* Trying again in 1 s/.test(line)));
  });
  await scene(async ({ hub, pull }) => {
    hub.faults.set(SHARD_1, [{ status: 429, headers: { "retry-after": "3600" } }]);
    await assert.rejects(pull(), /The server asks to wait 3600 s/);
  });
});

Deno.test("pull: an address whose signature is too old is asked for anew, at the hub", async () => {
  await scene(async ({ hub, pull, check, printed }) => {
    hub.faults.set(SHARD_1, [{ breakAfter: 100_000 }, { status: 403, body: "<Error>Request has expired</Error>" }]);
    await pull();
    await check();
    const queries = hub.fetches(SHARD_1).map(({ query }) => query);
    assert.equal(new Set(queries).size, 3);
    assert.ok(printed.some((line) => line.includes("does not take its address any more")));
  });
  await scene(async ({ hub, pull }) => {
    hub.faults.set(SHARD_1, Array.from({ length: 50 }, () => ({ status: 403 })));
    await assert.rejects(pull(), /does not take its address any more/);
    assert.equal(hub.fetches(SHARD_1).length, PULL_MAX_TRIES);
  });
});

Deno.test("pull: a mirror that has the pointers of large files and not the files is found out", async () => {
  await scene(async ({ hub, folder, pull }) => {
    const pointer = `version https://git-lfs.github.com/spec/v1\noid sha256:${"0".repeat(64)}\nsize 700000\n`;
    hub.faults.set(SHARD_1, [{ content: new TextEncoder().encode(pointer) }]);
    await assert.rejects(pull(), /the server has 131 bytes, the hub lists 700000/);
    await assert.rejects(Deno.stat(`${folder}/${SHARD_1}`), Deno.errors.NotFound);
  });
});

Deno.test("pull: a repository with a new name is followed there", async () => {
  await scene(async ({ hub, pull, check }) => {
    hub.oldName = "OpenGVLab/InternVL3-One";
    await pull({ repository: hub.oldName });
    await check();
  });
});

Deno.test("pull: nothing listens at the endpoint", async () => {
  await scene(async ({ pull }) => {
    await assert.rejects(
      pull({ hub: { endpoint: "http://127.0.0.1:9", token: null } }),
      /Cannot reach http:\/\/127.0.0.1:9/,
    );
  });
});
