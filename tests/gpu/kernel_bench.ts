/** Owns the kernels' figures on a GPU: what each reaches of the peaks that the same run measured. */
import { table } from "../../infra/plan/report.ts";
import { run } from "../../infra/tools/process.ts";
import type { KernelRate } from "./results.ts";

/** A kernel at one shape, as the program told it. */
export type KernelFigure = Pick<KernelRate, "kernel" | "shape" | "ms" | "warmMs" | "bytes" | "flops">;

export async function runKernelBench(
  program: string,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<KernelRate[]> {
  const output = await run(program, args, { env: { ...env } });
  return rates(output.trimEnd().split("\n").map((line) => JSON.parse(line) as KernelFigure));
}

/** @throws Error where the peaks are missing or were not measured */
export function rates(figures: readonly KernelFigure[]): KernelRate[] {
  const peakOf = (kernel: string, what: "bytes" | "flops"): number => {
    const peak = figures.find((figure) => figure.kernel === kernel);
    if (peak === undefined || !(peak.ms > 0)) throw new Error(`Cannot rate kernels: ${kernel} was not measured`);
    return peak[what] / peak.ms;
  };
  const bytesPerMs = peakOf("peak_copy", "bytes");
  const flopsPerMs = peakOf("peak_mma_bf16", "flops");
  return figures.map((figure) => {
    if (!(figure.ms > 0)) throw new Error(`Cannot rate kernels: ${figure.kernel} (${figure.shape}) was not measured`);
    const byBytes = figure.bytes / figure.ms / bytesPerMs;
    const byFlops = figure.flops / figure.ms / flopsPerMs;
    return {
      ...figure,
      gbPerSecond: figure.bytes / figure.ms / 1e6,
      tflopPerSecond: figure.flops / figure.ms / 1e9,
      share: Math.max(byBytes, byFlops),
      limit: byBytes >= byFlops ? "bandwidth" : "multiply-add",
    };
  });
}

export function rateTable(all: readonly KernelRate[]): string {
  const rows = all.map((rate) => [
    rate.kernel,
    rate.shape,
    rate.ms.toFixed(4),
    rate.warmMs.toFixed(4),
    rate.gbPerSecond.toFixed(0),
    rate.flops === 0 ? "" : rate.tflopPerSecond.toFixed(1),
    `${(rate.share * 100).toFixed(0)} % of ${rate.limit}`,
  ]);
  return table([["kernel", "shape", "ms", "ms, warm", "GB/s", "TFLOP/s", "of the measured peak"], ...rows]);
}
