/** What a person at the command line did wrong, or cannot have; told without a stack. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** @throws UsageError when an option's text is no whole number in the range */
export function wholeNumber(option: string, text: string, min: number, max: number): number {
  const value = /^\d+$/.test(text) ? Number(text) : NaN;
  if (value >= min && value <= max) return value;
  throw new UsageError(`Cannot read --${option}: ${text}, expected a whole number from ${min} to ${max}.`);
}
