/** The process of the worker, with an engine that notes times; and the other end of the raw bus. */
import { GREEDY } from "@tessera/shared";
import { connectNats } from "../../../gpu-worker/intake/connect.ts";
import { startWorker } from "../../../gpu-worker/mod.ts";
import { ADDED, handmadeTokenizer } from "../../worker/handmade_tokenizer.ts";
import { TimedEngine } from "./engine.ts";
import { TILE_SIZE } from "./pictures.ts";
import { serveRawBus } from "./raw.ts";
import { BEGIN, TIMES } from "./worker.ts";

const natsUrl = Deno.args[0]!;
const engine = new TimedEngine({
  tileSize: TILE_SIZE,
  tokensPerTile: 1,
  kvBlockSize: 16,
  numKvBlocks: 256,
  trainedLength: 512,
  contextLength: 512,
  numTileSlots: 256,
});
const facts = {
  name: "fake",
  created: 0,
  minTiles: 1,
  maxTiles: 12,
  thumbnail: true,
  tileSize: TILE_SIZE,
  tokensPerTile: 1,
  systemText: "",
  eosIds: new Set([ADDED["<|im_end|>"]]),
  generation: GREEDY,
};
const nc = await connectNats(natsUrl, "worker");
await startWorker({ nc, engine, tokenizer: handmadeTokenizer(), facts }, { maxSequences: 4, tokenBudget: 512 });

const raw = await connectNats(natsUrl, "raw b");
serveRawBus(raw);
raw.subscribe(BEGIN, {
  callback: (_error, msg) => {
    engine.begin(Number(msg.string()));
    msg.respond();
  },
});
raw.subscribe(TIMES, { callback: (_error, msg) => void msg.respond(JSON.stringify(engine.times)) });
await raw.flush();
console.log("ready");
