/** The route of usage, and what it answers, described. */
import { z } from "zod";
import { UsageQuery } from "../routes/usage.ts";
import { answer, type Document, queryParameters, refusals } from "./parts.ts";

const Count = z.int().min(0);
const Counts = z.object({
  requests: Count,
  input_tokens: Count,
  cached_tokens: Count,
  output_tokens: Count,
  image_tokens: Count,
});

export const UsageAnswer = z.object({
  object: z.literal("usage"),
  key_id: z.string(),
  start_date: z.string(),
  end_date: z.string(),
  data: z.array(Counts.extend({ date: z.string() })),
  total: Counts,
  month: z.object({ tokens: Count, limit: Count.nullable() }),
});

export function usagePaths(): Document["paths"] {
  return {
    "/v1/usage": {
      get: {
        operationId: "getUsage",
        tags: ["Costs"],
        summary: "What an API key used, by day",
        description: "Days are UTC; those without use are left out. Another key's usage needs the scope `admin`.",
        parameters: queryParameters(UsageQuery),
        responses: {
          200: answer("Counts of each day, their sum, and the month's tokens.", "Usage"),
          ...refusals(400, 401, 403, 404, 500, 503),
        },
      },
    },
  };
}
