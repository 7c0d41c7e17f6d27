/** How fast places become free, and how many wait for one: when a client that was refused should come again. */
import { MAX_RETRY_AFTER_S, Pace, TURNOVER_WINDOW_MS } from "@tessera/shared";

/** Refusals of so long ago still count as the line: their clients were told to come again about now. */
const LINE_MS = 1_000;

export class Turnover {
  readonly #freed: Pace;
  readonly #refused: Pace;

  constructor(now: () => number = () => performance.now()) {
    this.#freed = new Pace(TURNOVER_WINDOW_MS, now);
    this.#refused = new Pace(LINE_MS, now);
  }

  freed(): void {
    this.#freed.note();
  }

  /** Somebody is refused. @returns seconds until the line before it has had its places, at the pace of the last while */
  refused(): number {
    this.#refused.note();
    return secondsUntil(this.#refused.count, this.#freed.perSecond());
  }
}

/** Seconds in which `num` are done at that pace, for `Retry-After`; 1 where no pace is known. */
export function secondsUntil(num: number, perSecond: number | null): number {
  if (perSecond === null || perSecond === 0) return 1;
  return Math.min(MAX_RETRY_AFTER_S, Math.max(1, Math.ceil(num / perSecond)));
}
