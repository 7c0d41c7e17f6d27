/** A batch is run to its end whatever edges, workers and servers do: each request once, the answers those of a quiet day. */
import assert from "node:assert/strict";
import { FileBatchAnswer } from "../../edge/openapi/batch_answers.ts";
import { png } from "../support/png_writer.ts";
import { Fleet, until } from "../support/fleet.ts";

const NUM_REQUESTS = 60;
const json = { "content-type": "application/json" };

async function inputFile(url: string): Promise<string> {
  const picture = `data:image/png;base64,${(await png(60, 40, (x, y) => (x + y) & 255)).toBase64()}`;
  const lines = Array.from({ length: NUM_REQUESTS }, (_, i) => {
    const content = [
      ...i % 3 === 0 ? [{ type: "image_url", image_url: { url: picture } }] : [],
      { type: "text", text: `Say ${i}` },
    ];
    // Log-probabilities of some are kept with their text.
    const told = i % 4 === 1 ? { logprobs: true, top_logprobs: 2 } : {};
    const body = {
      model: "fake",
      messages: [{ role: "user", content }],
      max_tokens: 60,
      temperature: 1,
      seed: i,
      ...told,
    };
    // One that is refused.
    const wrong = i === 7 ? { temperature: 9 } : {};
    return JSON.stringify({
      custom_id: `c${i}`,
      method: "POST",
      url: "/v1/chat/completions",
      body: { ...body, ...wrong },
    });
  });
  const form = new FormData();
  form.set("purpose", "batch");
  form.set("file", new File([lines.join("\n")], "in.jsonl"));
  return (await (await fetch(`${url}/v1/files`, { method: "POST", body: form })).json()).id;
}

async function start(url: string, input_file_id: string): Promise<string> {
  const body = JSON.stringify({ input_file_id, endpoint: "/v1/chat/completions", completion_window: "24h" });
  return (await (await fetch(`${url}/v1/batches`, { method: "POST", headers: json, body })).json()).id;
}

async function look(url: string, id: string) {
  return FileBatchAnswer.parse(await (await fetch(`${url}/v1/batches/${id}`)).json());
}

/** Answers by custom_id, in the file's order: text, and log-probabilities where they were asked for. */
async function answers(url: string, id: string | null): Promise<[string, string, unknown][]> {
  const text = await (await fetch(`${url}/v1/files/${id}/content`)).text();
  return text.trimEnd().split("\n").map((line) => JSON.parse(line)).map(({ custom_id, response }) => [
    custom_id,
    response.status_code === 200 ? response.body.choices[0].message.content : response.body.error.code,
    response.body.choices?.[0].logprobs ?? null,
  ]);
}

Deno.test("batches: the edge that runs one is killed, a worker and the server too; each request is answered once", () =>
  Fleet.run(async (fleet) => {
    // Slow enough that the batch is still under way when its counts are first told.
    const victim = await fleet.worker({ latencyMs: 10 });
    const edges = [await fleet.edge(), await fleet.edge()];
    const file = await inputFile(edges[0]!.url);
    const quiet = await start(edges[0]!.url, file);
    await until(async () => (await look(edges[0]!.url, quiet)).status === "completed", "the quiet batch", 60_000);
    const { request_counts, output_file_id, error_file_id } = await look(edges[0]!.url, quiet);
    assert.deepEqual(request_counts, { total: NUM_REQUESTS, completed: NUM_REQUESTS - 1, failed: 1 });
    const expected = await answers(edges[0]!.url, output_file_id);
    assert.deepEqual(await answers(edges[0]!.url, error_file_id), [["c7", "invalid_request", null]]);
    assert.deepEqual(
      expected.map(([id]) => id),
      Array.from({ length: NUM_REQUESTS }, (_, i) => `c${i}`).filter((id) => id !== "c7"),
    );

    expected.forEach(([id, text, logprobs]) => {
      const isTold = Number(id.slice(1)) % 4 === 1;
      const { content } = (logprobs ?? { content: [] }) as { content: { token: string; top_logprobs: unknown[] }[] };
      assert.equal(content.map(({ token }) => token).join(""), isTold ? text : "", id);
      assert.ok(content.every(({ top_logprobs }) => top_logprobs.length === 2));
    });

    const stormy = await start(edges[0]!.url, file);
    const hasIt = (part: typeof edges[number]) => part.lines.some((line) => line["batch_id"] === stormy);
    await until(
      async () => (await look(edges[0]!.url, stormy)).request_counts.completed > 5,
      "the batch to be under way",
    );
    const running = edges.find(hasIt)!;
    const other = edges.find((edge) => edge !== running)!;
    assert.ok(!hasIt(other), "two edges run it");
    running.signal("SIGKILL");
    victim.signal("SIGKILL");
    await fleet.restartNats();
    await fleet.worker({ latencyMs: 1 });
    await until(async () => (await look(other.url, stormy)).status === "completed", "the batch to end", 90_000);
    const ended = await look(other.url, stormy);
    assert.deepEqual(ended.request_counts, request_counts);
    assert.deepEqual(await answers(other.url, ended.output_file_id), expected);
    assert.ok(hasIt(other));
  }));
