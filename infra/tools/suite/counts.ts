/** What `deno test` says at its end, read and added up. */

/** Tests that ended, and steps of them. */
export interface Counts {
  readonly passed: number;
  readonly passedSteps: number;
  readonly failed: number;
  readonly failedSteps: number;
  readonly ignored: number;
  readonly ignoredSteps: number;
}

export const NONE: Counts = { passed: 0, passedSteps: 0, failed: 0, failedSteps: 0, ignored: 0, ignoredSteps: 0 };

const some = (what: string) => String.raw`(\d+) ${what}(?: \((\d+) steps?\))?`;
const SUMMARY = new RegExp(
  String.raw`^(?:ok|FAILED) \| ${some("passed")} \| ${some("failed")}(?: \| ${some("ignored")})?`,
  "m",
);

/** Text as a terminal without colours shows it. */
export function withoutColours(text: string): string {
  // deno-lint-ignore no-control-regex
  return text.replace(/\x1b\[[0-9;]*m/g, "");
}

/** The counts in the output of `deno test`; undefined where it did not come to its end. */
export function readCounts(output: string): Counts | undefined {
  const found = [...withoutColours(output).matchAll(new RegExp(SUMMARY, "gm"))].at(-1);
  if (found === undefined) return undefined;
  const [passed, passedSteps, failed, failedSteps, ignored, ignoredSteps] = found.slice(1).map((n) => Number(n ?? 0));
  return {
    passed: passed!,
    passedSteps: passedSteps!,
    failed: failed!,
    failedSteps: failedSteps!,
    ignored: ignored!,
    ignoredSteps: ignoredSteps!,
  };
}

export function add(a: Counts, b: Counts): Counts {
  return {
    passed: a.passed + b.passed,
    passedSteps: a.passedSteps + b.passedSteps,
    failed: a.failed + b.failed,
    failedSteps: a.failedSteps + b.failedSteps,
    ignored: a.ignored + b.ignored,
    ignoredSteps: a.ignoredSteps + b.ignoredSteps,
  };
}

/** The line that `deno test` ends with. */
export function summary(counts: Counts, isOk: boolean, seconds: number): string {
  const steps = (n: number) => n === 0 ? "" : ` (${n} step${n === 1 ? "" : "s"})`;
  const part = (n: number, what: string, numSteps: number) => `${n} ${what}${steps(numSteps)}`;
  const parts = [part(counts.passed, "passed", counts.passedSteps), part(counts.failed, "failed", counts.failedSteps)];
  if (counts.ignored > 0) parts.push(part(counts.ignored, "ignored", counts.ignoredSteps));
  const time = `${Math.floor(seconds / 60)}m${Math.round(seconds % 60)}s`;
  return `${isOk ? "ok" : "FAILED"} | ${parts.join(" | ")} (${time})`;
}
