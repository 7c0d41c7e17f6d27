/** A webhook as a request names it, checked by the rules that hold when it is called. */
import { MAX_URL_CHARS, TesseraError, WEBHOOK_EVENTS, type WebhookEvent, type WebhookTarget } from "@tessera/shared";
import type { OutboundRules } from "../outbound/rules.ts";

export interface WebhookWish {
  readonly url: string;
  /** The end alone where absent. */
  readonly events?: readonly WebhookEvent[] | undefined;
  readonly body?: WebhookTarget["body"] | undefined;
  /** Where in the request the URL stands, for errors. */
  readonly param: string;
}

export interface TargetOptions {
  readonly rules: OutboundRules;
  /** Whether there is a secret to sign with. */
  readonly isAvailable: boolean;
}

/** @throws TesseraError `webhooks_unavailable`, `webhook_url_invalid`, `webhook_url_forbidden` */
export function webhookTarget(wish: WebhookWish, { rules, isAvailable }: TargetOptions): WebhookTarget {
  const { param } = wish;
  if (!isAvailable) throw new TesseraError("webhooks_unavailable", { param });
  const url = wish.url.length > MAX_URL_CHARS ? null : URL.parse(wish.url);
  if (url === null) throw new TesseraError("webhook_url_invalid", { param });
  const refusal = rules.checkUrl(url);
  if (refusal !== null) {
    throw new TesseraError(refusal === "forbidden" ? "webhook_url_forbidden" : "webhook_url_invalid", { param });
  }
  url.hash = "";
  const wanted = new Set(wish.events ?? ["completed"]);
  return { url: url.href, events: WEBHOOK_EVENTS.filter((event) => wanted.has(event)), body: wish.body ?? "full" };
}
