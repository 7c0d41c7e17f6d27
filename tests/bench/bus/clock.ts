/** One clock for the processes of a machine: ms since the epoch, finer than Date's. */
export function clock(): number {
  return performance.timeOrigin + performance.now();
}
