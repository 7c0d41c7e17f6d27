/** An answer as the chunks of OpenAI's stream: role, content, finish reason, usage, or an error in their place. */
import { type Logger, toTesseraError } from "@tessera/shared";
import { chunk, usageChunk } from "../api/response.ts";
import type { AnswerPart } from "../dispatch/mailbox.ts";
import type { Answer } from "./answer.ts";

/** Ends the stream for every OpenAI client. */
export const DONE = "[DONE]";

/**
 * The data of every event, in order.
 * @param first the part already taken, because errors before it are told by the HTTP status
 */
export async function* chunks(
  answer: Answer,
  first: AnswerPart,
  includeUsage: boolean,
  log: Logger,
): AsyncGenerator<string, void> {
  const { head } = answer;
  yield JSON.stringify(chunk(head, { role: "assistant", content: "" }, null, includeUsage));
  try {
    for (let part = first;; part = await answer.next()) {
      if (part.type === "text") {
        if (part.text !== "") yield JSON.stringify(chunk(head, { content: part.text }, null, includeUsage));
        continue;
      }
      const { end } = part;
      const last = chunk(head, {}, end.finishReason, includeUsage);
      yield JSON.stringify({ ...last, tessera: answer.facts(end) });
      if (includeUsage) yield JSON.stringify(usageChunk(head, end.usage));
      yield DONE;
      return;
    }
  } catch (thrown) {
    const error = toTesseraError(thrown);
    if (error.code !== "client_closed" || error.diagnostic !== null) log.warn("stream_failed", { error });
    yield JSON.stringify(error.toBody());
  }
}
