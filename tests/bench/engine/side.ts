/** Owns what a side of the engine's benchmark is asked and answers: one scenario at a time, in figures of time. */

/**
 * `vision`: tiles (one, where not said) through tower and projector. `text`: prompts of `context` tokens, decoded `batch` together for
 * `steps` steps; `prefill` where the time of the prompt is wanted, so that nobody spends it otherwise.
 */
export type Scenario =
  | { readonly kind: "vision"; readonly tiles?: number }
  | {
    readonly kind: "text";
    readonly context: number;
    readonly batch: number;
    readonly steps: number;
    readonly prefill: boolean;
  };

/** What one run of a scenario showed; a part that was not measured is absent. */
export interface Figures {
  readonly visionMs?: number;
  /** Tokens per second of the whole prompt; of batch 1 alone. */
  readonly prefill?: number;
  /** Tokens per second of all sequences together. */
  readonly decode?: number;
}

/** An implementation with one type of weights. */
export interface Side {
  readonly name: string;
  has(scenario: Scenario): boolean;
  /** Of a scenario that it has. */
  measure(scenario: Scenario): Promise<Figures>;
  close(): Promise<void>;
}
