/** What a caption is asked for by name: the words for the model, and what is read from its answer. */
import { TesseraError } from "@tessera/shared";

export const PRESETS = {
  short: "Describe the picture in one short sentence.",
  detailed: "Describe the picture in detail.",
  alt_text: "Write alternative text of the picture for people who cannot see it: one or two plain sentences, " +
    'without "picture of" and without guesses.',
  tags: "List what the picture shows as tags, the most important first. Answer with a JSON array of strings alone, " +
    'such as ["dog", "beach"].',
} as const;
export type Preset = keyof typeof PRESETS;
export const PRESET_NAMES = Object.keys(PRESETS) as [Preset, ...Preset[]];

const NAMES = new Intl.DisplayNames(["en"], { type: "language", fallback: "none" });

/** The English name of a language tag. @throws TesseraError `invalid_request` */
export function languageName(tag: string): string {
  let name: string | undefined;
  try {
    name = NAMES.of(tag);
  } catch {
    // No well-formed tag.
  }
  if (name !== undefined) return name;
  const message = `language is not valid: "${tag.slice(0, 35)}" is no language. Use a tag such as de or pt-BR.`;
  throw new TesseraError("invalid_request", { message, param: "language" });
}

/** What the model is asked. */
export function instruction(preset: Preset, prompt: string | null, language: string | null): string {
  const asked = prompt ?? PRESETS[preset];
  return language === null ? asked : `${asked} Answer in ${languageName(language)}.`;
}

/** Tags of an answer: its JSON array, or, where a small model gave none, what stands between commas and lines. */
export function tagsOf(text: string): string[] {
  const array = /\[[^\]]*\]/.exec(text)?.[0];
  if (array !== undefined) {
    try {
      const tags = (JSON.parse(array) as unknown[]).filter((tag) => typeof tag === "string");
      if (tags.length > 0) return distinct(tags);
    } catch {
      // No JSON after all.
    }
  }
  return distinct(text.split(/[,;\n]/).map((tag) => tag.replace(/^[\s\-*"'[\]\d.)]+|[\s"'.\]]+$/g, "")));
}

function distinct(tags: readonly string[]): string[] {
  return [...new Set(tags.map((tag) => tag.trim()).filter((tag) => tag !== ""))];
}
