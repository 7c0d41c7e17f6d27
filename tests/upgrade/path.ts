/** Everything a client does with a fleet, asked of an edge and looked at: the whole path, whoever is at its two ends. */
import assert from "node:assert/strict";
import { type Part, until } from "../support/fleet.ts";
import { png } from "../support/png_writer.ts";

export const JSON_HEADERS = { "content-type": "application/json" };

/** Of several tiles. */
export const PICTURE = `data:image/png;base64,${(await png(90, 60, (x, y) => (x * y) & 255)).toBase64()}`;

// deno-lint-ignore no-explicit-any -- answers of a server, looked at field by field
type Answer = any;

export const QUESTION = {
  model: "fake",
  messages: [{
    role: "user",
    content: [{ type: "image_url", image_url: { url: PICTURE } }, { type: "text", text: "What — é 日本 — is it?" }],
  }],
  max_completion_tokens: 40,
  temperature: 1,
  seed: 7,
  logprobs: true,
  top_logprobs: 2,
};

/** Streams and does not stream the same question about a picture; both have to be whole, and the same. Returns the text. */
export async function askBothWays(url: string): Promise<string> {
  const whole = await post(url, "chat/completions", QUESTION);
  const [choice] = whole.choices;
  assert.equal(choice.finish_reason, "length");
  assert.equal(choice.logprobs.content.length, 40);
  assert.ok(choice.logprobs.content.every((token: { top_logprobs: unknown[] }) => token.top_logprobs.length === 2));
  assert.equal(whole.usage.completion_tokens, 40);
  assert.ok(whole.usage.prompt_tokens > 7 * 4, "tiles are in the prompt");
  const streamed = await stream(url, QUESTION);
  assert.deepEqual([streamed.text, streamed.numLogprobs], [choice.message.content, 40]);
  return streamed.text;
}

/** Several answers to one prompt, and the tokens of a text. */
export async function askTheRest(url: string): Promise<void> {
  const several = await post(url, "chat/completions", { ...QUESTION, n: 3, logprobs: false, top_logprobs: undefined });
  assert.deepEqual(several.choices.map(({ index }: { index: number }) => index), [0, 1, 2]);
  assert.equal(several.usage.completion_tokens, 120);
  const counted = await post(url, "tokenize", { model: "fake", prompt: "seven" });
  assert.ok(counted.count > 0);
  const refused = await fetch(`${url}/v1/chat/completions`, {
    method: "POST",
    headers: JSON_HEADERS,
    // Found out by the worker, and told as an event.
    body: JSON.stringify({ ...QUESTION, logit_bias: { 100_000: 1 } }),
  });
  assert.equal((await refused.json()).error.code, "invalid_request");
}

/** Leaves in the middle of a long answer; the worker has to hear of it. */
export async function leaveEarly(url: string, worker: Part): Promise<void> {
  const stop = new AbortController();
  const response = await fetch(`${url}/v1/chat/completions`, {
    method: "POST",
    headers: JSON_HEADERS,
    body: JSON.stringify({ ...QUESTION, stream: true, max_completion_tokens: 1_500 }),
    signal: stop.signal,
  });
  const reader = response.body!.getReader();
  for (let length = 0; length < 2_000;) length += (await reader.read()).value!.length;
  const numJobs = () => Number(worker.last("worker_state")?.["num_jobs"]);
  await until(() => numJobs() === 1, "the worker to have it");
  stop.abort();
  await reader.cancel().catch(() => {});
  await until(() => numJobs() === 0, "the worker to let go of it");
}

/** What is looked at of a caption; edges of different releases tell more or less of it. */
interface Caption {
  readonly id: string;
  readonly status: string;
  readonly output: unknown;
  readonly usage: { readonly completion_tokens: number } | null;
  readonly metadata: Readonly<Record<string, string>>;
}

