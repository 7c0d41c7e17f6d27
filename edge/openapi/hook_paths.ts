/** The route of events that become captions, described. */
import { answer, type Document, refusals } from "./parts.ts";

export function hookPaths(): Document["paths"] {
  return {
    "/v1/hooks/{source}": {
      post: {
        operationId: "receiveHook",
        tags: ["Webhooks"],
        summary: "An event of a known source becomes captions",
        description: "Sources, how they sign and where in their events the pictures are stand in the server's " +
          "`TESSERA_HOOKS`. The same event again makes nothing new. 503 or 429 asks to send it again.",
        parameters: [{
          name: "source",
          in: "path",
          required: true,
          description: "As the server's file names it.",
          schema: { type: "string", minLength: 1 },
        }],
        requestBody: {
          required: true,
          content: { "application/json": { schema: {} }, "application/cloudevents+json": { schema: {} } },
        },
        responses: {
          200: answer("Taken; what can never be a caption is told per picture.", "HookReceipt"),
          ...refusals(400, 401, 404, 408, 413, 429, 500, 503),
        },
      },
    },
  };
}
