/** The OpenAPI 3.1 document, made from the schemas that check requests, so that it cannot say anything else. */
import { z } from "zod";
import { BatchBody } from "../api/batch_request.ts";
import { InspectListBody, InspectOneBody } from "../api/inspect_request.ts";
import { ChatBody } from "../api/schema.ts";
import { TokenizeMessagesBody, TokenizeTextBody } from "../api/tokenize_request.ts";
import * as answers from "./answers.ts";
import { NOTES } from "./notes.ts";

type Json = Readonly<Record<string, unknown>>;
export type Schema = Record<string, unknown>;

export interface Operation {
  readonly operationId: string;
  readonly tags: readonly string[];
  readonly summary: string;
  readonly description?: string;
  readonly parameters?: readonly Json[];
  readonly requestBody?: Json;
  readonly responses: Readonly<Record<string, Json>>;
}

export interface Document {
  readonly openapi: "3.1.0";
  readonly info: Json;
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: {
    readonly schemas: Readonly<Record<string, Schema>>;
    readonly responses: Json;
    readonly securitySchemes: Json;
  };
  readonly [key: string]: unknown;
}

const VERSION = "0.1.0";

/** Bodies, by their name in the document. */
const REQUESTS = {
  ChatCompletionRequest: ChatBody,
  BatchRequest: BatchBody,
  InspectRequest: z.union([InspectOneBody, InspectListBody]),
  TokenizeRequest: z.union([TokenizeTextBody, TokenizeMessagesBody]),
};
const ANSWERS = {
  Error: answers.ErrorAnswer,
  ChatCompletion: answers.CompletionAnswer,
  Batch: answers.BatchAnswer,
  ChatCompletionChunk: answers.CompletionChunk,
  Model: answers.ModelAnswer,
  ModelList: answers.ModelListAnswer,
  Inspection: answers.InspectionAnswer,
  Tokenization: answers.TokenizationAnswer,
  Home: answers.HomeAnswer,
  Health: answers.HealthAnswer,
  Ready: answers.ReadyAnswer,
  NotReady: answers.NotReadyAnswer,
};
type Name = keyof typeof REQUESTS | keyof typeof ANSWERS;

const ref = (name: Name): Json => ({ $ref: `#/components/schemas/${name}` });
const json = (name: Name): Json => ({ "application/json": { schema: ref(name) } });
const answer = (description: string, name: Name): Json => ({ description, content: json(name) });

/** Statuses of refusals, and when they come. */
const REFUSALS: Readonly<Record<string, string>> = {
  400: "The request is not valid, or a picture cannot be used.",
  404: "No such model or route.",
  405: "The route does not accept the method.",
  408: "The body came too slowly.",
  413: "The body or the text is too large.",
  415: "The body is not declared to be JSON.",
  429: "The server is full; Retry-After says when to come again.",
  500: "Something went wrong inside the server.",
  502: "The worker was lost before the answer was complete.",
  503: "No worker serves the model now; Retry-After says when to come again.",
  504: "The time limit is over.",
};

function refusals(...statuses: readonly number[]): Record<string, Json> {
  return Object.fromEntries(statuses.map((status) => [status, { $ref: `#/components/responses/Refused${status}` }]));
}

const ON_BODIES = [400, 404, 408, 413, 415, 429, 500, 503, 504] as const;
/** OpenAI's clients send one; here it only tells tenants apart. */
const ANY_KEY = [{}, { key: [] }];

function body(name: Name, example: Json): Json {
  return { required: true, content: { "application/json": { schema: ref(name), example } } };
}

const EXAMPLE_PICTURE = "https://example.org/photo.jpg";
const asked = (extra: Json): Json => ({
  model: "internvl3-tiny",
  messages: [{
    role: "user",
    content: [
      { type: "image_url", image_url: { url: EXAMPLE_PICTURE } },
      { type: "text", text: "Describe the picture." },
    ],
  }],
  ...extra,
});

