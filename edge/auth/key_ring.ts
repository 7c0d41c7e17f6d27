/** The API keys an edge knows: those of the keys bucket, kept up to date, so that a request waits for nobody. */
import type { KvWatchEntry } from "@nats-io/kv";
import type { NatsConnection } from "@nats-io/nats-core";
import { ApiKey, apiKeyHash, decodeMessage, KEYS_BUCKET_CONFIG, type Logger, TesseraError } from "@tessera/shared";
import { BucketWatch } from "../dispatch/bucket_watch.ts";

export class KeyRing {
  readonly #log: Logger;
  /** By hash. */
  readonly #keys = new Map<string, ApiKey>();
  readonly #watch: BucketWatch;
  readonly #listed = Promise.withResolvers<void>();
  #isListed = false;

  constructor(log: Logger) {
    this.#log = log;
    this.#watch = new BucketWatch({
      bucket: KEYS_BUCKET_CONFIG,
      onEntry: (entry) => this.#hear(entry),
      onListed: (hashes) => this.#allHeard(hashes),
      onFault: (error) => log.warn("key_watch_failed", { error }),
    });
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
    this.#watch.attach(nc);
  }

  close(): void {
    this.#watch.close();
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
