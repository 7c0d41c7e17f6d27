/** Captions that were taken are made: the edge is killed after its 202, the worker while it works, the server is started anew. */
import assert from "node:assert/strict";
import { CaptionAnswer } from "../../edge/openapi/caption_answers.ts";
import { png } from "../support/png_writer.ts";
import { Fleet, until } from "../support/fleet.ts";

const json = { "content-type": "application/json" };

async function take(url: string, body: unknown, headers: Record<string, string> = {}) {
  const init = { method: "POST", headers: { ...json, ...headers }, body: JSON.stringify(body) };
  const response = await fetch(`${url}/v1/captions`, init);
  const text = await response.text();
  assert.ok(response.status === 202 || response.status === 200, text);
  return { status: response.status, caption: CaptionAnswer.parse(JSON.parse(text)) };
}

async function look(url: string, id: string, waitS = 0) {
  const headers = waitS === 0 ? {} : { prefer: `wait=${waitS}` };
  return CaptionAnswer.parse(await (await fetch(`${url}/v1/captions/${id}`, { headers })).json());
}

Deno.test("captions: edge, worker and server die, the captions are those of a quiet day", () =>
  Fleet.run(async (fleet) => {
    const victim = await fleet.worker({ latencyMs: 5 });
    const first = await fleet.edge();
    const picture = `data:image/png;base64,${(await png(60, 40, (x, y) => (x * y) & 255)).toBase64()}`;
    const bodies = Array.from({ length: 4 }, (_, i) => ({
      images: [picture, ...i % 2 === 0 ? [] : [picture]],
      combine: i !== 3,
      prompt: `Say ${i}`,
      max_tokens: 200,
      temperature: 1,
      seed: i,
      metadata: { number: `${i}` },
    }));
    const quiet = await Promise.all(bodies.map((body) => take(first.url, body, { prefer: "wait=30" })));
    assert.deepEqual(
      quiet.map(({ status, caption }) => [status, caption.status]),
      bodies.map(() => [200, "succeeded"]),
    );
    const { metrics, usage, started_at, completed_at } = quiet[0]!.caption;
    assert.ok(metrics["total_ms"]! > 0 && metrics["vision_ms"] !== undefined && metrics["generate_ms"]! > 0);
    assert.ok(usage!.completion_tokens === 200 && started_at !== null && completed_at !== null);

    const taken = await Promise.all(bodies.map((body) => take(first.url, body)));
    first.signal("SIGKILL");
    await until(() => Number(victim.last("worker_state")?.["num_jobs"] ?? 0) > 0, "the worker to have some");
    victim.signal("SIGKILL");
    await fleet.restartNats();
    await fleet.worker({ latencyMs: 1 });
    const second = await fleet.edge();
    const ended = await Promise.all(taken.map(({ caption }) => look(second.url, caption.id, 40)));
    ended.forEach((caption, i) => {
      assert.equal(caption.status, "succeeded", JSON.stringify(caption.error));
      const texts = (of: typeof caption) => of.outputs.map(({ text }) => text);
      assert.deepEqual(texts(caption), texts(quiet[i]!.caption));
      assert.equal(caption.outputs.length, i === 3 ? 2 : 1);
      assert.deepEqual(caption.metadata, { number: `${i}` });
    });
    const listed = await (await fetch(`${second.url}/v1/captions`)).json();
    assert.equal(listed.data.length, 8);
  }));

Deno.test("captions: those that run are cancelled, those whose time is over expire", () =>
  Fleet.run(async (fleet) => {
    await fleet.worker({ latencyMs: 10 });
    const { url } = await fleet.edge();
    const picture = `data:image/png;base64,${(await png(20, 20, () => 9)).toBase64()}`;
    const { caption } = await take(url, { image: picture, prompt: "Go on", max_tokens: 1_500 });
    await until(async () => (await look(url, caption.id)).output !== null, "the first words");
    const response = await fetch(`${url}/v1/captions/${caption.id}/cancel`, { method: "POST" });
    const canceled = CaptionAnswer.parse(await response.json());
    assert.equal(canceled.status, "canceled");
    // What was made until then is told, and counts.
    const { prompt_tokens = 0, completion_tokens = 0 } = canceled.usage ?? {};
    assert.ok(prompt_tokens > 0 && completion_tokens > 0 && completion_tokens < 1_500, JSON.stringify(canceled.usage));
    assert.equal((await fetch(`${url}/v1/captions/${caption.id}`, { method: "DELETE" })).status, 200);
    assert.equal((await fetch(`${url}/v1/captions/${caption.id}`)).status, 404);

    const late = await take(url, { image: picture, prompt: "Go on", max_tokens: 1_500 }, { "cancel-after": "5" });
    const expired = await look(url, late.caption.id, 30);
    assert.deepEqual([expired.status, expired.error?.code], ["expired", "deadline_exceeded"]);
  }));
