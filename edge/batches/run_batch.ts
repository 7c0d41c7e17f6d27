/** Runs a batch from where it is to its end: checked, a few requests under way at once, the output written. */
import { BATCH_IN_FLIGHT, TesseraError } from "@tessera/shared";
import type { EdgeDeps } from "../deps.ts";
import { sleep } from "../wait.ts";
import { type BatchRecord, type BatchStatus, hasBatchEnded } from "./batch_record.ts";
import { checkInput, type InputLine, inputLines, parseLine } from "./input.ts";
import { isSuccess } from "./results.ts";
import { countLine, jobIdOfLine, runLine } from "./run_line.ts";
import { writeOutput } from "./output.ts";

/** How often progress is told and the wish to cancel looked for. */
const TELL_MS = 1_000;

/**
 * Returns when the batch has ended, or is gone.
 * @param signal this edge ends, or another has the batch: everything is left as it is, for another to go on
 */
export async function runBatch(deps: EdgeDeps, owner: string, id: string, signal: AbortSignal): Promise<void> {
  let batch = (await deps.batches.find(owner, id))?.record ?? null;
  if (batch === null || hasBatchEnded(batch)) return;
  if (batch.status === "validating") batch = await validate(deps, batch, signal);
  if (batch === null || hasBatchEnded(batch) || signal.aborted) return;
  if (batch.status === "in_progress" || batch.status === "cancelling") await new Run(deps, batch, signal).toItsEnd();
  if (signal.aborted) return;
  await finish(deps, owner, id);
}

async function validate(deps: EdgeDeps, batch: BatchRecord, signal: AbortSignal): Promise<BatchRecord | null> {
  const { owner, id, endpoint } = batch;
  let checked: Awaited<ReturnType<typeof checkInput>>;
  try {
    const { bytes } = await deps.files.read(owner, batch.input_file_id);
    checked = await checkInput(bytes, endpoint);
  } catch (error) {
    if (!(error instanceof TesseraError) || error.code !== "not_found") throw error;
    const fault = { code: "invalid_file", message: error.message, param: "input_file_id", line: null };
    checked = { numRequests: 0, faults: [fault] };
  }
  if (signal.aborted) return null;
  const { numRequests, faults } = checked;
  return await deps.batches.change(owner, id, (record) => {
    if (faults.length > 0) return { ...record, status: "failed", failed_ms: Date.now(), errors: faults };
    const counts = { total: numRequests, completed: 0, failed: 0 };
    if (record.status !== "validating") return { ...record, counts };
    return { ...record, status: "in_progress", in_progress_ms: Date.now(), counts };
  });
}

/** The requests of one batch on this edge. */
class Run {
  readonly #deps: EdgeDeps;
  readonly #batch: BatchRecord;
  readonly #signal: AbortSignal;
  /** Ends the requests: the batch is cancelled, its time is over, or the edge ends. */
  readonly #stop = new AbortController();
  readonly #running = new Map<number, Promise<void>>();
  #isCancelled = false;
  #fault: unknown = null;
  #numOk = 0;
  #numFailed = 0;

  constructor(deps: EdgeDeps, batch: BatchRecord, signal: AbortSignal) {
    this.#deps = deps;
    this.#batch = batch;
    this.#signal = signal;
    this.#isCancelled = batch.status === "cancelling";
  }

