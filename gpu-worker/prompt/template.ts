/** Owns the chat template internvl2_5 (ChatML): the order of control tokens and text around messages and pictures. */
import type { JobMessage } from "@tessera/shared";

/** What the vendor's template says where a request has no system message. */
export const DEFAULT_SYSTEM_TEXT =
  "你是书生·万象，英文名是InternVL，是由上海人工智能实验室、清华大学及多家合作单位联合开发的多模态大语言模型。";

/** Control tokens a prompt is built with; put in by id, never by text. */
export const CONTROL_TOKENS = {
  turnStart: "<|im_start|>",
  turnEnd: "<|im_end|>",
  imageStart: "<img>",
  imageEnd: "</img>",
  imageContext: "<IMG_CONTEXT>",
} as const;

export type ControlName = "turnStart" | "turnEnd";

/** One piece of a prompt. Texts that touch are one text to the tokenizer. */
export type PromptPiece =
  | { readonly type: "control"; readonly token: ControlName }
  | { readonly type: "text"; readonly text: string }
  /** Indices into the job's pictures; the tiles of all stand under one placeholder. */
  | { readonly type: "images"; readonly images: readonly number[] };

const control = (token: ControlName): PromptPiece => ({ type: "control", token });
const text = (value: string): PromptPiece => ({ type: "text", text: value });

/** Lays messages out, up to the place where the answer begins. */
export function* layOutPrompt(messages: readonly JobMessage[], systemText: string): Generator<PromptPiece> {
  if (messages[0]?.role !== "system") yield* turn("system", [text(systemText)]);
  for (const { role, parts } of messages) {
    const pieces: PromptPiece[] = [];
    for (const part of parts) {
      if (part.type === "text") pieces.push(text(part.text));
      else pieces.push({ type: "images", images: part.type === "image" ? [part.image] : part.images }, text("\n"));
    }
    yield* turn(role, pieces);
  }
  yield control("turnStart");
  yield text("assistant\n");
}

function* turn(role: string, content: readonly PromptPiece[]): Generator<PromptPiece> {
  yield control("turnStart");
  yield text(`${role}\n`);
  yield* content;
  yield control("turnEnd");
  yield text("\n");
}
