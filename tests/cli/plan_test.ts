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

Deno.test("tessera plan --tensor-parallel: a line for each number of GPUs, memory and speeds of all together", async () => {
  const args = ["InternVL3-8B", "--card", "h100", "--tensor-parallel", "1,2,4,8"];
  const { code, text } = await captured(() => planCommand(args));
  assert.equal(code, 0);
  assert.match(text, /Not on 8 GPUs: they do not divide 28 attention heads/);
  assert.match(text, /sums of fp32 rows over NVLink, assumed to carry 70 % of 450 GB\/s and to take 10 us each/);
  assert.match(
    (await captured(() => planCommand(["InternVL3-1B", "--card", "l4", "--tensor-parallel", "2"]))).text,
    /PCIe/,
  );

  const json = await captured(() => planCommand([...args, "--json"]));
  const rows = JSON.parse(json.text) as {
    why?: string;
    numGpus: number;
    sumBytesPerSequence: number;
    plans: { kvTokens: number; gpus: { weightBytes: number; kvTokenBytes: number; layers: number[] }[] }[];
    speeds: { batch: number; quantisation: string; decodeTokensPerSecond: number }[];
  }[];
  assert.deepEqual(rows.map(({ numGpus, why }) => [numGpus, why === undefined]), [[1, true], [2, true], [4, true], [
    8,
    false,
  ]]);
  const [one, two, four] = rows;
  assert.equal(one!.sumBytesPerSequence, 0);
  // A ring over two: each sends half of the rows twice; two sums for each of 28 layers and one more.
  assert.equal(two!.sumBytesPerSequence, (2 * 28 + 1) * 4 * 3_584);
  assert.equal(four!.sumBytesPerSequence, 1.5 * (2 * 28 + 1) * 4 * 3_584);
  for (const [index, alone] of one!.plans.entries()) {
    const { gpus, kvTokens } = four!.plans[index]!;
    assert.equal(gpus.length, 4);
    for (const gpu of gpus) {
      assert.equal(gpu.layers.length, 28);
      assert.equal(gpu.kvTokenBytes, alone.gpus[0]!.kvTokenBytes / 4);
    }
    // All but the tower, which each has, is there once.
    const extra = 4 * gpus[1]!.weightBytes / alone.gpus[0]!.weightBytes - 1;
    assert.ok(extra > 0.1 && extra < 0.2, `${extra} of the weights more`);
    assert.ok(kvTokens > 4 * alone.kvTokens);
  }
  const speed = (row: typeof one, batch: number) =>
    row!.speeds.find((each) => each.quantisation === "bf16" && each.batch === batch)!.decodeTokensPerSecond;
  for (const batch of [1, 64]) {
    assert.ok(speed(one, batch) < speed(two, batch) && speed(two, batch) < speed(four, batch));
  }

  await assert.rejects(planCommand(["InternVL3-8B", "--tensor-parallel", "0"]), /tensor-parallel/);
  await assert.rejects(planCommand(["--tensor-parallel", "2"]), /no model/);
  await assert.rejects(
    planCommand(["InternVL3-8B", "--gpus", "4x80", "--tensor-parallel", "2"]),
    /4x80, which has numbers/,
  );
});
