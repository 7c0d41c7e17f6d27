/** Owns what ptxas tells of a kernel: registers, shared memory and spills, and which kernels may not spill. */
import { run } from "../toolchain.ts";

/** One kernel compiled for one architecture. */
export interface KernelUsage {
  /** As in the source, with template arguments: `flash_kernel<64, PagedRows>`. */
  readonly kernel: string;
  /** As `sm_80`. */
  readonly arch: string;
  readonly registers: number;
  /** Shared variables, in bytes; dynamic shared memory is the launch's. */
  readonly sharedBytes: number;
  readonly stackBytes: number;
  /** Bytes stored and loaded again for want of registers. */
  readonly spillBytes: number;
}

/**
 * Kernels in which every spill is a fault, and so is an array on the stack, whose index the compiler does not know: all of
 * the engine's, most of which run once a layer. A name that matches no compiled kernel is a fault too.
 */
export const HOT_KERNELS: readonly string[] = [
  "flash_kernel",
  "decode_kernel",
  "norm_kernel",
  "swiglu_kernel",
  "bias_gelu_kernel",
  "rotate_and_store_kernel",
  "sample_parts_kernel",
  "draw_kernel",
  "coded_product_kernel",
  "int8_product_kernel",
  "quantise_rows_kernel",
  "finish_int8_kernel",
  "expand_kernel",
  "fp8_rows_kernel",
  "fp8_largest_kernel",
  "fp8_together_kernel",
  "combine_kernel",
  "patchify_kernel",
  "shuffle_norm_kernel",
  "norm_in_place_kernel",
  "add_update_kernel",
  "add_positions_kernel",
  "embed_kernel",
  "gather_rows_kernel",
  "scale_sums_kernel",
  "feed_ids_kernel",
  "feed_seen_kernel",
];

