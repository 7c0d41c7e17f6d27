/** Prompts id by id: the template, pictures, and that nothing a user types is a control token. */
import assert from "node:assert/strict";
import fc from "fast-check";
import type { JobImage, JobMessage } from "@tessera/shared";
import { loadTokenizer } from "../../gpu-worker/prompt/load_tokenizer.ts";
import { buildPrompt, PromptTooLong } from "../../gpu-worker/prompt/prompt.ts";
import { DEFAULT_SYSTEM_TEXT } from "../../gpu-worker/prompt/template.ts";
import type { Tokenizer } from "../../gpu-worker/prompt/tokenizer.ts";
import { ADDED, bytesOf, handmadeTokenizer, MERGED } from "./handmade_tokenizer.ts";

const TINY = new URL("../../gpu-worker/models/internvl3-tiny", import.meta.url).pathname;
const FACTS = { systemText: DEFAULT_SYSTEM_TEXT, tokensPerTile: 3, tileSize: 4 };
const START = ADDED["<|im_start|>"];
const END = ADDED["<|im_end|>"];
const NEWLINE = 10;

const text = (role: JobMessage["role"], value: string): JobMessage => ({
  role,
  parts: [{ type: "text", text: value }],
});
const image = (...tiles: string[]): JobImage => ({ width: 8, height: 8, cols: 1, rows: 1, tile_size: 4, tiles });

function idsOf(messages: JobMessage[], images: JobImage[] = [], tokenizer: Tokenizer = handmadeTokenizer()): number[] {
  return [...buildPrompt({ messages, images }, tokenizer, FACTS).tokenIds];
}

Deno.test("prompt: the template, id by id", () => {
  assert.deepEqual(idsOf([text("system", "be"), text("user", "hello"), text("assistant", "us"), text("user", "")]), [
    START,
    ...[..."system"].map((c) => c.charCodeAt(0)),
    NEWLINE,
    ...bytesOf("be"),
    END,
    NEWLINE,
    START,
    MERGED.user,
    NEWLINE,
    MERGED.hello,
    END,
    NEWLINE,
    START,
    ...bytesOf("assistant\n"),
    MERGED.us,
    END,
    NEWLINE,
    START,
    MERGED.user,
    NEWLINE,
    END,
    NEWLINE,
    START,
    ...bytesOf("assistant\n"),
  ]);
});

Deno.test("prompt: without a system message the vendor's text stands first", () => {
  const ids = idsOf([text("user", "x")]);
  // "InternVL" holds the one merge that the text has.
  const [before, behind] = DEFAULT_SYSTEM_TEXT.split("er") as [string, string];
  const system = [START, ...bytesOf(`system\n${before}`), MERGED.er, ...bytesOf(behind), END, NEWLINE];
  assert.deepEqual(ids.slice(0, system.length), system);
  assert.deepEqual(ids.slice(system.length, system.length + 2), [START, MERGED.user]);
});

Deno.test("prompt: a picture is its tiles between <img> and </img>, and a newline", () => {
  const messages: JobMessage[] = [text("system", ""), {
    role: "user",
    parts: [{ type: "text", text: "a" }, { type: "image", image: 1 }, { type: "text", text: "b" }, {
      type: "image",
      image: 0,
    }],
  }];
  const prompt = buildPrompt({ messages, images: [image("p"), image("q", "r", "q")] }, handmadeTokenizer(), FACTS);
  const context = ADDED["<IMG_CONTEXT>"];
  const start = [START, ...bytesOf("system\n"), END, NEWLINE, START, MERGED.user, NEWLINE, 97];
  assert.deepEqual([...prompt.tokenIds], [
    ...start,
    ADDED["<img>"],
    ...Array(9).fill(context),
    ADDED["</img>"],
    NEWLINE,
    98,
    ADDED["<img>"],
    ...Array(3).fill(context),
    ADDED["</img>"],
    NEWLINE,
    END,
    NEWLINE,
    START,
    ...bytesOf("assistant\n"),
  ]);
  assert.deepEqual(prompt.tiles, ["q", "r", "q", "p"]);
  assert.equal(prompt.numImageTokens, 12);
  const first = start.length + 1;
  assert.deepEqual([...prompt.tileOf.slice(first - 1, first + 10)], [-1, 0, 0, 0, 1, 1, 1, 2, 2, 2, -1]);
  assert.deepEqual([...prompt.rowOf.slice(first, first + 9)], [0, 1, 2, 0, 1, 2, 0, 1, 2]);
});

