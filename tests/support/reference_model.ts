/** Owns InternVL3 written out plainly over reference_math.ts: the vision path of a tile, and the decoder a token at a time. */
import { type ChatConfig, headDim, selectedLayers } from "./checkpoint_config.ts";
import { randomTensors } from "./random_checkpoint.ts";
import {
  add,
  attend,
  gelu,
  layerNorm,
  type Linear,
  linear,
  resampleGrid,
  rmsNorm,
  rotate,
  silu,
  stretchedBase,
} from "./reference_math.ts";

const PIXEL_MEAN = [0.485, 0.456, 0.406];
const PIXEL_STD = [0.229, 0.224, 0.225];
/** torch's LayerNorm default, which the projector keeps. */
const PROJECTOR_EPS = 1e-5;

/** Keys and values of one layer by token position: where they lie is the cache's affair. */
export interface LayerCache {
  key(position: number): Float32Array;
  value(position: number): Float32Array;
  write(position: number, key: Float32Array, value: Float32Array): void;
}

/** Views of the `index`-th of equal parts. */
function part(values: Float32Array, index: number, size: number): Float32Array {
  return values.subarray(index * size, (index + 1) * size);
}

/** An InternVL model with the random weights of (config, seed). */
export class ReferenceModel {
  readonly #weights: ReadonlyMap<string, Float32Array>;

  constructor(readonly config: ChatConfig, seed: number) {
    this.#weights = new Map(randomTensors(config, seed).map(({ name, values }) => [name, values]));
  }

