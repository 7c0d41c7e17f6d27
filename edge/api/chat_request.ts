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
import { checkNumPictures, type PictureSource, type TilingWish, tilingWish } from "./pictures.ts";
import { ChatBody } from "./schema.ts";
import { refuseUnsupported } from "./unsupported.ts";

export interface ChatRequest {
  readonly model: string;
  readonly messages: JobMessage[];
  readonly pictures: PictureSource[];
  readonly tiling: TilingWish;
  readonly sampling: Sampling;
  readonly isStream: boolean;
  readonly includeUsage: boolean;
}

/** Smallest top_p that is not zero: the most likely token alone. */
const TINY_TOP_P = 1e-6;

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
  const { messages, pictures } = jobContent(body.messages, body.mm_processor_kwargs?.combine_images ?? false);
  checkSizes(messages, pictures);
  return {
    model: body.model,
    messages,
    pictures,
    tiling: tilingWish(body.mm_processor_kwargs),
    sampling: sampling(withGeneration(body, generationOf(body.model))),
    isStream: body.stream ?? false,
    includeUsage: body.stream_options?.include_usage ?? false,
  };
}

/**
 * Without a temperature the answer is greedy, as in the vendor's quick start (OpenAI's default would be 1): the same
 * question gets the same answer unless the client asks for variety.
 */
function sampling(body: ChatBody): Sampling {
  const stop = body.stop ?? [];
  return {
    temperature: body.temperature ?? 0,
    top_p: Math.max(body.top_p ?? 1, TINY_TOP_P),
    top_k: Math.max(body.top_k ?? 0, 0),
    // Drawn here, so that a second attempt draws the same tokens.
    seed: body.seed === null || body.seed === undefined ? randomSeed() : Math.abs(body.seed),
    max_tokens: body.max_completion_tokens ?? body.max_tokens ?? null,
    stop: (typeof stop === "string" ? [stop] : stop).map((text) => text.toWellFormed()),
  };
}

function randomSeed(): number {
  return crypto.getRandomValues(new Uint32Array(1))[0]!;
}

function checkSizes(messages: readonly JobMessage[], pictures: readonly PictureSource[]): void {
  checkNumPictures(pictures);
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
