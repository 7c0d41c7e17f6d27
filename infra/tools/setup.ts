/** All set-up, each part done once: npm packages, nats-server, FFmpeg, the engine's addon; for tests Python's packages too. */
import { ensureNatsServer } from "../nats/binary.ts";
import { ensureBrowser } from "./browser.ts";
import { ensureCudaHeaders, ensureCudaToolkit } from "./cuda.ts";
import { ensureFfmpeg } from "./ffmpeg.ts";
import { ROOT } from "./paths.ts";
import { run } from "./process.ts";
import { ensurePythonClient } from "./python.ts";
import { dim, fail, step } from "./terminal.ts";

/** What to set up beside what the stack needs to run. */
export interface SetUpOptions {
  /** What tests need. */
  readonly forTests?: boolean;
  /** CUDA's compiler, and the CUDA backend in the addon; without it where the machine has CUDA. */
  readonly withCuda?: boolean;
}

/** Brings this machine to where the stack runs, and to what the options ask for. Quick when all is there. */
export async function setUp(options: SetUpOptions = {}): Promise<void> {
  await step("npm packages", () => run(Deno.execPath(), ["install", "--quiet", "--frozen"], { cwd: ROOT }));
  await step("nats-server", ensureNatsServer);
  // A download that nothing waits for but videos; the compiler is busy longer.
  const ffmpeg = ensureFfmpeg().then(() => null, (error: unknown) => error);
  const cuda = options.withCuda ? await step("CUDA's compiler", ensureCudaToolkit) : undefined;
  await step("engine (C++ addon)", async (progress) => {
    // Imported late: it needs the npm packages that the first step installs.
    const { buildAddon, chooseToolkit } = await import("@tessera/native");
    if (cuda !== undefined) await chooseToolkit(cuda);
    await buildAddon({ progress });
  });
  const missing = await ffmpeg;
  if (missing !== null && options.forTests) throw missing;
  if (missing !== null) {
    console.error(dim(`Videos will be refused. ${missing instanceof Error ? missing.message : missing}`));
  }
  if (options.forTests) {
    await step("Python's openai package", ensurePythonClient);
    // Its test says so where it cannot be had.
    await step("Chromium", ensureBrowser).catch(() => {});
    if (Deno.build.arch === "x86_64" && Deno.build.os === "linux") await step("CUDA headers", ensureCudaHeaders);
    // Its test says so where it cannot be had.
    if (Deno.build.os === "linux") await step("CUDA's compiler", ensureCudaToolkit).catch(() => {});
  }
}

if (import.meta.main) {
  await setUp({ forTests: Deno.args.includes("--test"), withCuda: Deno.args.includes("--cuda") }).catch(fail);
}
