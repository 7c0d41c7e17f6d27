/** The routes of webhooks' deliveries, described. */
import { DeadLetterQuery } from "../routes/webhooks.ts";
import { answer, body, type Document, ON_BODIES, pathId, queryParameters, refusals } from "./parts.ts";

const CAPTION = pathId("Id of a caption, `cap-...`.");
const DELIVERY = { ...pathId("Id of a delivery, `msg_...`."), name: "delivery_id" };

export function webhookPaths(): Document["paths"] {
  return {
    "/v1/captions/{id}/deliveries": {
      get: {
        operationId: "listDeliveries",
        tags: ["Webhooks"],
        summary: "What became of a caption's webhooks, each attempt",
        parameters: [CAPTION],
        responses: { 200: answer("In the order of the events.", "DeliveryList"), ...refusals(400, 404, 500, 503) },
      },
    },
    "/v1/captions/{id}/deliveries/{delivery_id}/redeliver": {
      post: {
        operationId: "redeliver",
        tags: ["Webhooks"],
        summary: "Send a webhook again, with the same id",
        parameters: [CAPTION, DELIVERY],
        responses: { 202: answer("It is on its way.", "Delivery"), ...refusals(400, 404, 500, 503) },
      },
    },
    "/v1/webhooks/dead_letters": {
      get: {
        operationId: "listDeadLetters",
        tags: ["Webhooks"],
        summary: "Webhooks that were given up, the latest first",
        parameters: queryParameters(DeadLetterQuery),
        responses: {
          200: answer("A page; `after` with its `last_id` gives the next.", "DeliveryList"),
          ...refusals(400, 500, 503),
        },
      },
    },
    "/v1/webhooks/test": {
      post: {
        operationId: "testWebhook",
        tags: ["Webhooks"],
        summary: "Send a webhook to try a receiver",
        description: "One `webhook.test` event, one attempt; the answer tells what came of it.",
        requestBody: body("WebhookTest", { url: "https://example.org/hook" }),
        responses: {
          200: answer("`delivered`, `failed`, or `pending` where no deliverer runs.", "Delivery"),
          ...refusals(...ON_BODIES),
        },
      },
    },
    "/v1/webhooks/secrets": {
      post: {
        operationId: "createWebhookSecret",
        tags: ["Webhooks"],
        summary: "A signing secret of one's own",
        description: "Two may be in use, and each webhook carries a signature by both. With `expire_others_in_s` the " +
          "other ends by itself. The secret is told in this answer alone.",
        requestBody: body("CreateWebhookSecret", { expire_others_in_s: 86_400 }),
        responses: { 201: answer("Made.", "NewWebhookSecret"), ...refusals(...ON_BODIES) },
      },
      get: {
        operationId: "listWebhookSecrets",
        tags: ["Webhooks"],
        summary: "Signing secrets in use, without the secrets",
        responses: { 200: answer("The newest first.", "WebhookSecretList"), ...refusals(400, 500, 503) },
      },
    },
    "/v1/webhooks/secrets/{id}": {
      delete: {
        operationId: "deleteWebhookSecret",
        tags: ["Webhooks"],
        summary: "Remove a signing secret",
        description: "From the next attempt on nothing is signed with it.",
        parameters: [pathId("Id of a secret, `whs-...`.")],
        responses: { 200: answer("Removed.", "WebhookSecretDeleted"), ...refusals(400, 404, 500, 503) },
      },
    },
  };
}
