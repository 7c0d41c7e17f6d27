/** The OpenAPI 3.1 document, made from the schemas that check requests, so that it cannot say anything else. */
import { z } from "zod";
import { corePaths } from "./core_paths.ts";
import { captionPaths } from "./caption_paths.ts";
import { batchPaths } from "./batch_paths.ts";
import { filePaths } from "./file_paths.ts";
import { usagePaths } from "./usage_paths.ts";
import { hookPaths } from "./hook_paths.ts";
import { webhookPaths } from "./webhook_paths.ts";
import { NOTES } from "./notes.ts";
import { answer, ANSWERS, ANY_KEY, type Document, REFUSALS, REQUESTS, type Schema } from "./parts.ts";

export type { Document, Operation, Schema } from "./parts.ts";

const VERSION = "0.1.0";

let made: Document | null = null;

/** The document; made once. */
export function openApiDocument(): Document {
  return made ??= {
    openapi: "3.1.0",
    info: {
      title: "Tessera",
      version: VERSION,
      description: "OpenAI-compatible server for the InternVL3 vision-language models.",
      license: { name: "Apache-2.0", identifier: "Apache-2.0" },
    },
    servers: [{ url: "/" }],
    security: ANY_KEY,
    tags: ["Answers", "Captions", "Webhooks", "Batches", "Files", "Costs", "Models", "Server"].map((name) => ({
      name,
    })),
    paths: {
      ...corePaths(),
      ...captionPaths(),
      ...webhookPaths(),
      ...hookPaths(),
      ...batchPaths(),
      ...filePaths(),
      ...usagePaths(),
    },
    components: {
      securitySchemes: { key: { type: "http", scheme: "bearer" } },
      schemas: {
        ...Object.fromEntries(Object.entries(REQUESTS).map(([name, schema]) => [name, requestSchema(name, schema)])),
        ...Object.fromEntries(Object.entries(ANSWERS).map(([name, schema]) => [name, answerSchema(schema)])),
      },
      responses: Object.fromEntries(
        Object.entries(REFUSALS).map(([status, text]) => [`Refused${status}`, answer(text, "Error")]),
      ),
    },
  };
}

function requestSchema(name: string, schema: z.ZodType): Schema {
  const made = plain(z.toJSONSchema(schema, { io: "input", unrepresentable: "any" }));
  const notes = NOTES[name] ?? {};
  for (const branch of [made, ...(made["anyOf"] as Schema[] | undefined ?? [])]) {
    const properties = branch["properties"] as Record<string, Schema> | undefined ?? {};
    for (const [field, text] of Object.entries(notes)) {
      if (properties[field] !== undefined) properties[field]["description"] ??= text;
    }
  }
  return made;
}

function answerSchema(schema: z.ZodType): Schema {
  return plain(z.toJSONSchema(schema, { io: "output", unrepresentable: "any" }));
}

/** Without the dialect, which OpenAPI 3.1 has by itself. */
function plain(schema: object): Schema {
  const { $schema: _, ...rest } = schema as Schema;
  return rest;
}
