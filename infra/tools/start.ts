/** `deno task start`: set-up, then the whole stack until Ctrl-C, which drains it. */
import { EnvError, readEnv, type VariableName, VARIABLES } from "@tessera/shared";
import { setUp } from "./setup.ts";
import { startStack } from "./stack.ts";
import { bold, dim, fail, readableLog } from "./terminal.ts";

async function main(): Promise<void> {
  // Every variable, so that all faults are told at once and before anything starts.
  const { TESSERA_PORT } = readEnv(Object.keys(VARIABLES) as VariableName[], (name) => Deno.env.get(name));
  await setUp({ forTests: false });
  const stack = await startStack({
    port: TESSERA_PORT,
    keepsData: true,
    log: (part, line) => part !== "nats" && console.log(`${dim(part.padEnd(6))} ${readableLog(line)}`),
  });
  console.log(`${bold("Tessera")} serves at ${stack.url}. Ctrl-C stops it.`);

  const asked = new Promise<void>((resolve) => {
    Deno.addSignalListener("SIGINT", resolve);
    Deno.addSignalListener("SIGTERM", resolve);
  });
  try {
    await Promise.race([asked, stack.failed]);
    console.log("Draining: answers that stream are finished first.");
  } finally {
    await stack.stop();
  }
  console.log("Stopped.");
}

try {
  await main();
  Deno.exit(0);
} catch (error) {
  if (error instanceof EnvError || error instanceof Error) fail(error);
  throw error;
}
