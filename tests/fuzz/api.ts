/** Owns the fuzzing of the HTTP interface against its own document: schemathesis, a real bus, a real worker of a small model. */
import { ensurePython } from "../../infra/tools/python.ts";

export interface ApiFuzzReport {
  readonly isClean: boolean;
  /** What schemathesis printed. */
  readonly text: string;
}

/**
 * What must hold of every answer: no 5xx, statuses, types and bodies as documented. Not asked: that everything the
 * schema allows is accepted (fields contradict each other, models do not exist, pictures do not decode) or that what it
 * does not allow is refused (unknown harmless fields are ignored).
 */
const CHECKS = [
  "not_a_server_error",
  "status_code_conformance",
  "content_type_conformance",
  "response_schema_conformance",
  "response_headers_conformance",
  "unsupported_method",
  "allow_header_conformance",
];

/** Fuzzes a running server for about `seconds`. */
export async function fuzzApi(url: string, seconds: number, seed: number): Promise<ApiFuzzReport> {
  const python = await ensurePython({ name: "python-schemathesis", requirements: "tests/fuzz/requirements.txt" });
  // Examples it found failing are kept in the folder it runs in.
  const folder = await Deno.makeTempDir();
  try {
    const document = `${folder}/openapi.json`;
    await Deno.writeTextFile(document, JSON.stringify(await aimedDocument(url)));
    const { success, stdout, stderr } = await new Deno.Command(python, {
      args: [
        "-m",
        "schemathesis.cli",
        "run",
        document,
        "--url",
        url,
        "--checks",
        CHECKS.join(","),
        "--phases",
        "examples,coverage,fuzzing",
        "--max-time",
        `${seconds}`,
        "--seed",
        `${seed}`,
        "--request-timeout",
        "30",
        "--suppress-health-check",
        "all",
        "--warnings",
        "off",
        "--continue-on-failure",
        "--max-failures",
        "20",
        "--no-color",
      ],
      cwd: folder,
    }).output();
    const decoder = new TextDecoder();
    return { isClean: success, text: decoder.decode(stdout) + decoder.decode(stderr) };
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** Smallest PNG, and things that are none. */
const PICTURES = [
  "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==",
  "data:image/png;base64,iVBORw0KGgo=",
  "data:,%00",
  "https://127.0.0.1/x.png",
  "file:///etc/passwd",
];

/**
 * The server's document, narrowed so that requests get deep: models that exist, pictures that mostly decode, short
 * answers. Everything else is as the server says it.
 */
async function aimedDocument(url: string): Promise<unknown> {
  const get = async (path: string) => await (await fetch(`${url}${path}`)).json();
  const models = ((await get("/v1/models")) as { data: { id: string }[] }).data.map(({ id }) => id);
  const aim: Record<string, object> = {
    model: { enum: models },
    url: { enum: PICTURES },
    // A shorter one is answered with 504, as it should be.
    deadline_ms: { type: "integer", minimum: 60_000 },
    max_tokens: { type: "integer", minimum: 1, maximum: 8 },
    max_completion_tokens: { type: "integer", minimum: 1, maximum: 8 },
    max_new_tokens: { type: "integer", minimum: 1, maximum: 8 },
  };
  const document = await get("/openapi.json") as { components: { schemas: Record<string, unknown> } };
  const narrow = (schema: unknown): void => {
    if (typeof schema !== "object" || schema === null) return;
    const { properties } = schema as { properties?: Record<string, object> };
    for (const name of Object.keys(properties ?? {})) if (Object.hasOwn(aim, name)) properties![name] = aim[name]!;
    Object.values(schema).forEach(narrow);
  };
  for (const [name, schema] of Object.entries(document.components.schemas)) {
    if (name.endsWith("Request")) narrow(schema);
  }
  const chat = document.components.schemas["ChatCompletionRequest"] as { required: string[] };
  // Without it an answer goes on to the end of the context.
  chat.required = [...chat.required, "max_completion_tokens"];
  return document;
}
