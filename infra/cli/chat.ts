/** `tessera chat`: a conversation in the terminal, with pictures and videos at its start. */
import { dim, red, write } from "../tools/terminal.ts";
import { ApiError, type ContentPart, firstModel, type Message, streamAnswer } from "./client.ts";
import { picturePart, videoPart } from "./pictures.ts";
import { gridText, timingText } from "./report.ts";

export interface ChatOptions {
  readonly url: string;
  readonly pictures: readonly string[];
  readonly videos?: readonly string[];
  /** Frames of each video. */
  readonly segments?: number;
  /** All pictures under one placeholder, as the vendor combines them; else each stands behind `Image-1: ` and so on. */
  readonly combineImages?: boolean;
  readonly model?: string;
  readonly system?: string;
  readonly maxTokens?: number;
}

/** Reads turns until an empty line, `/quit` or the end of input; Ctrl-C while an answer streams stops that answer. */
export async function chat(options: ChatOptions): Promise<void> {
  const model = options.model ?? await firstModel(options.url);
  const media = await openingParts(options);
  const messages: Message[] = [];
  if (options.system !== undefined) messages.push({ role: "system", content: options.system });
  console.log(dim(`${model} at ${options.url}. An empty line ends the conversation.`));
  let isFirst = true;
  for await (const text of turns()) {
    const content = isFirst && media.length > 0 ? [...media, { type: "text" as const, text }] : text;
    messages.push({ role: "user", content });
    try {
      messages.push({ role: "assistant", content: await answerTurn(options, model, messages) });
      isFirst = false;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      console.log(red(error.message));
      messages.pop();
    }
  }
}

/** As the vendor's quick start writes them: one picture alone, several with their names, videos behind. */
async function openingParts(options: ChatOptions): Promise<ContentPart[]> {
  const { pictures, videos = [], segments, combineImages = false } = options;
  const parts: ContentPart[] = [];
  for (const [i, picture] of pictures.entries()) {
    if (pictures.length > 1 && !combineImages) parts.push({ type: "text", text: `Image-${i + 1}: ` });
    parts.push(await picturePart(picture));
  }
  for (const video of videos) parts.push(await videoPart(video, segments));
  return parts;
}

async function answerTurn(options: ChatOptions, model: string, messages: readonly Message[]): Promise<string> {
  const stop = new AbortController();
  const onInterrupt = () => stop.abort();
  Deno.addSignalListener("SIGINT", onInterrupt);
  let answer = "";
  try {
    const limits = {
      ...(options.maxTokens === undefined ? {} : { maxTokens: options.maxTokens }),
      combineImages: options.combineImages ?? false,
    };
    for await (const piece of streamAnswer(options.url, model, messages, { ...limits, signal: stop.signal })) {
      if (piece.type === "text") {
        write(piece.text);
        answer += piece.text;
        continue;
      }
      write("\n");
      if (piece.report !== null) {
        const grid = gridText(piece.report);
        console.log(dim(`  ${grid === "" ? "" : `${grid}; `}${timingText(piece.report)}`));
      }
    }
  } catch (error) {
    if (!stop.signal.aborted) throw error;
    write(dim(" [stopped]\n"));
  } finally {
    Deno.removeSignalListener("SIGINT", onInterrupt);
  }
  return answer;
}

/** Lines of standard input, prompted for when a person types them. */
async function* turns(): AsyncGenerator<string> {
  const prompt = Deno.stdin.isTerminal() ? "> " : "";
  let rest = "";
  write(prompt);
  for await (const text of Deno.stdin.readable.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split(/\r?\n/);
    rest = lines.pop() ?? "";
    for (const line of lines) {
      if (line.trim() === "" || line.trim() === "/quit") return;
      yield line;
      write(prompt);
    }
  }
  if (rest.trim() !== "") yield rest;
}
