/** `tessera batch`: a file of requests uploaded, run by the server in idle capacity, its answers fetched. */
import { readEnv } from "@tessera/shared";
import { parseArgs } from "node:util";
import { red, write } from "../tools/terminal.ts";
import { getJson, postJson } from "./client.ts";
import { fetchFile, uploadFile } from "./files.ts";

const HELP = `Usage: deno task tessera batch <requests.jsonl> [options]

Each line: {"custom_id": "1", "method": "POST", "url": "/v1/chat/completions", "body": {...}}
Ctrl-C leaves the batch running; \`batch --id <id>\` waits for it again.

Options:
  --endpoint <path>      /v1/chat/completions (default) or /v1/captions
  --output <path>        answers go there, refusals beside them with .errors; standard output when absent
  --id <id>              wait for this batch, in place of a file
  --cancel               with --id: end it
  --no-wait              print the batch's id at once
  --url <url>            server (TESSERA_URL)
`;

interface Batch {
  readonly id: string;
  readonly status: string;
  readonly request_counts: { readonly total: number; readonly completed: number; readonly failed: number };
  readonly output_file_id: string | null;
  readonly error_file_id: string | null;
  readonly errors: { readonly data: readonly { readonly line: number | null; readonly message: string }[] } | null;
}

const ENDED = new Set(["failed", "completed", "expired", "cancelled"]);
const LOOK_MS = 1_000;

/** Runs the command; returns the exit code. @throws ApiError */
export async function batchCommand(args: string[]): Promise<number> {
  const { values, positionals: [path, ...more] } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      endpoint: { type: "string", default: "/v1/chat/completions" },
      output: { type: "string" },
      id: { type: "string" },
      cancel: { type: "boolean", default: false },
      "no-wait": { type: "boolean", default: false },
      url: { type: "string" },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  if (values.help || more.length > 0 || (path === undefined) === (values.id === undefined)) {
    console.log(HELP);
    return values.help ? 0 : 2;
  }
  const url = values.url ?? readEnv(["TESSERA_URL"], (name) => Deno.env.get(name)).TESSERA_URL;
  const at = (id: string) => `/v1/batches/${encodeURIComponent(id)}`;
  let batch: Batch;
  if (values.id !== undefined) {
    batch = values.cancel
      ? await postJson<Batch>(url, `${at(values.id)}/cancel`, {})
      : await getJson<Batch>(url, at(values.id));
  } else {
    const { id } = await uploadFile(url, path!, "batch");
    const wish = { input_file_id: id, endpoint: values.endpoint, completion_window: "24h" };
    batch = await postJson<Batch>(url, "/v1/batches", wish);
  }
  if (values["no-wait"]) {
    console.log(batch.id);
    return 0;
  }
  const isShown = Deno.stderr.isTerminal();
  while (!ENDED.has(batch.status)) {
    if (isShown) Deno.stderr.writeSync(new TextEncoder().encode(`\r\x1b[K${progress(batch)}`));
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    batch = await getJson<Batch>(url, at(batch.id));
  }
  if (isShown) write("\r");
  console.error(progress(batch));
  for (const { line, message } of batch.errors?.data ?? []) {
    console.error(red(line === null ? message : `line ${line}: ${message}`));
  }
  const output = values.output ?? null;
  if (batch.output_file_id !== null) await fetchFile(url, batch.output_file_id, output);
  if (batch.error_file_id !== null) {
    await fetchFile(url, batch.error_file_id, output === null ? null : `${output}.errors`);
  }
  return batch.status === "completed" && batch.request_counts.failed === 0 ? 0 : 1;
}

function progress({ id, status, request_counts: { total, completed, failed } }: Batch): string {
  return `${id} ${status}: ${completed + failed} of ${total}${failed === 0 ? "" : `, ${failed} refused`}`;
}
