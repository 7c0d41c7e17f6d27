/** Reads a multipart/form-data body part by part: fields in memory, files as streams, both bounded, none waited for for ever. */
import { Busboy, type BusboyFileStream, type BusboyHeaders, type BusboyInstance } from "@fastify/busboy";
import { TesseraError, UPLOAD_IDLE_MS, UPLOAD_TIMEOUT_MS } from "@tessera/shared";
import { timeLimit } from "../wait.ts";

/** A file of a form; its bytes are to be read, or the form does not go on. */
export interface FormFile {
  readonly field: string;
  /** Without folders; null when the client names none. */
  readonly filename: string | null;
  readonly contentType: string;
  /** Ends with a TesseraError when the form breaks off. */
  readonly bytes: ReadableStream<Uint8Array>;
}

export interface FormLimits {
  readonly maxFields: number;
  readonly maxFieldBytes: number;
  readonly maxFiles: number;
}

/** Bytes of a part's header, and of the names in it. */
const MAX_HEADER_BYTES = 16 * 1024;

export function isForm(request: Request): boolean {
  return /^multipart\/form-data\s*(;|$)/i.test(request.headers.get("content-type") ?? "");
}

/**
 * Reads a form to its end.
 * @param onFile called with each file in its turn; what it throws ends the reading
 * @returns the values of each field, in their order
 * @throws TesseraError 400, 408 or 413
 */
export async function readForm(
  request: Request,
  limits: FormLimits,
  onFile: (file: FormFile) => Promise<void>,
): Promise<ReadonlyMap<string, string[]>> {
  const fields = new Map<string, string[]>();
  const failed = Promise.withResolvers<never>();
  failed.promise.catch(() => {});
  const parser = openParser(request, limits);
  const ended = new Promise<void>((resolve) => parser.on("finish", () => resolve()));
  const files: Promise<void>[] = [];
  const streams: BusboyFileStream[] = [];
  parser.on("error", (cause) => failed.reject(broken(cause)));
  parser.on("field", (name, value, isNameCut, isCut) => {
    if (isNameCut || isCut) failed.reject(tooMuch(`The field ${name.slice(0, 64)} is too long.`));
    fields.set(name, [...(fields.get(name) ?? []), value]);
  });
  for (const limit of ["partsLimit", "fieldsLimit", "filesLimit"] as const) {
    parser.on(limit, () => failed.reject(tooMuch("The form has too many parts.")));
  }
  parser.on("file", (field, stream, filename: string | undefined, _encoding, contentType) => {
    // Told to whoever reads it; where nobody does, it must not end the process.
    stream.on("error", () => {});
    streams.push(stream);
    const bytes = ReadableStream.from<Uint8Array>(partBytes(stream));
    const file = { field, filename: filename ?? null, contentType, bytes };
    const taken = onFile(file);
    taken.catch(failed.reject);
    files.push(taken);
  });
  const limit = timeLimit(UPLOAD_TIMEOUT_MS, request.signal, () => new TesseraError("request_timeout"));
  const onAbort = () =>
    failed.reject(
      limit.signal.reason instanceof TesseraError ? limit.signal.reason : new TesseraError("client_closed"),
    );
  limit.signal.addEventListener("abort", onAbort);
  const reader = request.body?.getReader();
  try {
    const feed = async () => {
      for (;;) {
        const read = await next(reader);
        if (read.done) break;
        await new Promise<void>((resolve) => parser.write(read.value, () => resolve()));
      }
      parser.end();
      await ended;
      await Promise.all(files);
    };
    await Promise.race([feed(), failed.promise]);
    return fields;
  } catch (error) {
    parser.destroy();
    for (const stream of streams) stream.destroy(error instanceof Error ? error : undefined);
    void reader?.cancel(error).catch(() => {});
    // Whoever reads a file is told before this function ends: nothing of the form is left behind.
    await Promise.allSettled(files);
    throw error;
  } finally {
    limit.signal.removeEventListener("abort", onAbort);
    limit.clear();
  }
}

/** The bytes of a file; what ends them early is the form's fault. */
async function* partBytes(stream: BusboyFileStream): AsyncGenerator<Uint8Array> {
  try {
    for await (const chunk of stream) yield chunk as Uint8Array;
  } catch (cause) {
    throw broken(cause);
  }
}

function openParser(request: Request, limits: FormLimits): BusboyInstance {
  const headers = { "content-type": request.headers.get("content-type") ?? "" } as BusboyHeaders;
  try {
    return new Busboy({
      headers,
      limits: {
        fields: limits.maxFields,
        fieldSize: limits.maxFieldBytes,
        fieldNameSize: 256,
        files: limits.maxFiles,
        parts: limits.maxFields + limits.maxFiles,
        headerSize: MAX_HEADER_BYTES,
      },
    });
  } catch (cause) {
    throw broken(cause);
  }
}

/** The next bytes of the body; a client that is silent for too long is not waited for. */
async function next(reader: ReadableStreamDefaultReader<Uint8Array> | undefined) {
  if (reader === undefined) return { done: true, value: undefined } as const;
  const silent = Promise.withResolvers<never>();
  const timer = setTimeout(() => silent.reject(new TesseraError("request_timeout")), UPLOAD_IDLE_MS);
  try {
    return await Promise.race([reader.read(), silent.promise]);
  } catch (cause) {
    throw cause instanceof TesseraError ? cause : new TesseraError("client_closed", { cause });
  } finally {
    clearTimeout(timer);
  }
}

function broken(cause: unknown): TesseraError {
  if (cause instanceof TesseraError) return cause;
  const message = "The multipart form is not valid, or is cut short. Send multipart/form-data with its boundary.";
  return new TesseraError("invalid_request", { message, cause });
}

function tooMuch(message: string): TesseraError {
  return new TesseraError("request_too_large", { message });
}
