/** What became of each request of a running batch, kept by its line until the output files are written. */
import { jetstream, JetStreamApiError, type JetStreamManager, jetstreamManager } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/nats-core";
import {
  BATCH_RESULTS_STREAM,
  BATCH_RESULTS_STREAM_CONFIG,
  batchResultsOf,
  batchResultSubject,
  encodeMessage,
  ensureStream,
  PUBLISH_TIMEOUT_MS,
} from "@tessera/shared";
import type { Bus } from "../dispatch/bus.ts";
import { PerConnection } from "../dispatch/per_connection.ts";

const NO_MESSAGE = 10037;

/** A line of the output or error file, as OpenAI's. */
export interface BatchResult {
  readonly id: string;
  readonly custom_id: string;
  readonly response: { readonly status_code: number; readonly request_id: string; readonly body: unknown } | null;
  readonly error: { readonly code: string; readonly message: string } | null;
}

export function isSuccess({ response }: Pick<BatchResult, "response">): boolean {
  return response?.status_code === 200;
}

export class BatchResults {
  readonly #bus: Bus;
  readonly #opened: PerConnection<{ readonly nc: NatsConnection; readonly manager: JetStreamManager }>;

  constructor(bus: Bus) {
    this.#bus = bus;
    this.#opened = new PerConnection(bus, async (nc) => {
      const manager = await jetstreamManager(nc, { checkAPI: false });
      await ensureStream(manager, BATCH_RESULTS_STREAM_CONFIG);
      return { nc, manager };
    });
  }

  /** The same line twice is kept once. @throws TesseraError `request_too_large` */
  async put(batchId: string, line: number, result: BatchResult): Promise<void> {
    const { nc } = await this.#opened.get();
    const bytes = encodeMessage(result, this.#bus.maxPayload);
    const subject = batchResultSubject(batchId, isSuccess(result) ? "ok" : "failed", line);
    await jetstream(nc).publish(subject, bytes, { timeout: PUBLISH_TIMEOUT_MS });
  }

  /** Lines there is a result of, and whether it is one of those that went well. */
  async lines(batchId: string): Promise<Map<number, boolean>> {
    const { manager } = await this.#opened.get();
    const { state } = await manager.streams.info(BATCH_RESULTS_STREAM, { subjects_filter: batchResultsOf(batchId) });
    return new Map(
      Object.keys(state.subjects ?? {}).map((subject) => {
        const [outcome, line] = subject.split(".").slice(-2);
        return [Number(line), outcome === "ok"] as const;
      }).sort(([a], [b]) => a - b),
    );
  }

  /** A result as a line of a file; null when there is none. */
  async read(batchId: string, line: number, isOk: boolean): Promise<Uint8Array | null> {
    const { manager } = await this.#opened.get();
    const subject = batchResultSubject(batchId, isOk ? "ok" : "failed", line);
    try {
      return (await manager.direct.getMessage(BATCH_RESULTS_STREAM, { last_by_subj: subject }))?.data ?? null;
    } catch (error) {
      if (error instanceof JetStreamApiError && error.code === NO_MESSAGE) return null;
      throw error;
    }
  }

  async drop(batchId: string): Promise<void> {
    const { manager } = await this.#opened.get();
    await manager.streams.purge(BATCH_RESULTS_STREAM, { filter: batchResultsOf(batchId) });
  }
}
