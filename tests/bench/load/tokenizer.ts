/** Owns a tokenizer of the published size: reading 151,643 tokens and their merges is a part of starting a worker. */
import { BYTE_ALPHABET } from "../../../gpu-worker/prompt/byte_level.ts";
import { CounterStream } from "../../support/counter_random.ts";

/** Tokens of Qwen2's vocabulary, bytes included, without added ones. */
const NUM_TOKENS = 151_643;
const ADDED = [
  ...["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
  ...["<img>", "</img>", "<IMG_CONTEXT>", "<quad>", "</quad>", "<ref>", "</ref>", "<box>", "</box>"],
];

/** Writes vocab.json, merges.txt and tokenizer_config.json, as the 1B is published: words that random merges make. */
export async function writeTokenizer(folder: string): Promise<void> {
  const random = new CounterStream(1, "merges");
  const vocab = new Map<string, number>(BYTE_ALPHABET.map((char, id) => [char, id]));
  const tokens = [...BYTE_ALPHABET];
  const merges: string[] = ["#version: 0.2"];
  for (let at = 0; tokens.length < NUM_TOKENS; at += 2) {
    // Of earlier tokens rather than of late ones, so that words stay short.
    const [left, right] = [0, 1].map((i) =>
      tokens[Math.min(random.integer(at + i, tokens.length), random.integer(at + i + 2 ** 24, 4096) % tokens.length)]!
    );
    if (vocab.has(left! + right!)) continue;
    vocab.set(left! + right!, tokens.length);
    tokens.push(left! + right!);
    merges.push(`${left} ${right}`);
  }
  const added = ADDED.map((content, i) => [NUM_TOKENS + i, { content, special: true }]);
  await Deno.writeTextFile(`${folder}/vocab.json`, JSON.stringify(Object.fromEntries(vocab)));
  await Deno.writeTextFile(`${folder}/merges.txt`, merges.join("\n") + "\n");
  await Deno.writeTextFile(
    `${folder}/tokenizer_config.json`,
    JSON.stringify({ added_tokens_decoder: Object.fromEntries(added) }),
  );
}
