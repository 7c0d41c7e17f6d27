/** `deno task soak`: ten minutes (or --seconds) of load at twice the capacity; prints what became of every request. */
import { soak } from "./load.ts";

const DEFAULT_SECONDS = 600;

const [option, value] = Deno.args;
const seconds = option === undefined ? DEFAULT_SECONDS : option === "--seconds" ? Number(value) : NaN;
if (!Number.isInteger(seconds) || seconds < 10) {
  console.error("usage: deno task soak [--seconds N], N at least 10");
  Deno.exit(2);
}
const { numSent, outcomes, numRestarts, before, after } = await soak(seconds);
console.log(`${numSent} requests in ${seconds} s, ${numRestarts} workers restarted`);
for (const [outcome, count] of Object.entries(outcomes)) console.log(`  ${outcome.padEnd(9)} ${count}`);
const mib = (bytes: number) => `${Math.round(bytes / 1024 / 1024)} MiB`;
for (
  const [part, of] of [["edge", "edgeBytes"], ["lasting worker", "workerBytes"], ["nats-server", "busBytes"]] as const
) {
  console.log(`resident memory of the ${part} ${mib(before[of])} -> ${mib(after[of])}`);
}
for (const what of ["consumers", "subjects", "subscriptions"] as const) {
  console.log(`${what} ${before[what]} -> ${after[what]}`);
}
console.log(`jobs left in the queue ${after.messages}; blocks and slots of every worker in order`);
