/** The engine's CUDA kernels on the emulated GPU: right at odd shapes, in any order of threads, without a race or overrun. */
import assert from "node:assert/strict";
import { buildBackendTests, buildKernelTests, type Variant } from "@tessera/native";
import { ensureCudaHeaders } from "../infra/tools/cuda.ts";
import { injectDeviceFaults } from "./kernels/device_faults.ts";
import { injectFaults } from "./kernels/inject.ts";
import { hasEmulatedGpu, runEmulated } from "./support/emulated_gpu.ts";

/** One fault for each build; `deno task faults:kernels` puts in all. */
const TESTED_FAULTS = [
  "flash attention: the block table of another sequence",
  "norm: a row's last value and one beyond",
  "sampling: penalties before all biases are added",
];

/** Of what cuts a model over devices; `deno task faults:devices` puts in all. */
const TESTED_DEVICE_FAULTS = [
  "no sum behind attention",
  "key heads of the first device",
  "a rank takes no part in sums",
];

/** Orders of threads and streams for whole models, which take a minute each in the slower builds. */
const MODEL_ORDERS: Readonly<Record<Variant, readonly (readonly [seed: string, streams: string])[]>> = {
  fast: [["0", "lazy"], ["1", "eager"], ["2", "lazy"]],
  sanitize: [["1", "eager"]],
  race: [["0", "lazy"]],
};

/** Orders of threads and blocks; the race detector needs few, because it does not wait for a race to happen. */
const SEEDS: Readonly<Record<Variant, readonly number[]>> = {
  fast: [0, 1, 2, 3, 4, 5],
  sanitize: [0, 1],
  race: [0, 1],
};

Deno.test({ name: "CUDA kernels on the emulated GPU (x86-64 Linux only)", ignore: !hasEmulatedGpu }, async (t) => {
  const headers = await ensureCudaHeaders();
  for (const [variant, seeds] of Object.entries(SEEDS) as [Variant, readonly number[]][]) {
    await t.step(`${variant}: as the plain loops say`, async () => {
      const program = await buildKernelTests(variant, { headers });
      for (const seed of seeds) {
        for (const when of ["lazy", "eager"]) {
          const { ok, output } = await runEmulated(program, [], { CUEMU_SEED: `${seed}`, CUEMU_ASYNC: when });
          assert.ok(ok, `seed ${seed}, cp.async ${when}: ${output}`);
        }
      }
    });
  }

  await t.step("faults that are put in are noticed", async () => {
    const results = await injectFaults((name) => TESTED_FAULTS.includes(name), console.log);
    assert.equal(results.length, TESTED_FAULTS.length);
    for (const { name, verdict } of results) assert.equal(verdict.outcome, "caught", name);
  });
});

Deno.test({ name: "the CUDA backend on emulated GPUs (x86-64 Linux only)", ignore: !hasEmulatedGpu }, async (t) => {
  const headers = await ensureCudaHeaders();
  for (const [variant, orders] of Object.entries(MODEL_ORDERS) as [Variant, (typeof MODEL_ORDERS)[Variant]][]) {
    await t.step(`${variant}: as the CPU says, on one device and on several`, async () => {
      const program = await buildBackendTests(variant, { headers });
      for (const [seed, streams] of orders) {
        const env = { CUEMU_SEED: seed, CUEMU_STREAMS: streams, CUEMU_DEVICES: "4", CUEMU_DEVICE_MB: "256" };
        const { ok, output } = await runEmulated(program, [], env);
        assert.ok(ok, `seed ${seed}, streams ${streams}: ${output}`);
      }
    });
  }

  await t.step("without NCCL one GPU opens and several are refused", async () => {
    const env = { CUEMU_DEVICES: "4", CUEMU_DEVICE_MB: "256", CUEMU_LIBRARIES: "libcublasLt.so.13" };
    const program = await buildBackendTests("fast", { headers });
    const { ok, output } = await runEmulated(program, ["without_nccl"], env);
    assert.ok(ok, output);
  });

  await t.step("faults in how a model is cut over devices are noticed", async () => {
    const results = await injectDeviceFaults((name) => TESTED_DEVICE_FAULTS.includes(name), console.log);
    assert.equal(results.length, TESTED_DEVICE_FAULTS.length);
    for (const { name, isCaught } of results) assert.ok(isCaught, name);
  });

  await t.step("a machine without cuBLASLt is told what is missing, and where it was looked for", async () => {
    const program = await buildBackendTests("fast", { headers });
    const open = (env: Record<string, string>) =>
      runEmulated(program, ["the_engine_on_a_gpu_is_near_the_cpu"], { CUEMU_LIBRARIES: "none", ...env });
    const where = "expected it on the library path or in the folder $TESSERA_CUDA_LIBRARIES";
    const { ok, output } = await open({});
    assert.equal(ok, false);
    assert.ok(
      output.includes("Cannot open libcublasLt.so.13: none of libcublasLt.so.13, libcublasLt.so.12 opens ("),
      output,
    );
    assert.ok(output.includes(where), output);
    const named = await open({ TESSERA_CUDA_LIBRARIES: "/opt/cuda" });
    assert.ok(named.output.includes("none of /opt/cuda/libcublasLt.so.13, /opt/cuda/libcublasLt.so.12,"), named.output);
  });
});
