/** How fast places become free, and how many wait for one: when a client that was refused should come again. */
import { MAX_RETRY_AFTER_S, TURNOVER_WINDOW_MS } from "@tessera/shared";

/** Refusals of so long ago still count as the line: their clients were told to come again about now. */
const LINE_MS = 1_000;
/** Times kept of each kind. */
const MAX_TIMES = 1_024;

export class Turnover {
  readonly #now: () => number;
  /** When places became free, and when somebody was refused; oldest first. */
  readonly #freed: number[] = [];
  readonly #refused: number[] = [];

  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  freed(): void {
    note(this.#freed, this.#now(), TURNOVER_WINDOW_MS);
  }

  /** Somebody is refused. @returns seconds until the line before it has had its places, at the pace of the last while */
  refused(): number {
    const now = this.#now();
    note(this.#refused, now, LINE_MS);
    forget(this.#freed, now - TURNOVER_WINDOW_MS);
    const [first] = this.#freed;
    // Nothing has ended lately: no pace is known.
    if (first === undefined) return 1;
    const perSecond = this.#freed.length / Math.max(1, (now - first) / 1_000);
    return Math.min(MAX_RETRY_AFTER_S, Math.max(1, Math.ceil(this.#refused.length / perSecond)));
  }
}

function note(times: number[], now: number, windowMs: number): void {
  times.push(now);
  forget(times, now - windowMs);
  if (times.length > MAX_TIMES) times.shift();
}

function forget(times: number[], before: number): void {
  const stale = times.findIndex((time) => time >= before);
  times.splice(0, stale === -1 ? times.length : stale);
}
