/** Owns prompts about the demonstration's pictures for an engine that is driven without a worker. */
import { createTilePool } from "../../edge/tile/mod.ts";
import { readModelFacts } from "../../gpu-worker/config.ts";
import type { Engine } from "../../gpu-worker/engine/types.ts";
import { loadTokenizer } from "../../gpu-worker/prompt/load_tokenizer.ts";
import { buildPrompt } from "../../gpu-worker/prompt/prompt.ts";
import type { DriverPrompt } from "./engine_driver.ts";

const DEMO = new URL("../../infra/demo/", import.meta.url);

/** The demonstration's first `count` pictures, cut, on the engine, each with the question the demonstration asks. */
export async function picturePrompts(engine: Engine, folder: string, count = Infinity) {
  const tokenizer = await loadTokenizer(folder);
  const facts = await readModelFacts(folder, engine.info, tokenizer);
  const { tileSize, minTiles, maxTiles, thumbnail } = facts;
  await using pool = createTilePool({ workers: 1 });
  const prompts: DriverPrompt[] = [];
  let slot = 0;
  for (const name of Object.keys(JSON.parse(await Deno.readTextFile(new URL("captions.json", DEMO)))).slice(0, count)) {
    const bytes = await Deno.readFile(new URL(name, DEMO));
    const cut = await pool.tileImage(bytes, { tileSize, minTiles, maxTiles, thumbnail });
    const first = slot;
    for (const tile of cut.tiles) await engine.encodeTiles(tile, Int32Array.of(slot++));
    const prompt = buildPrompt(
      {
        messages: [{
          role: "user",
          parts: [{ type: "image", image: 0 }, { type: "text", text: "Describe the picture." }],
        }],
        images: [{ ...cut, tile_size: tileSize, tiles: cut.hashes }],
      },
      tokenizer,
      facts,
    );
    prompts.push({
      tokenIds: [...prompt.tokenIds],
      embeddingRows: [...prompt.tileOf].map((tile, i) =>
        tile < 0 ? -1 : (first + tile) * facts.tokensPerTile + prompt.rowOf[i]!
      ),
    });
  }
  return { prompts, eosIds: facts.eosIds };
}
