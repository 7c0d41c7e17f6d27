/** A request as curl, Python and TypeScript, to copy. */
import type { Medium } from "./media.ts";
import { type Body, bodyOf, type Settings, type Turn } from "./request.ts";

export const LANGUAGES = ["curl", "Python", "TypeScript"] as const;
export type Language = (typeof LANGUAGES)[number];

/** Stands for the bytes of a file in the reader's copy. */
const mark = (index: number) => `<<file ${index}>>`;

export function snippet(language: Language, turns: readonly Turn[], settings: Settings, base: string): string {
  const files: Medium[] = [];
  const body = bodyOf(turns, settings, (medium) => {
    if (!medium.url.startsWith("data:")) return medium.url;
    if (!files.includes(medium)) files.push(medium);
    return mark(files.indexOf(medium));
  });
  if (language === "curl") return curl(body, files, base);
  return language === "Python" ? python(body, files, base) : typeScript(body, files, base);
}

/** The body is a here-document, in which the shell fills in the files: a file may be longer than a command line. */
function curl(body: Body, files: readonly Medium[], base: string): string {
  const text = JSON.stringify({ ...body, stream: true }, null, 2).replace(/[\\$`]/g, "\\$&");
  const withFiles = files.reduce(
    (text, { type, name }, index) =>
      text.replaceAll(mark(index), () => `data:${type};base64,$(base64 < ${quoted(name)} | tr -d '\\n')`),
    text,
  );
  return `curl -N ${base}v1/chat/completions \\
  -H "Content-Type: application/json" \\
  -H "Authorization: Bearer $TESSERA_API_KEY" \\
  --data-binary @- <<END
${withFiles}
END`;
}

function python(body: Body, files: readonly Medium[], base: string): string {
  const load = files.map((file, index) => `file_${index} = data_url(${JSON.stringify(file.name)}, "${file.type}")`);
  const helper = files.length === 0 ? "" : `import base64
from pathlib import Path

def data_url(path, mime):
    return f"data:{mime};base64,{base64.b64encode(Path(path).read_bytes()).decode()}"

${load.join("\n")}
`;
  const { mm_processor_kwargs, ...rest } = body;
  const named = Object.entries({
    ...rest,
    stream: true,
    ...(mm_processor_kwargs === undefined ? {} : { extra_body: { mm_processor_kwargs } }),
  })
    .map(([name, value]) => `    ${name}=${filled(pythonLiteral(value, 1), files, (index) => `file_${index}`)},`);
  return `${helper}from openai import OpenAI

client = OpenAI(base_url="${base}v1", api_key="...")
stream = client.chat.completions.create(
${named.join("\n")}
)
for chunk in stream:
    print(chunk.choices[0].delta.content or "", end="", flush=True)`;
}

function typeScript(body: Body, files: readonly Medium[], base: string): string {
  const helper = files.length === 0 ? "" : `import { readFile } from "node:fs/promises";

const dataUrl = async (path: string, mime: string) =>
  \`data:\${mime};base64,\${(await readFile(path)).toString("base64")}\`;
${
    files.map((file, index) => `const file${index} = await dataUrl(${JSON.stringify(file.name)}, "${file.type}");`)
      .join("\n")
  }

`;
  const literal = JSON.stringify({ ...body, stream: true }, null, 2).replace(/^(\s*)"(\w+)":/gm, "$1$2:");
  return `import OpenAI from "openai";
${helper === "" ? "\n" : helper}const client = new OpenAI({ baseURL: "${base}v1", apiKey: "..." });
const stream = await client.chat.completions.create(${filled(literal, files, (index) => `file${index}`)} as never);
for await (const chunk of stream as never as AsyncIterable<OpenAI.ChatCompletionChunk>) {
  process.stdout.write(chunk.choices[0]?.delta.content ?? "");
}`;
}

function filled(text: string, files: readonly Medium[], name: (index: number) => string): string {
  return files.reduce((text, _, index) => text.replaceAll(JSON.stringify(mark(index)), name(index)), text);
}

/** JSON as Python writes it. */
function pythonLiteral(value: unknown, depth: number): string {
  const pad = "    ".repeat(depth + 1);
  const end = "    ".repeat(depth);
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (Array.isArray(value)) {
    return value.length === 0
      ? "[]"
      : `[\n${value.map((v) => `${pad}${pythonLiteral(v, depth + 1)},\n`).join("")}${end}]`;
  }
  if (typeof value === "object") {
    const entries = Object.entries(value).map(([k, v]) =>
      `${pad}${JSON.stringify(k)}: ${pythonLiteral(v, depth + 1)},\n`
    );
    return `{\n${entries.join("")}${end}}`;
  }
  return JSON.stringify(value);
}

function quoted(name: string): string {
  return /^[\w.-]+$/.test(name) ? name : `'${name.replaceAll("'", "'\\''")}'`;
}
