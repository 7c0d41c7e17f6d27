/** Owns the choice of frames: the arithmetic of `get_index` in the vendor's quick start, to the last rounding. */

/** A stretch of a video, in seconds; null: from its beginning, to its end. */
export interface Bound {
  readonly startS: number | null;
  readonly endS: number | null;
}

/** What the quick start takes for no bound, in seconds. */
const NO_START_S = -100_000;
const NO_END_S = 100_000;

/**
 * Indices of the frames at the middles of equal segments, in presentation order, ascending; a video of fewer frames than
 * segments has some of them more than once.
 * @param maxFrame index of the last frame, not before the bound's start
 */
export function frameIndices(bound: Bound, fps: number, maxFrame: number, numSegments: number): number[] {
  const start = Math.max(0, roundHalfToEven((bound.startS ?? NO_START_S) * fps));
  const end = Math.min(roundHalfToEven((bound.endS ?? NO_END_S) * fps), maxFrame);
  const segment = (end - start) / numSegments;
  return Array.from(
    { length: numSegments },
    (_, i) => Math.trunc(start + segment / 2 + roundHalfToEven(segment * i)),
  );
}

/** Python's and numpy's rounding. */
export function roundHalfToEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  if (rest !== 0.5) return rest < 0.5 ? floor : floor + 1;
  return floor % 2 === 0 ? floor : floor + 1;
}
