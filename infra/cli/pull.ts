/** `tessera pull`: downloads a checkpoint from the hub to where TESSERA_MODEL finds it. */
import { findInternVL3, INTERNVL3_MODELS, INTERNVL3_ORGANISATION, readEnv } from "@tessera/shared";
import { parseArgs } from "node:util";
import { bytesText } from "../hub/progress.ts";
import { pull } from "../hub/pull.ts";
import { type Hub, HubError } from "../hub/request.ts";
import { ROOT } from "../tools/paths.ts";
import { write } from "../tools/terminal.ts";
import { UsageError, wholeNumber } from "./usage.ts";

const HELP = `Usage: deno task tessera pull <model> [options]

  <model>              ${INTERNVL3_MODELS.map(({ name }) => name).join(", ")},
                       or any organisation/name on the hub

Options:
  --to <folder>        where the checkpoint's folder goes (default: pretrained/, where TESSERA_MODEL finds it)
  --revision <name>    branch, tag or commit (default main)
  --jobs <n>           files fetched at once (default 4)
  --verify             read every file again and check its hash
  --endpoint <url>     hub or mirror (HF_ENDPOINT)

A pull that was stopped goes on where it was when the same command runs again.
HF_TOKEN holds the token for private and gated repositories.
`;

/** Runs the command; returns the exit code. @throws UsageError */
export async function pullCommand(args: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      to: { type: "string", default: `${ROOT}/pretrained` },
      revision: { type: "string", default: "main" },
      jobs: { type: "string", default: "4" },
      verify: { type: "boolean", default: false },
      endpoint: { type: "string" },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  const [model, ...more] = positionals;
  if (values.help || model === undefined || more.length > 0) {
    console.log(HELP);
    return values.help ? 0 : 2;
  }
  const repository = repositoryId(model);
  const name = repository.slice(repository.indexOf("/") + 1);
  const target = `${values.to.replace(/(.)\/+$/, "$1")}/${name}`;
  const stop = new AbortController();
  const onSignal = () => stop.abort();
  for (const signal of ["SIGINT", "SIGTERM"] as const) Deno.addSignalListener(signal, onSignal);
  try {
    const pulled = await pull({
      hub: hubOf(values.endpoint),
      repository,
      revision: values.revision,
      target,
      jobs: wholeNumber("jobs", values.jobs, 1, 16),
      verify: values.verify,
      signal: stop.signal,
      sink: { isTerminal: Deno.stdout.isTerminal(), columns: columns(), write },
    });
    const what = pulled.numFetched === 0
      ? "was complete"
      : `is complete: ${bytesText(pulled.numBytes)}, hashes checked`;
    console.log(`${target} ${what}.\nServe it: TESSERA_MODEL=${modelSetting(values.to, name, target)} deno task start`);
    return 0;
  } catch (error) {
    if (stop.signal.aborted) {
      console.log(`\nStopped. The same command goes on from here.`);
      return 130;
    }
    if (error instanceof HubError) throw new UsageError(error.message, { cause: error });
    throw error;
  } finally {
    for (const signal of ["SIGINT", "SIGTERM"] as const) Deno.removeSignalListener(signal, onSignal);
  }
}

/** `organisation/name` of what was typed; the seven are known by their short names. @throws UsageError */
export function repositoryId(model: string): string {
  const known = findInternVL3(model);
  if (known !== undefined) return `${INTERNVL3_ORGANISATION}/${known.name}`;
  if (/^[\w.-]+\/[\w.-]+$/.test(model) && !/(^|\/)\.+($|\/)/.test(model)) return model;
  const names = INTERNVL3_MODELS.map(({ name }) => name).join(", ");
  throw new UsageError(`Cannot pull "${model}": expected organisation/name, or one of ${names}.`);
}

function hubOf(endpoint: string | undefined): Hub {
  const settings = readEnv(
    ["HF_ENDPOINT", "HF_TOKEN"],
    (name) => name === "HF_ENDPOINT" && endpoint !== undefined ? endpoint : Deno.env.get(name),
  );
  return { endpoint: settings.HF_ENDPOINT.replace(/\/+$/, ""), token: settings.HF_TOKEN || null };
}

/** What TESSERA_MODEL is to be: the name alone where it is looked for. */
function modelSetting(to: string, name: string, target: string): string {
  return to === `${ROOT}/pretrained` || /^(\.\/)?pretrained\/*$/.test(to) ? name : target;
}

function columns(): number {
  try {
    return Deno.consoleSize().columns;
  } catch {
    return 80;
  }
}
