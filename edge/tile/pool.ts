// Owns the pool: the bounded queue of pictures, the memory they reserve, and the workers that tile them.
import { heldBytes, place } from "./budget.ts";
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
  /** WASM memory it takes; undefined until its header was read. */
  needBytes: number | undefined;
  /** Where it runs. */
  slot: Slot | undefined;
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
  /** The module once it is loaded; workers start after that. */
  #loaded: WebAssembly.Module | undefined;
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
      memoryBytes: heldBytes(this.#slots),
    };
  }

  tileImage(
    bytes: Uint8Array,
    options: TileOptions,
    signal?: AbortSignal,
    inspection?: ImageInspection,
  ): Promise<TiledImage> {
    return new Promise((resolve, reject) => {
      const checked = checkTileOptions(options);
      if (this.#over !== undefined) throw this.#over;
      if (signal?.aborted) throw new TileError("aborted");
      if (bytes.length === 0) throw new TileError("empty");
      if (inspection !== undefined) this.#checkMemory(inspection);

      const onAbort = () => {
        this.#unqueue(waiting);
        waiting.slot?.abandon();
        waiting.reject(new TileError("aborted"));
      };
      const settled = () => signal?.removeEventListener("abort", onAbort);
      const waiting: Waiting = {
        bytes: owned(bytes),
        options: checked,
        needBytes: inspection?.needBytes,
        slot: undefined,
        since: performance.now(),
        resolve: (image) => (settled(), resolve(image)),
        reject: (error) => (settled(), reject(error)),
      };
      signal?.addEventListener("abort", onAbort);
      this.#queue.push(waiting);
      this.#queuedBytes += waiting.bytes.length;
      this.#dispatch();
      const { maxQueue, maxQueuedBytes } = this.#options;
      if (this.#queue.length <= maxQueue && this.#queuedBytes <= maxQueuedBytes) return;
      // Full before this one came; unless it found a worker at once, it has to go.
      if (!this.#unqueue(waiting)) return;
      waiting.reject(new TileError("busy", `${this.#queue.length} images wait`));
    });
  }

  async inspectImage(bytes: Uint8Array, options: TileOptions, fileLength?: number): Promise<ImageInspection> {
    const checked = checkTileOptions(options);
    const inspection = this.#inspector.inspect(await this.#module, bytes, checked, fileLength);
    this.#checkMemory(inspection);
    return inspection;
  }

  close(): Promise<void> {
    this.#end(new TileError("closed"));
    return Promise.resolve();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #start(parts: PoolParts): Promise<void> {
    const { workers, limits } = this.#options;
    let module: WebAssembly.Module;
    try {
      module = await this.#module;
    } catch (cause) {
      return this.#end(new TileError("decoder_failed", "the WASM cannot be loaded", { cause }));
    }
    if (this.#over !== undefined) return;
    this.#loaded = module;
    const warm = new Set<Slot>();
    const events = {
      onIdle: (slot: Slot) => {
        if (warm.add(slot).size === workers) this.#ready.resolve();
        this.#dispatch();
      },
      onStartFailed: (_: Slot, error: TileError) => {
        this.#ready.reject(error);
        // Pictures wait for a worker that may come, but not when none is alive.
        if (this.#slots.every((slot) => slot.state === "failed")) this.#rejectQueue(error);
      },
      onReplaced: () => this.#replaced++,
    };
    const init = { kind: "init" as const, module, limits };
    this.#slots = Array.from({ length: workers }, () => new Slot(init, parts.spawn, this.#options, events));
    for (const slot of this.#slots) slot.start();
  }

  #end(error: TileError): void {
    this.#over ??= error;
    for (const slot of this.#slots) slot.close();
    this.#rejectQueue(error);
    this.#ready.reject(error);
  }

  /**
   * Gives waiting pictures to idle workers, oldest first. Nobody overtakes a picture that waits for memory: else large
   * ones would wait forever.
   */
  #dispatch(): void {
    for (let waiting = this.#queue[0]; waiting !== undefined; waiting = this.#queue[0]) {
      if (!this.#slots.some((slot) => slot.isIdle)) return;
      let needBytes: number;
      try {
        needBytes = waiting.needBytes ??= this.#inspectWaiting(waiting).needBytes;
      } catch (error) {
        this.#unqueue(waiting);
        waiting.reject(error);
        continue;
      }
      const placement = place(this.#slots, needBytes, this.#options.maxMemoryBytes);
      placement?.renew.forEach((slot) => slot.renew());
      if (placement?.worker === undefined) return;
      this.#unqueue(waiting);
      this.#run(placement.worker, waiting, needBytes);
    }
  }

  /** Only with an idle worker, so the module is there. */
  #inspectWaiting({ bytes, options }: Waiting): ImageInspection {
    const inspection = this.#inspector.inspect(this.#loaded!, bytes, options);
    this.#checkMemory(inspection);
    return inspection;
  }

  #checkMemory({ needBytes }: ImageInspection): void {
    const maxBytes = this.#options.maxMemoryBytes;
    if (needBytes <= maxBytes) return;
    const memory = { needBytes, maxBytes };
    throw new TileError("too_much_memory", `${needBytes} bytes, expected ${maxBytes} at most`, { memory });
  }

  async #run(slot: Slot, waiting: Waiting, needBytes: number): Promise<void> {
    const { bytes, options, since, resolve, reject } = waiting;
    const queueMs = performance.now() - since;
    this.#running++;
    waiting.slot = slot;
    try {
      const { image, timings }: SlotResult = await slot.run({ kind: "tile", bytes, options }, needBytes);
      resolve({ ...image, timings: { ...timings, queueMs } });
    } catch (error) {
      reject(error);
    } finally {
      waiting.slot = undefined;
      this.#running--;
    }
  }

  /** Whether it was there. */
  #unqueue(waiting: Waiting): boolean {
    const index = this.#queue.indexOf(waiting);
    if (index < 0) return false;
    this.#queue.splice(index, 1);
    this.#queuedBytes -= waiting.bytes.length;
    return true;
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
