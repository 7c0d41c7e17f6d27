/** The routes of captions, described. */
import { CaptionListQuery } from "../routes/captions.ts";
import {
  answer,
  body,
  type Document,
  type Json,
  json,
  ON_BODIES,
  pathId,
  queryParameters,
  ref,
  refusals,
} from "./parts.ts";

const ID = pathId("Id of a caption, `cap-...`.");
const header = (name: string, description: string): Json => ({
  name,
  in: "header",
  required: false,
  description,
  schema: { type: "string" },
});
const PREFER = header(
  "Prefer",
  "`wait=N`: the answer comes when the caption is done, or after so many seconds, at most 60.",
);
const IDEMPOTENCY_KEY = header("Idempotency-Key", "The same request with the same key makes one caption.");
const CANCEL_AFTER = header(
  "Cancel-After",
  "What is not done by then expires: seconds, or `90s`, `5m`, `1h`; at most 24 h.",
);

export function captionPaths(): Document["paths"] {
  const example = { image: "https://example.org/photo.jpg", preset: "alt_text", language: "de" };
  const { content: { "application/json": asJson } } = body("CaptionRequest", example) as { content: Json };
  return {
    "/v1/captions": {
      post: {
        operationId: "createCaption",
        tags: ["Captions"],
        summary: "Describe pictures or a video as a job that lasts",
        description:
          "Pictures are fetched and cut before the answer, which tells of those that cannot be used; from then on the " +
          "job outlives this server, its workers and the message bus. As a form, files stand in parts `image`, " +
          "`images` or `video`, the other fields as text.",
        parameters: [PREFER, IDEMPOTENCY_KEY, CANCEL_AFTER],
        requestBody: {
          required: true,
          content: { "application/json": asJson, "multipart/form-data": { schema: ref("CaptionForm") } },
        },
        responses: {
          200: answer("It ended while the client waited.", "Caption"),
          202: answer("It is queued, or under way.", "Caption"),
          ...refusals(...ON_BODIES, 409, 422, 502),
        },
      },
      get: {
        operationId: "listCaptions",
        tags: ["Captions"],
        summary: "List captions, newest first",
        parameters: queryParameters(CaptionListQuery),
        responses: { 200: { description: "A page.", content: json("CaptionList") }, ...refusals(400, 500, 503) },
      },
    },
    "/v1/captions/{id}": {
      get: {
        operationId: "getCaption",
        tags: ["Captions"],
        summary: "How far a caption is, and its text",
        parameters: [ID, PREFER],
        responses: { 200: answer("The caption.", "Caption"), ...refusals(400, 404, 429, 500, 503) },
      },
      delete: {
        operationId: "deleteCaption",
        tags: ["Captions"],
        summary: "Cancel a caption and forget all of it at once",
        parameters: [ID],
        responses: { 200: answer("It is gone.", "CaptionDeleted"), ...refusals(400, 404, 500, 503) },
      },
    },
    "/v1/captions/{id}/cancel": {
      post: {
        operationId: "cancelCaption",
        tags: ["Captions"],
        summary: "End a caption unless it has ended",
        parameters: [ID],
        responses: { 200: answer("The caption as it ended.", "Caption"), ...refusals(400, 404, 409, 422, 500, 503) },
      },
    },
  };
}
