/** `tessera caption`: one answer for each picture, streamed. */
import { bold, dim, red, write } from "../tools/terminal.ts";
import { ApiError, firstModel, streamAnswer } from "./client.ts";
import { picturePart } from "./pictures.ts";
import { gridText, timingText } from "./report.ts";

export interface CaptionOptions {
  readonly url: string;
  readonly pictures: readonly string[];
  readonly prompt: string;
  readonly model?: string;
  readonly maxTokens?: number;
}

/** Streams one picture's answer to the terminal and returns its text. @throws ApiError */
export async function captionOne(options: CaptionOptions, model: string, picture: string): Promise<string> {
  const content = [await picturePart(picture), { type: "text" as const, text: options.prompt }];
  const limits = options.maxTokens === undefined ? {} : { maxTokens: options.maxTokens };
  let answer = "";
  for await (const piece of streamAnswer(options.url, model, [{ role: "user", content }], limits)) {
    if (piece.type === "text") {
      write(piece.text);
      answer += piece.text;
    } else {
      write("\n");
      if (piece.report !== null) console.log(dim(`  ${gridText(piece.report)}\n  ${timingText(piece.report)}`));
    }
  }
  return answer;
}

/** Captions all pictures; one that fails does not stop the others. Returns how many failed. */
export async function caption(options: CaptionOptions): Promise<number> {
  const model = options.model ?? await firstModel(options.url);
  let numFailed = 0;
  for (const picture of options.pictures) {
    write(`${bold(picture)}\n  `);
    try {
      await captionOne(options, model, picture);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      console.log(red(error.message));
      numFailed++;
    }
  }
  return numFailed;
}
