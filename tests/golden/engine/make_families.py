"""Owns the goldens of random configurations of the seven models: what transformers answers to each, beyond the trained length too.

`make_families.py` writes families.json; `--check` compares with it; `--fresh SEED COUNT OUT` writes others, with all
features of the tower, one a line, for `deno task compare engine`.
"""
import argparse
import json
import pathlib
import sys

import numpy as np
import torch

import hf_model
from checkpoint import integers, random_tensors, random_tile
from families import MODELS, PER_MODEL, random_family
from make_goldens import build_prompt, difference, encode_f32, row_cosines, tile_tokens, weights_digest

PATH = pathlib.Path(__file__).parent / "families.json"
SEED = 21
NUM_GREEDY = 128
# The next best logit must be this share of the largest one away, or rounding decides the greedy id.
MIN_MARGIN = 2e-4
MIN_BF16_COSINE = 0.99965
MIN_DISTINCT = 8
MAX_SALTS = 400
KEPT_VALUES = 40
CHECK_TOLERANCE = 1e-5


def decode(model, config, ids, pixels, rows, forced=None):
    """
    Ids, the smallest margin, and the logits of every position, computed as `generate` does: the prompt at once, then
    token by token over a cache. `forced` are ids to follow instead of the greedy ones.
    """
    hf_model.forget_lengths(model)
    embeds = model.get_input_embeddings()(torch.tensor([ids]))
    if pixels is not None:
        features = hf_model.image_features(model, config, pixels)
        embeds[0, [i for i, row in enumerate(rows) if row >= 0]] = features.reshape(-1, embeds.shape[-1])
    out = model(inputs_embeds=embeds, use_cache=True)
    logits, greedy, margin = [out.logits[0]], [], float("inf")
    for step in range(NUM_GREEDY):
        row = out.logits[0, -1]
        top, index = row.topk(2)
        margin = min(margin, float((top[0] - top[1]) / row.abs().max()))
        if forced is None and margin < MIN_MARGIN:
            break
        greedy.append(int(index[0]) if forced is None else forced[step])
        if step + 1 == NUM_GREEDY:
            break
        out = model(input_ids=torch.tensor([[greedy[-1]]]), past_key_values=out.past_key_values, use_cache=True)
        logits.append(out.logits[0])
    return greedy, margin, torch.cat(logits)


def layer_features(model, config, tile_size):
    """[layers + 1] projector outputs [tokens, hidden] of tile 0, by the hidden state the tower gives."""
    pixels = hf_model.normalise(np.stack([random_tile(SEED, 0, tile_size)]))
    layers = range(config["vision_config"]["num_hidden_layers"] + 1)
    return [hf_model.image_features(model, config, pixels, layer)[0].numpy() for layer in layers]


def kept(features, name):
    """Seeded samples of every layer's features, each with its place, so that the file stays small."""
    out = []
    for layer, values in enumerate(features):
        flat = values.reshape(-1)
        index = sorted({*integers(SEED, f"kept.{name}.{layer}", KEPT_VALUES, flat.size).tolist()})
        out.append({"scale": float(np.abs(flat).max()), "index": index, "values": encode_f32(flat[index])})
    return out


def make_family(spec, whole):
    config = spec["config"]
    tile_size, per_tile, vocab = config["force_image_size"], tile_tokens(config), config["llm_config"]["vocab_size"]
    tensors = random_tensors(config, SEED)
    model = hf_model.load(config, tensors, vocab - 1, per_tile)
    rounded = hf_model.round_activations(model)
    for salt in range(MAX_SALTS):
        ids, rows, num_tiles = build_prompt(spec["prompts"][0], salt, spec["name"], vocab, per_tile, 0)
        pixels = hf_model.normalise(np.stack([random_tile(SEED, t, tile_size) for t in range(num_tiles)]))
        greedy, margin, logits = decode(model, config, ids, pixels, rows)
        if margin < MIN_MARGIN or len(set(greedy)) < MIN_DISTINCT:
            continue
        positions = [len(ids) // 2, len(ids) - 1, len(ids) + NUM_GREEDY // 2, len(ids) + NUM_GREEDY - 2]
        near = decode(rounded, config, ids, pixels, rows, greedy)[2]
        cosine = float(row_cosines(logits[positions], near[positions]).min())
        if cosine >= MIN_BF16_COSINE:
            break
    else:
        raise ValueError(f"Cannot find a prompt for {spec['name']}: no salt is clear, expected one of {MAX_SALTS}")
    print(f"  {spec['name']}: {spec['kind']}, salt {salt}, {len(ids)} tokens, margin {margin:.1e}, "
          f"{len(set(greedy))} distinct ids, bf16 cosine {cosine:.5f}", file=sys.stderr, flush=True)
    features = layer_features(model, config, tile_size)
    return {
        "name": spec["name"],
        "kind": spec["kind"],
        "features": [],
        "seed": SEED,
        "config": config,
        "weights_sha256": weights_digest(tensors),
        "num_tiles": num_tiles,
        "layer_features": [encode_f32(f) for f in features] if whole else kept(features, spec["name"]),
        "prompts": [{
            "input_ids": ids,
            "embedding_rows": rows,
            "greedy_ids": greedy,
            "margin": round(margin, 6),
            "bf16_cosine": round(cosine, 6),
            "logit_positions": positions,
            "logits": encode_f32(logits[positions].numpy()),
        }],
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--fresh", nargs=3, metavar=("SEED", "COUNT", "OUT"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    with torch.no_grad():
        if args.fresh:
            seed, count, out = int(args.fresh[0]), int(args.fresh[1]), pathlib.Path(args.fresh[2])
            specs = [random_family([*MODELS][i % len(MODELS)], seed + i) for i in range(count)]
            out.write_text("\n".join(json.dumps(make_family(spec, True)) for spec in specs))
            return
        goldens = [make_family(random_family(name, seed), False) for name in MODELS for seed in range(PER_MODEL)]
    if args.check:
        committed = json.loads(PATH.read_text())
        worst = max(difference(a, b) for a, b in zip(goldens, committed, strict=True))
        print(f"largest relative difference {worst:.1e}")
        sys.exit(0 if worst <= CHECK_TOLERANCE else 1)
    PATH.write_text("[\n" + ",\n".join(json.dumps(g, separators=(",", ":")) for g in goldens) + "\n]\n")


if __name__ == "__main__":
    main()
