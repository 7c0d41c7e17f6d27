/** `tessera`, the command line: talks to a running server. */
import { EnvError, envTable, readEnv } from "@tessera/shared";
import { parseArgs } from "node:util";
import { fail } from "../tools/terminal.ts";
import { batchCommand } from "./batch.ts";
import { caption } from "./caption.ts";
import { captionLines } from "./caption_lines.ts";
import { chat } from "./chat.ts";
import { ApiError, getJson } from "./client.ts";
import { doctorCommand } from "./doctor.ts";
import { filesCommand } from "./files.ts";
import { jobsCommand, submitCaptions } from "./jobs.ts";
import { keysCommand } from "./keys.ts";
import { planCommand } from "./plan.ts";
import { pullCommand } from "./pull.ts";
import { tokenizeCommand } from "./tokenize.ts";
import { topCommand } from "./top.ts";
import { UsageError, wholeNumber } from "./usage.ts";

const HELP = `Usage: deno task tessera <command>

  caption <picture...>   describe pictures (files or https: addresses)
  jobs [<id>]            captions as jobs: list, look at, --wait, --cancel, --delete
  files <command>        files kept by the server: list, upload, get, delete
  batch <file>           run a file of requests in idle capacity and fetch the answers
  chat                   talk, with --image <picture> and --video <video> (repeatable) about them
  models                 list what the server serves
  tokenize <text>        count tokens, with --image <picture> of a whole question
  top                    the fleet live: workers, their load and pace, this edge (--once: print and end)
  pull <model>           download a checkpoint: InternVL3-1B, OpenGVLab/InternVL3-1B, any organisation/name
  plan [model]           memory on each GPU, without weights: plan InternVL3-78B --gpus 4x80
  keys                   make, list and revoke API keys
  doctor                 check this machine: what is missing, and how to get it
  env                    print the table of environment variables

Options:
  --url <url>            server (TESSERA_URL, default http://127.0.0.1:8000)
  --model <id>           model (default: the first the server lists)
  --prompt <text>        caption: what to ask (default "Describe the picture.")
  --webhook <url>        caption: submit jobs that last, and have their ends told there; prints their ids
  --jsonl                caption: one JSON line each, several pictures at once, a bar on a terminal
  --output <file>        caption: lines go there; run again, it goes on where it was
  --concurrency <n>      caption: pictures at once with --jsonl or --output (default 4)
  --image <picture>      chat: picture to talk about
  --combine              chat: all pictures under one placeholder
  --video <video>        chat: video to talk about
  --segments <n>         chat: frames of each video (default 8)
  --system <text>        chat: system message
  --max-tokens <n>       longest answer
`;

/** Commands with options of their own. */
const OWN_OPTIONS: Readonly<Record<string, (args: string[]) => Promise<number>>> = {
  batch: batchCommand,
  doctor: doctorCommand,
  files: filesCommand,
  jobs: jobsCommand,
  keys: keysCommand,
  plan: planCommand,
  pull: pullCommand,
  tokenize: tokenizeCommand,
  top: topCommand,
};

/** Runs one command; returns the exit code. */
async function main(args: string[]): Promise<number> {
  const own = Object.hasOwn(OWN_OPTIONS, args[0] ?? "") ? OWN_OPTIONS[args[0]!] : undefined;
  if (own !== undefined) return await own(args.slice(1));
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      url: { type: "string" },
      model: { type: "string" },
      prompt: { type: "string", default: "Describe the picture." },
      webhook: { type: "string" },
      jsonl: { type: "boolean", default: false },
      output: { type: "string" },
      concurrency: { type: "string", default: "4" },
      image: { type: "string", multiple: true, default: [] },
      combine: { type: "boolean", default: false },
      video: { type: "string", multiple: true, default: [] },
      segments: { type: "string" },
      system: { type: "string" },
      "max-tokens": { type: "string" },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  const [command, ...rest] = positionals;
  const url = values.url ?? readEnv(["TESSERA_URL"], (name) => Deno.env.get(name)).TESSERA_URL;
  const maxTokens = values["max-tokens"] === undefined ? undefined : Number(values["max-tokens"]);
  if (maxTokens !== undefined && !(Number.isInteger(maxTokens) && maxTokens > 0)) {
    throw new ApiError(`Cannot read --max-tokens: ${values["max-tokens"]}, expected a whole number above 0.`);
  }
  const common = {
    url,
    ...(values.model === undefined ? {} : { model: values.model }),
    ...(maxTokens === undefined ? {} : { maxTokens }),
  };
  if (values.help || command === undefined) {
    console.log(HELP);
    return values.help ? 0 : 2;
  }
  switch (command) {
    case "caption":
      if (rest.length === 0) throw new ApiError("Which picture? Usage: deno task tessera caption photo.jpg");
      if (values.webhook !== undefined) {
        const { webhook, prompt } = values;
        return await submitCaptions({ ...common, pictures: rest, prompt, webhook }) > 0 ? 1 : 0;
      }
      if (values.jsonl || values.output !== undefined) {
        const numFailed = await captionLines({
          ...common,
          pictures: rest,
          prompt: values.prompt,
          concurrency: wholeNumber("concurrency", values.concurrency, 1, 256),
          ...(values.output === undefined ? {} : { output: values.output }),
        });
        return numFailed === null ? 130 : numFailed > 0 ? 1 : 0;
      }
      return await caption({ ...common, pictures: rest, prompt: values.prompt }) > 0 ? 1 : 0;
    case "chat":
      await chat({
        ...common,
        pictures: [...values.image, ...rest],
        videos: values.video,
        combineImages: values.combine,
        ...(values.segments === undefined ? {} : { segments: wholeNumber("segments", values.segments, 1, 64) }),
        ...(values.system === undefined ? {} : { system: values.system }),
      });
      return 0;
    case "models":
      for (const { id } of (await getJson<{ data: { id: string }[] }>(url, "/v1/models")).data) console.log(id);
      return 0;
    case "env":
      console.log(envTable());
      return 0;
    default:
      console.error(`Unknown command "${command}".\n\n${HELP}`);
      return 2;
  }
}

try {
  Deno.exit(await main(Deno.args));
} catch (error) {
  const isOurs = error instanceof ApiError || error instanceof EnvError || error instanceof UsageError ||
    (error instanceof TypeError && "code" in error && String(error.code).startsWith("ERR_PARSE_ARGS"));
  if (!isOurs) throw error;
  fail(error);
}
