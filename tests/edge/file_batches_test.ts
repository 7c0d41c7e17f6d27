/** /v1/batches: what is wrong with a file is told line by line; batches are seen by their owner, and cancelled. */
import { jetstreamManager } from "@nats-io/jetstream";
import { BATCH_RESULTS_STREAM, BATCHES_STREAM, JOBS_BUCKET } from "@tessera/shared";
import assert from "node:assert/strict";
import { FileBatchAnswer, FileBatchListAnswer } from "../../edge/openapi/batch_answers.ts";
import { checkInput, inputLines } from "../../edge/batches/input.ts";
import { errorOf, type Harness, until, withEdge } from "./harness.ts";
import { FAKE_MODEL } from "./fake_worker.ts";

const json = { "content-type": "application/json" };
const CHAT = "/v1/chat/completions";

function line(custom_id: unknown, extra: Record<string, unknown> = {}): string {
  const body = { model: FAKE_MODEL, messages: [{ role: "user", content: "Hello" }] };
  return JSON.stringify({ custom_id, method: "POST", url: CHAT, body, ...extra });
}

async function uploaded({ edge }: Harness, text: string, purpose = "batch"): Promise<string> {
  const form = new FormData();
  form.set("purpose", purpose);
  form.set("file", new File([text], "in.jsonl"));
  return (await (await fetch(`${edge.url}/v1/files`, { method: "POST", body: form })).json()).id;
}

const create = ({ edge }: Harness, body: Record<string, unknown>) =>
  fetch(`${edge.url}/v1/batches`, {
    method: "POST",
    headers: json,
    body: JSON.stringify({ endpoint: CHAT, completion_window: "24h", ...body }),
  });

async function created(harness: Harness, text: string, extra: Record<string, unknown> = {}) {
  const response = await create(harness, { input_file_id: await uploaded(harness, text), ...extra });
  assert.equal(response.status, 200, await response.clone().text());
  return FileBatchAnswer.parse(await response.json());
}

async function look({ edge }: Harness, id: string) {
  return FileBatchAnswer.parse(await (await fetch(`${edge.url}/v1/batches/${id}`)).json());
}

async function content({ edge }: Harness, id: string) {
  const text = await (await fetch(`${edge.url}/v1/files/${id}/content`)).text();
  return text.trimEnd().split("\n").map((each) => JSON.parse(each));
}

Deno.test("batches of a file: lines are cut whatever the pieces, and each fault is told with its line", async () => {
  const text = [
    line("a"),
    "",
    "{no json",
    line("a"),
    line("b", { url: "/v1/embeddings" }),
    line("c", { method: "GET" }),
    line(""),
    line("d", { body: { stream: true } }),
    line("ü"),
  ].join("\r\n");
  const bytes = new TextEncoder().encode(text);
  for (const size of [1, 7, 1_000]) {
    const pieces = Array.from(
      { length: Math.ceil(bytes.length / size) },
      (_, i) => bytes.slice(i * size, (i + 1) * size),
    );
    const lines = await Array.fromAsync(inputLines(ReadableStream.from(pieces)));
    assert.deepEqual(lines.map(({ number }) => number), [1, 3, 4, 5, 6, 7, 8, 9]);
    const { numRequests, faults } = await checkInput(ReadableStream.from(pieces), CHAT);
    assert.equal(numRequests, 8);
    assert.deepEqual(faults.map(({ code, line, param }) => [code, line, param]), [
      ["invalid_json_line", 3, null],
      ["duplicate_custom_id", 4, "custom_id"],
      ["mismatched_url", 5, "url"],
      ["invalid_request", 6, "method"],
      ["invalid_request", 7, "custom_id"],
      ["invalid_request", 8, "body.stream"],
    ]);
  }
  assert.equal((await checkInput(ReadableStream.from([]), CHAT)).faults[0]?.code, "empty_file");
});

Deno.test("batches of a file: faulty ones fail, requests that cannot be answered go to the error file", () =>
  withEdge({}, async (harness) => {
    await until(() => harness.edge.deps.bus.isConnected);
    const faulty = await created(harness, `${line("a")}\n${line("a")}\n`, { metadata: { of: "a test" } });
    assert.deepEqual([faulty.status, faulty.metadata, faulty.errors], ["validating", { of: "a test" }, null]);
    assert.equal(faulty.expires_at - faulty.created_at, 86_400);
    await until(async () => (await look(harness, faulty.id)).status === "failed");
    const failed = await look(harness, faulty.id);
    assert.deepEqual(failed.errors?.data.map(({ code, line }) => [code, line]), [["duplicate_custom_id", 2]]);
    assert.ok(failed.failed_at !== null && failed.output_file_id === null);

    const bodies = [
      { model: "none", messages: [{ role: "user", content: "x" }] },
      { model: FAKE_MODEL, messages: [] },
      { model: FAKE_MODEL, messages: [{ role: "user", content: "x" }], logprobs: true, max_tokens: 8_193 },
    ];
    const refused = await created(harness, bodies.map((body, i) => line(`${i}`, { body })).join("\n"));
    await until(async () => (await look(harness, refused.id)).status === "completed");
    const ended = await look(harness, refused.id);
    assert.deepEqual(ended.request_counts, { total: 3, completed: 0, failed: 3 });
    assert.equal(ended.output_file_id, null);
    const errors = await content(harness, ended.error_file_id!);
    assert.deepEqual(
      errors.map(({ custom_id, response }) => [custom_id, response.status_code, response.body.error.code]),
      [["0", 404, "model_not_found"], ["1", 400, "invalid_request"], ["2", 400, "invalid_request"]],
    );
    const file = await (await fetch(`${harness.edge.url}/v1/files/${ended.error_file_id}`)).json();
    assert.deepEqual([file.purpose, file.filename], ["batch_output", `${refused.id}_error.jsonl`]);

    const listed = FileBatchListAnswer.parse(await (await fetch(`${harness.edge.url}/v1/batches?limit=1`)).json());
    assert.deepEqual([listed.data[0]?.id, listed.has_more], [refused.id, true]);
    const manager = await jetstreamManager(harness.edge.deps.bus.connection);
    const numLeft = async () => {
      const infos = [BATCHES_STREAM, BATCH_RESULTS_STREAM].map((name) => manager.streams.info(name));
      return (await Promise.all(infos)).reduce((sum, { state }) => sum + state.messages, 0);
    };
    await until(async () => await numLeft() === 0);
  }));

