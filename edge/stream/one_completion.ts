/** An answer, or several to one prompt, as one chat.completion body. */
import type { FinishReason, TokenLogprobs } from "@tessera/shared";
import { type Choice, completion } from "../api/response.ts";
import type { Answer } from "./answer.ts";
import { timed } from "./server_timing.ts";

/** Waits for the end. @throws TesseraError when the answer failed */
export async function oneCompletion(answer: Answer, wantsLogprobs: boolean): Promise<Response> {
  const body = await wholeCompletion(answer, wantsLogprobs);
  return timed(Response.json(body), body.tessera.timings);
}

/** The same as a value. */
export async function wholeCompletion(answer: Answer, wantsLogprobs: boolean) {
  const contents = new Array<string>(answer.numChoices).fill("");
  const logprobs = contents.map((): TokenLogprobs[] => []);
  const reasons: FinishReason[] = [];
  for (;;) {
    const part = await answer.next();
    if (part.type === "text") {
      contents[part.choice] += part.text;
      logprobs[part.choice]!.push(...part.logprobs ?? []);
    } else if (part.type === "choice_end") {
      reasons[part.choice] = part.finishReason;
    } else {
      const choices = contents.map((content, i): Choice => ({
        content,
        finishReason: reasons[i] ?? part.end.finishReason,
        logprobs: wantsLogprobs ? logprobs[i]! : null,
      }));
      return completion(answer.head, choices, part.end, answer.facts(part.end));
    }
  }
}
