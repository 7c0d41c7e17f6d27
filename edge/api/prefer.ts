/** Headers that say how long a client waits (Prefer, RFC 7240), and how long a job may take (Cancel-After). */
import { DURABLE_MAX_AGE_MS, MAX_PREFER_WAIT_MS, MIN_CANCEL_AFTER_MS, TesseraError } from "@tessera/shared";

/** What a client wants of the answer, and the words with which it is told that it gets it. */
export interface WaitWish {
  readonly ms: number;
  /** For Preference-Applied. */
  readonly applied: string;
}

/** `wait=N` seconds; null when the answer is wanted at once. What is not understood is ignored, as the RFC says. */
export function waitWish(prefer: string | undefined): WaitWish | null {
  for (const preference of (prefer ?? "").split(",")) {
    const [token = ""] = preference.split(";");
    if (/^\s*respond-async\s*$/i.test(token)) return null;
    const seconds = /^\s*wait\s*=\s*"?(\d{1,6})"?\s*$/i.exec(token)?.[1];
    if (seconds === undefined) continue;
    const ms = Math.min(Number(seconds) * 1000, MAX_PREFER_WAIT_MS);
    return ms === 0 ? null : { ms, applied: `wait=${ms / 1000}` };
  }
  return null;
}

const UNITS = { s: 1_000, m: 60_000, h: 3_600_000 };

/** Seconds, or a number with `s`, `m` or `h`; null without the header. @throws TesseraError `invalid_request` */
export function cancelAfterMs(header: string | undefined): number | null {
  if (header === undefined) return null;
  const found = /^\s*(\d{1,6})\s*([smh]?)\s*$/i.exec(header);
  const unit = (found?.[2]?.toLowerCase() || "s") as keyof typeof UNITS;
  const ms = Number(found?.[1] ?? Number.NaN) * UNITS[unit];
  if (ms >= MIN_CANCEL_AFTER_MS && ms <= DURABLE_MAX_AGE_MS) return ms;
  const bounds = `${MIN_CANCEL_AFTER_MS / 1000}s to ${DURABLE_MAX_AGE_MS / 3_600_000}h`;
  throw new TesseraError("invalid_request", {
    message: `Cancel-After is not valid: expected ${bounds}, such as 90, 90s, 5m or 1h.`,
    param: "Cancel-After",
  });
}