Deno.test("batches of a file: what runs is cancelled, and what was not run says so", () =>
  withEdge({}, async (harness) => {
    await until(() => harness.edge.deps.bus.isConnected);
    // No worker takes durable jobs here: all of them wait.
    const batch = await created(harness, Array.from({ length: 40 }, (_, i) => line(`${i}`)).join("\n"));
    await until(async () => (await look(harness, batch.id)).status === "in_progress");
    assert.equal((await look(harness, batch.id)).request_counts.total, 40);
    // A stream has only so many consumers: one hears of all that are waited for, and goes with the last.
    const manager = await jetstreamManager(harness.edge.deps.bus.connection);
    const numConsumers = () =>
      manager.streams.info(`KV_${JOBS_BUCKET}`).then(({ state }) => state.consumer_count, () => null);
    await until(async () => await numConsumers() === 1);
    const cancel = () => fetch(`${harness.edge.url}/v1/batches/${batch.id}/cancel`, { method: "POST" });
    const asked = FileBatchAnswer.parse(await (await cancel()).json());
    assert.equal(asked.status, "cancelling");
    await until(async () => (await look(harness, batch.id)).status === "cancelled");
    const ended = await look(harness, batch.id);
    assert.deepEqual(ended.request_counts, { total: 40, completed: 0, failed: 40 });
    const errors = await content(harness, ended.error_file_id!);
    assert.deepEqual(errors.map(({ custom_id }) => custom_id), Array.from({ length: 40 }, (_, i) => `${i}`));
    assert.ok(errors.every(({ response, error }) => response === null && error.code === "batch_cancelled"));
    assert.equal((await errorOf(await cancel(), 409)).code, "batch_ended");
    await until(async () => await numConsumers() === 0);
  }));

Deno.test("batches of a file: what is wrong with the wish is told by the status", () =>
  withEdge({ worker: false }, async (harness) => {
    await until(() => harness.edge.deps.bus.isConnected);
    const input_file_id = await uploaded(harness, line("a"));
    const cases: [Record<string, unknown>, number, string, string][] = [
      [{}, 400, "invalid_request", "input_file_id"],
      [{ input_file_id: "file-none" }, 404, "file_not_found", "input_file_id"],
      [{ input_file_id: await uploaded(harness, "x", "user_data") }, 400, "invalid_request", "input_file_id"],
      [{ input_file_id, endpoint: "/v1/embeddings" }, 400, "invalid_request", "endpoint"],
      [{ input_file_id, completion_window: "1h" }, 400, "invalid_request", "completion_window"],
      [{ input_file_id, metadata: { a: 1 } }, 400, "invalid_request", "metadata.a"],
    ];
    for (const [body, status, code, param] of cases) {
      const error = await errorOf(await create(harness, body), status);
      assert.deepEqual([error.code, error.param], [code, param]);
    }
    const other = { authorization: "Bearer other" };
    const { id } = await created(harness, line("a"));
    await errorOf(await fetch(`${harness.edge.url}/v1/batches/${id}`, { headers: other }), 404);
    await errorOf(await fetch(`${harness.edge.url}/v1/batches/${id}/cancel`, { method: "POST", headers: other }), 404);
  }));

Deno.test("batches of a file: when the window is over, what has no answer is told as expired, line by line", () =>
  // No worker takes what lasts here.
  withEdge({ config: { batchWindowMs: 1_500 } }, async (harness) => {
    const { id } = await created(harness, [line("a"), line("b")].join("\n"));
    await until(async () => (await look(harness, id)).status === "expired");
    const ended = await look(harness, id);
    assert.ok(ended.expired_at !== null && ended.completed_at === null);
    assert.deepEqual(ended.request_counts, { total: 2, completed: 0, failed: 2 });
    const errors = await content(harness, ended.error_file_id!);
    assert.deepEqual(errors.map(({ custom_id, error }) => [custom_id, error.code]), [
      ["a", "batch_expired"],
      ["b", "batch_expired"],
    ]);
  }));
