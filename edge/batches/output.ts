/** The files a batch ends with: answers in one, refusals in the other, each as JSON lines in the order of the input. */
import type { EdgeDeps } from "../deps.ts";
import type { BatchRecord } from "./batch_record.ts";

/** Lines read at the same time. */
const READS_IN_FLIGHT = 16;
const NEWLINE = new TextEncoder().encode("\n");

/** Ids of the files; null where there would be nothing in one. */
export async function writeOutput(
  deps: EdgeDeps,
  batch: BatchRecord,
  lines: ReadonlyMap<number, boolean>,
): Promise<{ readonly outputId: string | null; readonly errorId: string | null }> {
  const write = async (isOk: boolean, name: string): Promise<string | null> => {
    const numbers = [...lines].filter(([, ok]) => ok === isOk).map(([number]) => number);
    if (numbers.length === 0) return null;
    const stored = await deps.files.store(ReadableStream.from(resultLines(deps, batch.id, numbers, isOk)));
    const file = await deps.files.publish(batch.owner, stored, {
      purpose: "batch_output",
      filename: `${batch.id}_${name}.jsonl`,
      contentType: "application/jsonl",
    }, { isOurs: true });
    return file.id;
  };
  return { outputId: await write(true, "output"), errorId: await write(false, "error") };
}

async function* resultLines(
  { results }: EdgeDeps,
  batchId: string,
  numbers: readonly number[],
  isOk: boolean,
): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < numbers.length; at += READS_IN_FLIGHT) {
    const some = numbers.slice(at, at + READS_IN_FLIGHT);
    const read = await Promise.all(some.map((number) => results.read(batchId, number, isOk)));
    for (const line of read) {
      if (line === null) continue;
      yield line;
      yield NEWLINE;
    }
  }
}
