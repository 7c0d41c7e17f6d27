/** The whole stack against its own document: schemathesis for a bounded time, no 5xx; and the count it promises is the count. */
import assert from "node:assert/strict";
import { ROOT } from "../../infra/tools/paths.ts";
import { fuzzApi } from "../fuzz/api.ts";
import { about, demoPictures, post, withStack } from "./shared_stack.ts";

const SECONDS = 20;

async function tokenize(url: string, body: object) {
  const headers = { "content-type": "application/json" };
  const response = await fetch(`${url}/v1/tokenize`, { method: "POST", headers, body: JSON.stringify(body) });
  return await response.json() as { count: number; image_tokens: number; tokens: number[] | null };
}

Deno.test("the interface: counts, the command line's count, and no fault under fuzzing", async (t) => {
  await withStack({}, async ({ url }) => {
    await t.step("tokenize counts what a completion's usage counts, pictures too", async () => {
      for (const picture of (await demoPictures()).slice(0, 2)) {
        const messages = [{ role: "system", content: "Answer briefly." }, about(picture.url, "What is <ref>it</ref>?")];
        const { json } = await post(url, { model: "internvl3-tiny", messages, max_tokens: 1 });
        const { count, image_tokens, tokens } = await tokenize(url, { messages });
        assert.deepEqual([count, image_tokens], [
          json.usage.prompt_tokens,
          json.usage.prompt_tokens_details.image_tokens,
        ]);
        assert.equal(tokens!.length, count);
      }
    });

    await t.step("tessera tokenize", async () => {
      const args = ["run", "--allow-all", "--no-check", `${ROOT}/infra/cli/main.ts`, "tokenize", "--url", url, "--ids"];
      const { code, stdout } = await new Deno.Command(Deno.execPath(), { args: [...args, "Hello there"] }).output();
      const { tokens } = await tokenize(url, { prompt: "Hello there" });
      assert.equal(code, 0);
      const expected = `${tokens!.length} tokens; the context has 4096\n${tokens!.join(" ")}\n`;
      assert.equal(new TextDecoder().decode(stdout), expected);
    });

    await t.step("fuzzing by the document", async () => {
      const { isClean, text } = await fuzzApi(url, SECONDS, 1);
      assert.ok(isClean, text);
    });
  });
});
