/** The body of POST /v1/captions: pictures or a video, what to say of them, where to tell of it. */
import { isListId, MAX_IMAGES, MAX_TEXT_CHARS, MAX_URL_CHARS, TesseraError, WEBHOOK_EVENTS } from "@tessera/shared";
import { z } from "zod";
import { instruction, PRESET_NAMES } from "../captions/presets.ts";
import { invalidRequest } from "./issues.ts";
import { FileId, PictureFields, TilingOptions } from "./pictures.ts";
import { Seed } from "./sampling.ts";
import { VideoFields } from "./videos.ts";

/** As OpenAI's. */
const MAX_METADATA = 16;
const MAX_METADATA_KEY_CHARS = 64;
const MAX_METADATA_VALUE_CHARS = 512;
const MAX_LANGUAGE_CHARS = 35;

const { url: _picture, ...PictureOptions } = PictureFields;
const { url: _video, ...VideoOptions } = VideoFields;
/** A URL (https: or data:), or a file's id, as it is or with options. */
const Picture = z.union([
  z.string().min(1),
  z.object({ url: z.string().min(1), ...PictureOptions }),
  z.object({ file_id: FileId, ...PictureOptions }),
]);
const Video = z.union([
  z.string().min(1),
  z.object({ url: z.string().min(1), ...VideoOptions }),
  z.object({ file_id: FileId, ...VideoOptions }),
]);

export const Metadata = z.record(z.string().max(MAX_METADATA_KEY_CHARS), z.string().max(MAX_METADATA_VALUE_CHARS))
  .refine((map) => Object.keys(map).length <= MAX_METADATA, `expected at most ${MAX_METADATA} entries`);

export const CaptionBody = z.strictObject({
  image: Picture.nullish(),
  images: z.array(Picture).min(1).max(MAX_IMAGES).nullish(),
  video: Video.nullish(),
  /** Whether several pictures get one text together; each its own unless said. */
  combine: z.boolean().nullish(),
  prompt: z.string().min(1).max(MAX_TEXT_CHARS).nullish(),
  preset: z.enum(PRESET_NAMES).nullish(),
  language: z.string().min(2).max(MAX_LANGUAGE_CHARS).nullish(),
  model: z.string().min(1).nullish(),
  max_tokens: z.int().min(1).nullish(),
  temperature: z.number().min(0).max(2).nullish(),
  seed: Seed.nullish(),
  mm_processor_kwargs: TilingOptions.nullish(),
  metadata: Metadata.nullish(),
  webhook: z.string().min(1).max(MAX_URL_CHARS).nullish(),
  webhook_events_filter: z.array(z.enum(WEBHOOK_EVENTS)).min(1).nullish(),
  webhook_body: z.enum(["full", "thin"]).nullish(),
});
export type CaptionBody = z.infer<typeof CaptionBody>;

/** Where a caption's picture or video is from, as it is told again; nothing that came inside the request is. */
export const CaptionMedia = z.object({
  type: z.enum(["image", "video"]),
  source: z.enum(["url", "file", "data"]),
  url: z.string().optional(),
  file_id: z.string().optional(),
});
export type CaptionMedia = z.infer<typeof CaptionMedia>;

export interface CaptionRequest {
  /** null: the only model there is. */
  readonly model: string | null;
  /** What chat completions requests of the same would be, one for each text; `model` is to be filled in. */
  readonly chats: readonly Record<string, unknown>[];
  readonly media: readonly CaptionMedia[];
  readonly prompt: string;
  readonly preset: CaptionBody["preset"] & string | null;
  readonly language: string | null;
  readonly metadata: Readonly<Record<string, string>>;
  readonly webhook: {
    readonly url: string;
    readonly events?: readonly (typeof WEBHOOK_EVENTS)[number][];
    readonly body?: "full" | "thin";
  } | null;
}

/** @throws TesseraError `invalid_request` or `unsupported_parameter` */
export function parseCaptionRequest(json: unknown): CaptionRequest {
  const parsed = CaptionBody.safeParse(json);
  if (!parsed.success) throw invalidRequest(parsed.error);
  const body = parsed.data;
  const given = (["image", "images", "video"] as const).filter((name) => body[name] != null);
  if (given.length !== 1) throw wrong("Send one of image, images and video.", given[1] ?? "image");
  if (body.prompt != null && body.preset != null) throw wrong("Send either prompt or preset, not both.", "preset");
  if (body.webhook == null) {
    for (const name of ["webhook_events_filter", "webhook_body"] as const) {
      if (body[name] != null) throw wrong(`${name} says how a webhook is called, and there is none.`, name);
    }
  }
  const pictures = (body.images ?? (body.image == null ? [] : [body.image])).map(withUrl);
  const videos = body.video == null ? [] : [withUrl(body.video)];
  const preset = body.prompt == null ? body.preset ?? "detailed" : null;
  const language = body.language ?? null;
  const prompt = instruction(preset ?? "detailed", body.prompt ?? null, language);
  const { max_tokens, temperature, seed, mm_processor_kwargs } = body;
  const media = [
    ...pictures.map((image_url) => ({ type: "image_url", image_url })),
    ...videos.map((video_url) => ({ type: "video_url", video_url })),
  ];
  const chat = (content: readonly unknown[]) => ({
    messages: [{ role: "user", content: [...content, { type: "text", text: prompt }] }],
    max_tokens,
    temperature,
    seed,
    mm_processor_kwargs,
  });
  // Pictures under one placeholder can only be told of together.
  const isOne = body.combine ?? mm_processor_kwargs?.combine_images ?? false;
  return {
    model: body.model ?? null,
    chats: isOne ? [chat(media)] : media.map((each) => chat([each])),
    media: [...pictures.map(({ url }) => told("image", url)), ...videos.map(({ url }) => told("video", url))],
    prompt,
    preset,
    language,
    metadata: body.metadata ?? {},
    webhook: body.webhook == null ? null : {
      url: body.webhook,
      ...(body.webhook_events_filter == null ? {} : { events: body.webhook_events_filter }),
      ...(body.webhook_body == null ? {} : { body: body.webhook_body }),
    },
  };
}

/**
 * An error of a chat request a caption stands for, its place told as the caption's own.
 * @param first place among the caption's pictures of the first one in that request
 */
export function inCaption(error: TesseraError, json: unknown, first = 0): TesseraError {
  const at = /^messages\[0\]\.content\[(\d+)\](?:\.(?:image_url|video_url))?(.*)$/.exec(error.param ?? "");
  if (at === null) return error;
  const { images, video } = json as { readonly images?: unknown; readonly video?: unknown };
  const place = images != null ? `images[${first + Number(at[1])}]` : video != null ? "video" : "image";
  const param = place + at[2]!;
  return new TesseraError(error.code, {
    message: error.message.replaceAll(error.param!, param),
    param,
    ...(error.retryAfterS === null ? {} : { retryAfterS: error.retryAfterS }),
    cause: error,
  });
}

function withUrl<T extends object>(media: string | (T & ({ url: string } | { file_id: string }))) {
  if (typeof media === "string") return { url: media };
  if ("url" in media) return media;
  const { file_id, ...options } = media as { file_id: string };
  return { url: file_id, ...options };
}

function told(type: CaptionMedia["type"], url: string): CaptionMedia {
  if (isListId("file", url)) return { type, source: "file", file_id: url };
  return /^data:/i.test(url) ? { type, source: "data" } : { type, source: "url", url: url.slice(0, MAX_URL_CHARS) };
}

function wrong(message: string, param: string): TesseraError {
  return new TesseraError("invalid_request", { message, param });
}
