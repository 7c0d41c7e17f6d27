/** The routes of files, described. */
import { FileListQuery } from "../routes/files.ts";
import { answer, type Document, form, pathId, queryParameters, refusals } from "./parts.ts";

const ID = pathId("Id of a file, `file-...`.");

export function filePaths(): Document["paths"] {
  return {
    "/v1/files": {
      post: {
        operationId: "uploadFile",
        tags: ["Files"],
        summary: "Keep a file for later requests",
        description:
          "Up to 200 MiB, kept for 30 days or as `expires_after` says. Only the API key that uploaded a file sees it.",
        requestBody: form("FileUpload"),
        responses: { 200: answer("The file.", "File"), ...refusals(400, 408, 413, 415, 429, 500, 503) },
      },
      get: {
        operationId: "listFiles",
        tags: ["Files"],
        summary: "List files, newest first",
        parameters: queryParameters(FileListQuery),
        responses: {
          200: answer("A page; `after` with its `last_id` gives the next.", "FileList"),
          ...refusals(400, 500, 503),
        },
      },
    },
    "/v1/files/{id}": {
      get: {
        operationId: "getFile",
        tags: ["Files"],
        summary: "What is known of a file",
        parameters: [ID],
        responses: { 200: answer("The file.", "File"), ...refusals(400, 404, 500, 503) },
      },
      delete: {
        operationId: "deleteFile",
        tags: ["Files"],
        summary: "Delete a file",
        parameters: [ID],
        responses: { 200: answer("It is gone.", "FileDeleted"), ...refusals(400, 404, 500, 503) },
      },
    },
    "/v1/files/{id}/content": {
      get: {
        operationId: "getFileContent",
        tags: ["Files"],
        summary: "A file's bytes",
        parameters: [ID],
        responses: {
          200: { description: "As they were uploaded.", content: { "application/octet-stream": { schema: {} } } },
          ...refusals(400, 404, 500, 503),
        },
      },
    },
  };
}
