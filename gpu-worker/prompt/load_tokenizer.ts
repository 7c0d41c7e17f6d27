/** Owns reading a checkpoint's tokenizer: tokenizer.json, or Qwen2's vocab.json and merges.txt, or a SentencePiece model. */
import { MAX_TOKEN_IDS } from "@tessera/shared";
import { z } from "zod";
import { readCheckpointFile } from "../checkpoint_file.ts";
import { ByteLevelVocabulary, type Merge, QWEN2_SPLIT } from "./byte_level.ts";
import { parseSentencePiece } from "./sentencepiece_file.ts";
import { SentencePieceVocabulary } from "./sentencepiece.ts";
import { type AddedToken, isMarkup, Tokenizer } from "./tokenizer.ts";

// A hundred thousand entries each: one check of them all, where one schema an entry takes a quarter of a second.
const Vocab = z.custom<Readonly<Record<string, number>>>(
  isVocab,
  `expected tokens with their ids, 0 to ${MAX_TOKEN_IDS - 1}`,
);
const Merges = z.custom<readonly Merge[]>(isMerges, "expected pairs of tokens");
const Id = z.int().min(0).lt(MAX_TOKEN_IDS);
const AddedTokens = z.record(z.string(), z.object({ content: z.string(), special: z.boolean().default(false) }));
const SlowConfig = z.looseObject({
  added_tokens_decoder: AddedTokens.optional(),
  add_bos_token: z.boolean().nullish(),
});

const Split = z.looseObject({
  type: z.literal("Split"),
  pattern: z.object({ Regex: z.string() }),
  behavior: z.literal("Isolated"),
  invert: z.literal(false),
});
const ByteLevel = z.looseObject({
  type: z.literal("ByteLevel"),
  add_prefix_space: z.literal(false),
  use_regex: z.literal(false),
});
/** The parts of a byte-level tokenizer.json that decide ids. */
const ByteLevelJson = z.looseObject({
  added_tokens: z.array(z.looseObject({ id: Id, content: z.string(), special: z.boolean() })),
  normalizer: z.looseObject({ type: z.literal("NFC") }).nullable(),
  pre_tokenizer: z.looseObject({ type: z.literal("Sequence"), pretokenizers: z.tuple([Split, ByteLevel]) }),
  model: z.looseObject({
    type: z.literal("BPE"),
    vocab: Vocab,
    merges: Merges,
    ignore_merges: z.boolean().nullish(),
    byte_fallback: z.literal(false).nullish(),
    continuing_subword_prefix: z.literal("").nullish(),
    end_of_word_suffix: z.literal("").nullish(),
    dropout: z.null().optional(),
  }),
});

/**
 * Reads the tokenizer of a checkpoint folder.
 * @throws Error naming the files that are missing or not understood
 */
export async function loadTokenizer(folder: string): Promise<Tokenizer> {
  const text = await readCheckpointFile(`${folder}/tokenizer.json`);
  const model = await readCheckpointFile(`${folder}/tokenizer.model`);
  try {
    const json = text === null ? null : decode(text);
    // A tokenizer.json made from a SentencePiece model says the same in another way; the model itself is the truth.
    if (json !== null && (model === null || json.includes('"ByteLevel"'))) return tokenizerOfJson(JSON.parse(json));
    if (model !== null) return await sentencePieceTokenizer(folder, model);
    const vocab = await readText(`${folder}/vocab.json`);
    const merges = await readText(`${folder}/merges.txt`);
    if (vocab === null || merges === null) {
      throw new Error("expected tokenizer.json, or vocab.json and merges.txt, or tokenizer.model");
    }
    return tokenizerOfParts(Vocab.parse(JSON.parse(vocab)), merges, await readAddedTokens(folder) ?? missingAdded());
  } catch (cause) {
    const reason = cause instanceof z.ZodError ? firstFault(cause) : cause instanceof Error ? cause.message : cause;
    throw new Error(`Cannot read tokenizer of ${folder}: ${reason}`, { cause });
  }
}

