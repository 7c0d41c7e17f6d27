/** The chat completions request as OpenAI's clients write it: field types and ranges. */
import { MAX_MESSAGES } from "@tessera/shared";
import { z } from "zod";
import { GenerationFields } from "./generation.ts";
import { FileId, PictureFields, TilingOptions } from "./pictures.ts";
import { SamplingFields } from "./sampling.ts";
import { TurnFields } from "./turn.ts";
import { VideoFields } from "./videos.ts";

const TextPart = z.object({ type: z.literal("text"), text: z.string() });
const ImagePart = z.object({
  type: z.literal("image_url"),
  image_url: z.object({
    ...PictureFields,
    /** Pictures of one message with the same group are combined under one placeholder. */
    group: z.union([z.string().min(1), z.int()]).nullish(),
  }),
});

const VideoPart = z.object({ type: z.literal("video_url"), video_url: z.object(VideoFields) });

/** A picture that was uploaded before, as OpenAI's clients name files. */
const FilePart = z.object({ type: z.literal("file"), file: z.object({ file_id: FileId }) });

const UserPart = z.discriminatedUnion("type", [TextPart, ImagePart, VideoPart, FilePart], {
  error: "expected a part of type text, image_url, video_url or file",
});
/** Pictures and videos are the user's to send. */
const PlainPart = z.discriminatedUnion("type", [TextPart], { error: "expected a part of type text" });

const Message = z.discriminatedUnion("role", [
  z.object({ role: z.enum(["system", "developer"]), content: z.union([z.string(), z.array(PlainPart)]) }),
  z.object({ role: z.literal("user"), content: z.union([z.string(), z.array(UserPart)]) }),
  z.object({ role: z.literal("assistant"), content: z.union([z.string(), z.array(PlainPart)]).nullish() }),
], { error: "expected a role out of system, developer, user, assistant" });

export const ChatBody = z.object({
  model: z.string().min(1),
  messages: z.array(Message).min(1).max(MAX_MESSAGES),
  ...SamplingFields,
  ...GenerationFields,
  ...TurnFields,
  stream: z.boolean().nullish(),
  stream_options: z.object({ include_usage: z.boolean().nullish() }).nullish(),
  mm_processor_kwargs: TilingOptions.nullish(),
});

export type ChatBody = z.infer<typeof ChatBody>;
export type ContentPart = z.infer<typeof UserPart>;
export type ChatMessage = ChatBody["messages"][number];