function paths(): Document["paths"] {
  return {
    "/v1/chat/completions": {
      post: {
        operationId: "createChatCompletion",
        tags: ["Answers"],
        summary: "Answer a conversation about pictures",
        description: "Fields that are not listed are ignored, except those that would change the answer and are not " +
          "supported here: these are refused with `unsupported_parameter`. Errors before the first token are told by " +
          "the status, also of streams; later ones end a stream with an event that holds `error`.",
        requestBody: body("ChatCompletionRequest", asked({ stream: true })),
        responses: {
          200: {
            description: "The answer; with `stream`, server-sent events of chunks, the last of them `[DONE]`.",
            content: {
              ...json("ChatCompletion"),
              "text/event-stream": { schema: { description: "Each `data:` a ChatCompletionChunk." } },
            },
          },
          ...refusals(...ON_BODIES, 502),
        },
      },
    },
    "/v1/batch/chat/completions": {
      post: {
        operationId: "createBatch",
        tags: ["Answers"],
        summary: "Answer many conversations in one call",
        description:
          "Each of `requests` is the body of a chat completion; fields beside `requests` hold for all that do " +
          "not say otherwise. A request that cannot be answered has an `error` in its place, the others go on.",
        requestBody: body("BatchRequest", { ...asked({}), requests: [{ max_tokens: 20 }, { max_tokens: 50 }] }),
        responses: {
          200: {
            description: "The answers in order; with `stream`, each as an event when it is ready.",
            content: {
              ...json("Batch"),
              "text/event-stream": { schema: { description: "Each `data:` one of the answers." } },
            },
          },
          ...refusals(...ON_BODIES),
        },
      },
    },
    "/v1/tokenize": {
      post: {
        operationId: "tokenize",
        tags: ["Costs"],
        summary: "Count tokens without running",
        description: "Of a text its ids; of messages what they would take of the context, pictures by their headers.",
        requestBody: body("TokenizeRequest", asked({ return_tokens: false })),
        responses: { 200: answer("Ids, or their number.", "Tokenization"), ...refusals(...ON_BODIES) },
      },
    },
    "/v1/images/inspect": {
      post: {
        operationId: "inspectImages",
        tags: ["Costs"],
        summary: "What pictures are and will cost, from their headers",
        requestBody: body("InspectRequest", { url: EXAMPLE_PICTURE, max_dynamic_patch: 6 }),
        responses: { 200: answer("One picture, or a list.", "Inspection"), ...refusals(...ON_BODIES) },
      },
    },
    "/v1/models": {
      get: {
        operationId: "listModels",
        tags: ["Models"],
        summary: "Models that workers serve now",
        responses: { 200: answer("Each with its context, tiles and limits.", "ModelList"), ...refusals(500) },
      },
    },
    "/v1/models/{model}": {
      get: {
        operationId: "getModel",
        tags: ["Models"],
        summary: "One model: context length, tile size, tokens per tile, limits",
        parameters: [{
          name: "model",
          in: "path",
          required: true,
          description: "Its id; slashes in it may be encoded or not.",
          schema: { type: "string", minLength: 1 },
        }],
        responses: { 200: answer("The model.", "Model"), ...refusals(400, 404, 500, 503) },
      },
    },
    "/healthz": {
      get: {
        operationId: "getHealth",
        tags: ["Server"],
        summary: "Whether the process lives",
        responses: { 200: answer("It does.", "Health") },
      },
    },
    "/readyz": {
      get: {
        operationId: "getReadiness",
        tags: ["Server"],
        summary: "Whether questions can be answered now",
        responses: { 200: answer("They can.", "Ready"), 503: answer("They cannot; reasons.", "NotReady") },
      },
    },
    "/": {
      get: {
        operationId: "getHome",
        tags: ["Server"],
        summary: "What this is, and its routes",
        responses: { 200: answer("Name and routes.", "Home") },
      },
    },
  };
}

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
    tags: ["Answers", "Costs", "Models", "Server"].map((name) => ({ name })),
    paths: paths(),
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
