/** All set-up, each part done once: npm packages, nats-server, FFmpeg, the engine's addon; for tests Python's packages too. */
import { ensureNatsServer } from "../nats/binary.ts";
import { ensureCudaHeaders } from "./cuda_headers.ts";
import { ensureFfmpeg } from "./ffmpeg.ts";
import { ROOT } from "./paths.ts";
import { run } from "./process.ts";
import { ensurePythonClient } from "./python.ts";
import { dim, fail, step } from "./terminal.ts";

/** Brings this machine to where the stack runs (and, with `forTests`, its tests). Quick when all is there. */
export async function setUp(options: { forTests: boolean }): Promise<void> {
  await step("npm packages", () => run(Deno.execPath(), ["install", "--quiet", "--frozen"], { cwd: ROOT }));
  await step("nats-server", ensureNatsServer);
  // A download that nothing waits for but videos; the compiler is busy longer.
  const ffmpeg = ensureFfmpeg().then(() => null, (error: unknown) => error);
  await step("engine (C++ addon)", async (progress) => {
    // Imported late: it needs the npm packages that the first step installs.
    const { buildAddon } = await import("@tessera/native");
    await buildAddon({ progress });
  });
  const missing = await ffmpeg;
  if (missing !== null && options.forTests) throw missing;
  if (missing !== null) {
    console.error(dim(`Videos will be refused. ${missing instanceof Error ? missing.message : missing}`));
  }
  if (options.forTests) {
    await step("Python's openai package", ensurePythonClient);
    if (Deno.build.arch === "x86_64" && Deno.build.os === "linux") await step("CUDA headers", ensureCudaHeaders);
  }
}

if (import.meta.main) await setUp({ forTests: Deno.args.includes("--test") }).catch(fail);
