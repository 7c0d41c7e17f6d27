/** The routes of batches of a file, described. */
import { BatchListQuery } from "../routes/batches.ts";
import { answer, body, type Document, ON_BODIES, pathId, queryParameters, refusals } from "./parts.ts";

const ID = pathId("Id of a batch, `batch-...`.");

export function batchPaths(): Document["paths"] {
  const example = { input_file_id: "file-...", endpoint: "/v1/chat/completions", completion_window: "24h" };
  return {
    "/v1/batches": {
      post: {
        operationId: "createFileBatch",
        tags: ["Batches"],
        summary: "Answer the requests of a file in idle capacity, within a day",
        description:
          "Each line of the file is `custom_id`, `method` (POST), `url` (the endpoint) and `body`. Answers come " +
          "in a file, refusals in another.",
        requestBody: body("CreateBatchRequest", example),
        responses: {
          200: answer("The batch, which is being checked.", "FileBatch"),
          ...refusals(...ON_BODIES, 409, 422),
        },
      },
      get: {
        operationId: "listFileBatches",
        tags: ["Batches"],
        summary: "List batches, newest first",
        parameters: queryParameters(BatchListQuery),
        responses: { 200: answer("A page.", "FileBatchList"), ...refusals(400, 500, 503) },
      },
    },
    "/v1/batches/{id}": {
      get: {
        operationId: "getFileBatch",
        tags: ["Batches"],
        summary: "How far a batch is",
        parameters: [ID],
        responses: { 200: answer("The batch.", "FileBatch"), ...refusals(400, 404, 500, 503) },
      },
    },
    "/v1/batches/{id}/cancel": {
      post: {
        operationId: "cancelFileBatch",
        tags: ["Batches"],
        summary: "End a batch; what is done by then is kept",
        parameters: [ID],
        responses: { 200: answer("The batch.", "FileBatch"), ...refusals(400, 404, 409, 422, 500, 503) },
      },
    },
  };
}
