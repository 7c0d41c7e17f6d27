/** What a granted claim makes of a job: its answers, gone on with where an earlier attempt left them, and who hears of them. */
import { TesseraError } from "@tessera/shared";
import type { ModelFacts } from "../config.ts";
import type { Tokenizer } from "../prompt/tokenizer.ts";
import { Answers } from "../publish/answers.ts";
import { endIdsOf } from "./admission.ts";
import type { ClaimOutcome } from "./claim.ts";
import type { Grant, LiveJob } from "./live_job.ts";

export interface GrantOptions {
  readonly tokenizer: Tokenizer;
  readonly facts: ModelFacts;
  /** Prompt and answer together, in tokens. */
  readonly maxLength: number;
}

export function grantOf(
  job: LiveJob,
  { resume_ids, resume_choices = [] }: Extract<ClaimOutcome, { granted: true }>,
  { tokenizer, facts, maxLength }: GrantOptions,
): Grant {
  const { prompt, job: { sampling } } = job;
  const room = maxLength - (prompt instanceof TesseraError ? 0 : prompt.tokenIds.length);
  const answers = new Answers(sampling.n, {
    tokens: tokenizer,
    endIds: endIdsOf(sampling, facts.eosIds),
    stop: sampling.stop,
    minTokens: sampling.min_tokens,
    maxTokens: Math.min(sampling.max_tokens ?? room, room),
  });
  const resumeIds = [resume_ids, ...resume_choices];
  const events = job.channel.events(job, answers.replay(resumeIds));
  return { events, answers, resumeIds };
}
