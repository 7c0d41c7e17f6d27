/** Hostile checkpoints through the whole start of a worker: it ends with code 1 and says which file is wrong, and why. */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";

const TINY = fileURLToPath(new URL("../../gpu-worker/models/internvl3-tiny", import.meta.url));
const MAIN = fileURLToPath(new URL("../../gpu-worker/main.ts", import.meta.url));
/** Each takes half a second alone; what hangs is ended. */
const LONGEST_MS = 60_000;
const AT_ONCE = 3;

type Damage = (folder: string) => Promise<unknown>;

// deno-lint-ignore no-explicit-any -- JSON of many forms
async function change(path: string, edit: (json: any) => void): Promise<void> {
  const json = JSON.parse(await Deno.readTextFile(path));
  edit(json);
  await Deno.writeTextFile(path, JSON.stringify(json));
}

/** In place of a file: another, a pipe nobody writes to, or a link. */
async function replace(path: string, command: string, ...args: string[]): Promise<void> {
  await Deno.remove(path);
  const { success } = await new Deno.Command(command, { args: [...args, path] }).output();
  assert.ok(success);
}

/** An index that names one file for every tensor. */
async function shard(folder: string, file: string): Promise<void> {
  await Deno.rename(`${folder}/model.safetensors`, `${folder}/one`);
  const bytes = await Deno.readFile(`${folder}/one`);
  const size = Number(new DataView(bytes.buffer).getBigUint64(0, true));
  const { __metadata__: _, ...tensors } = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + size)));
  const weight_map = Object.fromEntries(Object.keys(tensors).map((name) => [name, file]));
  await Deno.writeTextFile(`${folder}/model.safetensors.index.json`, JSON.stringify({ weight_map }));
}

const CASES: readonly [name: string, damage: Damage, text: RegExp][] = [
  [
    "weights are a pipe",
    (folder) => replace(`${folder}/model.safetensors`, "mkfifo"),
    /model\.safetensors: it is no plain file/,
  ],
  [
    "weights are a link to themselves",
    (folder) => replace(`${folder}/model.safetensors`, "ln", "-s", "model.safetensors"),
    /model\.safetensors: Too many levels of symbolic links/,
  ],
  ["weights are empty", (folder) => Deno.truncate(`${folder}/model.safetensors`), /model\.safetensors: 0 bytes/],
  [
    "an index leads out of its folder",
    (folder) => shard(folder, "../one"),
    /index\.json: the file of tensor .* is no plain/,
  ],
  [
    "the tokenizer has no end",
    (folder) => replace(`${folder}/tokenizer.json`, "ln", "-s", "/dev/zero"),
    /tokenizer\.json: it is no plain file/,
  ],
  [
    "the tokenizer is a pipe",
    (folder) => replace(`${folder}/tokenizer.json`, "mkfifo"),
    /tokenizer\.json: it is no plain file/,
  ],
  [
    "a token is beyond the vocabulary",
    (folder) =>
      change(`${folder}/tokenizer.json`, ({ model: { vocab } }) => {
        vocab[Object.keys(vocab).at(-1)!] = 3_000;
      }),
    /ids go up to 3000, expected less than 1024/,
  ],
  [
    "tiles of 4 gigapixels",
    (folder) => change(`${folder}/config.json`, (config) => config["force_image_size"] = 65_520),
    /force_image_size is 65520, expected at most 256 patches a side/,
  ],
];

/** Code and output of a worker that is told to serve the folder. */
async function start(folder: string): Promise<{ code: number; output: string }> {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "--allow-all", "--no-check", MAIN],
    env: {
      TESSERA_MODEL: folder,
      TESSERA_DEVICE: "cpu",
      TESSERA_THREADS: "1",
      TESSERA_NATS_URL: "nats://127.0.0.1:1",
      TESSERA_LOG_FORMAT: "json",
    },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const timer = setTimeout(() => child.kill("SIGKILL"), LONGEST_MS);
  const { code, stdout, stderr } = await child.output();
  clearTimeout(timer);
  return { code, output: new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr) };
}

Deno.test("hostile checkpoints: the worker ends at once and says what is wrong", async () => {
  const left = [...CASES];
  const lane = async () => {
    for (let next = left.pop(); next !== undefined; next = left.pop()) {
      const [name, damage, text] = next;
      const folder = await Deno.makeTempDir();
      try {
        for await (const { name: file } of Deno.readDir(TINY)) {
          await Deno.copyFile(`${TINY}/${file}`, `${folder}/${file}`);
        }
        await damage(folder);
        const { code, output } = await start(folder);
        assert.equal(code, 1, `${name}: ${output}`);
        assert.match(output, text, name);
      } finally {
        await Deno.remove(folder, { recursive: true });
      }
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, lane));
});
