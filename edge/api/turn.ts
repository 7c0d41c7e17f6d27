/** Whose turn it is: what a request says of its priority, its time limit and its share of caches. */
import { MAX_CACHE_SALT_CHARS, MAX_PRIORITY } from "@tessera/shared";
import { z } from "zod";

/** OpenAI's tiers as priorities; `auto` and `default` are the usual. */
const TIERS = { auto: 0, default: 0, scale: 0, flex: 10, priority: -10 } as const;

/** Of a request's body. */
export const TurnFields = {
  /** As vLLM's: smaller goes first. Before `service_tier`. */
  priority: z.int().min(-MAX_PRIORITY).max(MAX_PRIORITY).nullish(),
  service_tier: z.enum(["auto", "default", "flex", "scale", "priority"]).nullish(),
  /** Longest time until the end of the answer, in ms; the server's own limit holds as well. */
  deadline_ms: z.int().min(1).nullish(),
  cache_salt: z.string().min(1).max(MAX_CACHE_SALT_CHARS).nullish(),
};

const Body = z.object(TurnFields);

export interface Turn {
  readonly priority: number;
  readonly deadlineMs: number | null;
  readonly cacheSalt: string;
}

export function turnOf(body: z.infer<typeof Body>): Turn {
  return {
    priority: body.priority ?? TIERS[body.service_tier ?? "auto"],
    deadlineMs: body.deadline_ms ?? null,
    cacheSalt: (body.cache_salt ?? "").toWellFormed(),
  };
}
