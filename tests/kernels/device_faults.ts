/**
 * Puts faults into how a model is cut over devices and proves that the tests on emulated GPUs notice each:
 * `deno task faults:devices [part of a name]`. Exit code 1 where one is not.
 */
import { fileURLToPath } from "node:url";
import { buildChangedBackendTests } from "@tessera/native";
import { ensureCudaHeaders } from "../../infra/tools/cuda.ts";
import { runEmulated } from "../support/emulated_gpu.ts";

const ENGINE = fileURLToPath(new URL("../../native/engine/", import.meta.url));

/** One fault: `wrong` in place of `right`, which is in the file exactly once; `test` is what must notice. */
interface DeviceFault {
  readonly name: string;
  readonly file: string;
  readonly right: string;
  readonly wrong: string;
  readonly test: "heads_cut" | "parts_of" | "steps_in_line";
}

export const DEVICE_FAULTS: readonly DeviceFault[] = [
  {
    name: "no sum behind attention",
    file: "model/decoder_stage.cpp",
    right: "->attend(layer, x[i], step);\n    group_.all_reduce(x);",
    wrong: "->attend(layer, x[i], step);",
    test: "heads_cut",
  },
  {
    name: "no sum behind the MLP",
    file: "model/decoder_stage.cpp",
    right: "->feed_forward(layer, x[i]);\n    group_.all_reduce(x);",
    wrong: "->feed_forward(layer, x[i]);",
    test: "heads_cut",
  },
  {
    name: "no sum of embeddings",
    file: "model/decoder.cpp",
    right: "i == 0 ? tiles : nullptr, x[i]);\n  }\n  group_.all_reduce(x);",
    wrong: "i == 0 ? tiles : nullptr, x[i]);\n  }",
    test: "heads_cut",
  },
  {
    name: "every device adds what came in",
    file: "model/decoder_shard.cpp",
    right: "if (shard_.is_first()) epilogue.residual",
    wrong: "if (shard_.index >= 0) epilogue.residual",
    test: "heads_cut",
  },
  {
    name: "query heads of another key head",
    file: "model/shard.cpp",
    right: ".queries = {queries * shard.index, queries}",
    wrong: ".queries = {queries * (shard.count - 1 - shard.index), queries}",
    test: "heads_cut",
  },
  {
    name: "key heads of the first device",
    file: "model/shard.cpp",
    right: ".keys = {first_key * dim,",
    wrong: ".keys = {first_key * 0,",
    test: "heads_cut",
  },
  {
    name: "columns of the first device where rows are another's",
    file: "model/weights.cpp",
    right: "{{name, {rows, cols}, {}, range}}",
    wrong: "{{name, {rows, cols}, {}, {0, range.count}}}",
    test: "heads_cut",
  },
  {
    name: "columns are read without the gaps between them",
    file: "ops/cuda/load_matrix.cpp",
    right: "at / longest * part.row_stride()",
    wrong: "at / longest * part.cols",
    test: "heads_cut",
  },
  {
    name: "a part of the vocabulary begins at id 0",
    file: "model/decoder.cpp",
    right: "static_cast<int32_t>(part.ids.first)",
    wrong: "0",
    test: "heads_cut",
  },
  {
    name: "logits of all parts in the first one's columns",
    file: "model/decoder.cpp",
    right: "logits.columns(vocabulary_[i]->ids.first, part.cols)",
    wrong: "logits.columns(0, part.cols)",
    test: "heads_cut",
  },
  {
    name: "a rank takes no part in sums",
    file: "ops/cuda/nccl/nccl_group.cpp",
    right: "i < x.size() && failed",
    wrong: "i + 1 < x.size() && failed",
    test: "heads_cut",
  },
  {
    name: "ranks with other counts",
    file: "ops/cuda/nccl/nccl_group.cpp",
    right: "x[i].rows * x[i].cols, nccl::kFloat32",
    wrong: "x[i].rows * x[i].cols - i, nccl::kFloat32",
    test: "heads_cut",
  },
  {
    name: "sums on the stream of another device",
    file: "ops/cuda/nccl/nccl_group.cpp",
    right: "communicators_[i], devices_[i]->device().stream());",
    wrong: "communicators_[i], devices_[0]->device().stream());",
    test: "heads_cut",
  },
  {
    name: "calls of several ranks that are not a group",
    file: "ops/cuda/nccl/nccl_group.cpp",
    right: '  must_nccl(nccl_, nccl_.group_start(), "sum up");\n',
    wrong: "",
    test: "heads_cut",
  },
  {
    name: "a device does not replay its step",
    file: "ops/cuda/nccl/nccl_group.cpp",
    right: "    device.use();\n    must(cudaGraphLaunch",
    wrong: "    device.use();\n    if (i > 0) must(cudaGraphLaunch",
    test: "heads_cut",
  },
  {
    name: "drawn ids reach the first device alone",
    file: "ops/cuda/nccl/nccl_group.cpp",
    right: "devices_[i]->take_ids(*devices_[0]);",
    wrong: "(void)i;",
    test: "steps_in_line",
  },
  {
    name: "a tower's tiles go to the slots of another's",
    file: "model/vision_towers.cpp",
    right: "slots.subspan(share(i), share(i + 1) - share(i))",
    wrong: "slots.subspan(share(0), share(i + 1) - share(i))",
    test: "heads_cut",
  },
  {
    name: "the second part of a step has the first one's sequences",
    file: "model/micro_batches.cpp",
    right: "first_sequence_ * max_blocks,",
    wrong: "0 * max_blocks,",
    test: "parts_of",
  },
  {
    name: "the second part of a step has the first one's rotations",
    file: "model/micro_batches.cpp",
    right: "part.cos = step_.cos + first_ * half;",
    wrong: "part.cos = step_.cos;",
    test: "parts_of",
  },
  {
    name: "a stage is given both parts before the next is given one",
    file: "model/decoder.cpp",
    right: "if (wave >= i && wave - i <= num_stages) run(wave - i + 1, parts[i]);",
    wrong: "if (wave <= num_stages) run(wave + 1, parts[i]);",
    test: "parts_of",
  },
];

