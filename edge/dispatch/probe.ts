/** Asks whether someone on the bus still lives: nobody listening on its subject means that it is gone. */
import { type NatsConnection, NoRespondersError, RequestError } from "@nats-io/nats-core";
import { PROBE_TIMEOUT_MS } from "@tessera/shared";

export class Prober {
  /** Subjects asked and not yet answered. */
  readonly #asking = new Set<string>();

  /** Calls back when nobody listens. One question a subject at a time; no answer in time says nothing. */
  async ask(nc: NatsConnection, subject: string, onGone: () => void): Promise<void> {
    if (this.#asking.has(subject)) return;
    this.#asking.add(subject);
    try {
      await nc.request(subject, "", { timeout: PROBE_TIMEOUT_MS });
    } catch (error) {
      if (hasNoResponders(error)) onGone();
    } finally {
      this.#asking.delete(subject);
    }
  }
}

/** Whether a request failed because nobody listens on its subject. */
export function hasNoResponders(error: unknown): boolean {
  return error instanceof NoRespondersError ||
    (error instanceof RequestError && (error.isNoResponders() || error.cause instanceof NoRespondersError));
}
