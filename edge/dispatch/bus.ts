/** The connection to NATS: made in the background, kept for ever, announced to whoever needs it each time it is up. */
import { credsAuthenticator, type NatsConnection, wsconnect } from "@nats-io/nats-core";
import { connect } from "@nats-io/transport-node";
import {
  BUS_CLOSE_TIMEOUT_MS,
  BUS_CONNECT_TIMEOUT_MS,
  BUS_RETRY_MS,
  connectByScheme,
  type Logger,
  type NatsAccess,
  NO_NATS_ACCESS,
  openSocket,
  TesseraError,
} from "@tessera/shared";
import { sleep, within } from "../wait.ts";

/** Called at the first connection and after every reconnection; `isNew` when subscriptions have to be made. */
export type UpHandler = (nc: NatsConnection, isNew: boolean) => Promise<void> | void;

export interface BusOptions {
  /** Comma separated, checked by parseServers. */
  readonly url: string;
  readonly access?: NatsAccess;
  /** Shown on the server's monitoring pages. */
  readonly name: string;
  readonly log: Logger;
}

export class Bus {
  readonly #options: BusOptions;
  readonly #handlers: UpHandler[] = [];
  #nc: NatsConnection | null = null;
  #isUp = false;
  readonly #closing = new AbortController();
  #loop: Promise<void> = Promise.resolve();

  constructor(options: BusOptions) {
    this.#options = options;
  }

  /** True while the server answers. */
  get isConnected(): boolean {
    return this.#isUp;
  }

  /**
   * The connection.
   * @throws TesseraError `no_worker` while there is none
   */
  get connection(): NatsConnection {
    if (this.#nc === null || !this.#isUp) {
      throw new TesseraError("no_worker", {
        message: "The server cannot reach its workers now. Try again in a moment.",
        diagnostic: "No connection to NATS",
      });
    }
    return this.#nc;
  }

  /** Largest message the server takes, in bytes. */
  get maxPayload(): number {
    return this.#nc?.info?.max_payload ?? 1024 * 1024;
  }

  /** Registers a handler; before `start`. */
  onUp(handler: UpHandler): void {
    this.#handlers.push(handler);
  }

  /** Begins to connect and returns at once. */
  start(): void {
    this.#loop = this.#run();
  }

  /** Sends what is pending and disconnects; a server out of reach is not waited for. */
  async close(): Promise<void> {
    const wasUp = this.#isUp;
    this.#isUp = false;
    this.#closing.abort();
    const nc = this.#nc;
    if (nc !== null && !nc.isClosed()) {
      if (wasUp) await within(nc.drain(), BUS_CLOSE_TIMEOUT_MS);
      // While it reconnects the client may never report that it closed.
      if (!nc.isClosed()) await within(nc.close(), BUS_CLOSE_TIMEOUT_MS / 4);
    }
    await within(this.#loop, BUS_CLOSE_TIMEOUT_MS / 4);
  }

  async #run(): Promise<void> {
    while (!this.#closing.signal.aborted) {
      try {
        const nc = await this.#connect();
        this.#nc = nc;
        if (this.#closing.signal.aborted) await nc.close();
        this.#watchStatus(nc).catch((error) => this.#options.log.error("bus_status_failed", { error }));
        this.#announce(nc, true);
        const error = await nc.closed();
        this.#isUp = false;
        if (!this.#closing.signal.aborted) this.#options.log.warn("bus_closed", { error });
      } catch (error) {
        this.#options.log.warn("bus_connect_failed", { error });
      }
      await sleep(BUS_RETRY_MS, this.#closing.signal);
    }
  }

  #connect(): Promise<NatsConnection> {
    const { url, name, access = NO_NATS_ACCESS } = this.#options;
    // The client library keeps one transport per process, that of the newest connection.
    return connectByScheme({ connect, wsconnect, credsAuthenticator, openSocket }, url, access, {
      name,
      maxReconnectAttempts: -1,
      ignoreAuthErrorAbort: true,
      reconnectTimeWait: BUS_RETRY_MS,
      timeout: BUS_CONNECT_TIMEOUT_MS,
      pingInterval: 10_000,
      maxPingOut: 2,
    });
  }

  async #watchStatus(nc: NatsConnection): Promise<void> {
    for await (const status of nc.status()) {
      if (status.type === "disconnect") {
        this.#isUp = false;
        this.#options.log.warn("bus_disconnected", { server: status.server });
      } else if (status.type === "reconnect") {
        this.#announce(nc, false);
      } else if (status.type === "error" || status.type === "slowConsumer") {
        this.#options.log.warn(`bus_${status.type}`, { error: status.type === "error" ? status.error : null });
      }
    }
  }

  #announce(nc: NatsConnection, isNew: boolean): void {
    this.#isUp = true;
    this.#options.log.info("bus_connected", { server: nc.getServer() });
    for (const handler of this.#handlers) {
      Promise.resolve().then(() => handler(nc, isNew)).catch((error) => {
        if (!this.#closing.signal.aborted) this.#options.log.error("bus_setup_failed", { error });
      });
    }
  }
}
