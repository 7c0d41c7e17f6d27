/** `tessera files`, `batch`, `jobs` and `caption --webhook` against a whole stack. */
import { ROOT } from "@tessera/infra/paths";
import assert from "node:assert/strict";
import { demoPictures, withStack } from "../e2e/shared_stack.ts";

const SECRET = `whsec_${new Uint8Array(32).fill(3).toBase64()}`;

async function tessera(url: string, ...args: string[]) {
  const all = ["run", "--allow-all", "--no-check", `${ROOT}/infra/cli/main.ts`, ...args, "--url", url];
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), { args: all }).output();
  const [out, err] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
  return { code, out: out!, err: err! };
}

Deno.test("command line: files, a batch, and captions as jobs", async () => {
  const [picture] = await demoPictures();
  const folder = await Deno.makeTempDir();
  try {
    await withStack({ env: { TESSERA_WEBHOOK_SECRETS: SECRET } }, async ({ url }) => {
      const uploaded = await tessera(url, "files", "upload", picture!.path);
      assert.equal(uploaded.code, 0, uploaded.err);
      const id = /^file-\S+/.exec(uploaded.out)![0];
      assert.match((await tessera(url, "files", "list")).out, new RegExp(`^${id} .*${picture!.name}\n$`));
      const fetched = await tessera(url, "files", "get", id, "--output", `${folder}/copy`);
      assert.equal(fetched.code, 0, fetched.err);
      assert.deepEqual(await Deno.readFile(`${folder}/copy`), await Deno.readFile(picture!.path));

      const request = (custom_id: string, image: string) =>
        JSON.stringify({
          custom_id,
          method: "POST",
          url: "/v1/captions",
          body: { image, prompt: "Describe the picture." },
        });
      await Deno.writeTextFile(`${folder}/in.jsonl`, `${request("a", id)}\n${request("b", "file-none")}\n`);
      const batch = await tessera(
        url,
        ...["batch", `${folder}/in.jsonl`, "--endpoint", "/v1/captions", "--output", `${folder}/out.jsonl`],
      );
      assert.equal(batch.code, 1, "one was refused");
      assert.match(batch.err, /completed: 2 of 2, 1 refused/);
      const answer = JSON.parse(await Deno.readTextFile(`${folder}/out.jsonl`));
      assert.deepEqual([answer.custom_id, answer.response.body.output.text], ["a", picture!.caption]);
      assert.equal(JSON.parse(await Deno.readTextFile(`${folder}/out.jsonl.errors`)).custom_id, "b");
      assert.equal((await tessera(url, "files", "delete", id)).code, 0);

      const webhook = "https://192.0.2.1/hook";
      const refused = await tessera(url, "caption", picture!.path, "--webhook", webhook);
      assert.match(refused.out, /may not be called/);
      const made = await tessera(url, "caption", picture!.path, "--webhook", "https://hooks.invalid/hook");
      assert.equal(made.code, 0, made.out);
      const job = /^cap-\S+/.exec(made.out)![0];
      const ended = await tessera(url, "jobs", job, "--wait", "--json");
      assert.equal(JSON.parse(ended.out).output.text, picture!.caption);
      assert.match((await tessera(url, "jobs")).out, new RegExp(`^${job}  succeeded`));
      assert.equal((await tessera(url, "jobs", job, "--delete")).code, 0);
      assert.equal((await tessera(url, "jobs")).out, "");
    });
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
