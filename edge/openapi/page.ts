/** The document as a page: operations with their fields, an example and their answers. No script, nothing from elsewhere. */
import type { Document, Operation, Schema } from "./document.ts";
import { STYLE } from "./style.ts";

/** Objects within objects are shown to this depth. */
const MAX_DEPTH = 4;

let made: string | null = null;

export function docsHtml(document: Document): string {
  return made ??= page(document);
}

function page(document: Document): string {
  const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method, operation }))
  );
  const { title, description } = document.info as { title: string; description: string };
  const links = operations.map(({ path, method, operation }) =>
    `<li><a href="#${operation.operationId}">${badge(method)}${escape(path)}</a></li>`
  );
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escape(title)} API</title><style>${STYLE}</style></head>
<body><nav><h1>${escape(title)}</h1><ul>${links.join("")}</ul>
<p><a href="openapi.json">openapi.json</a></p></nav>
<main><p class="lead">${escape(description)}</p>
${operations.map(({ path, method, operation }) => section(document, path, method, operation)).join("\n")}
</main></body></html>`;
}

function section(document: Document, path: string, method: string, operation: Operation): string {
  const { operationId, summary, description, requestBody, parameters, responses } = operation;
  const [type, content] = Object.entries(
    requestBody?.["content"] as Record<string, { schema: Schema; example?: unknown }> | undefined ?? {},
  )[0] ?? [];
  return `<section id="${operationId}"><h2>${badge(method)}<code>${escape(path)}</code></h2>
