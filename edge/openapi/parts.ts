/** What descriptions of routes are made of: named bodies and answers, refusals, parameters. */
import { z } from "zod";
import { BatchBody } from "../api/batch_request.ts";
import { CaptionFormBody } from "../api/caption_form.ts";
import { CaptionBody } from "../api/caption_request.ts";
import { InspectListBody, InspectOneBody } from "../api/inspect_request.ts";
import { ChatBody } from "../api/schema.ts";
import { TokenizeMessagesBody, TokenizeTextBody } from "../api/tokenize_request.ts";
import { CreateBatchBody } from "../routes/batches.ts";
import { FileForm } from "../routes/files.ts";
import { UsageAnswer } from "./usage_paths.ts";
import { CreateSecretBody, NewSecretAnswer, SecretDeletedAnswer, SecretListAnswer } from "../routes/webhook_secrets.ts";
import { WebhookTestBody } from "../routes/webhooks.ts";
import { DeliveryAnswer, DeliveryListAnswer } from "../webhooks/delivery_body.ts";
import * as answers from "./answers.ts";
import { CaptionAnswer, CaptionDeletedAnswer, CaptionListAnswer } from "./caption_answers.ts";
import { HookReceiptAnswer } from "./hook_answers.ts";
import { FileBatchAnswer, FileBatchListAnswer } from "./batch_answers.ts";
import { FileAnswer, FileDeletedAnswer, FileListAnswer } from "./file_answers.ts";

export type Json = Readonly<Record<string, unknown>>;
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

/** Bodies, by their name in the document. */
export const REQUESTS = {
  ChatCompletionRequest: ChatBody,
  BatchRequest: BatchBody,
  InspectRequest: z.union([InspectOneBody, InspectListBody]),
  TokenizeRequest: z.union([TokenizeTextBody, TokenizeMessagesBody]),
  CaptionRequest: CaptionBody,
  CaptionForm: CaptionFormBody,
  CreateBatchRequest: CreateBatchBody,
  FileUpload: FileForm,
  WebhookTest: WebhookTestBody,
  CreateWebhookSecret: CreateSecretBody,
};
export const ANSWERS = {
  Error: answers.ErrorAnswer,
  ChatCompletion: answers.CompletionAnswer,
  Batch: answers.BatchAnswer,
  ChatCompletionChunk: answers.CompletionChunk,
  Caption: CaptionAnswer,
  CaptionList: CaptionListAnswer,
  CaptionDeleted: CaptionDeletedAnswer,
  Delivery: DeliveryAnswer,
  DeliveryList: DeliveryListAnswer,
  NewWebhookSecret: NewSecretAnswer,
  WebhookSecretList: SecretListAnswer,
  WebhookSecretDeleted: SecretDeletedAnswer,
  HookReceipt: HookReceiptAnswer,
  FileBatch: FileBatchAnswer,
  FileBatchList: FileBatchListAnswer,
  File: FileAnswer,
  FileList: FileListAnswer,
  FileDeleted: FileDeletedAnswer,
  Model: answers.ModelAnswer,
  ModelList: answers.ModelListAnswer,
  Inspection: answers.InspectionAnswer,
  Tokenization: answers.TokenizationAnswer,
  Usage: UsageAnswer,
  Fleet: answers.FleetAnswer,
  Home: answers.HomeAnswer,
  Health: answers.HealthAnswer,
  Ready: answers.ReadyAnswer,
  NotReady: answers.NotReadyAnswer,
};
type Name = keyof typeof REQUESTS | keyof typeof ANSWERS;

export const ref = (name: Name): Json => ({ $ref: `#/components/schemas/${name}` });
export const json = (name: Name): Json => ({ "application/json": { schema: ref(name) } });
export const answer = (description: string, name: Name): Json => ({ description, content: json(name) });

/** Statuses of refusals, and when they come. */
export const REFUSALS: Readonly<Record<string, string>> = {
  400: "The request is not valid, or a picture cannot be used.",
  401: "The server needs an API key, and this is none; or an event is not signed by its source.",
  403: "The API key may not be used for this.",
  404: "No such model, file or route.",
  405: "The route does not accept the method.",
  408: "The body came too slowly.",
  409: "A request with this Idempotency-Key is being run, or the batch has ended.",
  413: "The body or the text is too large.",
  415: "The body is not declared to be what the route takes.",
  422: "The Idempotency-Key was used with another body.",
  429: "The server is full; Retry-After says when to come again.",
  500: "Something went wrong inside the server.",
  502: "The worker was lost before the answer was complete.",
  503: "No worker serves the model now; Retry-After says when to come again.",
  504: "The time limit is over.",
};

export function refusals(...statuses: readonly number[]): Record<string, Json> {
  return Object.fromEntries(statuses.map((status) => [status, { $ref: `#/components/responses/Refused${status}` }]));
}

export const ON_BODIES = [400, 404, 408, 413, 415, 429, 500, 503, 504] as const;
/** Needed where the server checks keys (TESSERA_AUTH); elsewhere it only tells tenants apart. */
export const ANY_KEY = [{}, { key: [] }];

export function body(name: Name, example: Json): Json {
  return { required: true, content: { "application/json": { schema: ref(name), example } } };
}

/** A form with files. */
export function form(name: Name): Json {
  return { required: true, content: { "multipart/form-data": { schema: ref(name) } } };
}

/** Parameters of a query, from the schema that checks it. */
export function queryParameters(schema: z.ZodObject): Json[] {
  return Object.entries(schema.shape).map(([name, field]) => {
    const { $schema: _, default: _default, ...plain } = z.toJSONSchema(field as z.ZodType, { io: "output" }) as Schema;
    return { name, in: "query", required: false, schema: plain };
  });
}

export function pathId(description: string): Json {
  return { name: "id", in: "path", required: true, description, schema: { type: "string", minLength: 1 } };
}
