/**
 * Builds the engine's C++ tests for 64-bit ARM and runs them under qemu's user mode, with the dot product and, as on an
 * older processor, without: `deno task test:arm64 [part of a test's name]`. Installs nothing; says what is missing.
 */
import { ARM64, buildEngineTests } from "@tessera/native";

/** Processors with and without what `neon_dot` needs. */
const PROCESSORS = ["max", "cortex-a72"] as const;

async function runs(command: string): Promise<boolean> {
  try {
    return (await new Deno.Command(command, { args: ["--version"], stdout: "null", stderr: "null" }).output()).success;
  } catch {
    return false;
  }
}

const missing: string[] = [];
for (const command of [ARM64.compiler, ARM64.emulator]) if (!await runs(command)) missing.push(command);
if (missing.length > 0) {
  console.error(`Cannot test for arm64: no ${missing.join(", ")} (Debian: apt-get install ${ARM64.packages})`);
  Deno.exit(2);
}
const program = await buildEngineTests({ arch: "aarch64", progress: console.log });
for (const processor of PROCESSORS) {
  const { success } = await new Deno.Command(ARM64.emulator, {
    args: ["-cpu", processor, "-L", ARM64.libraries, program, ...Deno.args.slice(0, 1)],
  }).spawn().status;
  console.log(`${processor}: ${success ? "passed" : "FAILED"}`);
  if (!success) Deno.exit(1);
}
