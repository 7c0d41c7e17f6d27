/** The request a conversation becomes, for the server and for the reader. */
import type { Medium } from "./media.ts";

export interface Turn {
  readonly role: "user" | "assistant";
  readonly text: string;
  readonly media: readonly Medium[];
}

export interface Settings {
  readonly model: string;
  /** null: as many as the model takes. */
  readonly maxTiles: number | null;
  readonly segments: number;
  readonly maxTokens: number;
  readonly temperature: number;
}

export type Body = Readonly<Record<string, unknown>> & { readonly messages: readonly unknown[] };

/** @param urlOf what stands for a picture: its bytes, or a word for the reader */
export function bodyOf(turns: readonly Turn[], settings: Settings, urlOf: (medium: Medium) => string): Body {
  return {
    model: settings.model,
    messages: turns.map(({ role, text, media }) => ({
      role,
      content: media.length === 0 ? text : [
        ...media.map((medium) => part(medium, settings, urlOf(medium))),
        { type: "text", text },
      ],
    })),
    max_tokens: settings.maxTokens,
    temperature: settings.temperature,
    ...(settings.maxTiles === null ? {} : { mm_processor_kwargs: { max_dynamic_patch: settings.maxTiles } }),
  };
}

function part({ kind }: Medium, { segments }: Settings, url: string) {
  if (kind === "video") return { type: "video_url", video_url: { url, num_segments: segments } };
  return { type: "image_url", image_url: { url } };
}
