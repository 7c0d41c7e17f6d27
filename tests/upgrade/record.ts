/**
 * `deno run --allow-all tests/upgrade/record.ts`: runs the whole path on a fleet of the previous release alone and keeps
 * one message of each kind as it was on the bus, in `goldens/v<version>/`. To be run once for a version, and then never
 * again: what was sent once is what has to be read.
 */
import { type Msg, type NatsConnection } from "@nats-io/nats-core";
import { connect } from "@nats-io/transport-node";
import { run } from "@tessera/infra/process";
import { Fleet, until } from "../support/fleet.ts";
import { CRASH_MARK } from "../support/fake_worker_main.ts";
import { askBothWays, askTheRest, post, QUESTION, runBatch, submitCaption } from "./path.ts";
import { PREVIOUS, previousTree } from "./previous.ts";

const SECRET = `whsec_${btoa("0123456789abcdef0123456789abcdef")}`;

/** Kind of a message, by its subject; null for JetStream's own. */
function kindOf(subject: string, json: Record<string, unknown>): string | null {
  const rules: readonly (readonly [RegExp, () => string])[] = [
    [/^\$KV\.tessera_workers\./, () => "announcement"],
    [/^\$KV\.tessera_keys\./, () => "api_key"],
    [/^\$KV\.tessera_jobs\./, () => `job_record.${json["status"]}`],
    [/^\$KV\.tessera_captions\./, () => "caption_record"],
    [/^\$KV\.tessera_batches\./, () => `batch_record.${json["status"]}`],
    [/^\$KV\.tessera_file_records\./, () => "file_record"],
    [/^\$KV\.tessera_requests\./, () => "idempotency_entry"],
    [/^\$KV\.tessera_deliveries\./, () => "delivery_record"],
    [/^\$KV\.tessera_hook_events\./, () => "hook_event"],
    [/^tessera\.webhooks\./, () => "webhook_dispatch"],
    [/^tessera\.jobs\.live\./, () => `job${json["attempt_base"] === undefined ? "" : ".again"}`],
    [/^tessera\.jobs\.durable\./, () => "job.durable"],
    [/^tessera\.edge\.[^.]+\.claim\./, () => "claim"],
    [
      /^tessera\.edge\.[^.]+\.events\./,
      () => `event.${json["type"]}${json["logprobs"] ? ".logprobs" : json["handed_over"] ? ".handed_over" : ""}`,
    ],
    [/^tessera\.news\./, () => `job_news.${json["status"]}`],
    [/^tessera\.tokenize\./, () => "tokenize_request"],
    [/^tessera\.batches\.result\./, () => "batch_result"],
    [/^tessera\.dead\./, () => "dead_letter"],
    [/^_INBOX\..*/, () => "granted" in json ? "claim_reply" : "image_tokens" in json ? "tokenize_reply" : "none"],
  ];
  return rules.find(([pattern]) => pattern.test(subject))?.[1]() ?? null;
}

function record(nc: NatsConnection, folder: URL): Set<string> {
  const kinds = new Set<string>();
  const keep = (kind: string, content: Uint8Array | string) => {
    kinds.add(kind);
    const file = new URL(`${kind}.json`, folder);
    Deno.writeFileSync(file, typeof content === "string" ? new TextEncoder().encode(content) : content);
  };
  nc.subscribe(">", {
    callback: (_error, msg: Msg) => {
      if (/^tessera\.(worker\..*\.)?tiles\./.test(msg.subject) && !kinds.has("tile_headers")) {
        keep("tile_headers", JSON.stringify(Object.fromEntries([...msg.headers!].map(([k, v]) => [k, v[0]]))));
      }
      let json: unknown;
      try {
        json = msg.json();
      } catch {
        return;
      }
      if (typeof json !== "object" || json === null) return;
      const kind = kindOf(msg.subject, json as Record<string, unknown>);
      if (kind !== null && kind !== "none" && !kinds.has(kind)) keep(kind, msg.data);
    },
  });
  return kinds;
}

if (import.meta.main) {
  const tree = await previousTree();
  if (typeof tree === "string") throw new Error(`Cannot record: ${tree}`);
  const folder = new URL(`./goldens/v${PREVIOUS.wireVersion}/`, import.meta.url);
  await Deno.mkdir(folder, { recursive: true });
  await Fleet.run(async (fleet) => {
    const nc = await connect({ servers: fleet.nats.url });
    const kinds = record(nc, folder);
    await nc.flush();
    const settings = { latencyMs: 30 };
    const first = await fleet.worker(settings, undefined, {}, tree);
    const { url } = await fleet.edge({ TESSERA_WEBHOOK_SECRETS: SECRET, TESSERA_ALLOW_PRIVATE_URLS: "true" }, tree);
    fleet.process(tree, "edge/webhooks/main.ts", {
      TESSERA_NATS_URL: fleet.nats.url,
      TESSERA_WEBHOOK_SECRETS: SECRET,
      TESSERA_ALLOW_PRIVATE_URLS: "true",
      TESSERA_SUPERVISED: "true",
    });
    await askBothWays(url);
    await askTheRest(url);
    await submitCaption(url, 30);
    await post(url, "captions", {
      images: [
        "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII=",
      ],
      prompt: "x",
      max_tokens: 100,
      webhook: `${url}/healthz`,
      webhook_events_filter: ["start", "output", "completed"],
    }, { prefer: "wait=30" });
    const cancelled = await submitCaption(url);
    await post(url, `captions/${cancelled.id}/cancel`, {});
    await runBatch(url);
    await post(url, "chat/completions", QUESTION, { "idempotency-key": "k" });
    const cli = ["run", "--allow-all", "--no-check", ...tree.args, `${tree.root}/infra/cli/main.ts`];
    await run(Deno.execPath(), [...cli, "keys", "create", "a key"], { env: { TESSERA_NATS_URL: fleet.nats.url } });
    // One that is handed over.
    const long = post(url, "chat/completions", { ...QUESTION, max_completion_tokens: 200 });
    await until(() => Number(first.last("worker_state")?.["num_jobs"]) === 1, "the worker to have it");
    const [worker] = await Promise.all([fleet.worker(settings, undefined, {}, tree), first.signal("SIGTERM")]);
    await long;
    // A job that ends its workers, three times.
    const deadly = fetch(`${url}/v1/chat/completions`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ model: "fake", messages: [{ role: "user", content: CRASH_MARK }] }),
    });
    await worker.process.ended;
    for (let i = 0; i < 2; i++) await (await fleet.worker(settings, undefined, {}, tree)).process.ended;
    await (await deadly).body?.cancel();
    await until(() => kinds.has("dead_letter"), "the job to be parked");
    await nc.flush();
    console.log([...kinds].sort().join("\n"));
    await nc.close();
  });
}
