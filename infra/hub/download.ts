/** One file from the hub: goes on where it broke off, checks size and hash, appears under its name only when whole. */
import { createHash, type Hash } from "node:crypto";
import { PULL_MAX_PAUSE_MS, PULL_MAX_TRIES, PULL_STALL_MS } from "@tessera/shared";
import type { FileHash, RemoteFile } from "./listing.ts";
import { type Hub, HubError, hubRequest, PassingHubError, reasonOf } from "./request.ts";

export interface DownloadOptions {
  readonly hub: Hub;
  readonly url: string;
  readonly file: RemoteFile;
  /** Where the file goes when it is whole. */
  readonly target: string;
  /** Where it grows; kept when the download ends early. */
  readonly part: string;
  readonly signal: AbortSignal;
  /** Bytes more (or, when it starts over, fewer) than before. */
  readonly onBytes: (delta: number) => void;
  /** A try failed and another follows. */
  readonly onRetry: (reason: string, pauseMs: number) => void;
  /** Shorter in tests. */
  readonly waits?: { readonly stallMs?: number; readonly firstPauseMs?: number };
}

/** The server's bytes are not those the hub lists. */
class WrongContent extends HubError {}

/** @throws HubError when the file cannot be had; the abort reason of `signal`; what was received is kept in `part` */
export async function downloadFile(options: DownloadOptions): Promise<void> {
  const download = new Download(options);
  try {
    for (let isSecond = false;; isSecond = true) {
      await download.open();
      try {
        return await download.finish();
      } catch (error) {
        if (!(error instanceof WrongContent)) throw error;
        await download.discard();
        // What came in pieces may be of two versions: once more from the start. Twice wrong is the server's fault.
        if (isSecond || !download.isPatched) throw error;
      }
    }
  } finally {
    download.close();
  }
}

class Download {
  readonly #o: DownloadOptions;
  #out: Deno.FsFile | null = null;
  #hash: Hash;
  #size = 0;
  /** The most bytes there ever were: a try that gets no further brought nothing. */
  #furthest = 0;
  #etag: string | null = null;
  /** Whether what is there came in several pieces. */
  isPatched = false;

  constructor(options: DownloadOptions) {
    this.#o = options;
    this.#hash = newHash(options.file);
  }

  /** Opens the part and takes in what an earlier run left of it. */
  async open(): Promise<void> {
    const { part, file, onBytes } = this.#o;
    this.#out ??= await Deno.open(part, { create: true, read: true, write: true });
    await this.#out.seek(0, Deno.SeekMode.Start);
    const buffer = new Uint8Array(1 << 20);
    for (let read = await this.#out.read(buffer); read !== null; read = await this.#out.read(buffer)) {
      this.#o.signal.throwIfAborted();
      this.#hash.update(buffer.subarray(0, read));
      this.#size += read;
      onBytes(read);
    }
    this.isPatched = this.#size > 0;
    this.#furthest = this.#size;
    if (this.#size > file.size) await this.#startOver();
  }

  /** Fetches what is missing, checks, renames. */
  async finish(): Promise<void> {
    const { file, target, part } = this.#o;
    await this.#fetchAll();
    const found = this.#hash.copy().digest("hex");
    if (found !== file.hash.hex) {
      throw new WrongContent(
        `Cannot download ${file.path}: its ${hashName(file.hash)} is ${found}, the hub lists ${file.hash.hex}. ` +
          "The server or something before it changes the content.",
      );
    }
    await this.#out!.syncData();
    this.close();
    await Deno.rename(part, target);
  }

  async discard(): Promise<void> {
    await this.#startOver();
    this.#furthest = 0;
  }

  close(): void {
    this.#out?.close();
    this.#out = null;
  }

  async #fetchAll(): Promise<void> {
    const { file, signal, onRetry, waits } = this.#o;
    let numFruitless = 0;
    while (this.#size < file.size) {
      const before = this.#furthest;
      try {
        await this.#attempt();
      } catch (error) {
        signal.throwIfAborted();
        if (!(error instanceof PassingHubError)) throw error;
        numFruitless = this.#furthest > before ? 0 : numFruitless + 1;
        const pause = error.retryAfterMs ?? (waits?.firstPauseMs ?? 1_000) * 2 ** numFruitless;
        if (numFruitless >= PULL_MAX_TRIES || pause > PULL_MAX_PAUSE_MS) {
          const wait = error.retryAfterMs === null ? "" : ` The server asks to wait ${Math.ceil(pause / 1_000)} s.`;
          throw new HubError(`${error.message}${wait} Run the same command again to go on.`, { cause: error });
        }
        onRetry(error.message, pause);
        await sleep(pause, signal);
      }
    }
  }