/** Puts in each fault whose name `wanted` lets through; says whether the tests failed, and their words. */
export async function injectDeviceFaults(
  wanted: (name: string) => boolean,
  progress: (line: string) => void,
): Promise<{ name: string; isCaught: boolean }[]> {
  const headers = await ensureCudaHeaders();
  const results: { name: string; isCaught: boolean }[] = [];
  for (const { name, file, right, wrong, test } of DEVICE_FAULTS) {
    if (!wanted(name)) continue;
    const parts = (await Deno.readTextFile(ENGINE + file)).split(right);
    if (parts.length !== 2) {
      throw new Error(`Cannot put in "${name}": ${file} has the place ${parts.length - 1} times, expected once`);
    }
    const program = await buildChangedBackendTests({ file, text: parts.join(wrong) }, { headers });
    const env = { CUEMU_DEVICES: "4", CUEMU_DEVICE_MB: "256" };
    const { ok, output } = await runEmulated(program, [test], env, 60);
    const how = output.split("\n").find((line) => /cuemu:|_test\.cpp:\d+/.test(line))?.trim() ?? "";
    progress(`${ok ? "survived" : "caught  "} ${name}\n    ${how.replace(/\/\S*\/(?=\w+\.\w+)/g, "").slice(0, 160)}`);
    results.push({ name, isCaught: !ok });
  }
  return results;
}

if (import.meta.main) {
  const results = await injectDeviceFaults((name) => name.includes(Deno.args[0] ?? ""), console.log);
  const caught = results.filter(({ isCaught }) => isCaught).length;
  console.log(`${caught} of ${results.length} faults caught`);
  if (results.length === 0 || caught < results.length) Deno.exit(1);
}