/** Submits a caption; with `waitS` returns it when it is done. */
export async function submitCaption(url: string, waitS = 0, maxTokens = 30): Promise<Caption> {
  const response = await fetch(`${url}/v1/captions`, {
    method: "POST",
    headers: { ...JSON_HEADERS, ...(waitS === 0 ? {} : { prefer: `wait=${waitS}` }) },
    body: JSON.stringify({
      images: [PICTURE],
      prompt: "Say it",
      max_tokens: maxTokens,
      seed: 3,
      metadata: { order: "9" },
    }),
  });
  return await bodyOf(response);
}

export async function readCaption(url: string, id: string, waitS = 0): Promise<Caption> {
  const headers: Record<string, string> = waitS === 0 ? {} : { prefer: `wait=${waitS}` };
  return await bodyOf(await fetch(`${url}/v1/captions/${id}`, { headers }));
}

/** Uploads a file of requests and runs it as a batch to its end. Returns its id and the lines of its output. */
export async function runBatch(url: string): Promise<{ readonly id: string; readonly output: string }> {
  const { logprobs: _, top_logprobs: __, ...body } = QUESTION;
  const line = (i: number) => JSON.stringify({ custom_id: `r${i}`, method: "POST", url: "/v1/chat/completions", body });
  const form = new FormData();
  form.append("purpose", "batch");
  form.append("file", new File([`${line(1)}\n${line(2)}\n`], "requests.jsonl"));
  const file = await bodyOf(await fetch(`${url}/v1/files`, { method: "POST", body: form }));
  const endpoint = "/v1/chat/completions";
  const { id } = await post(url, "batches", { input_file_id: file.id, endpoint, completion_window: "24h" });
  const status = async () => (await readJson(url, `batches/${id}`)).status;
  await until(async () => await status() === "completed", "the batch to be done");
  return { id, output: await readBatchOutput(url, id) };
}

export async function readBatchOutput(url: string, id: string): Promise<string> {
  const { output_file_id, error_file_id } = await readJson(url, `batches/${id}`);
  if (error_file_id !== null) assert.fail(await (await fetch(`${url}/v1/files/${error_file_id}/content`)).text());
  const response = await fetch(`${url}/v1/files/${output_file_id}/content`);
  const text = await response.text();
  assert.ok(response.ok, text);
  return text;
}

/** A stream that can be taken up again: its id and first events, and a promise of the whole text. */
export async function stream(url: string, body: object, headers: Record<string, string> = {}) {
  const response = await fetch(`${url}/v1/chat/completions`, {
    method: "POST",
    headers: { ...JSON_HEADERS, ...headers },
    body: JSON.stringify({ ...body, stream: true }),
  });
  return await readStream(response);
}

export async function readStream(response: Response) {
  const text = await response.text();
  assert.ok(response.ok, text);
  const chunks = [...text.matchAll(/^data: (\{.*)$/gm)].map(([, json]) => JSON.parse(json!));
  assert.ok(text.includes("data: [DONE]"), text.slice(-500));
  const choices = chunks.flatMap((chunk) => chunk.choices);
  return {
    id: String(chunks[0]?.id),
    text: choices.map(({ delta }) => delta.content ?? "").join(""),
    numLogprobs: choices.reduce((sum, { logprobs }) => sum + (logprobs?.content.length ?? 0), 0),
  };
}

export async function post(
  url: string,
  path: string,
  body: object,
  headers: Record<string, string> = {},
): Promise<Answer> {
  const init = { method: "POST", headers: { ...JSON_HEADERS, ...headers }, body: JSON.stringify(body) };
  return await bodyOf(await fetch(`${url}/v1/${path}`, init));
}

export async function readJson(url: string, path: string): Promise<Answer> {
  return await bodyOf(await fetch(`${url}/v1/${path}`));
}

async function bodyOf(response: Response): Promise<Answer> {
  const text = await response.text();
  assert.ok(response.ok, text);
  return JSON.parse(text);
}
