/** /v1/files: upload, list, look at, read and delete files, as OpenAI's clients do. */
import { FILE_MAX_AGE_MS, MAX_FILENAME_CHARS, MAX_FILES, MIN_FILE_AGE_MS, TesseraError } from "@tessera/shared";
import type { Context } from "hono";
import { z } from "zod";
import { listFields, pageBody, pageWish, parseQuery } from "../api/list_query.ts";
import { type FormLimits, isForm, readForm } from "../api/multipart.ts";
import { admitted, type EdgeContext, type EdgeDeps } from "../deps.ts";
import { FILE_PURPOSES, fileBody, UPLOAD_PURPOSES } from "../files/file_record.ts";
import type { FileFacts, FilePurpose, StoredBytes } from "../files/file_store.ts";

/** Memory of one upload on its way: pieces read, pieces written. */
const UPLOAD_HELD_BYTES = 2 * 1024 * 1024;
const FORM: FormLimits = { maxFields: 16, maxFieldBytes: 1024, maxFiles: 1 };

const Purpose = z.enum(FILE_PURPOSES);
/** Query of the list. */
export const FileListQuery = z.object({
  ...listFields({ prefix: "file", maxLimit: MAX_FILES, defaultLimit: MAX_FILES }),
  purpose: Purpose.optional(),
});
/** The form, as the document tells it. */
export const FileForm = z.object({
  file: z.file().describe("Its name ends in .jsonl where the purpose is batch."),
  purpose: z.enum(UPLOAD_PURPOSES),
  "expires_after[anchor]": z.literal("created_at").optional(),
  "expires_after[seconds]": z.int().min(MIN_FILE_AGE_MS / 1000).max(FILE_MAX_AGE_MS / 1000).optional(),
});

type Route = (c: Context<EdgeContext>) => Promise<Response>;

export function uploadFile(deps: EdgeDeps): Route {
  return async (c) => {
    const owner = c.var.caller.tenant;
    const ticket = await admitted(deps, c);
    let stored: StoredBytes | null = null;
    try {
      ticket.hold(UPLOAD_HELD_BYTES);
      if (!isForm(c.req.raw)) {
        const message = "A file is uploaded as a form. Set Content-Type: multipart/form-data.";
        throw new TesseraError("unsupported_media_type", { message });
      }
      let label = { filename: "", contentType: "" };
      const fields = await readForm(c.req.raw, FORM, async ({ field, filename, contentType, bytes }) => {
        if (field !== "file") throw unexpected(field);
        label = { filename: filename ?? "upload", contentType };
        stored = await deps.files.store(bytes);
      });
      if (stored === null) throw missing("file");
      const record = await deps.files.publish(owner, stored, factsOf(fields, label));
      stored = null;
      return c.json(fileBody(record));
    } finally {
      const left = stored as StoredBytes | null;
      if (left !== null) {
        await deps.files.discard(left.id).catch((error) => c.var.log.warn("file_not_dropped", { error }));
      }
      ticket.close();
    }
  };
}

export function listFiles(deps: EdgeDeps): Route {
  return async (c) => {
    const query = parseQuery(FileListQuery, c.req.query());
    const owner = c.var.caller.tenant;
    const { data, hasMore } = await deps.files.list(owner, pageWish(query), query.purpose ?? null);
    return c.json(pageBody(data.map(fileBody), hasMore));
  };
}

export function getFile(deps: EdgeDeps): Route {
  return async (c) => {
    const owner = c.var.caller.tenant;
    return c.json(fileBody(await deps.files.get(owner, c.req.param("id") ?? "")));
  };
}

export function getFileContent(deps: EdgeDeps): Route {
  return async (c) => {
    const owner = c.var.caller.tenant;
    const { record, bytes } = await deps.files.read(owner, c.req.param("id") ?? "");
    // Never as what it says it is: a page of somebody's making would run with this server's address.
    return new Response(bytes, {
      headers: {
        "content-type": "application/octet-stream",
        "content-length": String(record.num_bytes),
        "content-disposition": `attachment; filename*=UTF-8''${encoded(record.filename)}`,
        "x-content-type-options": "nosniff",
      },
    });
  };
}

export function deleteFile(deps: EdgeDeps): Route {
  return async (c) => {
    const id = c.req.param("id") ?? "";
    await deps.files.remove(c.var.caller.tenant, id);
    return c.json({ id, object: "file", deleted: true });
  };
}

/** @throws TesseraError `invalid_request`, in OpenAI's words where it has some */
function factsOf(
  fields: ReadonlyMap<string, readonly string[]>,
  { filename, contentType }: { readonly filename: string; readonly contentType: string },
): FileFacts {
  const purpose = fields.get("purpose")?.at(-1);
  if (purpose === undefined) throw missing("purpose");
  if (!UPLOAD_PURPOSES.some((known) => known === purpose)) {
    const known = UPLOAD_PURPOSES.map((name) => `'${name}'`).join(", ");
    const message = `'${purpose.slice(0, 64)}' is not one of [${known}] - 'purpose'`;
    throw new TesseraError("invalid_request", { message, param: "purpose" });
  }
  if (purpose === "batch" && !filename.toLowerCase().endsWith(".jsonl")) {
    const message = "Invalid file format for Batch API. Must be .jsonl";
    throw new TesseraError("invalid_request", { message, param: "file" });
  }
  for (const name of fields.keys()) if (!Object.hasOwn(FileForm.shape, name)) throw unexpected(name);
  const expiresInMs = ageOf(fields);
  return {
    purpose: purpose as FilePurpose,
    filename: filename.toWellFormed().slice(0, MAX_FILENAME_CHARS),
    contentType: contentType.slice(0, MAX_FILENAME_CHARS),
    ...(expiresInMs === null ? {} : { expiresInMs }),
  };
}

function ageOf(fields: ReadonlyMap<string, readonly string[]>): number | null {
  const anchor = fields.get("expires_after[anchor]")?.at(-1);
  const seconds = fields.get("expires_after[seconds]")?.at(-1);
  if (anchor === undefined && seconds === undefined) return null;
  if (anchor !== "created_at") {
    const message = "expires_after[anchor] is not valid: expected created_at.";
    throw new TesseraError("invalid_request", { message, param: "expires_after[anchor]" });
  }
  const ms = /^\d{1,9}$/.test(seconds ?? "") ? Number(seconds) * 1000 : Number.NaN;
  if (ms >= MIN_FILE_AGE_MS && ms <= FILE_MAX_AGE_MS) return ms;
  const message = `expires_after[seconds] is not valid: expected ${MIN_FILE_AGE_MS / 1000} to ${
    FILE_MAX_AGE_MS / 1000
  }.`;
  throw new TesseraError("invalid_request", { message, param: "expires_after[seconds]" });
}

function missing(field: string): TesseraError {
  return new TesseraError("invalid_request", { message: `'${field}' is a required property`, param: field });
}

function unexpected(field: string): TesseraError {
  const param = field.slice(0, 64);
  return new TesseraError("unsupported_parameter", { message: `This server does not support ${param}.`, param });
}

function encoded(filename: string): string {
  return encodeURIComponent(filename).replace(/['()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);
}
