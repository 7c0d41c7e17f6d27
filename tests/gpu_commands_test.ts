/** What `test:gpu` and `bench:gpu` do without a GPU, their whole way on an emulated one, and the arithmetic of their reports. */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { archOf, findGpu, NO_GPU, parseCard } from "./gpu/card.ts";
import { rates } from "./gpu/kernel_bench.ts";
import { modelTable } from "./gpu/model_bench.ts";
import { type BenchRecord, readRecord, record, type TestRecord } from "./gpu/results.ts";
import { runStep } from "./gpu/steps.ts";
import { hasEmulatedGpu } from "./support/emulated_gpu.ts";

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
    count: 2,
  });
  const archs = ["8.0", "8.6", "8.9", "9.0", "10.0", "10.3", "12.0", "13.0"].map((capability) =>
    archOf({ ...card, capability })
  );
  assert.deepEqual(archs, ["80", "80", "89", "90a", "100", "100", "120", "100"]);
  assert.throws(() => parseCard("NVIDIA-SMI has failed"), /NVIDIA-SMI has failed/);
  assert.throws(
    () => parseCard("Tesla T4, 580.1, 7.5, 15360"),
    /Tesla T4: its compute capability is 7.5, expected 8.0/,
  );
});

Deno.test("kernels are rated against the peaks of the same run", () => {
  const figures = [
    { kernel: "peak_copy", shape: "", ms: 1, warmMs: 1, bytes: 2e9, flops: 0 },
    { kernel: "peak_mma_bf16", shape: "", ms: 1, warmMs: 1, bytes: 0, flops: 1e12 },
    { kernel: "norm", shape: "", ms: 0.5, warmMs: 0.2, bytes: 5e8, flops: 0 },
    { kernel: "attention", shape: "", ms: 2, warmMs: 2, bytes: 4e8, flops: 1.2e12 },
  ];
  const [, , norm, attention] = rates(figures);
  assert.equal(norm!.share, 0.5);
  assert.equal(norm!.gbPerSecond, 1_000);
  assert.equal(attention!.limit, "multiply-add");
  assert.equal(attention!.share, 0.6);
  assert.throws(() => rates(figures.slice(1)), /peak_copy was not measured/);
  assert.throws(() => rates([...figures, { ...figures[2]!, ms: 0 }]), /norm .* was not measured/);
});

async function withFolder(use: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "tessera-results-" });
  await use(folder).finally(() => Deno.remove(folder, { recursive: true }));
}

const FACTS = {
  form: 1,
  isEmulated: false,
  card: parseCard("NVIDIA L4, 580.1, 8.9, 23034"),
  compiler: "nvcc 13.0.88",
  commit: "abc",
  date: "2026-01-01T00:00:00.000Z",
} as const;

Deno.test("a record says card, driver and commit, and is refused by name where it is not of the form", () =>
  withFolder(async (folder) => {
    const outcomes: TestRecord["outcomes"] = [{ what: "kernels", outcome: "passed", seconds: 2 }];
    const path = await record({ ...FACTS, kind: "test", outcomes }, folder);
    assert.match(path, /test-nvidia-l4-abc\.json$/);
    const read = await readRecord(path);
    assert.deepEqual(read, { ...FACTS, kind: "test", outcomes });
    await Deno.writeTextFile(path, JSON.stringify({ ...read, card: { ...read.card, memoryMiB: "much" } }));
    await assert.rejects(readRecord(path), /Cannot read .*abc\.json: [^]*memoryMiB/);
    await assert.rejects(record({ ...FACTS, kind: "test", outcomes, commit: "" }, folder));
  }));

/** Records of a folder that are of the form; those of rehearsals are refused. */
async function publishedRecords(folder: string): Promise<number> {
  let count = 0;
  for await (const { name } of Deno.readDir(folder)) {
    if (!name.endsWith(".json")) continue;
    const { isEmulated, kind, card } = await readRecord(`${folder}/${name}`);
    assert.ok(!isEmulated, `${name} is of a rehearsal`);
    assert.ok(name.startsWith(`${kind}-`) && card.driver !== "none", name);
    count++;
  }
  return count;
}

Deno.test("what is published of runs on GPUs is of the form, and of GPUs", () =>
  withFolder(async (folder) => {
    await publishedRecords(fileURLToPath(new URL("../native/bench/results", import.meta.url)));
    const run: BenchRecord = { ...FACTS, kind: "bench", kernels: [], models: {} };
    await record(run, folder);
    assert.equal(await publishedRecords(folder), 1);
    await record({ ...run, isEmulated: true, commit: "def" }, folder);
    await assert.rejects(publishedRecords(folder), /is of a rehearsal/);
  }));

