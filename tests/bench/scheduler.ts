/** What a step costs besides the model: schedule, crossing into the addon and back, publishing, on the real worker. */
import type { Msg, NatsConnection } from "@nats-io/nats-core";
import { Sampling, silentLogger, type WireVersion } from "@tessera/shared";
import { findCheckpoint, readModelFacts } from "../../gpu-worker/config.ts";
import { openNativeEngine } from "../../gpu-worker/engine/native.ts";
import type { Engine, StepBatch, StepResult } from "../../gpu-worker/engine/types.ts";
import type { EventSink, JobChannel } from "../../gpu-worker/intake/channel.ts";
import { connectNats } from "../../gpu-worker/intake/connect.ts";
import { Delivery } from "../../gpu-worker/intake/delivery.ts";
import { Link } from "../../gpu-worker/intake/link.ts";
import { loadTokenizer } from "../../gpu-worker/prompt/load_tokenizer.ts";
import { EventOutbox } from "../../gpu-worker/publish/event_outbox.ts";
import { EventWriter } from "../../gpu-worker/publish/event_writer.ts";
import { Worker } from "../../gpu-worker/worker.ts";
import { startNatsServer } from "../../infra/nats/server.ts";
import { median, printTable } from "./report.ts";

const SIZES = [1, 64, 256];
const GOALS: Record<number, string> = { 64: "< 0.3", 256: "< 1" };
const WARM_STEPS = 100;
const STEPS = 150;
const ROUNDS = 5;

type DryEngine = Engine & { dryStep(batch: StepBatch): Promise<StepResult> };

/** An engine without a model: through the addon and back, or not even that. */
function withoutModel(engine: DryEngine, crosses: boolean): Engine {
  const step = (batch: StepBatch): Promise<StepResult> => {
    if (crosses) return engine.dryStep(batch);
    const numSequences = batch.sample.length;
    const [tokenIds, logprobs] = [new Int32Array(numSequences), new Float32Array(numSequences)];
    return Promise.resolve({ tokenIds, logprobs, maxTop: 0, topIds: new Int32Array(0), topLogprobs: logprobs });
  };
  return {
    info: engine.info,
    step,
    encodeTiles: (pixels, slots) => engine.encodeTiles(pixels, slots),
    logits: (batch) => engine.logits(batch),
    tileEmbeddings: (slots) => engine.tileEmbeddings(slots),
    close: () => Promise.resolve(),
  };
}

const SILENT: EventSink = {
  progress: () => {},
  prompt: () => {},
  handOver: () => {},
  tokens: () => {},
  choiceDone: () => {},
  done: () => {},
  error: () => {},
  confirm: () => Promise.resolve(),
  repeat: () => {},
};

/** Grants every job; its events go to the server, or nowhere. */
function channelOf(nc: NatsConnection, publishes: boolean): JobChannel {
  const outbox = new EventOutbox(nc);
  return {
    isLive: true,
    claim: () => Promise.resolve({ v: 1, granted: true, resume_ids: [], remaining_ms: 600_000 }),
    events: (job, numsSent): EventSink => {
      const writer = new EventWriter({ nc, outbox, job: job.job, attempt: 1, firstSeqs: numsSent });
      return publishes ? writer : SILENT;
    },
    refuse: () => Promise.reject(new Error("Cannot run job: it was refused")),
    mayAcknowledge: () => true,
  };
}

function delivery(model: string, index: number, v: WireVersion): Delivery {
  const job = {
    v,
    id: `job-${String(index).padStart(7, "0")}`,
    model,
    edge_id: "edge-bench",
    created_ms: Date.now(),
    messages: [{ role: "user", parts: [{ type: "text", text: `What is number ${index}?` }] }],
    images: [],
    tenant: `tenant-${index % 8}`,
    sampling: Sampling.parse({
      temperature: 1,
      top_p: 0.95,
      top_k: 50,
      seed: index,
      max_tokens: null,
      stop: [],
      ignore_eos: true,
    }),
  };
  const data = new TextEncoder().encode(JSON.stringify(job));
  return new Delivery({ data, reply: "$JS.ACK.stream.consumer.1.1.1.1.0", respond: () => true } as unknown as Msg);
}

