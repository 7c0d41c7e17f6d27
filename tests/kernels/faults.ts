/** Owns faults to be put into the engine's kernels: what a slip of the pen makes of them, and which build must notice. */
import { fileURLToPath } from "node:url";
import type { SourceChange, Variant } from "@tessera/native";

const KERNELS = fileURLToPath(new URL("../../native/engine/ops/cuda/kernels/", import.meta.url));

/** One fault: `wrong` in place of `right`, which is in the file exactly once. */
export interface KernelFault {
  readonly name: string;
  readonly file: string;
  readonly right: string;
  readonly wrong: string;
  readonly test: string;
  readonly foundBy: Variant;
}

const attention = "attention_test.cu";
const rows = "rows_test.cu";
const sampling = "sampling_test.cu";
const products = "product_test.cu";

export const KERNEL_FAULTS: readonly KernelFault[] = [
  {
    name: "flash attention: no barrier between copies and their use",
    file: "flash_attention.cu",
    right: "gpu::wait_copies<0>();\n    __syncthreads();",
    wrong: "gpu::wait_copies<0>();",
    test: attention,
    foundBy: "race",
  },
  {
    name: "flash attention: copies are not waited for",
    file: "flash_attention.cu",
    right: "gpu::wait_copies<0>();\n    __syncthreads();",
    wrong: "__syncthreads();",
    test: attention,
    foundBy: "fast",
  },
  {
    name: "flash attention: the next tile overwrites the one at work",
    file: "flash_attention.cu",
    right: "copy_rows<kDim>(memory->values[tile % 2]",
    wrong: "copy_rows<kDim>(memory->values[0]",
    test: attention,
    foundBy: "fast",
  },
  {
    name: "flash attention: one query row beyond the last",
    file: "flash_attention.cu",
    right: "if (query >= num_queries) continue;",
    wrong: "if (query > num_queries) continue;",
    test: attention,
    foundBy: "fast",
  },
  {
    name: "flash attention: a page beyond the table",
    file: "flash_attention.cu",
    right: "[&](int i) { return first + i < num_keys ? rows.key(first + i) : nullptr; }",
    wrong: "[&](int i) { return rows.key(first + i); }",
    test: attention,
    foundBy: "sanitize",
  },
  {
    name: "flash attention: the block table of another sequence",
    file: "flash_attention.cu",
    right: "static_cast<size_t>(sequence) * step.max_pages",
    wrong: "static_cast<size_t>(sequence / 2) * step.max_pages",
    test: attention,
    foundBy: "fast",
  },
  {
    name: "decode attention: a warp uses its page before all lanes have copied",
    file: "decode_attention.cu",
    right: "gpu::wait_copies<0>();\n    __syncwarp();",
    wrong: "gpu::wait_copies<0>();",
    test: attention,
    foundBy: "race",
  },
  {
    name: "decode attention: a warp overwrites its page while lanes read it",
    file: "decode_attention.cu",
    right: "return first + key < num_keys; });\n    __syncwarp();",
    wrong: "return first + key < num_keys; });",
    test: attention,
    foundBy: "race",
  },
  {
    name: "decode attention: sums are written over pages that other warps read",
    file: "decode_attention.cu",
    right: "// Pages are done with: their memory holds each warp's sums now.\n  __syncthreads();",
    wrong: "",
    test: attention,
    foundBy: "race",
  },
  {
    name: "decode attention: half of the heads' sums were never written",
    file: "decode_attention.cu",
    right: "if (lane % 4 == 0) memory->heads[warp][row]",
    wrong: "if (lane % 4 == 0 && half == 0) memory->heads[warp][row]",
    test: attention,
    foundBy: "fast",
  },
  {
    name: "decode attention: sums and heads share workspace",
    file: "decode_attention.cu",
    right: "reinterpret_cast<float*>(heads + entries)",
    wrong: "reinterpret_cast<float*>(heads)",
    test: attention,
    foundBy: "fast",
  },
  {
    name: "decode attention: blocks of one head race for the result",
    file: "decode_attention.cu",
    right: "y[(static_cast<size_t>(token) * num_heads + head) * head_dim + col]",
    wrong: "y[(static_cast<size_t>(token) * num_heads + head / 2) * head_dim + col]",
    test: attention,
    foundBy: "race",
  },
  {
    name: "rotation: rows of q, k and v with the wrong stride",
    file: "rope.cu",
    right: "static_cast<size_t>(token) * (num_rotated + cache.num_kv_heads) * cache.head_dim",
    wrong: "static_cast<size_t>(token) * num_rotated * cache.head_dim",
    test: attention,
    foundBy: "fast",
  },
  {
    name: "rotation: values go to another slot of the page",
    file: "rope.cu",
    right: "page_of(cache, page, kv_head)[kPageTokens * cache.head_dim + slot",
    wrong: "page_of(cache, page, kv_head)[kPageTokens * cache.head_dim + slot + cache.head_dim",
    test: attention,
    foundBy: "fast",
  },
  {
    name: "reduction: partial sums are overwritten while warps read them",
    file: "common.cuh",
    right: "for (int warp = 0; warp < num_warps; warp++) sum += partial[warp];\n  __syncthreads();",
    wrong: "for (int warp = 0; warp < num_warps; warp++) sum += partial[warp];",
    test: rows,
    foundBy: "race",
  },
  {
    name: "reduction: a partial sum that no warp has written",
    file: "common.cuh",
    right: "warp < num_warps; warp++) sum += partial[warp]",
    wrong: "warp <= num_warps; warp++) sum += partial[warp]",
    test: rows,
    foundBy: "race",
  },
  {
    name: "norm: a row's last value and one beyond",
    file: "norm.cu",
    right: "    values[k] = 0;\n    if (i >= width) continue;",
    wrong: "    values[k] = 0;\n    if (i > width) continue;",
    test: rows,
    foundBy: "sanitize",
  },
  {
    name: "pixel shuffle: the class row counts as a patch",
    file: "pixel_shuffle.cu",
    right: "(tile * (grid * grid + 1) + 1 + patch_row",
    wrong: "(tile * (grid * grid + 1) + patch_row",
    test: rows,
    foundBy: "fast",
  },
  {
    name: "sampling: penalties before all biases are added",
    file: "sampling.cu",
    right: "x += tables.biases[i]; });\n  __syncthreads();",
    wrong: "x += tables.biases[i]; });",
    test: sampling,
    foundBy: "race",
  },
  {
    name: "sampling: candidates beyond the list's room",
    file: "sampling.cu",
    right: "if (at < kListSize) memory.list[at]",
    wrong: "memory.list[at]",
    test: sampling,
    foundBy: "sanitize",
  },
  {
    name: "sampling: the list's size was never set",
    file: "sampling.cu",
    right: "if (threadIdx.x == 0) memory.list_size = 0;",
    wrong: "",
    test: sampling,
    foundBy: "fast",
  },
  {
    name: "selection: the digit is read before it is found",
    file: "block_select.cuh",
    right: "find_digit(memory, target);\n    __syncthreads();",
    wrong: "find_digit(memory, target);",
    test: sampling,
    foundBy: "race",
  },
  {
    name: "coded products: values of codes are looked up before they are there",
    file: "coded_product.cu",
    right: "table[threadIdx.x] = w.values[threadIdx.x];\n    __syncthreads();",
    wrong: "table[threadIdx.x] = w.values[threadIdx.x];",
    test: products,
    foundBy: "race",
  },
  {
    name: "coded products: one row of weights beyond the last",
    file: "coded_product.cu",
    right: "b < batch && first_row + r < w.n) store",
    wrong: "b < batch && first_row + r <= w.n) store",
    test: products,
    foundBy: "fast",
  },
  {
    name: "coded products: rows of activations that are not there",
    file: "coded_product.cu",
    right: "if (b < batch) eight = ",
    wrong: "eight = ",
    test: products,
    foundBy: "sanitize",
  },
  {
    name: "coded products: the scale of another row",
    file: "coded_product.cu",
    right: "sum *= w.scales[min(first_row + r, w.n - 1)];",
    wrong: "sum *= w.scales[min(first_row, w.n - 1)];",
    test: products,
    foundBy: "fast",
  },
  {
    name: "int8 rows: outliers are counted while warps still write",
    file: "int8_product.cu",
    right: "counts[warp] = __popc(votes);\n    __syncthreads();",
    wrong: "counts[warp] = __popc(votes);",
    test: products,
    foundBy: "race",
  },
  {
    name: "int8 rows: more outliers than the list has room for",
    file: "int8_product.cu",
    right: "if (is_own && place < kMaxOutliers)",
    wrong: "if (is_own)",
    test: products,
    foundBy: "sanitize",
  },
  {
    name: "int8 products: sums with the stride of the result",
    file: "int8_product.cu",
    right: "sums[static_cast<size_t>(row) * w.n + n]",
    wrong: "sums[static_cast<size_t>(row) * y.stride + n]",
    test: products,
    foundBy: "fast",
  },
  {
    name: "fp8 rows: the largest value before all warps have told theirs",
    file: "fp8_rows.cu",
    right: "partial[threadIdx.x / 32] = x;\n  __syncthreads();",
    wrong: "partial[threadIdx.x / 32] = x;",
    test: products,
    foundBy: "race",
  },
  {
    name: "fp8 rows: every block writes the scale that all share",
    file: "fp8_rows.cu",
    right: "if (threadIdx.x == 0 && blockIdx.x == 0) out.scales[0]",
    wrong: "if (threadIdx.x == 0) out.scales[0]",
    test: products,
    foundBy: "race",
  },
];

/** The change that puts a fault in. @throws Error where the kernel has become another */
export async function changeOf({ name, file, right, wrong, test }: KernelFault): Promise<SourceChange> {
  const text = await Deno.readTextFile(KERNELS + file);
  const parts = text.split(right);
  if (parts.length !== 2) {
    throw new Error(`Cannot put in "${name}": ${file} has the place ${parts.length - 1} times, expected once`);
  }
  return { file, text: parts.join(wrong), test };
}
