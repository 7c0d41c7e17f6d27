/** Forgets what is too old, now and then, whoever looks or not. Several edges may do so at once. */
import { type Logger, SWEEP_RECORDS_MS } from "@tessera/shared";
import type { Bus } from "../dispatch/bus.ts";
import { sleep } from "../wait.ts";

/** What has old records. */
export interface Sweepable {
  sweep(): Promise<unknown>;
}

export class Sweeper {
  readonly #closing = new AbortController();
  readonly #ended: Promise<void>;

  constructor(bus: Bus, log: Logger, stores: readonly Sweepable[], everyMs: number = SWEEP_RECORDS_MS) {
    this.#ended = this.#run(bus, log, stores, everyMs);
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#ended;
  }

  async #run(bus: Bus, log: Logger, stores: readonly Sweepable[], everyMs: number): Promise<void> {
    const { signal } = this.#closing;
    for (;;) {
      // Edges that started together do not sweep together.
      await sleep(everyMs * (0.5 + Math.random()), signal);
      if (signal.aborted) return;
      if (!bus.isConnected) continue;
      for (const store of stores) await store.sweep().catch((error) => log.warn("sweep_failed", { error }));
    }
  }
}
