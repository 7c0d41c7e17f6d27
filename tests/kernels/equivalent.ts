/** Owns changes of index expressions that compute the same, each with the reason why. */

/** A change that no test can notice. */
export interface EquivalentChange {
  readonly file: string;
  readonly before: string;
  readonly after: string;
  readonly why: string;
}

export const EQUIVALENT: readonly EquivalentChange[] = [];
