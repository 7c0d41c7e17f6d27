/** SentencePiece in detail: leading spaces, characters in bytes, the space a word begins with, models that are refused. */
import assert from "node:assert/strict";
import { Detokenizer } from "../../gpu-worker/publish/detokenizer.ts";
import { loadTokenizer } from "../../gpu-worker/prompt/load_tokenizer.ts";
import { parseSentencePiece } from "../../gpu-worker/prompt/sentencepiece_file.ts";
import { SentencePieceVocabulary } from "../../gpu-worker/prompt/sentencepiece.ts";
import { HERE } from "../golden/tokenizer/goldens.ts";

const FOLDER = `${HERE}/sentencepiece-internlm3`;
const tokenizer = await loadTokenizer(FOLDER);
const bytes = await Deno.readFile(`${FOLDER}/tokenizer.model`);
const file = parseSentencePiece(bytes);
const idOf = (piece: string) => file.pieces.findIndex((each) => each.piece === piece);
const none: ReadonlySet<string> = new Set();

Deno.test("sentencepiece: the space in front of an answer is left out, once; later ones stay", () => {
  const space = idOf("\u2581");
  const detokenizer = new Detokenizer(tokenizer);
  const a = tokenizer.encodeText("a");
  assert.deepEqual([space, space, ...a].map((id) => detokenizer.push(id)).join(""), "  a");
  const other = new Detokenizer(tokenizer);
  assert.equal([...a, ...a].map((id) => other.push(id)).join(""), "a a");
});

Deno.test("sentencepiece: an answer that begins with a control token still loses its space", () => {
  const detokenizer = new Detokenizer(tokenizer);
  const ids = [tokenizer.bosId!, ...tokenizer.encodeText("hello")];
  assert.equal(ids.map((id) => detokenizer.push(id)).join(""), "hello");
});

Deno.test("sentencepiece: a character in byte pieces is given out with its last byte; one left open is U+FFFD", () => {
  const owl = [0xf0, 0x9f, 0xa6, 0x8a].map((byte) => idOf(`<0x${byte.toString(16).toUpperCase()}>`));
  assert.deepEqual(tokenizer.encodeText("\u{1f98a}").slice(-4), owl);
  const detokenizer = new Detokenizer(tokenizer);
  assert.deepEqual(owl.map((id) => detokenizer.push(id)), ["", "", "", "\u{1f98a}"]);
  assert.equal(detokenizer.push(owl[0]!) + detokenizer.end(), "\ufffd");
});

Deno.test("sentencepiece: the token that stands before every prompt, unless the checkpoint wants none", async () => {
  assert.equal(tokenizer.bosId, 1);
  const folder = await Deno.makeTempDir();
  try {
    await Deno.writeFile(`${folder}/tokenizer.model`, bytes);
    await Deno.writeTextFile(`${folder}/tokenizer_config.json`, '{"add_bos_token": false}');
    assert.equal((await loadTokenizer(folder)).bosId, null);
    // A tokenizer.json of another kind beside the model does not hide it.
    await Deno.writeTextFile(`${folder}/tokenizer.json`, '{"model": {"type": "BPE"}}');
    assert.deepEqual((await loadTokenizer(folder)).encodeText("hello"), tokenizer.encodeText("hello"));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("sentencepiece: a damaged model, or one of another kind, is refused", () => {
  assert.throws(() => parseSentencePiece(bytes.subarray(0, bytes.length / 2)), /Cannot read SentencePiece model/);
  assert.throws(() => parseSentencePiece(new Uint8Array(0)), /no pieces/);
  assert.throws(() => parseSentencePiece(new TextEncoder().encode("version https://git-lfs")), /Cannot read/);
  const vocabulary = (changes: object) => () => new SentencePieceVocabulary({ ...file, ...changes }, none);
  assert.throws(vocabulary({ modelType: "unigram" }), /of type unigram, expected bpe/);
  assert.throws(vocabulary({ whitespaceIsSuffix: true }), /spaces as suffixes/);
  assert.throws(vocabulary({ pieces: [...file.pieces, { piece: "x", score: 0, type: "unused" }] }), /unused pieces/);
  assert.throws(vocabulary({ pieces: file.pieces.filter(({ type }) => type !== "byte") }), /0 byte pieces/);
});
