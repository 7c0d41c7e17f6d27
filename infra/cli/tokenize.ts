/** `tessera tokenize`: what a text, or a question with pictures, takes of the context; the server counts, nothing runs. */
import { readEnv } from "@tessera/shared";
import { parseArgs } from "node:util";
import { postJson } from "./client.ts";
import { picturePart } from "./pictures.ts";
import { UsageError } from "./usage.ts";

const HELP = `Usage: deno task tessera tokenize <text> [options]      (- reads standard input)

Options:
  --ids                  print the ids
  --image <picture>      count a whole question with this picture (repeatable)
  --chat                 count a whole question, template included, also without pictures
  --model <id>           model (not needed where the server has one)
  --url <url>            server (TESSERA_URL)
`;

interface Tokenization {
  readonly count: number;
  readonly image_tokens: number;
  readonly max_model_len: number;
  readonly tokens: readonly number[] | null;
}

/** Runs the command; returns the exit code. @throws ApiError, UsageError */
export async function tokenizeCommand(args: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      ids: { type: "boolean", default: false },
      image: { type: "string", multiple: true, default: [] },
      chat: { type: "boolean", default: false },
      model: { type: "string" },
      url: { type: "string" },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  const [given, ...more] = positionals;
  if (values.help || given === undefined) {
    console.log(HELP);
    return values.help ? 0 : 2;
  }
  if (more.length > 0) throw new UsageError("Cannot tokenize: several texts. Put one in quotes.");
  const text = given === "-" ? await new Response(Deno.stdin.readable).text() : given;
  const url = values.url ?? readEnv(["TESSERA_URL"], (name) => Deno.env.get(name)).TESSERA_URL;
  const pictures = await Promise.all(values.image.map(picturePart));
  const isChat = values.chat || pictures.length > 0;
  const source = isChat
    ? { messages: [{ role: "user", content: [...pictures, { type: "text", text }] }] }
    : { prompt: text };
  const answer = await postJson<Tokenization>(url, "/v1/tokenize", {
    ...source,
    return_tokens: values.ids,
    ...(values.model === undefined ? {} : { model: values.model }),
  });
  const images = answer.image_tokens === 0 ? "" : `, ${answer.image_tokens} of them for pictures`;
  console.log(`${answer.count} tokens${images}; the context has ${answer.max_model_len}`);
  if (answer.tokens !== null) console.log(answer.tokens.join(" "));
  return 0;
}
