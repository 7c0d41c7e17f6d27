/** Runs the tests of kernels with a change in them, in one build after the other until one notices. */
import { openKernelWorkshop, type SourceChange, type Variant } from "@tessera/native";
import { ensureCudaHeaders } from "../../infra/tools/cuda.ts";
import { runEmulated } from "../support/emulated_gpu.ts";

/** Settings of the emulator for each build, from those that notice most. */
const RUNS: Readonly<Record<Variant, readonly Readonly<Record<string, string>>[]>> = {
  fast: [{ CUEMU_SEED: "1", CUEMU_ASYNC: "lazy" }, { CUEMU_SEED: "0", CUEMU_ASYNC: "eager" }],
  sanitize: [{ CUEMU_SEED: "1", CUEMU_ASYNC: "lazy" }],
  race: [{ CUEMU_SEED: "1", CUEMU_ASYNC: "eager" }],
};

/** A test that computes so long has been led astray by the change; unchanged ones take some seconds. */
const LONGEST_RUN_S = 30;

/** What became of a change: who noticed it and how, nobody, or a compiler that refused it. */
export type Verdict =
  | { readonly outcome: "caught"; readonly by: Variant; readonly how: string }
  | { readonly outcome: "survived" }
  | { readonly outcome: "refused"; readonly how: string };

/** `judge(change)` over builds tried in the order given. */
export async function openCourt(
  variants: readonly Variant[],
  progress: (line: string) => void = () => {},
): Promise<(change: SourceChange) => Promise<Verdict>> {
  const headers = await ensureCudaHeaders();
  const workshops = new Map<Variant, ReturnType<typeof openKernelWorkshop>>();
  return async (change) => {
    for (const variant of variants) {
      let opening = workshops.get(variant);
      if (opening === undefined) workshops.set(variant, opening = openKernelWorkshop(variant, { headers, progress }));
      const build = await opening;
      const built = await build(change);
      if ("refused" in built) return { outcome: "refused", how: firstError(built.refused) };
      try {
        for (const env of RUNS[variant]) {
          const { ok, output } = await runEmulated(built.program, [], env, LONGEST_RUN_S);
          if (!ok) return { outcome: "caught", by: variant, how: firstReport(output) };
        }
      } finally {
        await built.remove();
      }
    }
    return { outcome: "survived" };
  };
}

function firstError(output: string): string {
  return output.split("\n").find((line) => line.includes("error:")) ?? output.slice(0, 200);
}

/** The line of a report that says most: the emulator's, a sanitizer's, a failed check's. */
function firstReport(output: string): string {
  const lines = output.split("\n");
  const marks = [/^cuemu: (?!\d+ faulty)/, /runtime error|AddressSanitizer:/, /off by|!=|CHECK|failed: /, /FAIL/];
  for (const mark of marks) {
    const line = lines.find((each) => mark.test(each));
    if (line !== undefined) return line.replace(/\/\S*\/(?=\w+\.\w+)/g, "").slice(0, 160);
  }
  return lines.at(-2)?.slice(0, 160) ?? "no output";
}
