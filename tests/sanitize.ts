/**
 * Runs the engine's C++ tests under the sanitizers: `deno task sanitize [address|thread] [part of a test's name]`.
 * Exit code 1 where a test fails or a sanitizer reports anything.
 */
import { buildEngineTests, type Sanitizer } from "@tessera/native";

const SANITIZERS: readonly Sanitizer[] = ["address", "thread"];

/** Runs the tests whose name contains `filter` under one sanitizer; `env` is added. */
export async function runSanitized(
  sanitize: Sanitizer,
  filter = "",
  env: Readonly<Record<string, string>> = {},
): Promise<boolean> {
  const program = await buildEngineTests({ sanitize, progress: console.log });
  const { success } = await new Deno.Command(program, {
    args: [filter],
    env: {
      ASAN_OPTIONS: "abort_on_error=1:detect_leaks=1:allocator_may_return_null=1",
      UBSAN_OPTIONS: "print_stacktrace=1",
      TSAN_OPTIONS: "halt_on_error=1",
      ...env,
    },
  }).spawn().status;
  return success;
}

if (import.meta.main) {
  const [name, filter] = Deno.args;
  const wanted = SANITIZERS.filter((sanitizer) => name === undefined || name === "all" || name === sanitizer);
  if (wanted.length === 0) {
    console.error(`usage: deno task sanitize [all|${SANITIZERS.join("|")}] [part of a test's name]`);
    Deno.exit(2);
  }
  for (const sanitizer of wanted) {
    const isClean = await runSanitized(sanitizer, filter);
    console.log(`${sanitizer}: ${isClean ? "clean" : "FAILED"}`);
    if (!isClean) Deno.exit(1);
  }
}
