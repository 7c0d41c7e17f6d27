/** Owns the records of runs on a GPU, JSON in `native/bench/results/`: how they are written, what they say, how they are read. */
import { z } from "zod";
import { ROOT } from "../../infra/tools/paths.ts";
import { run } from "../../infra/tools/process.ts";
import type { GpuMachine } from "./machine.ts";

/** Of the form below; another form is another number. */
const FORM = 1;

const count = z.int().positive();
const positive = z.number().positive();

/** Where a record is from. */
const facts = z.strictObject({
  form: z.literal(FORM),
  /** True of a rehearsal on the emulator, whose times mean nothing. */
  isEmulated: z.boolean(),
  card: z.strictObject({
    name: z.string().min(1),
    driver: z.string().min(1),
    /** Compute capability, as 9.0 */
    capability: z.string().regex(/^\d+\.\d+$/),
    memoryMiB: positive,
    count,
  }),
  compiler: z.string().min(1),
  /** Twelve digits, `-dirty` behind them where files had been changed; `unknown` outside a repository. */
  commit: z.string().min(1),
  /** When the run began, ISO 8601. */
  date: z.iso.datetime(),
});

const outcome = z.strictObject({
  what: z.string().min(1),
  outcome: z.enum(["passed", "failed", "skipped"]),
  seconds: z.number().nonnegative(),
  why: z.string().optional(),
});

const kernelRate = z.strictObject({
  kernel: z.string().min(1),
  shape: z.string().min(1),
  /** Median of one launch whose data are not in the L2 cache. */
  ms: positive,
  /** Median of a launch among many of the same, whose data may be in the L2 cache. */
  warmMs: positive,
  bytes: z.number().nonnegative(),
  flops: z.number().nonnegative(),
  /** 1e9 bytes and 1e12 flops a second, by `ms`. */
  gbPerSecond: z.number().nonnegative(),
  tflopPerSecond: z.number().nonnegative(),
  /** Of the measured peak it is nearer to, 1 is all of it. */
  share: z.number().nonnegative(),
  limit: z.enum(["bandwidth", "multiply-add"]),
});

/** Medians. A key of `msPerTile` is tiles encoded together, of `decodeTokensPerSecond` sequences decoded together. */
const modelFigures = z.strictObject({
  msPerTile: z.record(z.string().regex(/^\d+$/), positive),
  prefillTokensPerSecond: positive.optional(),
  decodeTokensPerSecond: z.record(z.string().regex(/^\d+$/), positive),
  /** One tile encoded, a prompt with it read, one token drawn. */
  firstTokenMs: positive.optional(),
});
const attempt = z.union([modelFigures, z.strictObject({ failed: z.string().min(1) })]);

const testRecord = facts.extend({ kind: z.literal("test"), outcomes: z.array(outcome) });
const benchRecord = facts.extend({
  kind: z.literal("bench"),
  kernels: z.array(kernelRate),
  /** By shape (1B, 8B) and by what ran it: a dtype of the engine's, or `transformers`. */
  models: z.record(z.string(), z.record(z.string(), attempt)),
});

export type RunFacts = z.infer<typeof facts>;
export type KernelRate = z.infer<typeof kernelRate>;
export type ModelFigures = z.infer<typeof modelFigures>;
export type Attempt = z.infer<typeof attempt>;
export type TestRecord = z.infer<typeof testRecord>;
export type BenchRecord = z.infer<typeof benchRecord>;
export type RunRecord = TestRecord | BenchRecord;

const runRecord = z.discriminatedUnion("kind", [testRecord, benchRecord]);

/** Taken before anything runs, so that nothing that is measured is lost for want of it. */
export async function factsOf({ card, compiler, isEmulated }: GpuMachine): Promise<RunFacts> {
  const describe = ["describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"];
  const commit = await run("git", describe, { cwd: ROOT }).then((text) => text.trim(), () => "unknown");
  return { form: FORM, isEmulated, card, compiler, commit, date: new Date().toISOString() };
}

/** Writes `<kind>-<card>-<commit>.json`, in place of an earlier state of the same run; returns its path. */
export async function record(run: RunRecord, folder: string): Promise<string> {
  const card = run.card.name.toLowerCase().replaceAll(/[^a-z0-9]+/g, "-");
  const path = `${folder}/${run.kind}-${card}-${run.commit}.json`;
  await Deno.mkdir(folder, { recursive: true });
  const temporary = `${path}.tmp`;
  await Deno.writeTextFile(temporary, `${JSON.stringify(runRecord.parse(run), null, 2)}\n`);
  await Deno.rename(temporary, path);
  return path;
}

/** @throws Error that names the file and what in it is not as it should be */
export async function readRecord(path: string): Promise<RunRecord> {
  try {
    return runRecord.parse(JSON.parse(await Deno.readTextFile(path)));
  } catch (error) {
    const why = error instanceof z.ZodError ? z.prettifyError(error) : String(error);
    throw new Error(`Cannot read ${path}: ${why}`);
  }
}
