/** Owns running programs on a GPU one after the other: shown as they run, ended when they hang, told of afterwards. */
import { ROOT } from "../../infra/tools/paths.ts";

/** One thing that was to be run, and what came of it. */
export interface Outcome {
  readonly what: string;
  readonly outcome: "passed" | "failed" | "skipped";
  readonly seconds: number;
  /** The last lines of what failed, or why it was not run. */
  readonly why?: string;
}

export interface Step {
  readonly what: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** A program that has run so long hangs. */
  readonly limitMinutes: number;
  /** What a line of its output must say: a suite that ran no test has passed nothing. */
  readonly proof?: RegExp;
}

/** Lines of a failure that are kept. */
const KEPT_LINES = 40;

export async function runStep({ what, command, args, env = {}, limitMinutes, proof = /^/ }: Step): Promise<Outcome> {
  console.log(`\n== ${what}`);
  const start = performance.now();
  const child = new Deno.Command(command, { args: [...args], env, cwd: ROOT, stdout: "piped", stderr: "piped" })
    .spawn();
  let isLate = false;
  let isProven = false;
  const timer = setTimeout(() => {
    isLate = true;
    child.kill("SIGKILL");
  }, limitMinutes * 60_000);
  const kept: string[] = [];
  const show = async (stream: ReadableStream<Uint8Array>, to: { writeSync(bytes: Uint8Array): number }) => {
    const decoder = new TextDecoder();
    let rest = "";
    for await (const bytes of stream) {
      for (let at = 0; at < bytes.length;) at += to.writeSync(bytes.subarray(at));
      const lines = (rest + decoder.decode(bytes, { stream: true })).split("\n");
      rest = lines.pop()!;
      isProven ||= lines.some((line) => proof.test(line));
      kept.push(...lines);
      kept.splice(0, kept.length - KEPT_LINES);
    }
    if (rest !== "") kept.push(rest);
    isProven ||= proof.test(rest);
  };
  await Promise.all([show(child.stdout, Deno.stdout), show(child.stderr, Deno.stderr)]);
  const { success, code, signal } = await child.status;
  clearTimeout(timer);
  const seconds = (performance.now() - start) / 1_000;
  if (success && isProven) return { what, outcome: "passed", seconds };
  const end = success
    ? `no line of its output has ${proof}`
    : isLate
    ? `ended after ${limitMinutes} minutes`
    : signal === null
    ? `exit code ${code}`
    : `ended by ${signal}`;
  return { what, outcome: "failed", seconds, why: [...kept, end].join("\n") };
}

/** What was not run, and why. */
export function skip(what: string, why: string): Outcome {
  console.log(`\n== ${what}: not run, ${why}`);
  return { what, outcome: "skipped", seconds: 0, why };
}

/** A line for each outcome. */
export function outcomeLines(outcomes: readonly Outcome[]): string {
  return outcomes.map(({ what, outcome, seconds, why }) => {
    const word = outcome === "failed" ? "FAILED" : outcome;
    return `${word.padEnd(7)}  ${what} (${outcome === "skipped" ? why : `${seconds.toFixed(1)} s`})`;
  }).join("\n");
}
