/** `tessera files`: files kept by the server for later requests; uploaded, listed, fetched, deleted. */
import { readEnv } from "@tessera/shared";
import { basename } from "node:path";
import { parseArgs } from "node:util";
import { dim } from "../tools/terminal.ts";
import { ApiError, getJson, send } from "./client.ts";

const HELP = `Usage: deno task tessera files <command>

  files list                      newest first
  files upload <path...>          prints an id for each
  files get <id> [--output <path>]  its bytes, to standard output unless said
  files delete <id...>

Options:
  --purpose <purpose>    upload: vision (default), batch, user_data
  --url <url>            server (TESSERA_URL)
`;

export interface StoredFile {
  readonly id: string;
  readonly bytes: number;
  readonly filename: string;
  readonly purpose: string;
  readonly created_at: number;
}

/** Runs the command; returns the exit code. @throws ApiError */
export async function filesCommand(args: string[]): Promise<number> {
  const { values, positionals: [command, ...names] } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      purpose: { type: "string", default: "vision" },
      output: { type: "string" },
      url: { type: "string" },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  const url = values.url ?? readEnv(["TESSERA_URL"], (name) => Deno.env.get(name)).TESSERA_URL;
  const [first] = names;
  if (!values.help && command === "list") {
    for (const file of (await getJson<{ data: StoredFile[] }>(url, "/v1/files")).data) {
      const time = new Date(file.created_at * 1000).toISOString().replace(".000", "");
      console.log(
        `${file.id}  ${String(file.bytes).padStart(11)}  ${file.purpose.padEnd(12)}  ${dim(time)}  ${file.filename}`,
      );
    }
  } else if (!values.help && command === "upload" && first !== undefined) {
    for (const path of names) console.log(`${(await uploadFile(url, path, values.purpose)).id}  ${path}`);
  } else if (!values.help && command === "get" && first !== undefined) {
    await fetchFile(url, first, values.output ?? null);
  } else if (!values.help && command === "delete" && first !== undefined) {
    for (const id of names) await send(url, `/v1/files/${encodeURIComponent(id)}`, { method: "DELETE" });
  } else {
    console.log(HELP);
    return values.help ? 0 : 2;
  }
  return 0;
}

/** @throws ApiError when it cannot be read, or the server refuses it */
export async function uploadFile(url: string, path: string, purpose: string): Promise<StoredFile> {
  const bytes = await Deno.readFile(path).catch((cause) => {
    throw new ApiError(`Cannot open ${path}: it cannot be read.`, { cause });
  });
  const form = new FormData();
  form.set("purpose", purpose);
  form.set("file", new File([bytes], basename(path)));
  return await (await send(url, "/v1/files", { method: "POST", body: form })).json() as StoredFile;
}

/** @param path standard output when null @throws ApiError */
export async function fetchFile(url: string, id: string, path: string | null): Promise<void> {
  const { body } = await send(url, `/v1/files/${encodeURIComponent(id)}/content`, {});
  if (body === null) return;
  if (path === null) return await body.pipeTo(Deno.stdout.writable, { preventClose: true });
  await body.pipeTo((await Deno.open(path, { create: true, truncate: true, write: true })).writable);
}
