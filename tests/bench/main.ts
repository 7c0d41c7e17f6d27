/** Runs a benchmark: `deno task bench <name>`. Results are ratios and figures of this machine at this hour. */
import { benchBus } from "./bus/main.ts";
import { benchEngine } from "./engine/main.ts";
import { benchEventLoop } from "./event_loop.ts";
import { benchLoad } from "./load/main.ts";
import { benchGemm } from "./gemm/main.ts";
import { benchMemory } from "./memory.ts";
import { benchRouting } from "./routing.ts";
import { benchScheduler } from "./scheduler.ts";
import { benchTiler } from "./tiler.ts";

const BENCHES: Record<string, (args: readonly string[]) => Promise<void>> = {
  "bus": benchBus,
  "routing": benchRouting,
  "engine": benchEngine,
  "load": benchLoad,
  "gemm": benchGemm,
  "scheduler": benchScheduler,
  "tiler": benchTiler,
  "event-loop": benchEventLoop,
  "memory": benchMemory,
};

const bench = BENCHES[Deno.args[0] ?? ""];
if (bench === undefined) {
  console.error(`usage: deno task bench ${Object.keys(BENCHES).join("|")}`);
  Deno.exit(2);
}
await bench(Deno.args.slice(1));
