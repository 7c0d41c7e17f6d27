/** Owns what a job is to the scheduler: a sequence for each of its answers that is not complete yet. */
import { ANONYMOUS, type Job } from "@tessera/shared";
import type { ModelFacts } from "./config.ts";
import type { Engine } from "./engine/types.ts";
import { endIdsOf } from "./intake/admission.ts";
import type { LiveJob } from "./intake/live_job.ts";
import type { Prompt } from "./prompt/prompt.ts";
import { engineSampling } from "./schedule/sampling.ts";
import { Sequence } from "./schedule/sequence.ts";
import type { TileSlots } from "./schedule/tile_slots.ts";

/** By sequence, which of the answers it is. All tiles are in their slots. The first sequence leads the others. */
export function sequencesOf(
  { id, job, grant, priority }: LiveJob,
  prompt: Prompt,
  tiles: TileSlots,
  { engine, facts }: { readonly engine: Engine; readonly facts: ModelFacts },
): Map<Sequence, number> {
  const { answers, resumeIds } = grant!;
  const slots = Int32Array.from(prompt.tiles, (hash) => tiles.slotOf(hash));
  const endIds = endIdsOf(job.sampling, facts.eosIds);
  const salt = saltOf(job);
  const sequences = new Map<Sequence, number>();
  let leader: Sequence | null = null;
  for (let choice = 0; choice < answers.length; choice++) {
    if (answers.at(choice).finish !== null) continue;
    const sequence: Sequence = new Sequence({
      id: answers.length === 1 ? id : `${id}/${choice}`,
      prompt,
      slots,
      sampling: engineSampling(job.sampling, engine.info.vocabSize, choice, endIds),
      resumeIds: resumeIds[choice] ?? [],
      maxTokens: answers.at(choice).maxTokens,
      priority,
      tenant: job.tenant,
      salt,
      leader,
    });
    leader ??= sequence;
    sequences.set(sequence, choice);
  }
  return sequences;
}

/** Sequences share KV where this is equal. */
function saltOf({ tenant, cache_salt }: Job): string {
  return tenant === ANONYMOUS && cache_salt === "" ? "" : JSON.stringify([tenant, cache_salt]);
}
