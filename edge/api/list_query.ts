/** The query of a list: how many, behind which one, in which order. */
import { z } from "zod";
import type { PageWish } from "../records/owned_records.ts";
import { invalidRequest } from "./issues.ts";

const MAX_LIMIT = 100;
const DEFAULT_LIMIT = 20;

export interface ListBounds {
  readonly maxLimit?: number;
  readonly defaultLimit?: number;
  readonly prefix: string;
}

/** Fields of a list's query, as text. */
export function listFields({ maxLimit = MAX_LIMIT, defaultLimit = DEFAULT_LIMIT, prefix }: ListBounds) {
  return {
    after: z.string().regex(new RegExp(`^${prefix}-[0-9a-z]+$`), `expected the id of a ${prefix}`).optional(),
    limit: z.coerce.number().pipe(z.int().min(1).max(maxLimit)).default(defaultLimit),
    order: z.enum(["asc", "desc"]).default("desc"),
  };
}

/** @throws TesseraError `invalid_request` naming the field */
export function parseQuery<S extends z.ZodType>(schema: S, query: Readonly<Record<string, string>>): z.infer<S> {
  const parsed = schema.safeParse(query);
  if (!parsed.success) throw invalidRequest(parsed.error);
  return parsed.data;
}

export function pageWish(query: { after?: string | undefined; limit: number; order: "asc" | "desc" }): PageWish {
  return { after: query.after ?? null, limit: query.limit, order: query.order };
}

/** A page as OpenAI's clients read it. */
export function pageBody<T extends { readonly id: string }>(data: readonly T[], hasMore: boolean) {
  return {
    object: "list" as const,
    data,
    first_id: data[0]?.id ?? null,
    last_id: data.at(-1)?.id ?? null,
    has_more: hasMore,
  };
}
