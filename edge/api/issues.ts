/** Turns what zod found wrong into an error for the caller: where in the request, and what was expected. */
import { TesseraError } from "@tessera/shared";
import type { z } from "zod";

type Issue = z.core.$ZodIssue;
type Path = readonly PropertyKey[];

/** `["messages", 1, "content", 2]` as `messages[1].content[2]`. */
export function paramOf(path: Path): string {
  let param = "";
  for (const key of path) param += typeof key === "number" ? `[${key}]` : `${param === "" ? "" : "."}${String(key)}`;
  return param;
}

export function invalidRequest(error: z.ZodError): TesseraError {
  const { path, issue } = deepest(error.issues[0]!, []);
  if (issue.code === "unrecognized_keys") {
    const param = paramOf([...path, issue.keys[0] ?? ""]);
    return new TesseraError("unsupported_parameter", { message: `This server does not support ${param}.`, param });
  }
  const param = paramOf(path);
  const place = param === "" ? "The request" : param;
  return new TesseraError("invalid_request", {
    message: `${place} is not valid: ${describe(issue)}.`,
    param: param === "" ? null : param,
  });
}

/** Of a union the branch that came furthest says best what is wrong. */
function deepest(issue: Issue, prefix: Path): { path: Path; issue: Issue } {
  const path = [...prefix, ...issue.path];
  if (issue.code !== "invalid_union" || issue.errors.length === 0) return { path, issue };
  let best: { path: Path; issue: Issue } | null = null;
  for (const branch of issue.errors) {
    const first = branch[0];
    if (first === undefined) continue;
    const found = deepest(first, path);
    if (best === null || found.path.length > best.path.length) best = found;
  }
  if (best === null || best.path.length <= path.length) return { path, issue };
  return best;
}

function describe(issue: Issue): string {
  if (issue.code === "invalid_union" && issue.errors.length > 0) {
    const expected = issue.errors.flatMap((branch) => branch[0]?.code === "invalid_type" ? [branch[0].expected] : []);
    if (expected.length > 0) return `expected ${[...new Set(expected)].join(" or ")}`;
  }
  const text = issue.message.replace(/^Invalid input: /, "").replace(/, received undefined$/, ", but it is missing");
  return text.charAt(0).toLowerCase() + text.slice(1).replace(/\.$/, "");
}
