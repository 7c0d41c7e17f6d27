/** `tessera plan` as a person runs it. */
import assert from "node:assert/strict";
import { planCommand } from "../../infra/cli/plan.ts";
import { captured } from "./captured.ts";

Deno.test("tessera plan: a table for each type of weights, and the verdict", async () => {
  const { code, text } = await captured(() => planCommand(["internvl3-78b", "--gpus", "4x80"]));
  assert.equal(code, 0);
  assert.match(text, /^InternVL3-78B on 4 GPUs of 80\.0 GiB/);
  for (const head of ["bf16", "int8", "4bit (vision tower int8)"]) assert.ok(text.includes(`\n${head} `), head);
  assert.match(text, /decoder layers +0-11, 79 +12-34 +35-57 +58-78/);
  assert.equal(text.match(/fits: [\d,]+ tokens of KV cache/g)?.length, 3);
});

Deno.test("tessera plan: all seven at once; a bundled checkpoint; JSON", async () => {
  const all = await captured(() => planCommand(["--gpus", "1x24"]));
  assert.equal(all.text.match(/^InternVL3-\d+B .*$/gm)?.length, 7);
  assert.match(all.text, /InternVL3-78B .*does not fit/);
  assert.match((await captured(() => planCommand(["internvl3-tiny"]))).text, /internvl3-tiny on 1 GPU/);
  const { text } = await captured(() => planCommand(["InternVL3-2B", "--json", "--context", "1000"]));
  const [row] = JSON.parse(text) as [{ context: number; plans: { largestBatch: number }[] }];
  assert.equal(row.context, 1000);
  assert.equal(row.plans.length, 3);
});

Deno.test("tessera plan: code 1 where nothing fits; wrong options are told", async () => {
  const { code, text } = await captured(() => planCommand(["InternVL3-78B", "--gpus", "1x16"]));
  assert.equal(code, 1);
  assert.match(text, /does not fit: a GPU is [\d.]+ GiB short before the first token/);
  await assert.rejects(planCommand(["InternVL3-8B", "--gpus", "0x80"]), /--gpus: 0x80/);
  await assert.rejects(planCommand(["InternVL3-8B", "--context", "40000"]), /from 1 to 32768/);
  await assert.rejects(planCommand(["InternVL3-3B"]), /none of InternVL3-1B/);
});

Deno.test("tessera plan --card: its memory, and speeds that are said to be expected, not measured", async () => {
  const { code, text } = await captured(() => planCommand(["InternVL3-8B", "--card", "h100"]));
  assert.equal(code, 0);
  assert.match(text, /^InternVL3-8B on 1 GPU of 74\.5 GiB/);
  assert.match(text, /Expected of one H100 by bytes and flops, not measured/);
  assert.equal(text.match(/^(bf16|int8|4bit) +1 +\d.*$/gm)?.length, 3);
  const json = await captured(() => planCommand(["InternVL3-1B", "--card", "L4", "--json"]));
  const [row] = JSON.parse(json.text) as [{ speeds: { batch: number; decodeTokensPerSecond: number }[] }];
  assert.ok(row.speeds.every(({ decodeTokensPerSecond }) => decodeTokensPerSecond > 0));
  await assert.rejects(planCommand(["InternVL3-8B", "--card", "K80"]), /no K80, expected one of A100/);
  await assert.rejects(planCommand(["InternVL3-8B", "--card", "L4", "--gpus", "1x24"]), /--gpus names memory too/);
});
