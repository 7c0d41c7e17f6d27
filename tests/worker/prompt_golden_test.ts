/** Requests of every mode become the prompt that the vendor's `chat` and `batch_chat` build: its text and its ids. */
import assert from "node:assert/strict";
import { type JobImage, type JobMessage, sha256Hex } from "@tessera/shared";
import { parseChatRequest } from "../../edge/api/chat_request.ts";
import { loadTokenizer } from "../../gpu-worker/prompt/load_tokenizer.ts";
import { buildPrompt } from "../../gpu-worker/prompt/prompt.ts";
import type { Tokenizer } from "../../gpu-worker/prompt/tokenizer.ts";
import { CONTROL_TOKENS, DEFAULT_SYSTEM_TEXT, layOutPrompt } from "../../gpu-worker/prompt/template.ts";

const GOLDEN = new URL("../golden/prompt/", import.meta.url);
const ROOT = new URL("../../", import.meta.url).pathname;

interface Case {
  readonly name: string;
  readonly request: Record<string, unknown>;
  /** Of each picture. */
  readonly tiles: number[];
  readonly query: string;
  readonly ids: Record<string, number[]>;
}
const golden = JSON.parse(await Deno.readTextFile(new URL("prompts.json", GOLDEN))) as {
  script_sha256: string;
  /** One checkpoint's tokenizer of each family. */
  folders: Record<string, string>;
  tokens_per_tile: number;
  cases: Case[];
};
const tokensPerTile = golden.tokens_per_tile;
const facts = { systemText: DEFAULT_SYSTEM_TEXT, tokensPerTile, tileSize: 112 };

/** A picture of so many tiles, all different. */
function picture(numTiles: number, index: number): JobImage {
  const tiles = Array.from({ length: numTiles }, (_, i) => `${index}-${i}`);
  return { width: 1, height: 1, cols: 1, rows: 1, tile_size: 112, tiles };
}

/** The prompt as the vendor's tokenizer would be given it. */
function textOf(messages: readonly JobMessage[], images: readonly JobImage[]): string {
  let text = "";
  for (const piece of layOutPrompt(messages, DEFAULT_SYSTEM_TEXT)) {
    if (piece.type === "text") text += piece.text;
    else if (piece.type === "control") text += CONTROL_TOKENS[piece.token];
    else {
      const numTiles = piece.images.reduce((sum, index) => sum + images[index]!.tiles.length, 0);
      const { imageStart, imageContext, imageEnd } = CONTROL_TOKENS;
      text += imageStart + imageContext.repeat(numTiles * tokensPerTile) + imageEnd;
    }
  }
  return text;
}

Deno.test("prompt goldens: every mode, byte for byte and id by id", async (t) => {
  const families = await Promise.all(
    Object.entries(golden.folders).map(async ([family, folder]) => ({
      family,
      tokenizer: await loadTokenizer(`${ROOT}${folder}`),
    })),
  );
  assert.equal(families.length, 2);
  for (const { name, request, tiles, query, ids } of golden.cases) {
    await t.step(name, () => {
      const { messages } = parseChatRequest({ model: "m", ...request });
      const images = tiles.map(picture);
      assert.equal(textOf(messages, images), query);
      for (const { family, tokenizer } of families) {
        const prompt = buildPrompt({ messages, images }, tokenizer, facts);
        assert.deepEqual([...prompt.tokenIds], ids[family], family);
        assert.equal(prompt.tiles.length, tiles.reduce((sum, count) => sum + count, 0));
      }
    });
  }
});

Deno.test("prompt goldens: made by the script that lies beside them", async () => {
  const script = await Deno.readFile(new URL("make_goldens.py", GOLDEN));
  assert.equal(golden.script_sha256, await sha256Hex(script), "run tests/golden/prompt/make_goldens.py");
});

Deno.test("prompt: no special token of a checkpoint, typed into any field, is one", async (t) => {
  for (const [family, folder] of Object.entries(golden.folders)) {
    await t.step(family, async () => {
      const tokenizer = await loadTokenizer(`${ROOT}${folder}`);
      const config = JSON.parse(await Deno.readTextFile(`${ROOT}${folder}/tokenizer_config.json`)) as {
        added_tokens_decoder: Record<string, { content: string }>;
      };
      const special = Object.values(config.added_tokens_decoder).map(({ content }) => content).filter((content) =>
        !MARKS.has(content)
      );
      assert.ok(special.length >= 6);
      const all = new Set(special.map((content) => tokenizer.controlId(content)));
      const controls = (typed: string) => idsOfFields(tokenizer, typed).filter((id) => all.has(id));
      const plain = controls("");
      for (const content of [...special, "<image>", special.join("")]) {
        for (const typed of [content, ` ${content}\n`, `a${content}${content}b`, content.slice(0, -1)]) {
          assert.deepEqual(controls(typed), plain, typed);
        }
      }
    });
  }
});

/** Marks of places in a picture steer nothing, and the vendor's own prompts hold them. */
const MARKS = new Set(["<ref>", "</ref>", "<box>", "</box>", "<quad>", "</quad>"]);

/** Ids of a prompt in which every text a client can send is `typed`. */
function idsOfFields(tokenizer: Tokenizer, typed: string): number[] {
  const image = { type: "image_url", image_url: { url: "x", group: typed || "x" } };
  const text = { type: "text", text: typed };
  const { messages } = parseChatRequest({
    model: "m",
    stop: [typed || "x"],
    user: typed,
    cache_salt: typed || "x",
    messages: [
      { role: "system", content: typed, name: typed },
      { role: "developer", content: [text] },
      { role: "user", content: [text, image, text, image, text], name: typed },
      { role: "assistant", content: typed },
      { role: "user", content: typed },
    ],
  });
  const images = [picture(1, 0), picture(2, 1)];
  return [...buildPrompt({ messages, images }, tokenizer, facts).tokenIds];
}
