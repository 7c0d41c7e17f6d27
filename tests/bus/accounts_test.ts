/** A fleet whose edges and workers are in accounts of their own: everything works, over infra/nats/fleet.conf as it is. */
import { ensureFfmpeg } from "@tessera/infra/ffmpeg";
import { Job, newId, silentLogger } from "@tessera/shared";
import assert from "node:assert/strict";
import { Bus } from "../../edge/dispatch/bus.ts";
import { DurableJobs } from "../../edge/jobs/durable_jobs.ts";
import { about, demoPictures, post } from "../e2e/shared_stack.ts";
import { askAll, assertSame, busiest, Fleet, numJobs, type Part, until } from "../support/fleet.ts";
import { questions, readAnswer } from "../support/fleet_client.ts";
import { environmentOf, FLEET_SERVER, urlOf } from "./fleet_users.ts";

/** Nobody was refused anything. */
function assertNoneDenied(parts: readonly Part[]): void {
  for (const { lines } of parts) {
    assert.deepEqual(lines.filter((line) => /permissions? violation/i.test(JSON.stringify(line))), []);
  }
}

/** A durable job for `model` through the code of an edge that is edge_b. */
async function withDurableJobs(base: string, body: (jobs: DurableJobs) => Promise<void>): Promise<void> {
  const access = { name: "edge_b", creds: "", ca: "", cert: "", key: "" };
  const bus = new Bus({ url: urlOf(base, "edge_b"), access, name: "b", log: silentLogger });
  bus.start();
  try {
    await until(() => bus.isConnected, "the bus");
    await body(new DurableJobs(bus));
  } finally {
    await bus.close();
  }
}

function durableJob(model: string) {
  return Job.parse({
    v: 1,
    id: newId("job"),
    model,
    edge_id: "none",
    created_ms: 0,
    messages: [{ role: "user", parts: [{ type: "text", text: "x" }] }],
    images: [],
    sampling: { temperature: 0, top_p: 1, top_k: 0, seed: 1, max_tokens: 4, stop: [] },
  });
}

