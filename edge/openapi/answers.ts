/** The shapes of what the server answers, for the document; tests hold true answers against them. */
import { ERROR_CODES } from "@tessera/shared";
import { z } from "zod";

const Count = z.int().min(0);
const Milliseconds = z.number().min(0);

export const ErrorAnswer = z.object({
  error: z.object({
    message: z.string(),
    type: z.enum(["invalid_request_error", "authentication_error", "rate_limit_error", "server_error"]),
    param: z.string().nullable().describe("Where in the request, as `messages[1].content[2]`."),
    code: z.enum(ERROR_CODES).describe("The stable reason; the message may change."),
  }),
});

const Usage = z.object({
  prompt_tokens: Count,
  completion_tokens: Count,
  total_tokens: Count,
  prompt_tokens_details: z.looseObject({ cached_tokens: Count, image_tokens: Count }),
});

const TokenLogprob = z.looseObject({ token: z.string(), logprob: z.number() });
const Logprobs = z.looseObject({ content: z.array(TokenLogprob).nullable() }).nullable();
const FinishReason = z.enum(["stop", "length"]);
const Facts = z.looseObject({
  images: z.array(z.looseObject({ width: Count, height: Count, cols: Count, rows: Count, tiles: Count })),
  timings: z.record(z.string(), Milliseconds),
}).describe("Beyond OpenAI's: each picture's grid, and milliseconds per stage.");

export const CompletionAnswer = z.looseObject({
  id: z.string(),
  object: z.literal("chat.completion"),
  created: z.int(),
  model: z.string(),
  choices: z.array(z.looseObject({
    index: Count,
    message: z.looseObject({ role: z.literal("assistant"), content: z.string(), refusal: z.null() }),
    logprobs: Logprobs,
    finish_reason: FinishReason,
  })),
  usage: Usage,
  system_fingerprint: z.null(),
  tessera: Facts,
});

export const BatchAnswer = z.looseObject({
  object: z.literal("list"),
  data: z.array(z.looseObject({ index: Count })).describe("In order: a ChatCompletion or an Error, with its `index`."),
  num_failed: Count,
  usage: z.looseObject({ prompt_tokens: Count, completion_tokens: Count, total_tokens: Count }),
});

export const CompletionChunk = z.looseObject({
  id: z.string(),
  object: z.literal("chat.completion.chunk"),
  created: z.int(),
  model: z.string(),
  choices: z.array(z.looseObject({
    index: Count,
    delta: z.looseObject({ role: z.literal("assistant").optional(), content: z.string().optional() }),
    logprobs: Logprobs,
    finish_reason: FinishReason.nullable(),
  })),
  usage: Usage.nullish(),
  tessera: Facts.optional(),
});

export const ModelAnswer = z.looseObject({
  id: z.string(),
  object: z.literal("model"),
  created: z.int(),
  owned_by: z.string(),
  tessera: z.looseObject({
    context_length: Count.describe("Tokens of prompt and answer together."),
    tile_size: Count.describe("Pixels a side."),
    tokens_per_tile: Count,
    min_tiles: Count,
    max_tiles: Count.describe("Tiles of one picture, the thumbnail not counted."),
    thumbnail: z.boolean(),
    limits: z.record(z.string(), Count).describe("What one request may hold, and each picture."),
    num_workers: Count,
    capacity: Count.describe("Sequences all workers decode at once."),
    running: Count,
    devices: z.array(z.string()),
    dtypes: z.array(z.string()),
  }),
});
export const ModelListAnswer = z.object({ object: z.literal("list"), data: z.array(ModelAnswer) });

const Inspection = {
  width: Count,
  height: Count,
  type: z.enum(["jpeg", "png", "webp", "gif", "bmp"]),
  orientation: Count,
  cols: Count,
  rows: Count,
  tiles: Count,
  tokens: Count,
  memory_bytes: Count.describe("What decoding reserves."),
};
export const InspectionAnswer = z.union([
  z.looseObject({ object: z.literal("image.inspection"), model: z.string(), ...Inspection }),
  z.looseObject({
    object: z.literal("list"),
    model: z.string(),
    data: z.array(z.union([z.looseObject({ index: Count, ...Inspection }), ErrorAnswer.extend({ index: Count })])),
    tiles: Count,
    tokens: Count,
  }),
]);

export const TokenizationAnswer = z.object({
  object: z.literal("tokenization"),
  model: z.string(),
  count: Count.describe("Tokens of the text, or of the whole prompt with its pictures."),
  image_tokens: Count,
  max_model_len: Count,
  tokens: z.array(Count).nullable(),
  token_strs: z.array(z.string()).nullable(),
});

export const HealthAnswer = z.object({ status: z.literal("ok") });
export const ReadyAnswer = z.object({ status: z.literal("ready") });
export const NotReadyAnswer = z.object({ status: z.literal("not_ready"), reasons: z.array(z.string()) });
export const HomeAnswer = z.looseObject({ name: z.string(), about: z.string(), routes: z.array(z.string()) });

/** Versions that edges and workers talk to each other in. */
const WireVersions = z.array(z.int().positive());

export const FleetAnswer = z.looseObject({
  object: z.literal("fleet"),
  edge: z.looseObject({
    id: z.string(),
    draining: z.boolean(),
    inflight: Count,
    held_bytes: Count,
    tiles: z.object({ workers: Count, running: Count, queued: Count, memory_bytes: Count }),
    wire_versions: WireVersions,
  }).describe("The edge that answers."),
  workers: z.array(z.looseObject({
    id: z.string(),
    model: z.string(),
    device: z.string(),
    dtype: z.string(),
    capacity: Count,
    running: Count,
    draining: z.boolean(),
    wire_versions: WireVersions,
  })),
  incompatible: z.array(z.object({ id: z.string(), model: z.string(), wire_versions: WireVersions }))
    .describe("Workers that speak no version of this edge, and get nothing from it."),
});
