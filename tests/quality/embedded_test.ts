/** The embedded model in every mode of the quick start, over HTTP, on scenes it has never seen: how often it is right. */
import { ensureFfmpeg } from "@tessera/infra/ffmpeg";
import assert from "node:assert/strict";
import { withStack } from "../e2e/shared_stack.ts";
import { measure, percentRight } from "./measure.ts";

Deno.test("embedded model: each mode is answered rightly as often as its floor says", async (t) => {
  await ensureFfmpeg();
  await withStack({}, async ({ url }) => {
    const wrong: string[] = [];
    const options = { url, model: "internvl3-tiny", seed: 11, count: 12, bothWays: false, hasFloor: true };
    for await (const rate of measure({ ...options, onWrong: (line) => wrong.push(line) })) {
      const { mode: { name, floor }, whole, streamed } = rate;
      const told = `${name}: ${whole.right + streamed.right}/${whole.of + streamed.of} (at least ${floor} %)`;
      await t.step(told, () => assert.ok(percentRight(rate) >= floor!, `${told}\n${wrong.join("\n")}`));
    }
  });
});
