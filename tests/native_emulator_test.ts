/** The emulated GPU: its own tests in every build and order, and every fault it must find. */
import assert from "node:assert/strict";
import { buildEmulatorFaults, buildEmulatorTests, type Variant } from "@tessera/native";
import { ensureCudaHeaders } from "../infra/tools/cuda.ts";
import { hasEmulatedGpu, runEmulated } from "./support/emulated_gpu.ts";

const VARIANTS: readonly Variant[] = ["fast", "sanitize", "race"];
/** Orders of threads, blocks and streams; 0 is the order of their numbers. */
const SEEDS = [0, 1, 2, 3, 4, 5, 6, 7];

/** Each fault, and the builds that find it in some order (`some`) or in every one (`all`); others may miss it. */
const FAULTS: Readonly<Record<string, Partial<Record<Variant, "all" | "some">>>> = {
  missing_barrier: { race: "all" },
  missing_barrier_before_overwrite: { race: "all" },
  half_skips_the_barrier: { race: "all" },
  missing_syncwarp: { race: "all" },
  race_between_blocks: { race: "all" },
  race_of_rounded_stores: { race: "all" },
  diverged_barrier: { fast: "all", sanitize: "all", race: "all" },
  diverged_collective: { fast: "all", sanitize: "all", race: "all" },
  deadlock: { fast: "all", sanitize: "all", race: "all" },
  copy_not_waited_for: { fast: "all", sanitize: "all" },
  exit_with_copies: { fast: "all", sanitize: "all", race: "all" },
  misaligned_load: { fast: "all", sanitize: "all", race: "all" },
  misaligned_vector_load: { sanitize: "all" },
  stream_of_another_device: { fast: "all", sanitize: "all", race: "all" },
  read_out_of_bounds: { sanitize: "all" },
  shared_out_of_bounds: { sanitize: "all" },
  shared_beyond_48_kib: { fast: "all", sanitize: "all", race: "all" },
  unset_shared: { race: "all", fast: "all" },
  unset_device_memory: { race: "all", fast: "all" },
  host_reads_device: { sanitize: "all" },
  stale_graph: { sanitize: "all" },
  no_peer_access: { sanitize: "all" },
  unawaited_copy: { fast: "some" },
  unordered_streams: { fast: "some" },
};

Deno.test({ name: "emulated GPU (x86-64 Linux only)", ignore: !hasEmulatedGpu }, async (t) => {
  const headers = await ensureCudaHeaders();
  for (const variant of VARIANTS) {
    await t.step(`${variant}: its tests pass in every order`, async () => {
      const program = await buildEmulatorTests(variant, { headers });
      for (const seed of SEEDS) {
        for (const [async, streams, threads] of [["lazy", "lazy", "1"], ["eager", "eager", "2"]] as const) {
          const env = { CUEMU_SEED: `${seed}`, CUEMU_ASYNC: async, CUEMU_STREAMS: streams, CUEMU_THREADS: threads };
          const { ok, output } = await runEmulated(program, [], env);
          assert.ok(ok, `seed ${seed} ${async}: ${output}`);
        }
      }
    });
    await t.step(`${variant}: finds the faults that are its to find`, async () => {
      const program = await buildEmulatorFaults(variant, { headers });
      for (const [fault, finders] of Object.entries({ none: {}, ...FAULTS })) {
        const expected = (finders as Partial<Record<Variant, string>>)[variant];
        if (expected === undefined && fault !== "none") continue;
        let numFound = 0;
        for (const seed of SEEDS) {
          numFound += (await runEmulated(program, [fault], { CUEMU_SEED: `${seed}` })).ok ? 0 : 1;
        }
        const least = expected === "all" ? SEEDS.length : expected === "some" ? 1 : 0;
        const most = fault === "none" ? 0 : SEEDS.length;
        assert.ok(numFound >= least && numFound <= most, `${fault}: found in ${numFound} of ${SEEDS.length} orders`);
      }
    });
  }
});