Deno.test("what is run tells how it ended: passed, failed with its last lines, or hung", async () => {
  const shell = (script: string, limitMinutes = 1) =>
    runStep({ what: "a step", command: "sh", args: ["-c", script], limitMinutes });
  assert.equal((await shell("exit 0")).outcome, "passed");
  const failed = await shell("echo first; echo last >&2; exit 3");
  assert.equal(failed.outcome, "failed");
  assert.match(failed.why!, /first[^]*exit code 3$|last[^]*exit code 3$/);
  assert.match((await shell("exec sleep 60", 0.001)).why!, /ended after 0.001 minutes/);
  const suite = { what: "a suite", command: "echo", limitMinutes: 1, proof: /[1-9] passed/ };
  assert.equal((await runStep({ ...suite, args: ["ok: 3 passed"] })).outcome, "passed");
  assert.match((await runStep({ ...suite, args: ["ok: 0 passed"] })).why!, /no line of its output has/);
});

Deno.test("a table of models has a line for each that ran, and says of the others why not", () => {
  const sizes = {
    tiles: [1],
    promptTokens: 1,
    questionTokens: 1,
    decodeContext: 1,
    batches: [1, 8],
    steps: 1,
    rounds: 1,
  };
  const bf16 = { msPerTile: { 1: 2 }, prefillTokensPerSecond: 10, decodeTokensPerSecond: { 1: 30 }, firstTokenMs: 4 };
  const lines = modelTable(sizes, { bf16, int8: { failed: "Cannot take memory: out of memory" } }).split("\n");
  assert.match(lines[1]!, /^bf16 +2\.00 +10 +30 +- +4\.0$/);
  assert.match(lines[2]!, /^int8: Cannot take memory: out of memory +- /);
});

/** Runs a command on an emulated GPU; returns its output and the one record it left. */
async function onEmulated(folder: string, file: string, args: readonly string[], env: Record<string, string> = {}) {
  const script = fileURLToPath(new URL(`./gpu/${file}`, import.meta.url));
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", script, "--", "--emulated", "--results", folder, ...args],
    env,
  }).output();
  const text = new TextDecoder();
  const output = text.decode(stdout) + text.decode(stderr);
  const [file_, ...others] = Array.from(Deno.readDirSync(folder), ({ name }) => name);
  assert.ok(file_ !== undefined && others.length === 0, output);
  return { code, output, record: await readRecord(`${folder}/${file_}`) };
}

Deno.test(
  { name: "bench:gpu goes its whole way on an emulated GPU", ignore: !hasEmulatedGpu },
  () =>
    withFolder(async (folder) => {
      const { code, output, record } = await onEmulated(folder, "bench.ts", ["--dtypes", "bf16,nf4"]);
      assert.equal(code, 0, output);
      const { isEmulated, kernels, models } = record as BenchRecord;
      assert.equal(isEmulated, true);
      for (const name of ["peak_copy", "tile_attention", "decode_attention", "product_nf4", "product_int8", "sample"]) {
        assert.ok(kernels.some(({ kernel }) => kernel === name), name);
      }
      assert.deepEqual(Object.keys(models["tiny"]!), ["bf16", "nf4"]);
      for (const figures of Object.values(models["tiny"]!)) {
        assert.ok("msPerTile" in figures, JSON.stringify(figures));
        assert.deepEqual(Object.keys(figures.decodeTokensPerSecond), ["1", "2"]);
      }
      assert.match(output, /of the measured peak/);
      assert.match(output, /decode tok\/s x2/);
    }),
);

/** Stands in for NVIDIA's: runs the program, says what it was asked, finds a race. */
const SANITIZER = `#!/bin/sh
[ "$1 $3 $4" = "--tool --error-exitcode 1" ] || exit 9
echo "as $2"; tool=$2; shift 4
"$@" && [ $tool != racecheck ]
`;

Deno.test(
  { name: "test:gpu goes its whole way on an emulated GPU", ignore: !hasEmulatedGpu },
  () =>
    withFolder(async (folder) => {
      const bin = await Deno.makeTempDir({ dir: folder });
      await Deno.writeTextFile(`${bin}/compute-sanitizer`, SANITIZER, { mode: 0o755 });
      const results = `${folder}/results`;
      await Deno.mkdir(results);
      const env = { PATH: `${bin}:${Deno.env.get("PATH")}` };
      // One test of the kernels', and one of the backend's, have this in their names.
      const { code, output, record } = await onEmulated(results, "check.ts", ["--filter", "refused"], env);
      assert.equal(code, 1, output);
      const { outcomes } = record as TestRecord;
      assert.deepEqual(outcomes.map(({ what, outcome }) => [what, outcome]), [
        ["kernels", "passed"],
        ["memcheck", "passed"],
        ["racecheck", "failed"],
        ["initcheck", "passed"],
        ["synccheck", "passed"],
        ["conformance: backend", "passed"],
        ["conformance: contract", "passed"],
      ]);
      assert.match(outcomes[2]!.why!, /as racecheck[^]*exit code 1/);
    }),
);
