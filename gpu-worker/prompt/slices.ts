/** Long computations in slices: a generator yields where it may rest, the event loop goes on in between. */

/** Longest time the event loop waits for one computation, in ms. */
const SLICE_MS = 8;

/** A computation that yields every millisecond or so. */
export type Sliced<T> = Generator<void, T, void>;

/** Runs to the end at once. */
export function atOnce<T>(work: Sliced<T>): T {
  let step = work.next();
  while (!step.done) step = work.next();
  return step.value;
}

/** Items of a plain loop between two places to rest; about a millisecond. */
export const ITEMS_PER_STEP = 32_768;

/** Appends to an array, which for millions takes a while. */
export function* append(ids: number[], more: ArrayLike<number>): Sliced<void> {
  for (let i = 0; i < more.length; i++) {
    ids.push(more[i]!);
    if ((i + 1) % ITEMS_PER_STEP === 0) yield;
  }
}

/** Runs to the end in slices; undefined when `isUnwanted` says so before. */
export async function inSlices<T>(work: Sliced<T>, isUnwanted: () => boolean = () => false): Promise<T | undefined> {
  while (!isUnwanted()) {
    const sliceEnds = performance.now() + SLICE_MS;
    do {
      const step = work.next();
      if (step.done) return step.value;
    } while (performance.now() < sliceEnds);
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
  return undefined;
}
