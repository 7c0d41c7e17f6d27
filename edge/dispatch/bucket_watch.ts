/** Follows a KV bucket through reconnections: every entry there is, then every change, until closed. */
import { Kvm, type KvOptions, type KvWatchEntry } from "@nats-io/kv";
import type { NatsConnection, QueuedIterator } from "@nats-io/nats-core";
import { BUS_RETRY_MS } from "@tessera/shared";
import { sleep } from "../wait.ts";

export interface BucketWatchOptions {
  readonly bucket: { readonly name: string; readonly options: Readonly<Partial<KvOptions>> };
  readonly onEntry: (entry: KvWatchEntry) => void;
  /** All entries of the bucket were heard, by these names; again after each later one. */
  readonly onListed?: (names: ReadonlySet<string>) => void;
  /** The watch broke; it is begun anew. */
  readonly onFault: (error: unknown) => void;
}

export class BucketWatch {
  readonly #options: BucketWatchOptions;
  /** Ends the watch of the connection before. */
  #watching = new AbortController();

  constructor(options: BucketWatchOptions) {
    this.#options = options;
  }

  /** Watches from now on, in place of any watch before. Returns at once. */
  attach(nc: NatsConnection): void {
    this.#watching.abort();
    this.#watching = new AbortController();
    void this.#keepWatching(nc, this.#watching.signal);
  }

  close(): void {
    this.#watching.abort();
  }

  async #keepWatching(nc: NatsConnection, signal: AbortSignal): Promise<void> {
    const { bucket: { name, options }, onEntry, onListed, onFault } = this.#options;
    while (!signal.aborted && !nc.isClosed()) {
      let watch: QueuedIterator<KvWatchEntry> | null = null;
      const stop = () => watch?.stop();
      signal.addEventListener("abort", stop);
      try {
        const bucket = await new Kvm(nc).create(name, { ...options });
        const names = new Set<string>();
        watch = await bucket.watch();
        if (onListed !== undefined && (await bucket.status()).values === 0) onListed(names);
        if (signal.aborted) stop();
        for await (const entry of watch) {
          onEntry(entry);
          if (onListed === undefined) continue;
          names.add(entry.key);
          if (entry.delta === 0) onListed(names);
        }
      } catch (error) {
        if (!signal.aborted) onFault(error);
      }
      signal.removeEventListener("abort", stop);
      await sleep(BUS_RETRY_MS, signal);
    }
  }
}