<p class="summary">${prose(summary)}</p>${description === undefined ? "" : `<p>${prose(description)}</p>`}
${parameters === undefined ? "" : fieldTable("Parameters", parameters.map((each) => parameterRow(document, each)))}
${content === undefined ? "" : bodyTables(document, content.schema)}
<h3>Try it</h3><pre>${escape(curl(path, method, type, content?.example))}</pre>
${fieldTable("Answers", Object.entries(responses).map(([status, response]) => responseRow(document, status, response)))}
</section>`;
}

function bodyTables(document: Document, schema: Schema): string {
  const whole = resolve(document, schema);
  const branches = whole["anyOf"] as Schema[] | undefined ?? [whole];
  return branches.map((branch, i) => fieldTable(i === 0 ? "Body" : "Or", fieldRows(document, branch, "", MAX_DEPTH)))
    .join("");
}

type Row = readonly [name: string, type: string, text: string];

function fieldTable(title: string, rows: readonly Row[]): string {
  if (rows.length === 0) return "";
  const lines = rows.map(([name, type, text]) => `<tr><td>${name}</td><td>${type}</td><td>${text}</td></tr>`);
  return `<h3>${title}</h3><table>${lines.join("")}</table>`;
}

/** A row for each property, those of objects within it below it. */
function fieldRows(document: Document, schema: Schema, prefix: string, depth: number): Row[] {
  const required = new Set(schema["required"] as string[] | undefined ?? []);
  return Object.entries(schema["properties"] as Record<string, Schema> | undefined ?? {}).flatMap(
    ([name, property]) => {
      const inner = resolve(document, property);
      const text = [inner["description"] as string | undefined ?? "", bounds(inner)].filter((part) => part !== "");
      const mark = required.has(name) ? '<sup title="required">*</sup>' : "";
      const row: Row = [
        `<code>${escape(prefix + name)}</code>${mark}`,
        escape(typeText(document, inner)),
        prose(text.join(" ")),
      ];
      if (depth === 0) return [row];
      const children = variants(document, inner).flatMap((each) => {
        const items = each["type"] === "array" ? each["items"] as Schema | undefined : undefined;
        const at = `${prefix}${name}${items === undefined ? "" : "[]"}.`;
        const targets = items === undefined ? [each] : variants(document, resolve(document, items));
        return targets.flatMap((target) => fieldRows(document, target, at, depth - 1));
      });
      return [row, ...merged(children)];
    },
  );
}

/** Variants of a union share fields: one row for each name, with all its types. */
function merged(rows: readonly Row[]): Row[] {
  const byName = new Map<string, Row>();
  for (const row of rows) {
    const name = row[0].match(/<code>[^<]*<\/code>/)![0];
    const before = byName.get(name);
    if (before === undefined) byName.set(name, row);
    else if (!before[1].split(" | ").includes(row[1]) && before[1] !== row[1]) {
      byName.set(name, [before[0], `${before[1]} | ${row[1]}`, before[2] || row[2]]);
    }
  }
  return [...byName.values()];
}

function parameterRow(document: Document, parameter: Readonly<Record<string, unknown>>): Row {
  const { name, description = "", schema } = parameter as { name: string; description?: string; schema: Schema };
  const text = [description, bounds(schema)].filter((part) => part !== "").join(" ");
  return [`<code>${escape(name)}</code>`, escape(typeText(document, schema)), prose(text)];
}

function responseRow(document: Document, status: string, response: Readonly<Record<string, unknown>>): Row {
  const whole = resolve(document, response);
  const types = Object.entries(whole["content"] as Record<string, { schema: Schema }> | undefined ?? {});
  const names = types.map(([type, { schema }]) => {
    const name = String(schema["$ref"] ?? "").split("/").at(-1);
    return name === "" ? type : name!;
  });
  return [`<code>${escape(status)}</code>`, escape(names.join(", ")), prose(String(whole["description"] ?? ""))];
}

/** The alternatives of a schema, itself where there are none. */
function variants(document: Document, schema: Schema): Schema[] {
  const branches = (schema["anyOf"] ?? schema["oneOf"]) as Schema[] | undefined;
  return branches === undefined ? [schema] : branches.flatMap((each) => variants(document, resolve(document, each)));
}

function typeText(document: Document, schema: Schema): string {
  const names = variants(document, schema).map((each) => {
    if (each["const"] !== undefined) return JSON.stringify(each["const"]);
    if (each["enum"] !== undefined) {
      return (each["enum"] as unknown[]).map((value) => JSON.stringify(value)).join(" | ");
    }
    if (each["type"] === "array") return `${typeText(document, resolve(document, each["items"] as Schema ?? {}))}[]`;
    const type = each["type"] ?? "any";
    return Array.isArray(type) ? type.filter((name) => name !== "null").join(" | ") : String(type);
  });
  const distinct = [...new Set(names)].filter((name) => name !== "null");
  return distinct.length > 1 && distinct.every((name) => !name.includes("|"))
    ? distinct.join(" | ")
    : distinct.join(", ");
}

/** Bounds in words; those that only say what fits a number are left out. */
function bounds(schema: Schema): string {
  const whole = (schema["anyOf"] as Schema[] | undefined)?.find((each) => each["type"] !== "null") ?? schema;
  const number = (name: string) => {
    const value = whole[name];
    return typeof value === "number" && Math.abs(value) < Number.MAX_SAFE_INTEGER ? value : undefined;
  };
  const parts: string[] = [];
  const low = number("minimum"), high = number("maximum");
  if (low !== undefined && high !== undefined) parts.push(`${low} to ${high}.`);
  else if (low !== undefined) parts.push(`At least ${low}.`);
  else if (high !== undefined) parts.push(`At most ${high}.`);
  if (number("exclusiveMinimum") !== undefined) parts.push(`Above ${number("exclusiveMinimum")}.`);
  if (number("maxItems") !== undefined) parts.push(`At most ${number("maxItems")} items.`);
  if (number("maxLength") !== undefined) parts.push(`At most ${number("maxLength")} characters.`);
  return parts.join(" ");
}

function resolve(document: Document, schema: Readonly<Record<string, unknown>>): Schema {
  const target = schema["$ref"];
  if (typeof target !== "string") return schema;
  let found: unknown = document;
  for (const key of target.slice("#/".length).split("/")) found = (found as Record<string, unknown>)[key];
  return found as Schema;
}

function curl(path: string, method: string, type: string | undefined, example: unknown): string {
  const line = `curl http://127.0.0.1:8000${path.replace("{model}", "internvl3-tiny")}`;
  if (method === "delete") return `${line} -X DELETE`;
  if (method === "get" || type === undefined) return method === "get" ? line : `${line} -X POST`;
  if (type === "multipart/form-data") return `${line} -F purpose=vision -F file=@photo.jpg`;
  return `${line} -H 'content-type: application/json' -d '${JSON.stringify(example, null, 2)}'`;
}

const badge = (method: string): string => `<span class="method ${method}">${method.toUpperCase()}</span>`;

function escape(text: string): string {
  return text.replace(/[&<>"']/g, (char) => `&#${char.charCodeAt(0)};`);
}

/** Escaped, with `code` in backticks. */
function prose(text: string): string {
  return escape(text).replace(/`([^`]+)`/g, "<code>$1</code>");
}
