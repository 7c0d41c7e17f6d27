/** Owns reading a checkpoint's tokenizer: tokenizer.json where there is one, else Qwen2's slow files put together. */
import { z } from "zod";
import { type AddedToken, Tokenizer, type TokenizerJson } from "./tokenizer.ts";

const AddedTokens = z.record(z.string(), z.object({ content: z.string(), special: z.boolean().default(false) }));
const SlowConfig = z.object({ added_tokens_decoder: AddedTokens.optional() });
const FastFile = z.looseObject({
  added_tokens: z.array(z.looseObject({ id: z.int(), content: z.string(), special: z.boolean() })),
  model: z.looseObject({ type: z.string(), vocab: z.record(z.string(), z.int()) }),
  decoder: z.unknown(),
});

/** How Qwen2's tokenizer cuts text before merging. */
const QWEN2_SPLIT =
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" +
  "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

/**
 * Reads the tokenizer of a checkpoint folder.
 * @throws Error naming the files that are missing or not understood
 */
export async function loadTokenizer(folder: string): Promise<Tokenizer> {
  const fast = await readText(`${folder}/tokenizer.json`);
  const json = fast === null ? await assemble(folder) : FastFile.parse(JSON.parse(fast)) as TokenizerJson;
  const isByteLevel = json.model.type === "BPE" && JSON.stringify(json.decoder ?? null).includes('"ByteLevel"');
  if (!isByteLevel) throw new Error(`Cannot read tokenizer of ${folder}: expected byte-level BPE`);
  return new Tokenizer(json);
}

/** A tokenizer.json from vocab.json, merges.txt and the added tokens, as the published InternVL3 checkpoints have them. */
async function assemble(folder: string): Promise<TokenizerJson> {
  const vocab = await readText(`${folder}/vocab.json`);
  const merges = await readText(`${folder}/merges.txt`);
  if (vocab === null || merges === null) {
    throw new Error(`Cannot read tokenizer of ${folder}: expected tokenizer.json, or vocab.json and merges.txt`);
  }
  return assembleTokenizerJson(
    z.record(z.string(), z.int()).parse(JSON.parse(vocab)),
    merges,
    await readAddedTokens(folder),
  );
}

/** Puts together what Qwen2's fast tokenizer would have in its file. */
export function assembleTokenizerJson(
  vocab: Readonly<Record<string, number>>,
  merges: string,
  addedTokens: readonly AddedToken[],
): TokenizerJson {
  const pairs = merges.split("\n").filter((line) => line !== "" && !line.startsWith("#version")).map((line) =>
    line.replace("\r", "").split(" ")
  );
  const file = {
    added_tokens: addedTokens.map((token) => ({
      ...token,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
    })),
    normalizer: { type: "NFC" },
    pre_tokenizer: {
      type: "Sequence",
      pretokenizers: [
        { type: "Split", pattern: { Regex: QWEN2_SPLIT }, behavior: "Isolated", invert: false },
        { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: false },
      ],
    },
    post_processor: null,
    decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: { type: "BPE", vocab, merges: pairs, unk_token: null, byte_fallback: false, ignore_merges: false },
  };
  return file;
}

async function readAddedTokens(folder: string): Promise<AddedToken[]> {
  const config = SlowConfig.parse(JSON.parse(await readText(`${folder}/tokenizer_config.json`) ?? "{}"));
  if (config.added_tokens_decoder !== undefined) {
    return Object.entries(config.added_tokens_decoder).map(([id, token]) => ({ id: Number(id), ...token }));
  }
  const plain = await readText(`${folder}/added_tokens.json`);
  if (plain === null) throw new Error(`Cannot read added tokens of ${folder}: expected them in tokenizer_config.json`);
  const ids = z.record(z.string(), z.int()).parse(JSON.parse(plain));
  return Object.entries(ids).map(([content, id]) => ({ id, content, special: true }));
}

async function readText(path: string): Promise<string | null> {
  try {
    return await Deno.readTextFile(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}
