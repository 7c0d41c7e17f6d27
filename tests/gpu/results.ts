/** Owns the record of a run on a GPU: card, driver, commit and figures, as JSON in `native/bench/results/`. */
import { run } from "../../infra/tools/process.ts";
import { ROOT } from "../../infra/tools/paths.ts";
import type { GpuCard } from "./card.ts";

/** What every record says of where it is from. */
export interface RunFacts {
  readonly card: GpuCard;
  readonly nvcc: string;
  /** With `-dirty` behind it where files had been changed. */
  readonly commit: string;
  readonly date: string;
}

export async function factsOf(card: GpuCard, nvcc: string): Promise<RunFacts> {
  const commit = (await run("git", ["describe", "--always", "--dirty", "--abbrev=12"], { cwd: ROOT })).trim();
  return { card, nvcc, commit, date: new Date().toISOString() };
}

/** Writes `<kind>-<card>-<commit>.json`; returns its path. */
export async function record(kind: string, facts: RunFacts, results: unknown, folder = FOLDER): Promise<string> {
  const card = facts.card.name.toLowerCase().replaceAll(/[^a-z0-9]+/g, "-");
  const path = `${folder}/${kind}-${card}-${facts.commit}.json`;
  await Deno.mkdir(folder, { recursive: true });
  await Deno.writeTextFile(path, `${JSON.stringify({ ...facts, results }, null, 2)}\n`);
  return path;
}

const FOLDER = `${ROOT}/native/bench/results`;
