/** The worker's process as the benchmark sees it: started, told what to expect, asked for its times. */
import type { NatsConnection } from "@nats-io/nats-core";
import { ROOT } from "@tessera/infra/paths";
import { supervise } from "@tessera/infra/process";
import type { EngineTimes } from "./engine.ts";

/** Begins a measurement; the message is the time of a step in ms. */
export const BEGIN = "bench.begin";
/** Asks for the times since. */
export const TIMES = "bench.times";

const STOP_MS = 5_000;

export interface TimedWorker {
  readonly begin: (stepMs: number) => Promise<void>;
  readonly times: () => Promise<EngineTimes>;
  readonly stop: () => Promise<void>;
}

/** @param nc not the connection of anything that is measured */
export async function startTimedWorker(natsUrl: string, nc: NatsConnection): Promise<TimedWorker> {
  const printed: string[] = [];
  const ready = Promise.withResolvers<void>();
  const args = ["run", "--allow-all", "--no-check", `${ROOT}/tests/bench/bus/worker_main.ts`, natsUrl];
  const process = supervise(Deno.execPath(), args, {
    onLine: (line) => {
      printed.push(line);
      if (line === "ready") ready.resolve();
    },
  });
  const died = process.ended.then(() => {
    throw new Error(`Cannot go on: the worker ended\n${printed.join("\n")}`);
  });
  died.catch(() => {});
  await Promise.race([ready.promise, died]);
  return {
    begin: async (stepMs) => void await nc.request(BEGIN, String(stepMs)),
    times: async () => (await nc.request(TIMES)).json<EngineTimes>(),
    stop: () => process.stop(STOP_MS),
  };
}