  /** One request, from where the part ends. */
  async #attempt(): Promise<void> {
    const { hub, url, file, signal, waits } = this.#o;
    const stall = new Watchdog(waits?.stallMs ?? PULL_STALL_MS);
    const ended = AbortSignal.any([signal, stall.signal]);
    const headers: Record<string, string> = {};
    if (this.#size > 0) {
      headers["range"] = `bytes=${this.#size}-`;
      // Without an etag of this run the part's name, which holds the hash, says that it is the same file.
      if (this.#etag !== null) headers["if-range"] = this.#etag;
    }
    try {
      const response = await hubRequest(hub, url, file.path, { headers, signal: ended });
      await this.#begin(response);
      for await (const chunk of response.body ?? []) {
        stall.pat();
        await this.#append(chunk);
      }
      if (this.#size < file.size) throw new PassingHubError(`The server ended ${file.path} early.`);
    } catch (error) {
      signal.throwIfAborted();
      if (stall.signal.aborted) throw new PassingHubError(`The server stopped sending ${file.path}.`, null, error);
      if (error instanceof HubError || error instanceof Deno.errors.NotCapable) throw error;
      if (isDiskFault(error)) throw new HubError(`Cannot write ${this.#o.part}: ${reasonOf(error)}.`, { cause: error });
      throw new PassingHubError(`The connection broke while ${file.path} came: ${reasonOf(error)}.`, null, error);
    } finally {
      stall.stop();
    }
  }

  /** Holds the answer's head against what is expected. */
  async #begin(response: Response): Promise<void> {
    const { file } = this.#o;
    const refuse = async (total: string) => {
      await response.body?.cancel();
      throw new WrongContent(
        `Cannot download ${file.path}: the server has ${total} bytes, the hub lists ${file.size}.`,
      );
    };
    this.#etag = strongEtag(response);
    if (response.status === 206) {
      const range = response.headers.get("content-range") ?? "";
      const [, first, total] = range.match(/^bytes (\d+)-\d+\/(\d+|\*)$/) ?? [];
      if (first === undefined || Number(first) !== this.#size) {
        await response.body?.cancel();
        throw new HubError(`Cannot download ${file.path}: asked for byte ${this.#size} on, got "${range}".`);
      }
      this.isPatched = true;
      if (total !== "*" && Number(total) !== file.size) await refuse(total!);
      return;
    }
    const length = response.headers.get("content-length");
    if (length !== null && Number(length) !== file.size) await refuse(length);
    await this.#startOver();
  }

  async #append(chunk: Uint8Array): Promise<void> {
    const { file, onBytes } = this.#o;
    if (this.#size + chunk.length > file.size) {
      throw new WrongContent(`Cannot download ${file.path}: the server sends more than the ${file.size} bytes listed.`);
    }
    for (let rest = chunk; rest.length > 0;) rest = rest.subarray(await this.#out!.write(rest));
    this.#hash.update(chunk);
    this.#size += chunk.length;
    this.#furthest = Math.max(this.#furthest, this.#size);
    onBytes(chunk.length);
  }

  async #startOver(): Promise<void> {
    await this.#out!.truncate(0);
    await this.#out!.seek(0, Deno.SeekMode.Start);
    this.#o.onBytes(-this.#size);
    this.#size = 0;
    this.#hash = newHash(this.#o.file);
  }
}

/** Aborts when nothing happens for a while. */
class Watchdog {
  readonly #controller = new AbortController();
  readonly #ms: number;
  #timer: ReturnType<typeof setTimeout>;

  constructor(ms: number) {
    this.#ms = ms;
    this.#timer = this.#arm();
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  pat(): void {
    clearTimeout(this.#timer);
    this.#timer = this.#arm();
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  #arm(): ReturnType<typeof setTimeout> {
    return setTimeout(() => this.#controller.abort(), this.#ms);
  }
}

/** Whether a file on disk has a listed file's content. */
export async function hasContent(path: string, file: RemoteFile, signal: AbortSignal): Promise<boolean> {
  const hash = newHash(file);
  for await (const chunk of (await Deno.open(path)).readable) {
    signal.throwIfAborted();
    hash.update(chunk);
  }
  return hash.digest("hex") === file.hash.hex;
}

function newHash({ hash, size }: RemoteFile): Hash {
  return hash.kind === "sha256" ? createHash("sha256") : createHash("sha1").update(`blob ${size}\0`);
}

const hashName = (hash: FileHash): string => hash.kind === "sha256" ? "SHA-256" : "git hash";

/** Weak ones say nothing about bytes. */
function strongEtag(response: Response): string | null {
  const etag = response.headers.get("etag");
  return etag === null || etag.startsWith("W/") ? null : etag;
}

function isDiskFault(error: unknown): boolean {
  return error instanceof Error && "code" in error && ["ENOSPC", "EDQUOT", "EIO", "EROFS"].includes(String(error.code));
}

function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", stop);
      resolve();
    }, ms);
    signal.addEventListener("abort", stop, { once: true });
  });
}
