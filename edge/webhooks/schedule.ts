/** When a webhook that was not taken is tried again. */
import { MAX_WEBHOOK_RETRY_AFTER_MS, WEBHOOK_JITTER, WEBHOOK_SCHEDULE_MS } from "@tessera/shared";

export interface Schedule {
  /** Waits before the second attempt, the third ...; after the last of them a delivery is given up. */
  readonly waitsMs: readonly number[];
  /** 0 to 1. */
  readonly random: () => number;
}

export const PUBLISHED_SCHEDULE: Schedule = { waitsMs: WEBHOOK_SCHEDULE_MS, random: Math.random };

/**
 * Milliseconds until the next attempt; null when there is none.
 * @param numAttempts made so far
 * @param retryAfterMs what the receiver asks for; 0: nothing
 */
export function nextWait({ waitsMs, random }: Schedule, numAttempts: number, retryAfterMs: number): number | null {
  const wait = waitsMs[numAttempts - 1];
  if (wait === undefined) return null;
  const jittered = wait * (1 + WEBHOOK_JITTER * (2 * random() - 1));
  return Math.max(jittered, Math.min(retryAfterMs, MAX_WEBHOOK_RETRY_AFTER_MS));
}

/** Milliseconds of a Retry-After header, seconds or a date; 0 when it is none. */
export function parseRetryAfter(header: string | undefined, nowMs: number): number {
  if (header === undefined) return 0;
  if (/^\d{1,9}$/.test(header.trim())) return Number(header) * 1_000;
  const date = Date.parse(header);
  return Number.isNaN(date) ? 0 : Math.max(0, date - nowMs);
}