/** Milliseconds a step takes with `size` sequences that decode. */
async function timeSteps(nc: NatsConnection, engine: DryEngine, size: number, parts: Parts): Promise<number> {
  const { facts, tokenizer } = parts;
  const worker = new Worker({
    nc,
    link: new Link(nc, () => {}, silentLogger),
    engine: withoutModel(engine, parts.crosses),
    workerId: "worker-bench",
    facts,
    tokenizer,
    tokenBudget: 2_048,
    maxSequences: size,
    waits: { claimMs: 1_000, tileMs: 1_000, progressMs: 60_000, edgeGoneMs: 60_000 },
    log: silentLogger,
    onRoom: () => {},
  });
  const channel = channelOf(nc, parts.publishes);
  for (let i = 0; i < size; i++) worker.intake.take(delivery(facts.name, i, parts.version ?? 2), channel);
  while ([...worker.intake.jobs].some((job) => job.grant === null)) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  for (let step = 0; step < WARM_STEPS; step++) await worker.step();
  const startedAt = performance.now();
  for (let step = 0; step < STEPS; step++) await worker.step();
  const elapsed = (performance.now() - startedAt) / STEPS;
  await nc.flush();
  await worker.intake.stop(1_000);
  return elapsed;
}

interface Parts {
  readonly facts: Awaited<ReturnType<typeof readModelFacts>>;
  readonly tokenizer: Awaited<ReturnType<typeof loadTokenizer>>;
  readonly crosses: boolean;
  readonly publishes: boolean;
  /** Of the wire; the current one where absent. */
  readonly version?: WireVersion;
}

export async function benchScheduler(): Promise<void> {
  const folder = await findCheckpoint("internvl3-tiny");
  const tokenizer = await loadTokenizer(folder);
  const engine = await openNativeEngine({
    modelPath: folder,
    device: "cpu",
    dtype: "bf16",
    numThreads: 1,
    kvCacheBytes: 1024 * 1024 * 1024,
    numTileSlots: 16,
  }) as DryEngine;
  const facts = await readModelFacts(folder, engine.info, tokenizer);
  const server = await startNatsServer();
  const nc = await connectNats(server.url, "bench");
  try {
    const rows: string[][] = [];
    for (const size of SIZES) {
      const times: Record<"schedule" | "singly" | "publish" | "all", number[]> = {
        schedule: [],
        singly: [],
        publish: [],
        all: [],
      };
      for (let round = 0; round < ROUNDS; round++) {
        const common = { facts, tokenizer };
        times.schedule.push(await timeSteps(nc, engine, size, { ...common, crosses: false, publishes: false }));
        const singly = { ...common, crosses: false, publishes: true, version: 1 } as const;
        times.singly.push(await timeSteps(nc, engine, size, singly));
        times.publish.push(await timeSteps(nc, engine, size, { ...common, crosses: false, publishes: true }));
        times.all.push(await timeSteps(nc, engine, size, { ...common, crosses: true, publishes: true }));
      }
      const figures = [median(times.schedule), median(times.singly), median(times.publish), median(times.all)];
      rows.push([String(size), ...figures.map((ms) => ms.toFixed(3)), GOALS[size] ?? ""]);
    }
    console.log(
      `ms a step without the model, ${STEPS} steps of ${engine.info.kvBlockSize}-token blocks, median of ${ROUNDS}`,
    );
    printTable(["sequences", "schedule", "+ publish, wire 1", "+ publish", "+ crossing", "goal"], rows);
  } finally {
    await nc.close();
    await server.stop();
    await engine.close();
  }
}
