/** An answer as the chunks of OpenAI's stream: role, content, finish reason, usage, or an error in their place. */
import { type FinishReason, type Logger } from "@tessera/shared";
import { toEdgeError } from "../dispatch/bus_faults.ts";
import { chunk, type ChunkDelta, type ChunkFields, usageChunk } from "../api/response.ts";
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
  const { head, numChoices } = answer;
  const write = (delta: ChunkDelta, fields: ChunkFields) => JSON.stringify(chunk(head, delta, fields, includeUsage));
  for (let index = 0; index < numChoices; index++) yield write({ role: "assistant", content: "" }, { index });
  let numOpen = numChoices;
  let last = 0;
  let lastReason: FinishReason | null = null;
  try {
    for (let part = first;; part = await answer.next()) {
      if (part.type === "text") {
        const { choice: index, text, logprobs } = part;
        if (text !== "" || logprobs !== undefined) yield write({ content: text }, { index, logprobs });
        continue;
      }
      if (part.type === "choice_end") {
        last = part.choice;
        numOpen -= 1;
        // The last one ends with all.
        if (numOpen > 0) yield write({}, { index: last, finishReason: part.finishReason });
        else lastReason = part.finishReason;
        continue;
      }
      const { end } = part;
      const finishReason = lastReason ?? end.finishReason;
      const ending = chunk(head, {}, { index: last, finishReason }, includeUsage);
      yield JSON.stringify({ ...ending, tessera: answer.facts(end) });
      if (includeUsage) yield JSON.stringify(usageChunk(head, end.usage));
      yield DONE;
      return;
    }
  } catch (thrown) {
    const error = toEdgeError(thrown);
    if (error.code !== "client_closed" || error.diagnostic !== null) log.warn("stream_failed", { error });
    yield JSON.stringify(error.toBody());
  }
}
