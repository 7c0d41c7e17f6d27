/** Opens, uses and closes the embedded model many times: `deno task soak:engine [cycles]`. Exit code 1 where memory grows. */
import { buildAddon } from "@tessera/native";
import { findCheckpoint } from "../../gpu-worker/config.ts";
import { EngineDriver, textPrompt } from "../support/engine_driver.ts";
import { openNative } from "../support/native_engine.ts";

const DEFAULT_CYCLES = 10_000;
/** Resident memory may end this much above where it was half way: allocators settle late. An engine takes 10 MiB. */
const MAX_GROWTH_MIB = 24;
/** What malloc has given out: the runtime's own changes by some. */
const MAX_IN_USE_GROWTH_MIB = 4;

/** MiB of this process. */
export interface Memory {
  readonly resident: number;
  /** What malloc has given out, NaN where that cannot be told: not glibc. */
  readonly inUse: number;
  /** What malloc has addresses for besides, its pages given back to the system. */
  readonly kept: number;
}

/** glibc's own books; null elsewhere. */
const glibc = openGlibc();

function openGlibc() {
  try {
    return Deno.dlopen("libc.so.6", {
      // arena, ordblks, smblks, hblks, hblkhd, usmblks, fsmblks, uordblks, fordblks, keepcost
      mallinfo2: { parameters: [], result: { struct: new Array<"usize">(10).fill("usize") } },
      malloc_trim: { parameters: ["usize"], result: "i32" },
    });
  } catch {
    return null;
  }
}

/** With what malloc keeps given back, since it keeps more and more of it in pieces. */
function memory(): Memory {
  glibc?.symbols.malloc_trim(0n);
  const resident = Deno.memoryUsage().rss / 2 ** 20;
  if (glibc === null) return { resident, inUse: Number.NaN, kept: Number.NaN };
  const books = new BigUint64Array(glibc.symbols.mallinfo2().slice().buffer);
  return { resident, inUse: Number(books[4]! + books[7]!) / 2 ** 20, kept: Number(books[8]!) / 2 ** 20 };
}

/** Memory after half of the cycles and at the end. */
export async function cycleEngine(numCycles: number): Promise<readonly [Memory, Memory]> {
  const modelPath = await findCheckpoint("internvl3-tiny");
  let half = memory();
  for (let i = 0; i < numCycles; i++) {
    const dtype = (["bf16", "int8", "fp32"] as const)[i % 3]!;
    const engine = await openNative({
      modelPath,
      device: "cpu",
      dtype,
      numThreads: 2,
      kvCacheBytes: 0,
      numTileSlots: 1,
      numDevices: 1 + i % 2,
    });
    const driver = new EngineDriver(engine);
    const step = driver.step([{ sequence: driver.add(textPrompt([1, 2, 3])), numTokens: 3 }]);
    // Every other time the engine is closed under a running step.
    if (i % 2 === 0) await step;
    await Promise.all([engine.close(), step]);
    if (i === Math.floor(numCycles / 2)) half = memory();
  }
  return [half, memory()];
}

/** Whether memory has stayed where it was. */
export function isSteady([half, late]: readonly [Memory, Memory]): boolean {
  return late.resident <= half.resident + MAX_GROWTH_MIB && !(late.inUse > half.inUse + MAX_IN_USE_GROWTH_MIB);
}

if (import.meta.main) {
  await buildAddon({ progress: console.log });
  const numCycles = Number(Deno.args[0] ?? DEFAULT_CYCLES);
  const memories = await cycleEngine(numCycles);
  const describe = ({ resident, inUse, kept }: Memory) =>
    `${resident.toFixed(1)} MiB resident, of which malloc has ${inUse.toFixed(2)} in use and could use ${
      kept.toFixed(1)
    }`;
  console.log(`${numCycles} cycles, half way: ${describe(memories[0])}`);
  console.log(`at the end: ${describe(memories[1])}`);
  if (!isSteady(memories)) Deno.exit(1);
}
