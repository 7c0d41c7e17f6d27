// Owns the pool: the bounded queue of pictures and the workers that tile them.
import { TileError } from "./errors.ts";
import { Inspector } from "./inspector.ts";
import { type CheckedOptions, type CheckedPoolOptions, checkPoolOptions, checkTileOptions } from "./options.ts";
import { Slot, type SlotResult } from "./slot.ts";
import { loadTilerModule } from "./tiler.ts";
import type { ImageInspection, TiledImage, TileOptions, TilePool, TilePoolOptions, TilePoolStats } from "./types.ts";

/** What tests may put in place of the real parts. */
export interface PoolParts {
  readonly spawn: () => Worker;
  readonly loadModule: () => Promise<WebAssembly.Module>;
}

const REAL_PARTS: PoolParts = {
  spawn: () => new Worker(new URL("./worker.ts", import.meta.url), { type: "module", name: "tile" }),
  loadModule: loadTilerModule,
};

/** A picture that waits for a worker. */
interface Waiting {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly options: CheckedOptions;
  readonly since: number;
  readonly resolve: (image: TiledImage) => void;
  readonly reject: (error: unknown) => void;
}

export function createTilePool(options: TilePoolOptions = {}): TilePool {
  return new Pool(checkPoolOptions(options), REAL_PARTS);
}

export class Pool implements TilePool {
  readonly ready: Promise<void>;
  readonly #ready = Promise.withResolvers<void>();
  readonly #options: CheckedPoolOptions;
  readonly #module: Promise<WebAssembly.Module>;
  readonly #inspector: Inspector;
  readonly #queue: Waiting[] = [];
  #slots: Slot[] = [];
  #queuedBytes = 0;
  #running = 0;
  #replaced = 0;
  /** Why no picture can be taken any more: closed, or the WASM cannot be loaded. */
  #over: TileError | undefined;

  constructor(options: CheckedPoolOptions, parts: PoolParts) {
    this.#options = options;
    this.#module = parts.loadModule();
    this.#inspector = new Inspector(options.limits);
    this.ready = this.#ready.promise;
    // Every picture hears of a failed start too, so nobody has to listen here.
    this.ready.catch(() => {});
    this.#start(parts);
  }

  get stats(): TilePoolStats {
    return {
      workers: this.#options.workers,
      running: this.#running,
      queued: this.#queue.length,
      replaced: this.#replaced,
    };
  }

  tileImage(bytes: Uint8Array, options: TileOptions, signal?: AbortSignal): Promise<TiledImage> {
    return new Promise((resolve, reject) => {
      const checked = checkTileOptions(options);
      if (this.#over !== undefined) throw this.#over;
      if (signal?.aborted) throw new TileError("aborted");
      if (bytes.length === 0) throw new TileError("empty");
      const idle = this.#slots.some((slot) => slot.state === "idle");
      const full = this.#queue.length >= this.#options.maxQueue ||
        this.#queuedBytes + bytes.length > this.#options.maxQueuedBytes;
      if (!idle && full) throw new TileError("busy", `${this.#queue.length} images wait`);

      const onAbort = () => {
        this.#unqueue(waiting);
        waiting.reject(new TileError("aborted"));
      };
      const settled = () => signal?.removeEventListener("abort", onAbort);
      const waiting: Waiting = {
        bytes: owned(bytes),
        options: checked,
        since: performance.now(),
        resolve: (image) => (settled(), resolve(image)),
        reject: (error) => (settled(), reject(error)),
      };
      signal?.addEventListener("abort", onAbort);
      this.#queue.push(waiting);
      this.#queuedBytes += waiting.bytes.length;
      this.#dispatch();
    });
  }

  async inspectImage(bytes: Uint8Array, options: TileOptions): Promise<ImageInspection> {
    const checked = checkTileOptions(options);
    return this.#inspector.inspect(await this.#module, bytes, checked);
  }

  close(): Promise<void> {
    this.#end(new TileError("closed"));
    return Promise.resolve();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #start(parts: PoolParts): Promise<void> {
    const { workers, limits, maxIdleBytes, timeoutMs } = this.#options;
    let module: WebAssembly.Module;
    try {
      module = await this.#module;
    } catch (cause) {
      return this.#end(new TileError("decoder_failed", "the WASM cannot be loaded", { cause }));
    }
    if (this.#over !== undefined) return;
    let warm = 0;
    const events = {
      onIdle: () => {
        if (++warm === workers) this.#ready.resolve();
        this.#dispatch();
      },
      onStartFailed: (_: Slot, error: TileError) => {
        this.#ready.reject(error);
        // Pictures wait for a worker that may come, but not when none is alive.
        if (this.#slots.every((slot) => slot.state === "failed")) this.#rejectQueue(error);
      },
      onReplaced: () => this.#replaced++,
    };
    const init = { kind: "init" as const, module, limits, maxIdleBytes };
    this.#slots = Array.from({ length: workers }, () => new Slot(init, parts.spawn, timeoutMs, events));
    for (const slot of this.#slots) slot.start();
  }

  #end(error: TileError): void {
    this.#over ??= error;
    for (const slot of this.#slots) slot.close();
    this.#rejectQueue(error);
    this.#ready.reject(error);
  }

  /** Gives waiting pictures to idle workers, oldest first. */
  #dispatch(): void {
    for (const slot of this.#slots) {
      const waiting = slot.state === "idle" ? this.#queue[0] : undefined;
      if (waiting === undefined) continue;
      this.#unqueue(waiting);
      this.#run(slot, waiting);
    }
  }

  async #run(slot: Slot, { bytes, options, since, resolve, reject }: Waiting): Promise<void> {
    const queueMs = performance.now() - since;
    this.#running++;
    try {
      const { image, timings }: SlotResult = await slot.run({ kind: "tile", bytes, options });
      resolve({ ...image, timings: { ...timings, queueMs } });
    } catch (error) {
      reject(error);
    } finally {
      this.#running--;
    }
  }

  #unqueue(waiting: Waiting): void {
    const index = this.#queue.indexOf(waiting);
    if (index < 0) return;
    this.#queue.splice(index, 1);
    this.#queuedBytes -= waiting.bytes.length;
  }

  #rejectQueue(error: unknown): void {
    for (const waiting of [...this.#queue]) {
      this.#unqueue(waiting);
      waiting.reject(error);
    }
  }
}

/** The bytes with a buffer of their own, which can be transferred: themselves if they have one, else a copy. */
function owned(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const { buffer } = bytes;
  const whole = buffer instanceof ArrayBuffer && bytes.length === buffer.byteLength;
  return whole ? bytes as Uint8Array<ArrayBuffer> : new Uint8Array(bytes);
}
