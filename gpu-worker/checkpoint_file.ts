/** Owns reading the small files of a checkpoint's folder: plain files of a bounded size, and errors that name them. */
import { MAX_CHECKPOINT_FILE_BYTES } from "@tessera/shared";
import type { z } from "zod";

/**
 * Null where the file is missing.
 * @throws Error when it is no plain file, too large or cannot be read
 */
export async function readCheckpointFile(path: string): Promise<Uint8Array<ArrayBuffer> | null> {
  try {
    // A pipe or a device would be read for ever.
    const { isFile, size } = await Deno.stat(path);
    if (!isFile) throw new Error("it is no plain file, expected one");
    if (size > MAX_CHECKPOINT_FILE_BYTES) {
      throw new Error(`${size} bytes, expected at most ${MAX_CHECKPOINT_FILE_BYTES}`);
    }
    return await Deno.readFile(path);
  } catch (cause) {
    if (cause instanceof Deno.errors.NotFound) return null;
    throw new Error(`Cannot read ${path}: ${messageOf(cause)}`, { cause });
  }
}

/**
 * Reads JSON of a known form; `fallback` where the file is missing.
 * @throws Error that names the file, and the field that is wrong
 */
export async function readCheckpointJson<Schema extends z.ZodType>(
  path: string,
  schema: Schema,
  fallback?: unknown,
): Promise<z.infer<Schema>> {
  const bytes = await readCheckpointFile(path);
  if (bytes === null && fallback === undefined) throw new Error(`Cannot read ${path}: it is missing`);
  let json = fallback;
  try {
    if (bytes !== null) json = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new Error(`Cannot read ${path}: ${messageOf(cause)}`, { cause });
  }
  const { data, error } = schema.safeParse(json);
  if (error === undefined) return data as z.infer<Schema>;
  const issue = error.issues[0];
  throw new Error(`Cannot read ${path}: ${issue?.path.join(".") ?? ""}: ${issue?.message ?? "not understood"}`, {
    cause: error,
  });
}

function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
