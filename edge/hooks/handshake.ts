/**
 * The question of a CloudEvents sender whether it may send here, and the answer.
 * Source: CloudEvents 1.0, HTTP 1.1 Web Hooks for Event Delivery, section 4 (abuse protection).
 */
import { TesseraError } from "@tessera/shared";
import type { HookSource } from "./sources.ts";

/** Names are those of senders' systems, mostly DNS names. */
const ORIGIN = /^[\x21-\x7e]{1,255}$/;

/**
 * Headers of an answer that lets the sender send. It says nothing of who the sender is: each event is verified anew.
 * @param perMinute events that are taken in a minute; null: as many as come
 * @throws TesseraError `method_not_allowed` for sources of other events, `invalid_request`, `origin_not_allowed`
 */
export function handshake({ options }: HookSource, asked: Headers, perMinute: number | null): Record<string, string> {
  if (options.events !== "cloudevents") {
    throw new TesseraError("method_not_allowed", { message: "Only sources of CloudEvents are asked. Use POST." });
  }
  const origin = asked.get("webhook-request-origin")?.trim() ?? "";
  if (!ORIGIN.test(origin)) {
    throw new TesseraError("invalid_request", { message: "WebHook-Request-Origin is missing or not valid." });
  }
  const { allowed_origins: allowed } = options;
  if (!allowed.includes("*") && !allowed.some((one) => one.toLowerCase() === origin.toLowerCase())) {
    throw new TesseraError("origin_not_allowed");
  }
  const rate = asked.get("webhook-request-rate");
  return {
    "webhook-allowed-origin": origin,
    ...(rate === null ? {} : { "webhook-allowed-rate": rateOf(rate.trim(), perMinute) }),
  };
}

/** As many as were asked for, or as the source's key may send. @throws TesseraError `invalid_request` */
function rateOf(asked: string, perMinute: number | null): string {
  if (!/^(\*|[1-9]\d{0,8})$/.test(asked)) {
    throw new TesseraError("invalid_request", {
      message: "WebHook-Request-Rate is not valid: expected requests a minute.",
    });
  }
  if (perMinute === null) return asked;
  return String(asked === "*" ? perMinute : Math.min(Number(asked), perMinute));
}
