/** Records that are read, changed and written back by builds of several releases. */
import { z } from "zod";

/** Fields that this build does not know stay in the record, so that it may write back what a newer one has written. */
export function keptObject<Shape extends z.ZodRawShape>(shape: Shape): z.ZodObject<Shape> {
  return z.looseObject(shape) as unknown as z.ZodObject<Shape>;
}
