/** Owns the prompt as the engine takes it: ids, and for each place of a picture which row of which tile stands there. */
import { type JobImage, type JobMessage, TesseraError } from "@tessera/shared";
import { atOnce, ITEMS_PER_STEP, type Sliced } from "./slices.ts";
import { CONTROL_TOKENS, layOutPrompt } from "./template.ts";
import type { Tokenizer } from "./tokenizer.ts";

export interface Prompt {
  /** [T] */
  readonly tokenIds: Int32Array;
  /** [T] index into `tiles`, -1 for text. */
  readonly tileOf: Int32Array;
  /** [T] row of the tile's embeddings; 0 for text. */
  readonly rowOf: Int32Array;
  /** Hash of each tile in order of appearance; a picture shown twice is here twice. */
  readonly tiles: readonly string[];
  readonly numImageTokens: number;
}

/** What of the model a prompt depends on. */
export interface PromptFacts {
  readonly systemText: string;
  readonly tokensPerTile: number;
  readonly tileSize: number;
}

/** What of a job its prompt is made of. */
export interface PromptSource {
  readonly messages: readonly JobMessage[];
  readonly images: readonly JobImage[];
}

/** Too long to be worth finishing. */
export class PromptTooLong extends Error {
  override readonly name = "PromptTooLong";
}

/**
 * Builds the prompt of a job.
 * @param maxTokens longest prompt of interest
 * @throws PromptTooLong as soon as it is known to be longer
 * @throws TesseraError `internal_error` when the job names a picture it does not have, or was tiled for another model
 */
export function buildPrompt(
  job: PromptSource,
  tokenizer: Tokenizer,
  facts: PromptFacts,
  maxTokens: number = Infinity,
): Prompt {
  return atOnce(buildPromptInSteps(job, tokenizer, facts, maxTokens));
}

/** The same, with places to rest. */
export function* buildPromptInSteps(
  job: PromptSource,
  tokenizer: Tokenizer,
  facts: PromptFacts,
  maxTokens: number = Infinity,
): Sliced<Prompt> {
  const writer = new PromptWriter(tokenizer, facts.tokensPerTile, maxTokens);
  for (const piece of layOutPrompt(job.messages, facts.systemText)) {
    if (piece.type === "text") writer.text(piece.text);
    else if (piece.type === "control") yield* writer.control(CONTROL_TOKENS[piece.token]);
    else yield* writer.images(piece.images.map((index) => imageAt(job.images, index, facts.tileSize)));
  }
  return yield* writer.finish();
}

function imageAt(images: readonly JobImage[], index: number, tileSize: number): JobImage {
  const image = images[index];
  if (image?.tile_size === tileSize) return image;
  const found = image === undefined ? "no such picture" : `tiles of ${image.tile_size} pixels`;
  throw new TesseraError("internal_error", {
    diagnostic: `Cannot place picture ${index}: ${found}, expected one of ${images.length} with ${tileSize} pixels`,
  });
}

class PromptWriter {
  readonly #tokenizer: Tokenizer;
  readonly #tokensPerTile: number;
  readonly #maxTokens: number;
  readonly #ids: number[] = [];
  readonly #tileOf: number[] = [];
  readonly #rowOf: number[] = [];
  readonly #tiles: string[] = [];
  /** Not yet encoded; texts that touch are encoded as one. */
  #text = "";

  constructor(tokenizer: Tokenizer, tokensPerTile: number, maxTokens: number) {
    this.#tokenizer = tokenizer;
    this.#tokensPerTile = tokensPerTile;
    this.#maxTokens = maxTokens;
    if (tokenizer.bosId !== null) this.#push(tokenizer.bosId, -1, 0);
  }

  text(text: string): void {
    this.#text += text;
  }

  *control(token: string): Sliced<void> {
    yield* this.#flushText();
    this.#push(this.#tokenizer.controlId(token), -1, 0);
  }

  /** One placeholder for the tiles of all. */
  *images(images: readonly JobImage[]): Sliced<void> {
    yield* this.control(CONTROL_TOKENS.imageStart);
    const context = this.#tokenizer.controlId(CONTROL_TOKENS.imageContext);
    for (const hash of images.flatMap(({ tiles }) => tiles)) {
      const tile = this.#tiles.push(hash) - 1;
      for (let row = 0; row < this.#tokensPerTile; row++) this.#push(context, tile, row);
    }
    yield* this.control(CONTROL_TOKENS.imageEnd);
  }

  *finish(): Sliced<Prompt> {
    yield* this.#flushText();
    return {
      tokenIds: Int32Array.from(this.#ids),
      tileOf: Int32Array.from(this.#tileOf),
      rowOf: Int32Array.from(this.#rowOf),
      tiles: this.#tiles,
      numImageTokens: this.#tiles.length * this.#tokensPerTile,
    };
  }

  *#flushText(): Sliced<void> {
    const text = this.#text;
    this.#text = "";
    const room = this.#maxTokens - this.#ids.length;
    for (const id of yield* this.#tokenizer.encodeInSteps(text, room)) {
      this.#push(id, -1, 0);
      if (this.#ids.length % ITEMS_PER_STEP === 0) yield;
    }
  }

  #push(id: number, tile: number, row: number): void {
    if (this.#ids.length >= this.#maxTokens) throw new PromptTooLong();
    this.#ids.push(id);
    this.#tileOf.push(tile);
    this.#rowOf.push(row);
  }
}
