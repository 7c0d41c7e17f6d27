/** What has to be opened on the bus once for each connection: streams, buckets, consumers. */
import type { NatsConnection } from "@nats-io/nats-core";
import { TesseraError } from "@tessera/shared";
import type { Bus } from "./bus.ts";

export class PerConnection<T> {
  readonly #bus: Bus;
  readonly #open: (nc: NatsConnection) => Promise<T>;
  #opened: { readonly nc: NatsConnection; readonly value: Promise<T> } | null = null;

  constructor(bus: Bus, open: (nc: NatsConnection) => Promise<T>) {
    this.#bus = bus;
    this.#open = open;
  }

  /** @throws TesseraError `no_worker` without a bus, or where it could not be opened; the next one tries again */
  async get(): Promise<T> {
    const nc = this.#bus.connection;
    if (this.#opened?.nc !== nc) this.#opened = { nc, value: this.#open(nc) };
    try {
      return await this.#opened.value;
    } catch (cause) {
      this.#opened = null;
      throw noStorage("Cannot open what is kept on the bus", cause);
    }
  }
}

/** What a caller is told where streams or buckets do not answer, or take nothing. */
export function noStorage(diagnostic: string, cause: unknown): TesseraError {
  return new TesseraError("no_worker", {
    message: "The server's storage is not available now. Try again in a moment.",
    diagnostic,
    cause,
  });
}
