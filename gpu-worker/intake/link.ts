/** Owns the knowledge of whether the connection to NATS is up, and tells who cares when it is up again. */
import type { NatsConnection } from "@nats-io/nats-core";
import type { Logger } from "@tessera/shared";

export class Link {
  readonly #nc: NatsConnection;
  readonly #onReconnect: () => void;
  readonly #log: Logger;
  #up = Promise.withResolvers<void>();
  #isUp = true;

  constructor(nc: NatsConnection, onReconnect: () => void, log: Logger) {
    this.#nc = nc;
    this.#onReconnect = onReconnect;
    this.#log = log;
    this.#up.resolve();
    void this.#watch();
  }

  get isUp(): boolean {
    return this.#isUp;
  }

  /** Resolves when the connection is up, or closed for good. */
  async whenUp(): Promise<void> {
    if (!this.#nc.isClosed()) await this.#up.promise;
  }

  async #watch(): Promise<void> {
    for await (const status of this.#nc.status()) {
      if (status.type === "disconnect") {
        this.#log.warn("nats_disconnected", { server: status.server });
        if (this.#isUp) this.#up = Promise.withResolvers<void>();
        this.#isUp = false;
      } else if (status.type === "reconnect") {
        this.#log.info("nats_reconnected", { server: status.server });
        this.#isUp = true;
        this.#up.resolve();
        this.#onReconnect();
      } else if (status.type === "error") {
        this.#log.warn("nats_error", { error: status.error });
      }
    }
    this.#isUp = false;
    this.#up.resolve();
  }
}
