/** Owns one answer as it grows: ids in, text out, and the reason it ends. */
import type { FinishReason } from "@tessera/shared";
import { Detokenizer, type TokenBytes } from "./detokenizer.ts";
import { StopMatcher } from "./stop_matcher.ts";

export interface AnswerOptions {
  readonly tokens: TokenBytes;
  /** Ids that end an answer; never part of it. */
  readonly endIds: ReadonlySet<number>;
  /** Ids before which nothing ends it, be it a stop string. Default 0. */
  readonly minTokens?: number;
  readonly stop: readonly string[];
  /** Ids the answer may have, at least 1. */
  readonly maxTokens: number;
}

export interface AnswerStep {
  /** False when the id only marks the end. */
  readonly isPart: boolean;
  readonly text: string;
  readonly finish: FinishReason | null;
}

export class Answer {
  readonly #options: AnswerOptions;
  readonly #detokenizer: Detokenizer;
  readonly #stops: StopMatcher;
  #numIds = 0;
  #finish: FinishReason | null = null;
  /** True when a stop string ended it: nothing that follows may be sent. */
  #isCut = false;

  constructor(options: AnswerOptions) {
    this.#options = options;
    this.#detokenizer = new Detokenizer(options.tokens);
    this.#stops = new StopMatcher(options.stop);
  }

  /** Ids that are part of the answer; the next one's `seq`. */
  get numIds(): number {
    return this.#numIds;
  }

  /** Ids it may have in all. */
  get maxTokens(): number {
    return this.#options.maxTokens;
  }

  get finish(): FinishReason | null {
    return this.#finish;
  }

  /** Takes the next id. Not to be called once finished. */
  push(id: number): AnswerStep {
    if (this.#options.endIds.has(id)) {
      this.#finish = "stop";
      return { isPart: false, text: "", finish: "stop" };
    }
    this.#numIds += 1;
    const piece = this.#detokenizer.push(id);
    const mayStop = this.#numIds > (this.#options.minTokens ?? 0);
    const { text, isStopped } = mayStop ? this.#stops.push(piece) : { text: piece, isStopped: false };
    this.#isCut = isStopped;
    if (isStopped) this.#finish = "stop";
    else if (this.#numIds >= this.#options.maxTokens) this.#finish = "length";
    return { isPart: true, text, finish: this.#finish };
  }

  /** Takes ids whose text an earlier attempt has sent. Ids behind the end, which there should not be, are left out. */
  replay(ids: readonly number[]): void {
    for (const id of ids) {
      if (this.#finish !== null) return;
      this.push(id);
    }
  }

  /** Text held back until the end; nothing after a stop string. */
  end(): string {
    if (this.#isCut) return "";
    const { text, isStopped } = this.#stops.push(this.#detokenizer.end());
    return isStopped ? text : text + this.#stops.end();
  }
}