Deno.test("accounts: chat, picture, video, counting, kept answers and durable jobs of a real worker", () =>
  Fleet.run(async (fleet) => {
    const base = fleet.nats.url;
    const ffmpeg = await ensureFfmpeg();
    const worker = await fleet.realWorker({ ...environmentOf(base, "worker"), TESSERA_FFMPEG: ffmpeg });
    const edges = await Promise.all([
      fleet.edge(environmentOf(base, "edge_a")),
      fleet.edge(environmentOf(base, "edge_b")),
    ]);
    const [a, b] = [edges[0].url, edges[1].url];
    const model = "internvl3-tiny";

    const [picture] = await demoPictures();
    const caption = { model, messages: [about(picture!.url, "Describe the picture.")] };
    const described = await post(a, caption, { "idempotency-key": "once" });
    assert.equal(described.json.choices?.[0].message.content, picture!.caption, JSON.stringify(described.json));
    const again = await post(b, caption, { "idempotency-key": "once" });
    assert.deepEqual(again.json, described.json, "the other edge knows the key");

    const chat = { model, messages: [{ role: "user", content: "Hello" }], max_tokens: 4, stream: true };
    const headers = { "content-type": "application/json", "tessera-resumable": "true" };
    const streamed = await fetch(`${a}/v1/chat/completions`, { method: "POST", headers, body: JSON.stringify(chat) });
    const text = await streamed.text();
    assert.ok(text.includes("[DONE]"), text);
    const id = /"id":"(chatcmpl-[^"]+)"/.exec(text)![1];
    const replayed = await (await fetch(`${b}/v1/chat/completions/${id}/stream`)).text();
    assert.deepEqual(events(replayed), events(text), "the other edge replays the answer");

    const video = (await Deno.readFile(new URL("../golden/video/videos/h264.mp4", import.meta.url))).toBase64();
    const clip = { type: "video_url", video_url: { url: `data:video/mp4;base64,${video}`, num_segments: 2 } };
    const told = await post(b, { model, messages: [{ role: "user", content: [clip] }], max_tokens: 4 });
    assert.equal(told.json.tessera?.videos.length, 1, JSON.stringify(told.json));

    const counting = { method: "POST", headers, body: JSON.stringify({ prompt: "Hello" }) };
    const counted = await (await fetch(`${a}/v1/tokenize`, counting)).json();
    assert.ok(counted.count > 0, JSON.stringify(counted));

    const form = new FormData();
    form.set("purpose", "user_data");
    form.set("file", new File([new Uint8Array(300_000)], "x"));
    const file = await (await fetch(`${a}/v1/files`, { method: "POST", body: form })).json();
    assert.equal((await (await fetch(`${b}/v1/files`)).json()).data[0].id, file.id, "the other edge lists the file");
    assert.equal((await (await fetch(`${b}/v1/files/${file.id}/content`)).arrayBuffer()).byteLength, 300_000);
    assert.equal((await (await fetch(`${a}/v1/files/${file.id}`, { method: "DELETE" })).json()).deleted, true);

    const asked = JSON.stringify({ image: picture!.url, prompt: "Describe the picture." });
    const taken = await (await fetch(`${a}/v1/captions`, { method: "POST", headers, body: asked })).json();
    const made = await fetch(`${b}/v1/captions/${taken.id}`, { headers: { prefer: "wait=20" } });
    assert.equal((await made.json()).output?.text, picture!.caption, JSON.stringify(taken));
    assert.equal((await fetch(`${b}/v1/captions/${taken.id}`, { method: "DELETE" })).status, 200);

    const filmed = new FormData();
    filmed.set("video", new File([Uint8Array.fromBase64(video)], "clip.mp4"));
    filmed.set("max_tokens", "4");
    const ofVideo = await fetch(`${a}/v1/captions`, { method: "POST", headers: { prefer: "wait=20" }, body: filmed });
    const { status, images } = await ofVideo.json();
    assert.deepEqual([status, images.length], ["succeeded", 8], "a video as a file of a form");

    const line = { custom_id: "1", method: "POST", url: "/v1/captions", body: JSON.parse(asked) };
    const lines = new FormData();
    lines.set("purpose", "batch");
    lines.set("file", new File([JSON.stringify(line)], "in.jsonl"));
    const input = await (await fetch(`${a}/v1/files`, { method: "POST", body: lines })).json();
    const wish = JSON.stringify({ input_file_id: input.id, endpoint: "/v1/captions", completion_window: "24h" });
    const { id: batchId } = await (await fetch(`${b}/v1/batches`, { method: "POST", headers, body: wish })).json();
    const batch = async () => await (await fetch(`${a}/v1/batches/${batchId}`)).json();
    await until(async () => (await batch()).status === "completed", "the batch");
    const output = await (await fetch(`${a}/v1/files/${(await batch()).output_file_id}/content`)).json();
    assert.equal(output.response.body.output.text, picture!.caption);

    await withDurableJobs(base, async (jobs) => {
      const job = durableJob(model);
      await jobs.submit(job, []);
      const record = await jobs.wait(job.id, AbortSignal.timeout(20_000));
      assert.equal(record?.status, "succeeded", JSON.stringify(record));
      assert.equal(await jobs.remove(job.id), true);
    });
    assertNoneDenied([worker, ...edges]);
  }, FLEET_SERVER));

const events = (text: string) => text.split("\n").filter((line) => line.startsWith("data: "));

Deno.test("accounts: a worker is killed, another goes on; an edge is killed, its work is cancelled", () =>
  Fleet.run(async (fleet) => {
    const base = fleet.nats.url;
    const start = () => fleet.worker({ latencyMs: 15 }, base, environmentOf(base, "worker"));
    const workers = await Promise.all([start(), start()]);
    const [a, b] = await Promise.all([
      fleet.edge(environmentOf(base, "edge_a")),
      fleet.edge(environmentOf(base, "edge_b")),
    ]);
    const asked = questions(12, 120);
    const quiet = await Promise.all(askAll(a.url, asked));
    let numTalking = 0;
    const answers = asked.map((question, i) =>
      readAnswer(i % 2 === 0 ? a.url : b.url, question, (text) => text.length === 5 && numTalking++)
    );
    await until(() => numTalking === asked.length, "the streams to be under way");
    const victim = await busiest(workers);
    const other = workers.find((worker) => worker !== victim)!;
    victim.signal("SIGKILL");
    assertSame("worker killed", await Promise.all(answers), quiet);
    // The probe across the accounts told that it was gone, not JetStream after its ack wait.
    const again = [a, b].flatMap(({ lines }) => lines.filter((line) => line["event"] === "job_published_again"));
    assert.ok(again.some((line) => / is gone$/.test(String(line["reason"]))), JSON.stringify(again));

    const left = askAll(b.url, questions(4, 2_000, "long")).map((answer) => answer.catch(() => null));
    await until(() => numJobs(other) === 4, "the worker to have them");
    b.signal("SIGKILL");
    await until(() => other.last("worker_state")?.["is_idle"] === true, "the worker to let go");
    await Promise.all(left);
    assertNoneDenied([...workers, a, b]);
  }, FLEET_SERVER));