  async toItsEnd(): Promise<void> {
    const { batches, results } = this.#deps;
    const { owner, id, expires_ms } = this.#batch;
    const leave = () => this.#stop.abort();
    this.#signal.addEventListener("abort", leave);
    const timer = setTimeout(leave, Math.max(0, expires_ms - Date.now()));
    if (this.#signal.aborted || this.#isCancelled) leave();
    const ended = new AbortController();
    const telling = this.#tell(ended.signal);
    try {
      const known = await results.lines(id);
      for (const isOk of known.values()) isOk ? this.#numOk++ : this.#numFailed++;
      await this.#all(known);
    } finally {
      ended.abort();
      await telling;
      clearTimeout(timer);
      this.#signal.removeEventListener("abort", leave);
    }
    if (this.#fault !== null) throw this.#fault;
    if (this.#signal.aborted) return;
    await batches.change(owner, id, (record) => ({ ...record, counts: this.#counts(record) }));
  }

  /** Starts each line there is no result of, a few at a time. */
  async #all(known: ReadonlyMap<number, boolean>): Promise<void> {
    const { signal } = this.#stop;
    const { bytes } = await this.#deps.files.read(this.#batch.owner, this.#batch.input_file_id);
    for await (const line of inputLines(bytes)) {
      if (known.has(line.number)) continue;
      while (this.#running.size >= BATCH_IN_FLIGHT && !signal.aborted) await Promise.race(this.#running.values());
      if (this.#signal.aborted || this.#fault !== null) break;
      if (signal.aborted) {
        // The batch ends before this one.
        await this.#unfinished(line);
        continue;
      }
      this.#running.set(line.number, this.#one(line).finally(() => this.#running.delete(line.number)));
    }
    await Promise.all(this.#running.values());
  }

  async #one(line: InputLine): Promise<void> {
    const { results, jobs } = this.#deps;
    const { id, endpoint } = this.#batch;
    try {
      const request = parseLine(line, endpoint);
      const result = await runLine(this.#deps, this.#batch, request, line.number, this.#stop.signal);
      if (result === null) {
        if (!this.#signal.aborted && this.#fault === null) await this.#unfinished(line);
        return;
      }
      await results.put(id, line.number, result).catch(async (error) => {
        if (!(error instanceof TesseraError) || error.code !== "request_too_large") throw error;
        const response = { ...result.response!, status_code: error.status, body: error.toBody() };
        await results.put(id, line.number, { ...result, response });
      });
      isSuccess(result) ? this.#numOk++ : this.#numFailed++;
      await jobs.remove(jobIdOfLine(this.#batch, line.number));
    } catch (error) {
      // The bus, or a fault of ours: the batch is handed on, and this line with it.
      this.#fault ??= error;
      this.#stop.abort();
    }
  }

  /** A request that the end of the batch came before; what its job has is forgotten. */
  async #unfinished(line: InputLine): Promise<void> {
    const { customId } = parseLine(line, this.#batch.endpoint);
    const jobId = jobIdOfLine(this.#batch, line.number);
    const ended = await this.#deps.jobs.cancel(jobId);
    if (ended !== null) await countLine(this.#deps, this.#batch, ended);
    await this.#deps.jobs.remove(jobId);
    const error = this.#isCancelled
      ? { code: "batch_cancelled", message: "This request was not run because the batch was cancelled." }
      : { code: "batch_expired", message: "This request could not be executed before the completion window expired." };
    await this.#deps.results.put(this.#batch.id, line.number, {
      id: jobId,
      custom_id: customId,
      response: null,
      error,
    });
    this.#numFailed++;
  }

  /** Tells how far it is, and hears whether it is to be cancelled. */
  async #tell(ended: AbortSignal): Promise<void> {
    const { batches, log } = this.#deps;
    const { owner, id } = this.#batch;
    for (;;) {
      await sleep(TELL_MS, ended);
      if (ended.aborted) return;
      try {
        const record = await batches.change(owner, id, (record) => {
          const counts = this.#counts(record);
          return JSON.stringify(counts) === JSON.stringify(record.counts) ? record : { ...record, counts };
        });
        if (record === null || record.status === "cancelling") {
          this.#isCancelled = true;
          this.#stop.abort();
        }
      } catch (error) {
        log.warn("batch_progress_not_told", { batch_id: id, error });
      }
    }
  }

  #counts({ counts }: BatchRecord): BatchRecord["counts"] {
    return { total: counts.total, completed: this.#numOk, failed: this.#numFailed };
  }
}

/** The output is written, the end told, what was kept for it forgotten. */
async function finish(deps: EdgeDeps, owner: string, id: string): Promise<void> {
  const { batches, results } = deps;
  const begun = await batches.change(owner, id, (record) => {
    if (record.status !== "in_progress") return record;
    return { ...record, status: "finalizing", finalizing_ms: Date.now() };
  });
  if (begun === null || hasBatchEnded(begun)) return;
  const lines = await results.lines(id);
  const { outputId, errorId } = await writeOutput(deps, begun, lines);
  const numFailed = [...lines.values()].filter((isOk) => !isOk).length;
  await batches.change(owner, id, (record) => {
    const now = Date.now();
    const counts = { total: record.counts.total, completed: lines.size - numFailed, failed: numFailed };
    const ended = { ...record, counts, output_file_id: outputId, error_file_id: errorId };
    const status: BatchStatus = record.status === "cancelling"
      ? "cancelled"
      : now >= record.expires_ms && numFailed > 0
      ? "expired"
      : "completed";
    return { ...ended, status, [`${status}_ms`]: now };
  });
  await results.drop(id);
}
