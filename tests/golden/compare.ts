/** Live comparisons: `deno task compare tiler|engine|true-shape [count] [seed]`. Exit code 1 where something differs. */
import { buildAddon } from "@tessera/native";
import { compareEngine, compareTrueShape } from "./engine/compare.ts";
import { compareTiler } from "./tiler/compare.ts";

const COMPARISONS: Record<string, (count: number | undefined, seed: number) => Promise<boolean>> = {
  "tiler": (count, seed) => compareTiler(count ?? 300, seed),
  "engine": async (count, seed) => {
    await buildAddon({ progress: console.log });
    return await compareEngine(count ?? 14, seed);
  },
  "true-shape": async () => {
    await buildAddon({ progress: console.log });
    return await compareTrueShape();
  },
};

const [name, count, seed] = Deno.args;
const comparison = COMPARISONS[name ?? ""];
if (comparison === undefined) {
  console.error(`usage: deno task compare ${Object.keys(COMPARISONS).join("|")} [count] [seed]`);
  Deno.exit(2);
}
const isEqual = await comparison(count === undefined ? undefined : Number(count), Number(seed ?? Date.now() % 1_000_000));
if (!isEqual) Deno.exit(1);
