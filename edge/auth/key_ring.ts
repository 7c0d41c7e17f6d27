/** The API keys an edge knows: those of the keys bucket, kept up to date, so that a request waits for nobody. */
import { Kvm, type KvWatchEntry } from "@nats-io/kv";
import type { NatsConnection, QueuedIterator } from "@nats-io/nats-core";
import { ApiKey, apiKeyHash, decodeMessage, KEYS_BUCKET_CONFIG, type Logger, TesseraError } from "@tessera/shared";
import { sleep } from "../wait.ts";

const RETRY_MS = 1_000;

export class KeyRing {
  readonly #log: Logger;
  /** By hash. */
  readonly #keys = new Map<string, ApiKey>();
  #watching = new AbortController();
  readonly #listed = Promise.withResolvers<void>();
  #isListed = false;

  constructor(log: Logger) {
    this.#log = log;
  }

  /** Resolves when every key there is was heard of. */
  get listed(): Promise<void> {
    return this.#listed.promise;
  }

  get size(): number {
    return this.#keys.size;
  }

  /** Watches the bucket from now on, in place of any watch before. Returns at once. */
  attach(nc: NatsConnection): void {
    this.#watching.abort();
    this.#watching = new AbortController();
    void this.#keepWatching(nc, this.#watching.signal);
  }

  close(): void {
    this.#watching.abort();
  }

  /**
   * The key of a secret, looked up by its hash: how long that takes tells nothing of a secret. While the bus is away the
   * keys heard of before it went hold.
   * @throws TesseraError `invalid_api_key`; `no_worker` before the keys were read for the first time
   */
  async find(secret: string): Promise<ApiKey> {
    const hash = await apiKeyHash(secret);
    const key = this.#keys.get(hash);
    if (key === undefined) {
      if (this.#isListed) throw new TesseraError("invalid_api_key");
      throw new TesseraError("no_worker", { message: "The server cannot check API keys yet. Try again in a moment." });
    }
    if (key.revoked_ms !== null) throw refusal("was revoked");
    if (key.expires_ms !== null && key.expires_ms <= Date.now()) throw refusal("has expired");
    return key;
  }

  /** By its public name. */
  byId(id: string): ApiKey | undefined {
    return this.#keys.values().find((key) => key.id === id);
  }

  async #keepWatching(nc: NatsConnection, signal: AbortSignal): Promise<void> {
    while (!signal.aborted && !nc.isClosed()) {
      let watch: QueuedIterator<KvWatchEntry> | null = null;
      const stop = () => watch?.stop();
      signal.addEventListener("abort", stop);
      try {
        const bucket = await new Kvm(nc).create(KEYS_BUCKET_CONFIG.name, { ...KEYS_BUCKET_CONFIG.options });
        const heard = new Set<string>();
        watch = await bucket.watch();
        const isEmpty = (await bucket.status()).values === 0;
        if (isEmpty) this.#allHeard(heard);
        if (signal.aborted) stop();
        for await (const entry of watch) {
          this.#hear(entry);
          heard.add(entry.key);
          if (entry.delta === 0) this.#allHeard(heard);
        }
      } catch (error) {
        if (!signal.aborted) this.#log.warn("key_watch_failed", { error });
      }
      signal.removeEventListener("abort", stop);
      await sleep(RETRY_MS, signal);
    }
  }

  /** What is not in the bucket any more was deleted while nobody listened. */
  #allHeard(heard: ReadonlySet<string>): void {
    for (const hash of this.#keys.keys()) if (!heard.has(hash)) this.#keys.delete(hash);
    this.#isListed = true;
    this.#listed.resolve();
  }

  #hear(entry: KvWatchEntry): void {
    if (entry.operation !== "PUT") {
      this.#keys.delete(entry.key);
      return;
    }
    try {
      this.#keys.set(entry.key, decodeMessage(ApiKey, entry.value));
    } catch (error) {
      // Whatever it says now, it is not what it said before.
      this.#keys.delete(entry.key);
      this.#log.warn("api_key_unreadable", { error });
    }
  }
}

function refusal(what: string): TesseraError {
  return new TesseraError("invalid_api_key", { message: `The API key ${what}.` });
}
