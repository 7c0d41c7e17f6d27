/** Asks any worker of a model what a text or a prompt is in tokens; nothing is queued and nothing runs. */
import { NoRespondersError, RequestError, TimeoutError } from "@nats-io/nats-core";
import {
  decodeMessage,
  encodeMessage,
  TesseraError,
  TOKENIZE_TIMEOUT_MS,
  TokenizeReply,
  type TokenizeRequest,
  tokenizeSubject,
} from "@tessera/shared";
import type { Bus } from "./bus.ts";

export type Tokenized = Extract<TokenizeReply, { ok: true }>;

/**
 * @throws TesseraError `no_worker` when none listens, `deadline_exceeded` when none answers in time,
 * `request_too_large` when the text does not fit a message, and what the worker says
 */
export async function askForTokens(bus: Bus, model: string, request: TokenizeRequest): Promise<Tokenized> {
  const payload = encodeMessage(request, bus.maxPayload);
  const reply = await ask(bus, tokenizeSubject(model), payload);
  const answer = decodeMessage(TokenizeReply, reply);
  if (!answer.ok) throw new TesseraError(answer.code, { message: answer.message });
  return answer;
}

async function ask(bus: Bus, subject: string, payload: Uint8Array): Promise<Uint8Array> {
  try {
    return (await bus.connection.request(subject, payload, { timeout: TOKENIZE_TIMEOUT_MS })).data;
  } catch (cause) {
    if (cause instanceof TesseraError) throw cause;
    if (cause instanceof NoRespondersError || (cause instanceof RequestError && cause.isNoResponders())) {
      throw new TesseraError("no_worker", { param: "model", cause });
    }
    if (cause instanceof TimeoutError) throw new TesseraError("deadline_exceeded", { cause });
    throw new TesseraError("no_worker", { diagnostic: `Cannot ask for tokens: ${cause}`, cause });
  }
}
