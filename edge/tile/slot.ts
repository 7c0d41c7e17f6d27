// Owns one place for a worker: starting it, giving it a picture, the time limit, replacing it when it breaks.
import { TileError } from "./errors.ts";
import type { FromWorker, InitMessage, TileMessage, ToWorker, WorkerTimings } from "./protocol.ts";
import type { TiledImage } from "./types.ts";

export interface SlotResult {
  readonly image: Omit<TiledImage, "timings">;
  readonly timings: WorkerTimings;
}

/** What a slot tells its pool. */
export interface SlotEvents {
  /** The slot can take a picture. */
  onIdle(slot: Slot): void;
  /** A worker could not start; the slot tries again later. */
  onStartFailed(slot: Slot, error: TileError): void;
  onReplaced(): void;
}

export interface SlotOptions {
  /** Time limit of one picture, in ms. */
  readonly timeoutMs: number;
  /** How long a picture nobody wants any more may go on, in ms. */
  readonly abortGraceMs: number;
  /** A worker that holds more than this after a picture is started anew. */
  readonly maxIdleBytes: number;
}

interface Job {
  /** What its picture may take, in bytes. */
  readonly needBytes: number;
  readonly resolve: (result: SlotResult) => void;
  readonly reject: (error: TileError) => void;
  /** The time limit; a shorter one once the picture was abandoned. */
  timer: ReturnType<typeof setTimeout>;
}

/** Time a worker has to load, compile nothing and warm up. */
const START_LIMIT_MS = 30_000;
const FIRST_RETRY_MS = 100;
const LAST_RETRY_MS = 10_000;

export class Slot {
  readonly #init: InitMessage;
  readonly #spawn: () => Worker;
  readonly #options: SlotOptions;
  readonly #events: SlotEvents;
  #state: "starting" | "idle" | "running" | "failed" | "closed" = "starting";
  #worker: Worker | undefined;
  #job: Job | undefined;
  /** While starting: the start's limit. While failed: the wait before the next try. */
  #startTimer: ReturnType<typeof setTimeout> | undefined;
  #retryMs = FIRST_RETRY_MS;
  /** WASM memory of the worker when it was fresh, and now. */
  #freshBytes = 0;
  #memoryBytes = 0;

  constructor(init: InitMessage, spawn: () => Worker, options: SlotOptions, events: SlotEvents) {
    this.#init = init;
    this.#spawn = spawn;
    this.#options = options;
    this.#events = events;
  }

  get state(): "starting" | "idle" | "running" | "failed" | "closed" {
    return this.#state;
  }

  get isIdle(): boolean {
    return this.#state === "idle";
  }

  /** WASM memory the worker holds beyond that of a fresh one, as of its last answer. */
  get memoryBytes(): number {
    return this.#memoryBytes - this.#freshBytes;
  }

  get reservedBytes(): number {
    return this.#job?.needBytes ?? 0;
  }

  /** Starts a worker; ends in `onIdle` or `onStartFailed`. */
  start(): void {
    this.#state = "starting";
    this.#startTimer = setTimeout(() => this.#startFailed("the worker did not start in time"), START_LIMIT_MS);
    try {
      const worker = this.#spawn();
      this.#worker = worker;
      // A worker that was let go of may still speak; only the current one is heard.
      worker.onmessage = ({ data }: MessageEvent<FromWorker>) => {
        if (worker === this.#worker) this.#heard(data);
      };
      worker.onmessageerror = () => worker === this.#worker && this.#broke("a message could not be read");
      worker.onerror = (event) => {
        event.preventDefault();
        if (worker === this.#worker) this.#broke(event.message);
      };
      this.#post(this.#init);
    } catch (error) {
      this.#startFailed(String(error));
    }
  }

  /** Only when idle. Takes the picture's bytes with it. */
  run(message: TileMessage, needBytes: number): Promise<SlotResult> {
    return new Promise((resolve, reject) => {
      this.#state = "running";
      const { timeoutMs } = this.#options;
      const timer = this.#endIn(timeoutMs, () => new TileError("timeout", `no answer in ${timeoutMs} ms`));
      this.#job = { needBytes, resolve, reject, timer };
      try {
        this.#post(message, [message.bytes.buffer]);
      } catch (cause) {
        // The caller gave the buffer away while the picture waited, or it is of a kind that cannot be transferred.
        this.#settle()?.reject(new TileError("decoder_failed", "the bytes cannot be sent to a worker", { cause }));
        this.#idle();
      }
    });
  }

  /**
   * Nobody waits for the running picture any more. A worker cannot be interrupted, and a new one costs about as much as
   * a small picture: so it gets a little time to end by itself, then its worker is replaced.
   */
  abandon(): void {
    if (this.#job === undefined) return;
    clearTimeout(this.#job.timer);
    this.#job.timer = this.#endIn(this.#options.abortGraceMs, () => new TileError("aborted"));
  }

  /** Only when idle: a new worker in place of this one, which gives its memory back. */
  renew(): void {
    this.#dropWorker();
    this.start();
  }

  close(): void {
    this.#state = "closed";
    clearTimeout(this.#startTimer);
    this.#dropWorker();
    this.#settle()?.reject(new TileError("closed"));
  }

  /** Ends the running picture and its worker after a while. */
  #endIn(ms: number, error: () => TileError): ReturnType<typeof setTimeout> {
    return setTimeout(() => {
      this.#settle()?.reject(error());
      this.#replace();
    }, ms);
  }

  #post(message: ToWorker, transfer: Transferable[] = []): void {
    this.#worker?.postMessage(message, transfer);
  }

  #heard(message: FromWorker): void {
    this.#memoryBytes = message.memoryBytes;
    if (message.kind === "ready") {
      this.#freshBytes = message.memoryBytes;
      clearTimeout(this.#startTimer);
      this.#retryMs = FIRST_RETRY_MS;
      this.#idle();
      return;
    }
    const job = this.#settle();
    if (message.kind === "tiled") job?.resolve({ image: message.image, timings: message.timings });
    else job?.reject(new TileError(message.reason, message.detail));
    if (message.kind === "failed" && message.broken) this.#replace();
    // Dropping the instance alone would leave the memory to the garbage collector, which is in no hurry.
    else if (message.memoryBytes > this.#options.maxIdleBytes) this.renew();
    else this.#idle();
  }

  /** The worker is lost: an uncaught error, or it speaks no sense. */
  #broke(detail: string): void {
    if (this.#state === "starting") return this.#startFailed(detail);
    this.#settle()?.reject(new TileError("decoder_failed", detail));
    this.#replace();
  }

  #idle(): void {
    this.#state = "idle";
    this.#events.onIdle(this);
  }

  #replace(): void {
    this.#dropWorker();
    if (this.#state === "closed") return;
    this.#events.onReplaced();
    this.start();
  }

  #startFailed(detail: string): void {
    clearTimeout(this.#startTimer);
    this.#dropWorker();
    this.#state = "failed";
    this.#startTimer = setTimeout(() => this.start(), this.#retryMs);
    this.#retryMs = Math.min(this.#retryMs * 2, LAST_RETRY_MS);
    this.#events.onStartFailed(this, new TileError("decoder_failed", `a worker cannot start: ${detail}`));
  }

  #settle(): Job | undefined {
    const job = this.#job;
    this.#job = undefined;
    clearTimeout(job?.timer);
    return job;
  }

  #dropWorker(): void {
    this.#worker?.terminate();
    this.#worker = undefined;
    this.#memoryBytes = this.#freshBytes;
  }
}
