/** What `test:gpu` and `bench:gpu` do without a GPU, and the arithmetic of their reports. */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { archOf, findGpu, NO_GPU, parseCard } from "./gpu/card.ts";
import { rates } from "./gpu/kernel_bench.ts";
import { record } from "./gpu/results.ts";

const hasNoGpu = "missing" in await findGpu();

for (const [command, file] of [["test", "check.ts"], ["bench", "bench.ts"]]) {
  Deno.test(
    { name: `${command}:gpu says that there is no GPU, with a code of its own`, ignore: !hasNoGpu },
    async () => {
      const script = fileURLToPath(new URL(`./gpu/${file}`, import.meta.url));
      const { code, stderr } = await new Deno.Command(Deno.execPath(), { args: ["run", "-A", script] }).output();
      assert.equal(code, NO_GPU);
      assert.match(new TextDecoder().decode(stderr), new RegExp(`${command}:gpu: no GPU here, nothing was run`));
    },
  );
}

Deno.test("a card is read from nvidia-smi's answer, and what to compile for follows from it", () => {
  const card = parseCard("NVIDIA H100 80GB HBM3, 580.82.07, 9.0, 81559\nNVIDIA A100, 580.82.07, 8.0, 81920\n");
  assert.deepEqual(card, {
    name: "NVIDIA H100 80GB HBM3",
    driver: "580.82.07",
    capability: "9.0",
    memoryMiB: 81_559,
  });
  const archs = ["8.0", "8.6", "8.9", "9.0", "10.0", "10.3", "12.0", "13.0"].map((capability) =>
    archOf({ ...card, capability })
  );
  assert.deepEqual(archs, ["80", "80", "89", "90a", "100", "100", "120", "100"]);
  assert.throws(() => parseCard("NVIDIA-SMI has failed"), /NVIDIA-SMI has failed/);
});

Deno.test("kernels are rated against the peaks of the same run", () => {
  const figures = [
    { kernel: "peak_copy", shape: "", ms: 1, bytes: 2e9, flops: 0 },
    { kernel: "peak_mma_bf16", shape: "", ms: 1, bytes: 0, flops: 1e12 },
    { kernel: "norm", shape: "", ms: 0.5, bytes: 5e8, flops: 0 },
    { kernel: "attention", shape: "", ms: 2, bytes: 4e8, flops: 1.2e12 },
  ];
  const [, , norm, attention] = rates(figures);
  assert.equal(norm!.share, 0.5);
  assert.equal(norm!.gbPerSecond, 1_000);
  assert.equal(attention!.limit, "multiply-add");
  assert.equal(attention!.share, 0.6);
  assert.throws(() => rates(figures.slice(1)), /peak_copy was not measured/);
});

Deno.test("a record says card, driver and commit", async () => {
  const folder = await Deno.makeTempDir({ prefix: "tessera-results-" });
  try {
    const card = parseCard("NVIDIA L4, 580.1, 8.9, 23034");
    const path = await record("bench", { card, nvcc: "13.0.88", commit: "abc", date: "2026-01-01" }, { a: 1 }, folder);
    assert.match(path, /bench-nvidia-l4-abc\.json$/);
    const { card: { driver }, commit, results } = JSON.parse(await Deno.readTextFile(path));
    assert.deepEqual([driver, commit, results], ["580.1", "abc", { a: 1 }]);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
