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
  // Downloads, while the compiler is busy longer: nothing waits for FFmpeg but videos, nor for the others but tests.
  const ffmpeg = outcome(ensureFfmpeg());
  const cuda = options.withCuda ? await step("CUDA's compiler", ensureCudaToolkit) : undefined;
  const forTests = outcome(options.forTests ? fetchForTests() : Promise.resolve());
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
  const failed = await forTests;
  if (failed !== null) throw failed;
}

/** Null, or why it failed: nobody may be listening when it does. */
function outcome(work: Promise<unknown>): Promise<unknown> {
  return work.then(() => null, (error: unknown) => error);
}

/** What tests need beside what the stack needs. */
async function fetchForTests(): Promise<void> {
  await step("Python's openai package", ensurePythonClient);
  // Its test says so where it cannot be had.
  await step("Chromium", ensureBrowser).catch(() => {});
  if (Deno.build.arch === "x86_64" && Deno.build.os === "linux") await step("CUDA headers", ensureCudaHeaders);
  // Its test says so where it cannot be had.
  if (Deno.build.os === "linux") await step("CUDA's compiler", ensureCudaToolkit).catch(() => {});
}

if (import.meta.main) {
  await setUp({ forTests: Deno.args.includes("--test"), withCuda: Deno.args.includes("--cuda") }).catch(fail);
}
