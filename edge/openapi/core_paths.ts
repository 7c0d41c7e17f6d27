/** The routes of answers, costs, models and the server itself, described. */
import { answer, body, type Document, type Json, json, ON_BODIES, refusals } from "./parts.ts";

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

export function corePaths(): Document["paths"] {
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
    "/v1/fleet": {
      get: {
        operationId: "getFleet",
        tags: ["Server"],
        summary: "Workers that live, and what this edge has to do",
        responses: { 200: answer("Both.", "Fleet"), ...refusals(500) },
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
