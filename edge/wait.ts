/** Waiting with an end: a pause an AbortSignal cuts short, work waited for only so long, a signal after a time. */

/** Resolves after `ms`, or at once when `signal` aborts; never rejects. */
export function sleep(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done);
  });
}

/** Waits for `work` to end, well or badly, at most `ms`. */
export async function within(work: Promise<unknown>, ms: number): Promise<void> {
  const done = new AbortController();
  void work.catch(() => {}).finally(() => done.abort());
  await sleep(ms, done.signal);
}

/** A signal that follows `parent` and aborts with `reason()` after `ms`. Call `clear` when the work is done. */
export function timeLimit(
  ms: number,
  parent: AbortSignal,
  reason: () => unknown,
): { readonly signal: AbortSignal; readonly clear: () => void } {
  const controller = new AbortController();
  const follow = () => controller.abort(parent.reason);
  if (parent.aborted) follow();
  else parent.addEventListener("abort", follow);
  const timer = setTimeout(() => controller.abort(reason()), ms);
  return {
    signal: controller.signal,
    clear: () => {
      clearTimeout(timer);
      parent.removeEventListener("abort", follow);
    },
  };
}
