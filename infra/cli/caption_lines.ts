/** `tessera caption --jsonl`: many pictures at once, one JSON line each in the order given, a bar on a terminal. */
import { dim } from "../tools/terminal.ts";
import type { CaptionOptions } from "./caption.ts";
import { ApiError, firstModel, streamAnswer } from "./client.ts";
import { picturePart } from "./pictures.ts";

export interface CaptionLinesOptions extends CaptionOptions {
  /** Pictures under way at once. */
  readonly concurrency: number;
  /** File to add lines to; pictures that have a caption in it already are left out. Standard output when absent. */
  readonly output?: string;
}

/** One line of the output. */
type Line =
  & { readonly picture: string }
  & (
    | { readonly caption: string; readonly model: string; readonly completion_tokens: number }
    | { readonly error: string }
  );

/** A busy server is asked again, so often and after so long, doubled each time. */
const RETRIES = 6;
const RETRY_MS = 500;
const BUSY = new Set([429, 502, 503]);
const BAR = 24;
const REDRAW_MS = 100;

/** Returns how many failed; null when Ctrl-C stopped it. Lines are written whole, so that it can be run again. */
export async function captionLines(options: CaptionLinesOptions): Promise<number | null> {
  const done = options.output === undefined ? new Set<string>() : await captioned(options.output);
  const pictures = options.pictures.filter((picture) => !done.has(picture));
  const model = options.model ?? await firstModel(options.url);
  const stop = new AbortController();
  const onInterrupt = () => stop.abort();
  Deno.addSignalListener("SIGINT", onInterrupt);
  const output = options.output === undefined
    ? Deno.stdout
    : await Deno.open(options.output, { append: true, create: true });
  const bar = new Bar(pictures.length, done.size);
  const lines = new Map<number, Line>();
  let numWritten = 0;
  let numFailed = 0;
  let next = 0;
  const lane = async () => {
    while (next < pictures.length && !stop.signal.aborted) {
      const index = next++;
      const line = await captionLine(options, model, pictures[index]!, stop.signal);
      if (stop.signal.aborted) return;
      if ("error" in line) numFailed++;
      lines.set(index, line);
      for (let ready = lines.get(numWritten); ready !== undefined; ready = lines.get(numWritten)) {
        lines.delete(numWritten++);
        writeAll(output, `${JSON.stringify(ready)}\n`);
      }
      bar.step("error" in line);
    }
  };
  try {
    await Promise.all(Array.from({ length: Math.min(options.concurrency, pictures.length) }, lane));
    return stop.signal.aborted ? null : numFailed;
  } finally {
    Deno.removeSignalListener("SIGINT", onInterrupt);
    bar.end();
    if (output !== Deno.stdout) output.close();
  }
}

async function captionLine(
  options: CaptionOptions,
  model: string,
  picture: string,
  signal: AbortSignal,
): Promise<Line> {
  const limits = options.maxTokens === undefined ? {} : { maxTokens: options.maxTokens };
  for (let attempt = 0;; attempt++) {
    try {
      const content = [await picturePart(picture), { type: "text" as const, text: options.prompt }];
      let caption = "";
      let completionTokens = 0;
      for await (const piece of streamAnswer(options.url, model, [{ role: "user", content }], { ...limits, signal })) {
        if (piece.type === "text") caption += piece.text;
        else completionTokens = piece.completionTokens;
      }
      return { picture, caption, model, completion_tokens: completionTokens };
    } catch (error) {
      if (signal.aborted) return { picture, error: "stopped" };
      if (!(error instanceof ApiError)) throw error;
      if (error.status === null || !BUSY.has(error.status) || attempt === RETRIES) {
        return { picture, error: error.message };
      }
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS * 2 ** attempt));
    }
  }
}

/** Pictures that a file of earlier lines has captions of. A last line that was cut off is none. */
async function captioned(path: string): Promise<Set<string>> {
  const text = await Deno.readTextFile(path).catch((error) => {
    if (error instanceof Deno.errors.NotFound) return "";
    throw new ApiError(`Cannot read ${path}: ${error instanceof Error ? error.message : error}`);
  });
  const done = new Set<string>();
  for (const line of text.split("\n").filter((line) => line !== "")) {
    try {
      const { picture, caption } = JSON.parse(line) as { picture?: string; caption?: string };
      if (picture !== undefined && caption !== undefined) done.add(picture);
    } catch {
      throw new ApiError(`Cannot go on with ${path}: it holds a line that is no JSON. Remove that line, or the file.`);
    }
  }
  return done;
}

function writeAll(output: { writeSync(bytes: Uint8Array): number }, text: string): void {
  let bytes = new TextEncoder().encode(text);
  while (bytes.length > 0) bytes = bytes.subarray(output.writeSync(bytes));
}

/** How far it is, on standard error where that is a terminal. */
class Bar {
  readonly #total: number;
  readonly #isShown = Deno.stderr.isTerminal();
  readonly #began = performance.now();
  #numDone = 0;
  #numFailed = 0;
  #shownAt = -Infinity;

  constructor(total: number, numSkipped: number) {
    this.#total = total;
    if (numSkipped > 0 && this.#isShown) console.error(dim(`${numSkipped} captioned before`));
  }

  step(hasFailed: boolean): void {
    this.#numDone++;
    if (hasFailed) this.#numFailed++;
    const now = performance.now();
    if (!this.#isShown || (now - this.#shownAt < REDRAW_MS && this.#numDone < this.#total)) return;
    this.#shownAt = now;
    const filled = Math.round((this.#numDone / this.#total) * BAR);
    const perSecond = this.#numDone / ((now - this.#began) / 1_000);
    const failed = this.#numFailed === 0 ? "" : `, ${this.#numFailed} failed`;
    const bar = `${"█".repeat(filled)}${"░".repeat(BAR - filled)}`;
    writeAll(Deno.stderr, `\r\x1b[K${bar} ${this.#numDone} of ${this.#total}${failed}, ${perSecond.toFixed(1)}/s`);
  }

  end(): void {
    if (this.#isShown && this.#numDone > 0) writeAll(Deno.stderr, "\n");
  }
}