Deno.test("prompt: combined pictures are the tiles of all between one <img> and </img>", () => {
  const pictures = [image("p", "q"), image("r"), image("s")];
  const build = (parts: JobMessage["parts"]) =>
    buildPrompt({ messages: [{ role: "user", parts }], images: pictures }, handmadeTokenizer(), FACTS);
  const combined = build([{ type: "images", images: [2, 0] }, { type: "image", image: 1 }]);
  assert.deepEqual(combined.tiles, ["s", "p", "q", "r"]);
  const ids = [...combined.tokenIds];
  const numContext = (start: number) => ids.indexOf(ADDED["</img>"], start) - ids.indexOf(ADDED["<img>"], start) - 1;
  assert.equal(numContext(0), 9);
  assert.equal(numContext(ids.indexOf(ADDED["</img>"]) + 1), 3);
  assert.equal(ids[ids.indexOf(ADDED["</img>"]) + 1], NEWLINE);
  assert.deepEqual(build([{ type: "images", images: [1] }]), build([{ type: "image", image: 1 }]));
});

Deno.test("prompt: texts that touch are tokenised as one, also around a picture's newline", () => {
  const one = idsOf([text("user", "hello hello")]);
  const two = idsOf([{ role: "user", parts: [{ type: "text", text: "hel" }, { type: "text", text: "lo hello" }] }]);
  assert.deepEqual(two, one);
  assert.ok(one.includes(MERGED["Ġhello"]));
});

Deno.test("prompt: text is composed (NFC) as the vendor's tokenizer does it", () => {
  assert.deepEqual(handmadeTokenizer().encodeText("e\u0301"), bytesOf("\u00e9"));
});

Deno.test("prompt: typed control tokens are text, marks of places are not", () => {
  const tokenizer = handmadeTokenizer();
  for (const token of ["<|im_start|>", "<|im_end|>", "<img>", "</img>", "<IMG_CONTEXT>", "<|endoftext|>", "<tool>"]) {
    assert.deepEqual(tokenizer.encodeText(`${token}`), bytesOf(token));
  }
  assert.deepEqual(tokenizer.encodeText("<ref>a</ref>"), [ADDED["<ref>"], 97, ADDED["</ref>"]]);
});

Deno.test("prompt: whatever is typed, the count of control tokens is the template's", () => {
  const tokenizer = handmadeTokenizer();
  const control = new Set<number>([900, 901, 902, 903, 904, 905, 908]);
  const piece = fc.oneof(
    fc.constantFrom("<|im_", "start|>", "end|>", "<img", ">", "</img>", "<IMG_CONTEXT>"),
    fc.string(),
  );
  fc.assert(fc.property(fc.array(piece), (pieces) => {
    const ids = idsOf([text("system", pieces.join("")), text("user", pieces.join(""))], [], tokenizer);
    assert.deepEqual(ids.filter((id) => control.has(id)), [START, END, START, END, START]);
  }));
});

Deno.test("prompt: a text far too long is not encoded to its end", () => {
  const tokenizer = handmadeTokenizer();
  const messages = [text("user", "hello ".repeat(1_000_000))];
  const startedAt = performance.now();
  assert.throws(() => buildPrompt({ messages, images: [] }, tokenizer, FACTS, 500), PromptTooLong);
  assert.ok(performance.now() - startedAt < 500);
});

Deno.test("prompt: a picture the job does not have, or of another tile size, is refused", () => {
  const messages: JobMessage[] = [{ role: "user", parts: [{ type: "image", image: 1 }] }];
  const tokenizer = handmadeTokenizer();
  assert.throws(() => buildPrompt({ messages, images: [image("p")] }, tokenizer, FACTS), { code: "internal_error" });
  const other = { ...image("p"), tile_size: 448 };
  const images = [other, other];
  assert.throws(() => buildPrompt({ messages, images }, tokenizer, FACTS), { code: "internal_error" });
});

Deno.test("prompt: the bundled checkpoint's tokenizer, from its one file or from its many", async () => {
  const fast = await loadTokenizer(TINY);
  const folder = await Deno.makeTempDir();
  try {
    for (const name of ["vocab.json", "merges.txt", "tokenizer_config.json"]) {
      await Deno.copyFile(`${TINY}/${name}`, `${folder}/${name}`);
    }
    const slow = await loadTokenizer(folder);
    assert.equal(slow.size, fast.size);
    fc.assert(fc.property(fc.string({ unit: "grapheme" }), (typed) => {
      const ids = fast.encodeText(typed);
      assert.deepEqual(slow.encodeText(typed), ids);
      const bytes = ids.flatMap((id) => [...fast.bytesOf(id)]);
      assert.equal(
        new TextDecoder("utf-8", { ignoreBOM: true }).decode(Uint8Array.from(bytes)),
        typed.normalize("NFC"),
      );
    }));
    await Deno.remove(`${folder}/vocab.json`);
    await assert.rejects(
      loadTokenizer(folder),
      /expected tokenizer.json, or vocab.json and merges.txt, or tokenizer.model/,
    );
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
