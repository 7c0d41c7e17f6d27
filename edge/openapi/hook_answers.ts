/** The shape of what a source of events is told. */
import { z } from "zod";
import { ErrorAnswer } from "./answers.ts";

export const HookReceiptAnswer = z.looseObject({
  object: z.literal("hook.receipt"),
  data: z.array(z.union([
    z.object({ status: z.enum(["created", "duplicate"]), caption_id: z.string() }),
    z.object({ status: z.literal("ignored"), reason: z.literal("too_old") }),
    ErrorAnswer.extend({ status: z.literal("failed") }),
  ])).describe("What came of each picture, in the order of the event."),
});
