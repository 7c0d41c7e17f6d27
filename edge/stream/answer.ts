/** An answer on its way to the client: the job it comes from, and what is said of it at its end. */
import type { JobImage, Logger } from "@tessera/shared";
import { type AnswerHead, rounded, type TesseraFacts, tesseraFacts } from "../api/response.ts";
import type { AnswerEnd, AnswerPart } from "../dispatch/mailbox.ts";
import type { RunningJob } from "../dispatch/running_job.ts";
import type { VideoFacts } from "../media/load_video.ts";
import type { LoadTimings, PictureTimings } from "../media/load_pictures.ts";

export interface AnswerOptions {
  readonly head: AnswerHead;
  readonly job: RunningJob;
  /** Answers to the one prompt. */
  readonly numChoices: number;
  readonly images: readonly JobImage[];
  /** In the order of `images`. */
  readonly pictureTimings: readonly PictureTimings[];
  readonly load: LoadTimings;
  readonly videos: readonly VideoFacts[];
  /** performance.now() when the request came. */
  readonly requestedAt: number;
  readonly log: Logger;
  /** Told once, when the answer is complete. */
  readonly onEnd?: (end: AnswerEnd, facts: TesseraFacts) => void;
}

export class Answer {
  readonly head: AnswerHead;
  readonly numChoices: number;
  readonly #options: AnswerOptions;
  #firstTokenMs: number | null = null;

  constructor(options: AnswerOptions) {
    this.head = options.head;
    this.numChoices = options.numChoices;
    this.#options = options;
  }

  /** The next part. @throws TesseraError when there will be none */
  async next(): Promise<AnswerPart> {
    const part = await this.#options.job.next();
    this.#firstTokenMs ??= this.#elapsedMs();
    return part;
  }

  /** Stages that are over when its first part is here, in ms. */
  get early(): Readonly<Record<string, number>> {
    const { load, job } = this.#options;
    return rounded({ ...load, queue_ms: job.queueMs, first_token_ms: this.#firstTokenMs ?? this.#elapsedMs() });
  }

  /** What is said of the answer at its end; also logs it. Called once. */
  facts(end: AnswerEnd): TesseraFacts {
    const totalMs = this.#elapsedMs();
    const { images, pictureTimings, load, videos, job, log } = this.#options;
    const facts = tesseraFacts(end, {
      images,
      pictureTimings,
      load,
      videos,
      queueMs: job.queueMs,
      firstTokenMs: this.#firstTokenMs ?? totalMs,
      totalMs,
    });
    const { finishReason, usage } = end;
    this.#options.onEnd?.(end, facts);
    log.info("answered", { job_id: job.id, finish_reason: finishReason, ...usage, ...facts.timings });
    return facts;
  }

  #elapsedMs(): number {
    return performance.now() - this.#options.requestedAt;
  }
}
