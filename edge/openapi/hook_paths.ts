/** The route of events that become captions, described. */
import { answer, type Document, refusals } from "./parts.ts";

const SOURCE = {
  name: "source",
  in: "path",
  required: true,
  description: "As the server's file names it.",
  schema: { type: "string", minLength: 1 },
};

export function hookPaths(): Document["paths"] {
  return {
    "/v1/hooks/{source}": {
      options: {
        operationId: "greetHookSender",
        tags: ["Webhooks"],
        summary: "Whether a CloudEvents sender may send here",
        description: "The validation request of CloudEvents' web hooks. `WebHook-Allowed-Rate` is told who asked for " +
          "one, in events a minute.",
        parameters: [
          SOURCE,
          header("WebHook-Request-Origin", true, "The sender's name, mostly a DNS name."),
          header("WebHook-Request-Rate", false, "Events a minute, or `*`."),
        ],
        responses: { 200: { description: "It may: `WebHook-Allowed-Origin`." }, ...refusals(400, 401, 403, 404, 405) },
      },
      post: {
        operationId: "receiveHook",
        tags: ["Webhooks"],
        summary: "An event of a known source becomes captions",
        description: "Sources, how they sign and where in their events the pictures are stand in the server's " +
          "`TESSERA_HOOKS`. The same event again makes nothing new. 503 or 429 asks to send it again.",
        parameters: [SOURCE],
        requestBody: {
          required: true,
          content: { "application/json": { schema: {} }, "application/cloudevents+json": { schema: {} } },
        },
        responses: {
          200: answer("Taken; what can never be a caption is told per picture.", "HookReceipt"),
          ...refusals(400, 401, 403, 404, 408, 413, 429, 500, 503),
        },
      },
    },
  };
}

function header(name: string, required: boolean, description: string) {
  return { name, in: "header", required, description, schema: { type: "string" } };
}
