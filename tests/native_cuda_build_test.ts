/** CUDA kernels compiled by nvcc: no spill in hot ones, and one addon that runs without a GPU too. */
import assert from "node:assert/strict";
import {
  addonPath,
  type Arch,
  buildAddon,
  compileKernels,
  familyTable,
  findSpills,
  HOT_KERNELS,
  type KernelUsage,
  parsePtxas,
  readToolkit,
  shortName,
} from "@tessera/native";
import { openNativeEngine } from "../gpu-worker/engine/native.ts";
import { ensureCudaToolkit } from "../infra/tools/cuda.ts";
import { tinyConfig } from "./support/checkpoint_config.ts";
import { writeRandomCheckpoint } from "./support/random_checkpoint.ts";

/** The oldest cards and those with an architecture of their own; `deno task build:cuda` compiles for all. */
const TESTED_ARCHS: readonly Arch[] = ["80", "90a"];

/** NVIDIA publishes its compiler for Linux alone. */
const hasCompiler = Deno.build.os === "linux";

const PRINTED = `ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function '_Z4slowPf' for 'sm_80'
ptxas info    : Function properties for _Z4slowPf
    24 bytes stack frame, 16 bytes spill stores, 12 bytes spill loads
ptxas info    : Used 255 registers, used 1 barriers, 25600 bytes smem, 480 bytes cmem[0]
ptxas info    : Compiling entry function '_Z4fastPf' for 'sm_90a'
ptxas info    : Function properties for _Z4fastPf
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 40 registers, used 0 barriers, 480 bytes cmem[0]
`;

Deno.test("what ptxas prints is read: registers, shared memory, spills", () => {
  const [slow, fast] = parsePtxas(PRINTED) as [KernelUsage, KernelUsage];
  assert.deepEqual(slow, {
    kernel: "_Z4slowPf",
    arch: "sm_80",
    registers: 255,
    sharedBytes: 25_600,
    stackBytes: 24,
    spillBytes: 28,
  });
  assert.equal(fast.registers, 40);
  assert.equal(fast.spillBytes, 0);
  assert.throws(() => parsePtxas(PRINTED.split("\n").slice(0, 3).join("\n")), /_Z4slowPf/);
  const name = "void t::(anonymous namespace)::flash_kernel<64, t::(anonymous namespace)::Rows>(t::Rows, float)";
  assert.equal(shortName(name), "flash_kernel<64, Rows>");
});

Deno.test("a spill in a hot kernel is a fault, and so is a hot kernel that is not there", () => {
  const usages = parsePtxas(PRINTED);
  assert.deepEqual(findSpills(usages, ["_Z4fastPf"]), []);
  assert.match(findSpills(usages, ["_Z4slowPf"]).join(), /_Z4slowPf spills 28 bytes on sm_80/);
  const onStack = usages.map((usage) => ({ ...usage, spillBytes: 0 }));
  assert.match(
    findSpills(onStack, ["_Z4slowPf", "_Z4fastPf"]).join(),
    /^_Z4slowPf keeps 24 bytes on its stack on sm_80$/,
  );
  assert.match(findSpills(usages, ["gone_kernel"]).join(), /gone_kernel was not compiled/);
});

Deno.test("kernels of one name are told together, by the worst of them", () => {
  const [slow, fast] = parsePtxas(PRINTED) as [KernelUsage, KernelUsage];
  const of = (kernel: string, usage: KernelUsage) => ({ ...usage, kernel, arch: "sm_80" });
  const lines = familyTable([of("flash<64>", fast), of("flash<128>", slow), of("norm", fast)]).split("\n");
  assert.deepEqual(lines.slice(2), ["| `flash<2>` | 255 / 25600, spills 28 |", "| `norm` | 40 / 0 |"]);
});

Deno.test({ name: "CUDA kernels compiled by nvcc (Linux only)", ignore: !hasCompiler }, async (t) => {
  const root = await ensureCudaToolkit().catch((error: unknown) => error);
  if (typeof root !== "string") {
    const reason = root instanceof Error ? root.message : String(root);
    await t.step({ name: `not compiled, the compiler cannot be installed: ${reason}`, ignore: true, fn: () => {} });
    return;
  }
  const toolkit = await readToolkit(root);

  await t.step("kernels keep all in registers, and none is left out of the check", async () => {
    const { usages } = await compileKernels({ toolkit, archs: TESTED_ARCHS, progress: console.log });
    const unchecked = usages.filter(({ kernel }) => !HOT_KERNELS.includes(kernel.split("<")[0]!));
    assert.deepEqual(unchecked, []);
    for (const arch of TESTED_ARCHS) assert.ok(usages.some((usage) => usage.arch === `sm_${arch}`), `no sm_${arch}`);
    assert.deepEqual(findSpills(usages), []);
  });

  await t.step("the addon with CUDA in it opens a model on the CPU and says why not on a GPU", async () => {
    const name = "tessera-cuda.node";
    const path = await buildAddon({ name, cuda: { toolkit, archs: TESTED_ARCHS }, progress: console.log });
    assert.notEqual(path, addonPath);
    const modelPath = await Deno.makeTempDir({ prefix: "tessera-cuda-" });
    try {
      await writeRandomCheckpoint(modelPath, { config: tinyConfig(), seed: 3 });
      const options = { modelPath, dtype: "fp32", numThreads: 1, kvCacheBytes: 0, numTileSlots: 1 } as const;
      const engine = await openNativeEngine({ ...options, device: "cpu" }, path);
      await engine.close();
      const hasDriver = await Deno.stat("/dev/nvidiactl").then(() => true, () => false);
      if (hasDriver) return;
      const onGpu = openNativeEngine({ ...options, device: "cuda" }, path);
      await assert.rejects(
        onGpu,
        /Cannot open the engine: device is cuda and (no NVIDIA driver|there is no NVIDIA GPU)/,
      );
    } finally {
      await Deno.remove(modelPath, { recursive: true });
    }
  });
});
