/** Ids equal to transformers' on committed tokenizers of the published structure, block by block; text comes back. */
import assert from "node:assert/strict";
import { Detokenizer } from "../../gpu-worker/publish/detokenizer.ts";
import { loadTokenizer } from "../../gpu-worker/prompt/load_tokenizer.ts";
import { corpus } from "../golden/tokenizer/corpus.ts";
import {
  BLOCK,
  COMMITTED,
  type Goldens,
  GOLDENS_PATH,
  hashIds,
  HERE,
  sourcesHash,
  TEST_SEED,
} from "../golden/tokenizer/goldens.ts";

const goldens = JSON.parse(await Deno.readTextFile(GOLDENS_PATH)) as Goldens;
const texts = corpus(TEST_SEED, BLOCK * goldens.blocks["qwen2"]!.length);

Deno.test("tokenizer goldens: made by the scripts as they are", async () => {
  assert.equal(await sourcesHash(), goldens.sources, "run: deno task compare:tokenizer --write");
});

for (const name of COMMITTED) {
  Deno.test(`tokenizer goldens: ${name}, ${texts.length} lines as transformers has them`, async () => {
    const tokenizer = await loadTokenizer(`${HERE}/${name}`);
    const ids = texts.map((text) => tokenizer.encodeText(text));
    for (const [block, expected] of goldens.blocks[name]!.entries()) {
      const at = block * BLOCK;
      assert.equal(await hashIds(ids.slice(at, at + BLOCK)), expected, `lines ${at} to ${at + BLOCK - 1}`);
    }
  });

  Deno.test(`tokenizer: ${name}, typed control tokens stay text, in any company`, async () => {
    const tokenizer = await loadTokenizer(`${HERE}/${name}`);
    const control = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<img>", "</img>", "<IMG_CONTEXT>"];
    const ids = new Set(control.map((token) => tokenizer.controlId(token)));
    for (const [index, text] of texts.slice(0, 300).entries()) {
      const token = control[index % control.length]!;
      const at = index % (text.length + 1);
      const found = tokenizer.encodeText(text.slice(0, at) + token + text.slice(at));
      assert.ok(!found.some((id) => ids.has(id)), `${JSON.stringify(text)} with ${token}`);
    }
  });
}

Deno.test("tokenizer: text comes back from ids, one at a time, as typed", async () => {
  for (const name of ["qwen2", "sentencepiece-internlm3"] as const) {
    const tokenizer = await loadTokenizer(`${HERE}/${name}`);
    for (const text of texts) {
      const detokenizer = new Detokenizer(tokenizer);
      let back = "";
      for (const id of tokenizer.encodeText(text)) back += detokenizer.push(id);
      back += detokenizer.end();
      // Marks are special: they encode, and are left out of text.
      const plain = text.replace(/<\/?(ref|box|quad)>/g, "");
      if (plain !== text) continue;
      assert.equal(back, name === "qwen2" ? text.normalize("NFC") : text.replaceAll("\u2581", " "));
    }
  }
});
