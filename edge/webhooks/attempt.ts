/** One attempt to deliver a webhook: a signed POST. Of the answer the status counts, and what it asks to wait; no more. */
import type { IncomingMessage } from "node:http";
import { type AttemptError, type DeliveryAttempt, MAX_WEBHOOK_ANSWER_BYTES } from "@tessera/shared";
import { type OutboundSettings, RefusedError, sendOutbound } from "../outbound/request.ts";
import { timeLimit, within } from "../wait.ts";
import { parseRetryAfter } from "./schedule.ts";

export interface AttemptOptions {
  readonly outbound: OutboundSettings;
  readonly timeoutMs: number;
  /** Ends the attempt as a timeout does. */
  readonly signal: AbortSignal;
}

export interface AttemptOutcome {
  readonly attempt: DeliveryAttempt;
  /** 0: the receiver asks for nothing. */
  readonly retryAfterMs: number;
}

/** How long the rest of an answer is waited for when its status is known. */
const DISCARD_MS = 1_000;
const TOOK_TOO_LONG = new Error("The attempt took too long");

/** Never rejects. */
export async function attemptDelivery(
  address: string,
  headers: Readonly<Record<string, string>>,
  body: Uint8Array,
  { outbound, timeoutMs, signal }: AttemptOptions,
): Promise<AttemptOutcome> {
  const at_ms = Date.now();
  const began = performance.now();
  const limit = timeLimit(timeoutMs, signal, () => TOOK_TOO_LONG);
  const outcome = (status: number | null, error: AttemptError | null, retryAfterMs = 0): AttemptOutcome => ({
    attempt: { at_ms, ms: Math.round((performance.now() - began) * 10) / 10, status, error },
    retryAfterMs,
  });
  try {
    const url = new URL(address);
    const all = { "content-type": "application/json", "user-agent": "tessera-webhooks", ...headers };
    const answer = await sendOutbound(url, outbound, { method: "POST", headers: all, body, signal: limit.signal });
    await within(discard(answer), DISCARD_MS);
    answer.destroy();
    const status = answer.statusCode ?? 0;
    return outcome(status, errorOfStatus(status), parseRetryAfter(answer.headers["retry-after"], Date.now()));
  } catch (error) {
    return outcome(null, limit.signal.aborted ? "timeout" : errorOf(error));
  } finally {
    limit.clear();
  }
}

/** Reads a little of what the receiver says, so that it can end well, and throws it away. */
async function discard(answer: IncomingMessage): Promise<void> {
  let numBytes = 0;
  try {
    for await (const chunk of answer as AsyncIterable<Uint8Array>) {
      numBytes += chunk.length;
      if (numBytes > MAX_WEBHOOK_ANSWER_BYTES) break;
    }
  } catch {
    // The status has come; how the rest ends is nobody's concern.
  }
}

function errorOfStatus(status: number): AttemptError | null {
  if (status >= 200 && status < 300) return null;
  if (status === 410) return "gone";
  return status >= 300 && status < 400 ? "redirect_refused" : "bad_status";
}

function errorOf(error: unknown): AttemptError {
  if (error instanceof RefusedError) return "url_forbidden";
  const { code = "", message = "" } = error as { code?: string; message?: string };
  if (/^(ENOTFOUND|EAI_|ENODATA)/.test(code) || /no address|getaddrinfo/.test(message)) return "unresolved";
  if (/^(ERR_(TLS|SSL)|UNABLE_TO|CERT_|DEPTH_ZERO|SELF_SIGNED|EPROTO)/.test(code)) return "tls_failed";
  return "connection_failed";
}
