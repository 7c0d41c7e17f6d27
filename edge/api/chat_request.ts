/** A chat completions body as the rest of the edge wants it: job messages, pictures to load, sampling filled in. */
import {
  type GenerationDefaults,
  GREEDY,
  type JobMessage,
  MAX_TEXT_CHARS,
  type Sampling,
  TesseraError,
} from "@tessera/shared";
import { jobContent } from "./content.ts";
import { withGeneration } from "./generation.ts";
import { invalidRequest } from "./issues.ts";
import { checkNumPictures, type TilingWish, tilingWish } from "./pictures.ts";
import { jobSampling } from "./sampling.ts";
import { ChatBody } from "./schema.ts";
import { type Turn, turnOf } from "./turn.ts";
import { refuseUnsupported } from "./unsupported.ts";
import { checkNumFrames, isVideo, type MediaSource } from "./videos.ts";

export interface ChatRequest {
  readonly model: string;
  readonly messages: JobMessage[];
  readonly media: MediaSource[];
  readonly tiling: TilingWish;
  readonly sampling: Sampling;
  readonly turn: Turn;
  readonly isStream: boolean;
  readonly includeUsage: boolean;
}

/**
 * @param generationOf how a model wants to be decoded where the request says nothing; may throw for one there is not
 * @throws TesseraError `invalid_request`, `unsupported_parameter`, `too_many_images` or `request_too_large`
 */
export function parseChatRequest(
  json: unknown,
  generationOf: (model: string) => GenerationDefaults = () => GREEDY,
): ChatRequest {
  if (typeof json === "object" && json !== null) refuseUnsupported(json as Record<string, unknown>);
  const parsed = ChatBody.safeParse(json);
  if (!parsed.success) throw invalidRequest(parsed.error);
  const body = parsed.data;
  const { messages, media } = jobContent(body.messages, body.mm_processor_kwargs?.combine_images ?? false);
  checkSizes(messages, media);
  return {
    model: body.model,
    messages,
    media,
    tiling: tilingWish(body.mm_processor_kwargs),
    sampling: jobSampling(withGeneration(body, generationOf(body.model))),
    turn: turnOf(body),
    isStream: body.stream ?? false,
    includeUsage: body.stream_options?.include_usage ?? false,
  };
}

function checkSizes(messages: readonly JobMessage[], media: readonly MediaSource[]): void {
  checkNumPictures(media.filter((source) => !isVideo(source)));
  checkNumFrames(media);
  let numChars = 0;
  for (const message of messages) {
    for (const part of message.parts) if (part.type === "text") numChars += part.text.length;
  }
  if (numChars > MAX_TEXT_CHARS) {
    throw new TesseraError("request_too_large", {
      message: `The messages have ${numChars} characters of text, at most ${MAX_TEXT_CHARS} are allowed.`,
      param: "messages",
    });
  }
}
