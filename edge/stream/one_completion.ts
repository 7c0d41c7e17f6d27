/** An answer as one chat.completion body. */
import { completion } from "../api/response.ts";
import type { Answer } from "./answer.ts";

/** Waits for the end. @throws TesseraError when the answer failed */
export async function oneCompletion(answer: Answer): Promise<Response> {
  let content = "";
  for (;;) {
    const part = await answer.next();
    if (part.type === "text") content += part.text;
    else return Response.json(completion(answer.head, content, part.end, answer.facts(part.end)));
  }
}
