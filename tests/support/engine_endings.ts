/** A program that ends an engine in an awkward way; arguments: how, and a checkpoint's folder. Prints `done` when it may. */
import { openNativeEngine } from "../../gpu-worker/engine/native.ts";
import type { Engine } from "../../gpu-worker/engine/types.ts";
import { EngineDriver, textPrompt } from "./engine_driver.ts";

const [how, modelPath] = Deno.args as [string, string];

function open(): Promise<Engine> {
  return openNativeEngine({
    modelPath,
    device: "cpu",
    dtype: "fp32",
    numThreads: 3,
    kvCacheBytes: 0,
    numTileSlots: 1,
  });
}

/** A step of a few hundred tokens: still running when its caller has moved on. */
function longStep(engine: Engine): Promise<unknown> {
  const driver = new EngineDriver(engine);
  const prompt = textPrompt(Array.from({ length: 400 }, (_, i) => i % 200));
  return driver.step([{ sequence: driver.add(prompt), numTokens: 400 }]);
}

const numThreads = (): number => Number(Deno.readTextFileSync("/proc/self/status").match(/^Threads:\s*(\d+)/m)![1]);

const ENDINGS: Record<string, () => Promise<void>> = {
  /** The process exits with a step running. */
  async exit() {
    void longStep(await open());
    console.log("done");
    Deno.exit(0);
  },
  /** The program ends with an engine open. */
  async leave() {
    await longStep(await open());
    console.log("done");
  },
  /** A web worker is terminated with a step running in it; the process goes on. */
  async terminate() {
    const source = `import(${JSON.stringify(import.meta.url)}).then((m) => m.stepForever(${
      JSON.stringify(modelPath)
    }))`;
    for (let i = 0; i < 5; i++) {
      const worker = new Worker(`data:application/javascript,${encodeURIComponent(source)}`, { type: "module" });
      await new Promise((resolve) => worker.onmessage = resolve);
      worker.terminate();
    }
    await longStep(await open());
    console.log("done");
    Deno.exit(0);
  },
  /** Engines nobody closed are freed with their handles: their threads end. */
  async collect() {
    const collect = (globalThis as { gc?: () => void }).gc!;
    const before = numThreads();
    for (let i = 0; i < 20; i++) await longStep(await open());
    for (let i = 0; i < 20 && numThreads() > before + 8; i++) {
      collect();
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    if (numThreads() > before + 8) throw new Error(`Cannot collect: ${numThreads()} threads, expected about ${before}`);
    console.log("done");
  },
};

/** Steps until the end of the world; tells the parent once the first is under way. */
export async function stepForever(path: string): Promise<never> {
  const engine = await openNativeEngine({
    modelPath: path,
    device: "cpu",
    dtype: "fp32",
    numThreads: 3,
    kvCacheBytes: 0,
    numTileSlots: 1,
  });
  for (let i = 0;; i++) {
    const running = longStep(engine);
    if (i === 1) (globalThis as unknown as { postMessage(message: string): void }).postMessage("running");
    await running;
  }
}

if (import.meta.main) await ENDINGS[how]!();
