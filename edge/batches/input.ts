/** A batch's input file: JSON lines as they come, each checked for all that can be known without running it. */
import { MAX_BATCH_FAULTS, MAX_BATCH_LINES, MAX_BODY_BYTES, MAX_CUSTOM_ID_CHARS } from "@tessera/shared";
import { z } from "zod";
import { type JsonBody, parseJsonBytes } from "../api/body.ts";
import { concat } from "../api/blobs.ts";
import type { BatchEndpoint, BatchFault } from "./batch_record.ts";

const NEWLINE = 0x0a;

const Line = z.object({
  custom_id: z.string().min(1).max(MAX_CUSTOM_ID_CHARS),
  method: z.literal("POST"),
  url: z.string(),
  body: z.record(z.string(), z.unknown()),
});

/** One line of a file, from 1. */
export interface InputLine {
  readonly number: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

export interface BatchRequest {
  readonly customId: string;
  /** What would be POSTed to the endpoint. */
  readonly body: JsonBody;
}

/** Lines that hold something; the last needs no end. @throws Fault for one that is too long */
export async function* inputLines(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<InputLine> {
  let number = 0;
  let pieces: Uint8Array[] = [];
  let numBytes = 0;
  const take = (): InputLine | null => {
    number++;
    const line = concat(pieces);
    [pieces, numBytes] = [[], 0];
    return line.every((byte) => byte === 0x20 || byte === 0x0d || byte === 0x09) ? null : { number, bytes: line };
  };
  for await (const chunk of bytes) {
    let rest = chunk;
    for (let end = rest.indexOf(NEWLINE); end >= 0; end = rest.indexOf(NEWLINE)) {
      pieces.push(rest.subarray(0, end));
      rest = rest.subarray(end + 1);
      const line = take();
      if (line !== null) yield line;
    }
    numBytes += rest.length;
    if (numBytes > MAX_BODY_BYTES) throw new Fault(fault("line_too_long", "The line is too long.", null, number + 1));
    if (rest.length > 0) pieces.push(rest);
  }
  const last = take();
  if (last !== null) yield last;
}

/** A line that is no request of the batch. */
export class Fault extends Error {
  override readonly name = "Fault";
  readonly fault: BatchFault;

  constructor(fault: BatchFault) {
    super(fault.message);
    this.fault = fault;
  }
}

/** @throws Fault */
export function parseLine({ number, bytes }: InputLine, endpoint: BatchEndpoint): BatchRequest {
  let read: JsonBody;
  try {
    read = parseJsonBytes(bytes);
  } catch {
    throw new Fault(fault("invalid_json_line", "This line is not parseable as valid JSON.", null, number));
  }
  const parsed = Line.safeParse(read.json);
  if (!parsed.success) {
    const issue = parsed.error.issues[0]!;
    const param = String(issue.path[0] ?? "");
    throw new Fault(
      fault("invalid_request", `${param || "The line"} is not valid: ${issue.message}.`, param || null, number),
    );
  }
  const { custom_id, url, body } = parsed.data;
  if (url !== endpoint) {
    const message = `The URL provided for this request does not match the batch endpoint ${endpoint}.`;
    throw new Fault(fault("mismatched_url", message, "url", number));
  }
  if (body["stream"] === true) {
    throw new Fault(fault("invalid_request", "A request of a batch cannot stream.", "body.stream", number));
  }
  return { customId: custom_id, body: { ...read, json: body } };
}

/** Reads a whole file and tells what is wrong with it, and how many requests it has. */
export async function checkInput(
  bytes: AsyncIterable<Uint8Array>,
  endpoint: BatchEndpoint,
): Promise<{ readonly numRequests: number; readonly faults: BatchFault[] }> {
  const faults: BatchFault[] = [];
  const ids = new Set<string>();
  let numRequests = 0;
  try {
    for await (const line of inputLines(bytes)) {
      if (++numRequests > MAX_BATCH_LINES) {
        const message = `The file has more than ${MAX_BATCH_LINES} requests.`;
        faults.push(fault("too_many_requests", message, null, line.number));
        break;
      }
      try {
        const { customId } = parseLine(line, endpoint);
        if (ids.has(customId)) {
          const message = `The custom_id ${customId} stands in an earlier line too.`;
          throw new Fault(fault("duplicate_custom_id", message, "custom_id", line.number));
        }
        ids.add(customId);
      } catch (error) {
        if (!(error instanceof Fault)) throw error;
        faults.push(error.fault);
        if (faults.length >= MAX_BATCH_FAULTS) break;
      }
    }
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    faults.push(error.fault);
  }
  if (numRequests === 0) faults.push(fault("empty_file", "The file has no requests.", null, null));
  return { numRequests, faults };
}

function fault(code: string, message: string, param: string | null, line: number | null): BatchFault {
  return { code, message, param, line };
}
