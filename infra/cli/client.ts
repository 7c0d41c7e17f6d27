/** A small client of the server's HTTP API: streams one answer, says clearly what went wrong. */
import { readEnv } from "@tessera/shared";

export type ContentPart =
  | { readonly type: "text"; readonly text: string }
  | { readonly type: "image_url"; readonly image_url: { readonly url: string } }
  | { readonly type: "video_url"; readonly video_url: { readonly url: string; readonly num_segments?: number } };

export interface Message {
  readonly role: "system" | "user" | "assistant";
  readonly content: string | readonly ContentPart[];
}

/** What the server tells of a finished answer, beside OpenAI's fields. */
export interface Report {
  readonly images: readonly { width: number; height: number; cols: number; rows: number; tiles: number }[];
  /** Milliseconds per stage. */
  readonly timings: Readonly<Record<string, number>>;
}

/** One piece of an answer. */
export type AnswerPiece =
  | { readonly type: "text"; readonly text: string }
  | { readonly type: "end"; readonly report: Report | null; readonly completionTokens: number };

/** The server said no, or could not be reached. The message is for the person at the terminal. */
export class ApiError extends Error {
  override readonly name = "ApiError";
  /** Of the server's answer; null: there was none. */
  readonly status: number | null;

  constructor(message: string, options: ErrorOptions & { readonly status?: number } = {}) {
    super(message, options);
    this.status = options.status ?? null;
  }
}

interface Chunk {
  readonly choices?: readonly { readonly delta?: { readonly content?: string | null } }[];
  readonly usage?: { readonly completion_tokens: number } | null;
  readonly tessera?: Report;
  readonly error?: { readonly message: string };
}

/** Sends a GET and returns its JSON. @throws ApiError */
export async function getJson<T>(base: string, path: string): Promise<T> {
  const response = await send(base, path, {});
  return await response.json() as T;
}

/** Sends a GET and returns its text. @throws ApiError */
export async function getText(base: string, path: string): Promise<string> {
  return await (await send(base, path, {})).text();
}

/** Sends a POST of JSON and returns the JSON of the answer. @throws ApiError */
export async function postJson<T>(base: string, path: string, body: unknown): Promise<T> {
  const headers = { "content-type": "application/json" };
  const response = await send(base, path, { method: "POST", headers, body: JSON.stringify(body) });
  return await response.json() as T;
}

/** First model the server lists. @throws ApiError */
export async function firstModel(base: string): Promise<string> {
  const models = await getJson<{ data: { id: string }[] }>(base, "/v1/models");
  const model = models.data[0];
  if (model === undefined) throw new ApiError(`The server at ${base} has no model yet: no worker is running.`);
  return model.id;
}

/** Streams the answer to a conversation. @throws ApiError */
export async function* streamAnswer(
  base: string,
  model: string,
  messages: readonly Message[],
  options: { readonly maxTokens?: number; readonly combineImages?: boolean; readonly signal?: AbortSignal } = {},
): AsyncGenerator<AnswerPiece> {
  const response = await send(base, "/v1/chat/completions", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      model,
      messages,
      stream: true,
      stream_options: { include_usage: true },
      ...(options.combineImages === true ? { mm_processor_kwargs: { combine_images: true } } : {}),
      ...(options.maxTokens === undefined ? {} : { max_completion_tokens: options.maxTokens }),
    }),
    ...(options.signal === undefined ? {} : { signal: options.signal }),
  });
  let report: Report | null = null;
  let completionTokens = 0;
  for await (const data of eventData(response)) {
    if (data === "[DONE]") return yield { type: "end", report, completionTokens };
    const chunk = JSON.parse(data) as Chunk;
    if (chunk.error !== undefined) throw new ApiError(chunk.error.message);
    if (chunk.tessera !== undefined) report = chunk.tessera;
    if (chunk.usage) completionTokens = chunk.usage.completion_tokens;
    const text = chunk.choices?.[0]?.delta?.content;
    if (text) yield { type: "text", text };
  }
  throw new ApiError("The answer broke off: the connection ended before the server was done.");
}

/** Sends any request, with the key of the environment. @throws ApiError */
export async function send(base: string, path: string, init: RequestInit): Promise<Response> {
  const { TESSERA_API_KEY: key } = readEnv(["TESSERA_API_KEY"], (name) => Deno.env.get(name));
  if (key === "") return await request(base, path, init);
  const headers = new Headers(init.headers);
  headers.set("authorization", `Bearer ${key}`);
  return await request(base, path, { ...init, headers });
}

async function request(base: string, path: string, init: RequestInit): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(`${base.replace(/\/$/, "")}${path}`, init);
  } catch (cause) {
    if (init.signal?.aborted) throw cause;
    throw new ApiError(
      `No server answers at ${base}. Start one with \`deno task start\`, or set TESSERA_URL to where it runs.`,
      { cause },
    );
  }
  if (response.ok) return response;
  const text = await response.text();
  let message = text.slice(0, 300);
  try {
    message = (JSON.parse(text) as { error: { message: string } }).error.message;
  } catch {
    // Not one of ours; show what came.
  }
  throw new ApiError(`${message} (HTTP ${response.status})`, { status: response.status });
}

/** `data:` fields of a server-sent event stream. */
async function* eventData(response: Response): AsyncGenerator<string> {
  if (response.body === null) return;
  let rest = "";
  for await (const text of response.body.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split(/\r?\n/);
    rest = lines.pop() ?? "";
    for (const line of lines) if (line.startsWith("data: ")) yield line.slice(6);
  }
}
