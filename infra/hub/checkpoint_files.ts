/** Which files of a repository a checkpoint needs: weights as safetensors, configuration, tokenizer, licence. */
import type { RemoteFile, Repository } from "./listing.ts";
import { HubError } from "./request.ts";

/** Read by the engine or the worker, or the terms they come under. Python files and other formats of the weights stay. */
const WANTED = [
  /^(config|generation_config|preprocessor_config|processor_config|video_preprocessor_config)\.json$/,
  /^(tokenizer|tokenizer_config|special_tokens_map|added_tokens|vocab|chat_template)\.json$/,
  /^(merges\.txt|tokenizer\.model|chat_template\.jinja|README\.md)$/,
  /^(LICENSE|NOTICE)(\.\w+)?$/i,
];
const INDEX = "model.safetensors.index.json";
const SINGLE = "model.safetensors";
const SHARD = /^model-\d{5}-of-(\d{5})\.safetensors$/;

/** The files to fetch, `config.json` last: a folder that has it is complete. @throws HubError when it is no checkpoint */
export function checkpointFiles({ id, files }: Repository): RemoteFile[] {
  const byPath = new Map(files.map((file) => [file.path, file]));
  const config = byPath.get("config.json");
  if (config === undefined) {
    throw new HubError(`Cannot pull ${id}: it has no config.json, expected a model repository.`);
  }
  const wanted = files.filter(({ path }) => path !== "config.json" && WANTED.some((each) => each.test(path)));
  return [...weightFiles(id, byPath), ...wanted, config];
}

/** As the engine reads them: one file where there is one, else the shards of the index. */
function weightFiles(id: string, byPath: ReadonlyMap<string, RemoteFile>): RemoteFile[] {
  const single = byPath.get(SINGLE);
  if (single !== undefined) return [single];
  const index = byPath.get(INDEX);
  const shards = [...byPath.values()].filter(({ path }) => SHARD.test(path));
  if (index === undefined || shards.length === 0) {
    throw new HubError(`Cannot pull ${id}: it has no weights as safetensors.`);
  }
  const count = Number(shards[0]!.path.match(SHARD)![1]);
  if (shards.length !== count) {
    throw new HubError(`Cannot pull ${id}: it has ${shards.length} weight files, expected ${count}.`);
  }
  return [index, ...shards];
}
