/** Owns the answers to one prompt: ids in, events out, each answer with its own text and end. */
import type { FinishReason, TokenLogprobs } from "@tessera/shared";
import { Answer, type AnswerOptions } from "./answer.ts";
import type { EventWriter } from "./event_writer.ts";

/** A token that was sampled, before the edge knows of it. */
export interface AnswerToken {
  readonly id: number;
  /** Undefined where the job does not ask for it. */
  readonly logprobs?: TokenLogprobs;
}

export class Answers {
  readonly #answers: Answer[];

  constructor(numChoices: number, options: AnswerOptions) {
    this.#answers = Array.from({ length: numChoices }, () => new Answer(options));
  }

  get length(): number {
    return this.#answers.length;
  }

  /** Ids of all answers. */
  get numIds(): number {
    return this.#answers.reduce((sum, { numIds }) => sum + numIds, 0);
  }

  /** Whether every answer has its end. */
  get isFinished(): boolean {
    return this.#answers.every(({ finish }) => finish !== null);
  }

  /** Of the first answer. */
  get finish(): FinishReason {
    return this.#answers[0]!.finish ?? "stop";
  }

  at(choice: number): Answer {
    return this.#answers[choice]!;
  }

  /** Takes ids whose text an earlier attempt has sent, answer by answer; returns how many each has now. */
  replay(idsOf: readonly (readonly number[])[]): number[] {
    idsOf.forEach((ids, choice) => this.#answers[choice]?.replay(ids));
    return this.#answers.map(({ numIds }) => numIds);
  }

  /** Text that is still held back, where there is one answer: it goes out with the end. */
  end(): string {
    return this.#answers.length === 1 ? this.#answers[0]!.end() : "";
  }

  /** Says of one of several answers that it is complete. To be called once it is. */
  announceEnd(choice: number, events: Pick<EventWriter, "choiceDone">): void {
    if (this.#answers.length === 1) return;
    const answer = this.#answers[choice]!;
    events.choiceDone(choice, answer.end(), answer.finish!);
  }
}
