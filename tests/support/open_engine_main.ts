/** A process that opens the native engine with a weight cache and prints what came of it, and a hash of some logits. */
import { sha256Hex } from "@tessera/shared";
import { EngineDriver, textPrompt } from "./engine_driver.ts";
import { openNative } from "./native_engine.ts";

const { modelPath, folder } = JSON.parse(Deno.args[0]!) as { modelPath: string; folder: string };
const engine = await openNative({
  modelPath,
  device: "cpu",
  dtype: "nf4",
  numThreads: 1,
  kvCacheBytes: 2 ** 24,
  numTileSlots: 1,
  weightCache: { folder, maxBytes: 2 ** 30 },
});
const driver = new EngineDriver(engine);
const rows = await engine.logits(driver.batch([{ sequence: driver.add(textPrompt([1, 2, 3])), numTokens: 3 }]));
console.log(JSON.stringify({
  weightCache: engine.info.weightCache,
  hash: await sha256Hex(new Uint8Array(rows.buffer)),
}));
await engine.close();
