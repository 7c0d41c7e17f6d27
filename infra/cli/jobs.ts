/** `tessera jobs`: captions as jobs that last, listed, looked at, waited for, cancelled, deleted; and submitted with a webhook. */
import { readEnv } from "@tessera/shared";
import { parseArgs } from "node:util";
import { dim, red } from "../tools/terminal.ts";
import { ApiError, getJson, postJson, send } from "./client.ts";
import { urlOf } from "./pictures.ts";
import { UsageError, wholeNumber } from "./usage.ts";

const HELP = `Usage: deno task tessera jobs [<id>] [options]

  jobs                   list captions, newest first
  jobs <id>              how far one is, and its text

Options:
  --wait                 wait until it has ended
  --cancel               end it
  --delete               cancel it and forget all of it
  --limit <n>            list: at most so many (default 20)
  --json                 print what the server answers
  --url <url>            server (TESSERA_URL)
`;

/** What is shown of a caption. */
interface Job {
  readonly id: string;
  readonly status: string;
  readonly created_at: number;
  readonly outputs: readonly { readonly text: string | null; readonly error: { readonly message: string } | null }[];
  readonly error: { readonly message: string } | null;
}

const ENDED = new Set(["succeeded", "failed", "canceled", "expired"]);
const WAIT_S = 30;

/** Runs the command; returns the exit code. @throws ApiError, UsageError */
export async function jobsCommand(args: string[]): Promise<number> {
  const { values, positionals: [id, ...more] } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      wait: { type: "boolean", default: false },
      cancel: { type: "boolean", default: false },
      delete: { type: "boolean", default: false },
      limit: { type: "string", default: "20" },
      json: { type: "boolean", default: false },
      url: { type: "string" },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  const isOne = values.wait || values.cancel || values.delete;
  if (values.help || more.length > 0) {
    console.log(HELP);
    return values.help ? 0 : 2;
  }
  if (isOne && id === undefined) throw new UsageError("Which job? Usage: deno task tessera jobs <id> --wait");
  const url = values.url ?? readEnv(["TESSERA_URL"], (name) => Deno.env.get(name)).TESSERA_URL;
  const print = (job: Job) => console.log(values.json ? JSON.stringify(job) : line(job));
  if (id === undefined) {
    const limit = wholeNumber("limit", values.limit, 1, 100);
    (await getJson<{ data: Job[] }>(url, `/v1/captions?limit=${limit}`)).data.forEach(print);
    return 0;
  }
  const path = `/v1/captions/${encodeURIComponent(id)}`;
  if (values.delete) {
    await send(url, path, { method: "DELETE" });
    return 0;
  }
  let job = values.cancel ? await postJson<Job>(url, `${path}/cancel`, {}) : await getJson<Job>(url, path);
  while (values.wait && !ENDED.has(job.status)) {
    const response = await send(url, path, { headers: { prefer: `wait=${WAIT_S}` } });
    job = await response.json() as Job;
  }
  print(job);
  return values.wait && job.status !== "succeeded" ? 1 : 0;
}

export interface SubmitOptions {
  readonly url: string;
  readonly pictures: readonly string[];
  readonly prompt: string;
  readonly webhook: string;
  readonly model?: string;
  readonly maxTokens?: number;
}

/** Submits a job for each picture, whose end the webhook hears of. Returns how many were refused. @throws ApiError */
export async function submitCaptions(options: SubmitOptions): Promise<number> {
  let numRefused = 0;
  for (const picture of options.pictures) {
    try {
      const job = await postJson<Job>(options.url, "/v1/captions", {
        image: await urlOf(picture),
        prompt: options.prompt,
        webhook: options.webhook,
        metadata: { picture: picture.slice(0, 512) },
        ...(options.model === undefined ? {} : { model: options.model }),
        ...(options.maxTokens === undefined ? {} : { max_tokens: options.maxTokens }),
      });
      console.log(`${job.id}  ${picture}`);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      console.log(`${red(error.message)}  ${picture}`);
      numRefused++;
    }
  }
  return numRefused;
}

/** One line; several texts stand below it, one a line. */
function line({ id, status, created_at, outputs, error }: Job): string {
  const time = new Date(created_at * 1000).toISOString().replace(".000", "");
  const head = `${id}  ${status.padEnd(10)}  ${dim(time)}`;
  const texts = outputs.map((output) => output.text ?? output.error?.message ?? "");
  if (texts.length < 2) return `${head}  ${error?.message ?? texts[0] ?? ""}`.trimEnd();
  return [head, ...texts.map((text, index) => `  ${dim(`${index + 1}`)}  ${text || dim("-")}`)].join("\n");
}
