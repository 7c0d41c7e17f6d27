/** A short soak: what ten minutes show in full (`deno task soak`), in a few seconds. */
import { soak } from "./load.ts";

Deno.test("soak: twice the capacity, clients that leave, workers that die; nothing is lost, stuck or left", async () => {
  const { numSent, outcomes, numRestarts } = await soak(12);
  console.log(`${numSent} requests, ${numRestarts} restarts: ${JSON.stringify(outcomes)}`);
});
