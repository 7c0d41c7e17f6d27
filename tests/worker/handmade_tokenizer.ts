/** Owns a byte-level tokenizer small enough to know by heart: ids 0-255 are the bytes, a few merges, the control tokens. */
import { BYTE_ALPHABET } from "../../gpu-worker/prompt/byte_level.ts";
import { tokenizerOfParts } from "../../gpu-worker/prompt/load_tokenizer.ts";
import type { Tokenizer } from "../../gpu-worker/prompt/tokenizer.ts";

/** Ids of the merged tokens. */
export const MERGED = { he: 256, ll: 257, hell: 258, hello: 259, "Ġhello": 260, us: 261, er: 262, user: 263 } as const;

/** Ids of the added tokens. */
export const ADDED = {
  "<|endoftext|>": 900,
  "<|im_start|>": 901,
  "<|im_end|>": 902,
  "<img>": 903,
  "</img>": 904,
  "<IMG_CONTEXT>": 905,
  "<ref>": 906,
  "</ref>": 907,
} as const;

const MERGES = "#version: 0.2\nh e\nl l\nhe ll\nhell o\nĠ hello\nu s\ne r\nus er\n";

export function handmadeTokenizer(): Tokenizer {
  const vocab: Record<string, number> = { ...MERGED };
  BYTE_ALPHABET.forEach((char, byte) => vocab[char] = byte);
  const added = Object.entries(ADDED).map(([content, id]) => ({ id, content, special: true }));
  return tokenizerOfParts(vocab, MERGES, [...added, { id: 908, content: "<tool>", special: false }]);
}

/** Ids of text without merges: its UTF-8. */
export const bytesOf = (text: string): number[] => [...new TextEncoder().encode(text)];
