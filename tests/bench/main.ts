/** Runs a benchmark: `deno task bench <name>`. Results are ratios and figures of this machine at this hour. */
import { benchEventLoop } from "./event_loop.ts";
import { benchMemory } from "./memory.ts";
import { benchTiler } from "./tiler.ts";

const BENCHES: Record<string, () => Promise<void>> = {
  "tiler": benchTiler,
  "event-loop": benchEventLoop,
  "memory": benchMemory,
};

const bench = BENCHES[Deno.args[0] ?? ""];
if (bench === undefined) {
  console.error(`usage: deno task bench ${Object.keys(BENCHES).join("|")}`);
  Deno.exit(2);
}
await bench();
