/** The body of POST /v1/tokenize, with vLLM's names: a text (`prompt`), or messages as they would be asked. */
import { type JobMessage, MAX_TEXT_CHARS, TesseraError } from "@tessera/shared";
import { z } from "zod";
import { jobContent } from "./content.ts";
import { invalidRequest } from "./issues.ts";
import { checkNumPictures, TilingOptions, type TilingWish, tilingWish } from "./pictures.ts";
import { ChatBody } from "./schema.ts";
import { checkNumFrames, isVideo, type MediaSource } from "./videos.ts";

const Common = {
  model: z.string().min(1).nullish(),
  /** false: the count alone, which a text too long to list has too. */
  return_tokens: z.boolean().nullish(),
  return_token_strs: z.boolean().nullish(),
};
export const TokenizeTextBody = z.object({ ...Common, prompt: z.string() });
export const TokenizeMessagesBody = z.object({
  ...Common,
  messages: ChatBody.shape.messages,
  mm_processor_kwargs: TilingOptions.nullish(),
});

export interface TokenizeWish {
  /** null: the only model there is. */
  readonly model: string | null;
  readonly source: { readonly type: "text"; readonly text: string } | {
    readonly type: "messages";
    readonly messages: readonly JobMessage[];
    readonly media: readonly MediaSource[];
    readonly tiling: TilingWish;
  };
  readonly wantIds: boolean;
  readonly wantTexts: boolean;
}

/** @throws TesseraError `invalid_request`, `unsupported_parameter`, `too_many_images` or `request_too_large` */
export function parseTokenizeRequest(json: unknown): TokenizeWish {
  const has = (name: string) => typeof json === "object" && json !== null && name in json;
  if (has("prompt") === has("messages")) {
    const what = has("prompt") ? "not both" : "one of them is needed";
    throw new TesseraError("invalid_request", { message: `Send prompt or messages, ${what}.`, param: "prompt" });
  }
  if (has("prompt")) {
    const body = parsed(TokenizeTextBody, json);
    checkLength(body.prompt.length, "prompt");
    return { ...wishes(body), source: { type: "text", text: body.prompt.toWellFormed() } };
  }
  const body = parsed(TokenizeMessagesBody, json);
  const { messages, media } = jobContent(body.messages, body.mm_processor_kwargs?.combine_images ?? false);
  checkNumPictures(media.filter((source) => !isVideo(source)));
  checkNumFrames(media);
  checkFrames(media);
  checkLength(
    messages.flatMap(({ parts }) => parts).reduce(
      (sum, part) => sum + (part.type === "text" ? part.text.length : 0),
      0,
    ),
    "messages",
  );
  const tiling = tilingWish(body.mm_processor_kwargs);
  return { ...wishes(body), source: { type: "messages", messages, media, tiling } };
}

/** A frame that is one tile is counted without a look at the video; how many more one would be is not told before. */
function checkFrames(media: readonly MediaSource[]): void {
  for (const source of media) {
    if (!isVideo(source) || source.maxTiles === 1) continue;
    throw new TesseraError("unsupported_parameter", {
      message:
        "Frames of more than one tile cannot be counted without decoding. Set max_dynamic_patch to 1, or leave it out.",
      param: `${source.optionsParam}.max_dynamic_patch`,
    });
  }
}

function wishes(body: z.infer<typeof TokenizeTextBody> | z.infer<typeof TokenizeMessagesBody>) {
  return {
    model: body.model ?? null,
    wantIds: body.return_tokens ?? true,
    wantTexts: body.return_token_strs ?? false,
  };
}

function checkLength(numChars: number, param: string): void {
  if (numChars <= MAX_TEXT_CHARS) return;
  throw new TesseraError("request_too_large", {
    message: `The text has ${numChars} characters, at most ${MAX_TEXT_CHARS} are allowed.`,
    param,
  });
}

function parsed<T>(schema: z.ZodType<T>, json: unknown): T {
  const result = schema.safeParse(json);
  if (!result.success) throw invalidRequest(result.error);
  return result.data;
}