/** @param json a byte-level tokenizer.json, parsed */
export function tokenizerOfJson(json: unknown): Tokenizer {
  const { model, normalizer, pre_tokenizer, added_tokens } = ByteLevelJson.parse(json);
  const vocabulary = new ByteLevelVocabulary({
    vocab: mapOf(model.vocab),
    merges: model.merges,
    split: pre_tokenizer.pretokenizers[0].pattern.Regex,
    composes: normalizer !== null,
    ignoresMerges: model.ignore_merges ?? false,
  });
  return new Tokenizer(vocabulary, added_tokens);
}

/** Qwen2's tokenizer from its slow files. */
export function tokenizerOfParts(
  vocab: Readonly<Record<string, number>>,
  merges: string,
  addedTokens: readonly AddedToken[],
): Tokenizer {
  const lines = merges.split(/\r?\n/);
  const vocabulary = new ByteLevelVocabulary({
    vocab: mapOf(vocab),
    merges: lines.filter((line) => line !== "" && !line.startsWith("#version")),
    split: QWEN2_SPLIT,
    composes: true,
    ignoresMerges: false,
  });
  return new Tokenizer(vocabulary, addedTokens);
}

async function sentencePieceTokenizer(folder: string, bytes: Uint8Array): Promise<Tokenizer> {
  const file = parseSentencePiece(bytes);
  const added = new Map((await readAddedTokens(folder) ?? []).map((token) => [token.id, token]));
  // Control tokens may stand in the model itself.
  file.pieces.forEach(({ piece, type }, id) => {
    if (type === "control" && !added.has(id)) added.set(id, { id, content: piece, special: true });
  });
  const hidden = new Set([...added.values()].filter(({ content }) => !isMarkup(content)).map(({ content }) => content));
  const { add_bos_token } = await readSlowConfig(folder);
  const bosId = (add_bos_token ?? true) && file.bosId >= 0 ? file.bosId : null;
  return new Tokenizer(new SentencePieceVocabulary(file, hidden), [...added.values()], bosId);
}

function isVocab(value: unknown): boolean {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  const ids = value as Readonly<Record<string, unknown>>;
  for (const token in ids) {
    const id = ids[token];
    if (!Number.isInteger(id) || (id as number) < 0 || (id as number) >= MAX_TOKEN_IDS) return false;
  }
  return true;
}

function isMerges(value: unknown): boolean {
  const isMerge = (merge: unknown) =>
    typeof merge === "string" ||
    (Array.isArray(merge) && merge.length === 2 && merge.every((part) => typeof part === "string"));
  return Array.isArray(value) && value.every(isMerge);
}

function mapOf(vocab: Readonly<Record<string, number>>): Map<string, number> {
  const map = new Map<string, number>();
  for (const token in vocab) map.set(token, vocab[token]!);
  return map;
}

async function readSlowConfig(folder: string): Promise<z.infer<typeof SlowConfig>> {
  return SlowConfig.parse(JSON.parse(await readText(`${folder}/tokenizer_config.json`) ?? "{}"));
}

/** Null when no file tells them. */
async function readAddedTokens(folder: string): Promise<AddedToken[] | null> {
  const { added_tokens_decoder } = await readSlowConfig(folder);
  if (added_tokens_decoder !== undefined) {
    return Object.entries(added_tokens_decoder).map(([id, token]) => ({ id: Id.parse(Number(id)), ...token }));
  }
  const plain = await readText(`${folder}/added_tokens.json`);
  if (plain === null) return null;
  return Object.entries(Vocab.parse(JSON.parse(plain))).map(([content, id]) => ({ id, content, special: true }));
}

function missingAdded(): never {
  throw new Error("expected the added tokens in tokenizer_config.json or added_tokens.json");
}

function firstFault(error: z.ZodError): string {
  const issue = error.issues[0];
  return `${issue?.path.join(".") ?? ""}: ${issue?.message ?? "not understood"}; expected byte-level BPE as Qwen2's`;
}

async function readText(path: string): Promise<string | null> {
  const bytes = await readCheckpointFile(path);
  return bytes === null ? null : decode(bytes);
}

function decode(bytes: Uint8Array): string {
  return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
}