/** Reads what `ptxas -v` printed. Names are as ptxas gives them. @throws Error where a kernel's figures are missing */
export function parsePtxas(output: string): KernelUsage[] {
  const usages: KernelUsage[] = [];
  let open: { kernel: string; arch: string; stackBytes: number; spillBytes: number } | undefined;
  for (const line of output.split("\n")) {
    const entry = line.match(/Compiling entry function '(\S+)' for '(\S+)'/);
    if (entry) {
      if (open !== undefined) throw new Error(`Cannot read ptxas' output: nothing is said of ${open.kernel}`);
      open = { kernel: entry[1]!, arch: entry[2]!, stackBytes: 0, spillBytes: 0 };
    }
    // Other functions than the kernel at hand are told of in the same words, before its own line.
    const frame = line.match(/(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads/);
    if (frame && open !== undefined) {
      open.stackBytes += Number(frame[1]);
      open.spillBytes += Number(frame[2]) + Number(frame[3]);
    }
    const used = line.match(/Used (\d+) registers/);
    if (used && open !== undefined) {
      const sharedBytes = Number(line.match(/(\d+) bytes smem/)?.[1] ?? 0);
      usages.push({ ...open, registers: Number(used[1]), sharedBytes });
      open = undefined;
    }
  }
  if (open !== undefined) throw new Error(`Cannot read ptxas' output: nothing is said of ${open.kernel}`);
  return usages;
}

/** `void a::(anonymous namespace)::flash_kernel<64, a::PagedRows>(...)` becomes `flash_kernel<64, PagedRows>`. */
export function shortName(demangled: string): string {
  const plain = demangled
    .replace(/\(anonymous namespace\)::/g, "")
    .replace(/\b_GLOBAL__N__\w+::/g, "")
    .replace(/\((?:int|bool|unsigned int)\)/g, "")
    .replace(/^void /, "")
    .replace(/\b\w+::/g, "");
  let depth = 0;
  for (let i = 0; i < plain.length; i++) {
    if (plain[i] === "<") depth++;
    if (plain[i] === ">") depth--;
    if (plain[i] === "(" && depth === 0) return plain.slice(0, i);
  }
  return plain;
}

/** Gives kernels the names they have in the source. Needs `c++filt`, which comes with the linker. */
export async function withSourceNames(usages: readonly KernelUsage[]): Promise<KernelUsage[]> {
  if (usages.length === 0) return [];
  const { ok, output } = await run("c++filt", usages.map(({ kernel }) => kernel));
  if (!ok) throw new Error(`Cannot name kernels: ${output}`);
  const names = output.trimEnd().split("\n");
  return usages.map((usage, i) => ({ ...usage, kernel: shortName(names[i]!) }));
}

/** What is wrong with the figures: memory for want of registers in hot kernels, hot kernels that are not there. */
export function findSpills(usages: readonly KernelUsage[], hot: readonly string[] = HOT_KERNELS): string[] {
  const nameOf = ({ kernel }: KernelUsage) => kernel.split("<")[0]!;
  const missing = hot.filter((name) => !usages.some((usage) => nameOf(usage) === name));
  const inHot = usages.filter((usage) => hot.includes(nameOf(usage)));
  const spilled = inHot.filter(({ spillBytes }) => spillBytes > 0);
  const stacked = inHot.filter(({ spillBytes, stackBytes }) => spillBytes === 0 && stackBytes > 0);
  return [
    ...missing.map((name) => `${name} was not compiled, expected it among the kernels`),
    ...spilled.map(({ kernel, arch, spillBytes }) => `${kernel} spills ${spillBytes} bytes on ${arch}`),
    ...stacked.map(({ kernel, arch, stackBytes }) => `${kernel} keeps ${stackBytes} bytes on its stack on ${arch}`),
  ];
}

/** A line for all kernels of one name, whatever their template arguments: the most registers, shared bytes and spills of any. */
export function familyTable(usages: readonly KernelUsage[]): string {
  const families = new Map<string, KernelUsage>();
  const variants = new Map<string, Set<string>>();
  for (const usage of usages) {
    const kernel = usage.kernel.split("<")[0]!;
    const key = `${kernel} ${usage.arch}`;
    const most = families.get(key) ?? { ...usage, kernel };
    families.set(key, {
      kernel,
      arch: usage.arch,
      registers: Math.max(most.registers, usage.registers),
      sharedBytes: Math.max(most.sharedBytes, usage.sharedBytes),
      stackBytes: Math.max(most.stackBytes, usage.stackBytes),
      spillBytes: Math.max(most.spillBytes, usage.spillBytes),
    });
    variants.set(kernel, (variants.get(kernel) ?? new Set()).add(usage.kernel));
  }
  const named = [...families.values()].map((usage) => {
    const count = variants.get(usage.kernel)!.size;
    return count === 1 ? usage : { ...usage, kernel: `${usage.kernel}<${count}>` };
  });
  return usageTable(named);
}

/** A line a kernel, a column an architecture: `registers / shared bytes`, with `spills N` where it does. */
export function usageTable(usages: readonly KernelUsage[]): string {
  const archs = [...new Set(usages.map(({ arch }) => arch))];
  const kernels = [...new Set(usages.map(({ kernel }) => kernel))].sort();
  const cell = (kernel: string, arch: string): string => {
    const usage = usages.find((each) => each.kernel === kernel && each.arch === arch);
    if (usage === undefined) return "-";
    const spills = usage.spillBytes > 0
      ? `, spills ${usage.spillBytes}`
      : usage.stackBytes > 0
      ? `, stack ${usage.stackBytes}`
      : "";
    return `${usage.registers} / ${usage.sharedBytes}${spills}`;
  };
  const rows = [
    ["kernel", ...archs],
    ["---", ...archs.map(() => "---")],
    ...kernels.map((kernel) => [`\`${kernel}\``, ...archs.map((arch) => cell(kernel, arch))]),
  ];
  return rows.map((row) => `| ${row.join(" | ")} |`).join("\n");
}