  /** A tile's embeddings, one row a token. */
  encodeTile(pixels: Uint8Array): Float32Array[] {
    const { vision_config: vision, force_image_size } = this.config;
    const grid = force_image_size / vision.patch_size;
    let states = this.#embedPatches(pixels, grid);
    for (let layer = 0; layer < selectedLayers(this.config); layer++) {
      states = this.#visionLayer(`vision_model.encoder.layers.${layer}`, states);
    }
    const patches = states.slice(1);
    const factor = Math.round(1 / this.config.downsample_ratio);
    const side = grid / factor;
    return Array.from({ length: side * side }, (_, i) => {
      const [first, second] = [Math.floor(i / side), i % side];
      // ps_version v1 leaves the squares column by column.
      const [row, col] = this.config.ps_version === "v1" ? [second, first] : [first, second];
      // The patches of a square, row by row.
      const square = Array.from({ length: factor * factor }, (_, k) => {
        return (row * factor + Math.floor(k / factor)) * grid + col * factor + k % factor;
      });
      const shuffled = Float32Array.from(square.flatMap((patch) => [...patches[patch]!]));
      const normed = layerNorm(shuffled, this.#linear("mlp1.0"), PROJECTOR_EPS);
      return linear(linear(normed, this.#linear("mlp1.1")).map(gelu), this.#linear("mlp1.3"));
    });
  }

  embedToken(tokenId: number): Float32Array {
    return part(this.#weight("language_model.model.embed_tokens.weight"), tokenId, this.config.llm_config.hidden_size);
  }

  /**
   * Final hidden state of the token at `position` behind a prompt of `promptLength`; its keys and values are written to
   * `caches`, one a layer.
   */
  decode(
    embedding: Float32Array,
    position: number,
    promptLength: number,
    caches: readonly LayerCache[],
  ): Float32Array {
    const base = stretchedBase(this.config.llm_config, Math.max(promptLength, position + 1));
    const { rms_norm_eps: eps } = this.config.llm_config;
    let state: Float32Array = embedding;
    caches.forEach((cache, layer) => {
      const prefix = `language_model.model.layers.${layer}`;
      const normed = rmsNorm(state, this.#weight(`${prefix}.input_layernorm.weight`), eps);
      state = add(state, this.#selfAttention(`${prefix}.self_attn`, normed, position, base, cache));
      const hidden = rmsNorm(state, this.#weight(`${prefix}.post_attention_layernorm.weight`), eps);
      const up = linear(hidden, this.#linear(`${prefix}.mlp.up_proj`));
      const gated = linear(hidden, this.#linear(`${prefix}.mlp.gate_proj`)).map((value, i) => silu(value) * up[i]!);
      state = add(state, linear(gated, this.#linear(`${prefix}.mlp.down_proj`)));
    });
    return rmsNorm(state, this.#weight("language_model.model.norm.weight"), eps);
  }

  logits(hidden: Float32Array): Float32Array {
    const tied = this.config.llm_config.tie_word_embeddings;
    const head = tied ? "language_model.model.embed_tokens.weight" : "language_model.lm_head.weight";
    return linear(hidden, { weight: this.#weight(head), bias: undefined });
  }

  #weight(name: string): Float32Array {
    const values = this.#weights.get(name);
    if (values === undefined) throw new Error(`Cannot find ${name}: no such tensor, expected one`);
    return values;
  }

  #linear(name: string): Linear {
    return { weight: this.#weight(`${name}.weight`), bias: this.#weights.get(`${name}.bias`) };
  }

  #embedPatches(pixels: Uint8Array, grid: number): Float32Array[] {
    const { vision_config: vision, force_image_size: edge } = this.config;
    const { patch_size: patch, hidden_size: width } = vision;
    const trained = vision.image_size / patch;
    const positions = this.#weight("vision_model.embeddings.position_embedding");
    const learned = positions.subarray(width);
    const spread = grid === trained ? learned : resampleGrid(learned, trained, grid, width);
    const states = [add(this.#weight("vision_model.embeddings.class_embedding"), positions.subarray(0, width))];
    for (let i = 0; i < grid * grid; i++) {
      const [top, left] = [Math.floor(i / grid) * patch, i % grid * patch];
      const input = Float32Array.from({ length: 3 * patch * patch }, (_, k) => {
        const [channel, y, x] = [Math.floor(k / (patch * patch)), Math.floor(k / patch) % patch, k % patch];
        const value = pixels[((top + y) * edge + left + x) * 3 + channel]! / 255;
        return (value - PIXEL_MEAN[channel]!) / PIXEL_STD[channel]!;
      });
      states.push(add(linear(input, this.#linear("vision_model.embeddings.patch_embedding")), part(spread, i, width)));
    }
    return states;
  }

  #visionNorm(name: string, state: Float32Array): Float32Array {
    const { norm_type, layer_norm_eps: eps } = this.config.vision_config;
    const norm = this.#linear(name);
    return norm_type === "rms_norm" ? rmsNorm(state, norm.weight, eps) : layerNorm(state, norm, eps);
  }

  #visionLayer(prefix: string, states: readonly Float32Array[]): Float32Array[] {
    const { num_attention_heads: heads, hidden_size: width, qk_normalization, layer_norm_eps } =
      this.config.vision_config;
    const size = width / heads;
    const qkNorm = (name: string, x: Float32Array): Float32Array =>
      qk_normalization ? rmsNorm(x, this.#weight(`${prefix}.attn.${name}.weight`), layer_norm_eps) : x;
    const qkv = states.map((state) => {
      const all = linear(this.#visionNorm(`${prefix}.norm1`, state), this.#linear(`${prefix}.attn.qkv`));
      return [
        qkNorm("q_norm", part(all, 0, width)),
        qkNorm("k_norm", part(all, 1, width)),
        part(all, 2, width),
      ] as const;
    });
    const scales = [this.#weight(`${prefix}.ls1`), this.#weight(`${prefix}.ls2`)] as const;
    return states.map((state, token) => {
      const mixed = new Float32Array(width);
      for (let head = 0; head < heads; head++) {
        const query = part(qkv[token]![0], head, size);
        const out = attend(
          query,
          states.length,
          (i) => part(qkv[i]![1], head, size),
          (i) => part(qkv[i]![2], head, size),
        );
        mixed.set(out, head * size);
      }
      const attended = linear(mixed, this.#linear(`${prefix}.attn.proj`));
      const middle = add(state, attended.map((value, i) => value * scales[0][i]!));
      const inner = linear(this.#visionNorm(`${prefix}.norm2`, middle), this.#linear(`${prefix}.mlp.fc1`)).map(gelu);
      const fed = linear(inner, this.#linear(`${prefix}.mlp.fc2`));
      return add(middle, fed.map((value, i) => value * scales[1][i]!));
    });
  }

  #selfAttention(
    prefix: string,
    normed: Float32Array,
    position: number,
    base: number,
    cache: LayerCache,
  ): Float32Array {
    const { num_attention_heads: heads, num_key_value_heads: kvHeads } = this.config.llm_config;
    const size = headDim(this.config.llm_config);
    const rotateAll = (x: Float32Array): Float32Array => {
      const out = new Float32Array(x.length);
      for (let h = 0; h < x.length / size; h++) out.set(rotate(part(x, h, size), position, base), h * size);
      return out;
    };
    const query = rotateAll(linear(normed, this.#linear(`${prefix}.q_proj`)));
    const key = rotateAll(linear(normed, this.#linear(`${prefix}.k_proj`)));
    cache.write(position, key, linear(normed, this.#linear(`${prefix}.v_proj`)));
    const mixed = new Float32Array(heads * size);
    for (let head = 0; head < heads; head++) {
      const kv = Math.floor(head / (heads / kvHeads));
      const out = attend(
        part(query, head, size),
        position + 1,
        (i) => part(cache.key(i), kv, size),
        (i) => part(cache.value(i), kv, size),
      );
      mixed.set(out, head * size);
    }
    return linear(mixed, this.#linear(`${prefix}.o_proj`));
  }
}
