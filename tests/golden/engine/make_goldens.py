"""Owns the engine's goldens: runs transformers' InternVL in fp32 on seeded random checkpoints and writes one JSON file each.

`make_goldens.py` writes every file; `make_goldens.py NAME...` only those; `--check` compares with the committed ones instead.
"""
import argparse
import base64
import hashlib
import json
import pathlib
import sys

import numpy as np
import torch

import hf_model
from checkpoint import integers, random_tensors, random_tile
from configs import GOLDENS

HERE = pathlib.Path(__file__).parent
SEED = 20
NUM_GREEDY = 64
# The greedy choice must be clear at every step, or rounding decides it: (top1 - top2) / max |logit|.
MIN_MARGIN = 1e-3
# A sequence that repeats itself proves little.
MIN_DISTINCT = 24
MAX_REPEATS = 12
# Rounding activations to bf16 must leave every row closer than the engine's limit of 0.9995, or that limit tests luck.
MIN_BF16_COSINE = 0.9998
CHECK_TOLERANCE = 1e-5


def encode_f32(array):
    array = np.ascontiguousarray(array, np.float32)
    return {"shape": list(array.shape), "f32": base64.b64encode(array.tobytes()).decode()}


def tile_tokens(config):
    grid = config["force_image_size"] // config["vision_config"]["patch_size"]
    return round(grid * config["downsample_ratio"]) ** 2


def build_prompt(parts, salt, name, vocab, tokens_per_tile, first_tile):
    """Ids (the image token is vocab - 1) and, per token, its row in the tile embeddings or -1."""
    stream = f"prompt.{name}.{salt}"
    text = iter(integers(SEED, stream, sum(p for p in parts if p != "T"), vocab - 1).tolist())
    ids, rows, tile = [], [], first_tile
    for part in parts:
        if part == "T":
            ids += [vocab - 1] * tokens_per_tile
            rows += range(tile * tokens_per_tile, (tile + 1) * tokens_per_tile)
            tile += 1
        else:
            ids += [next(text) for _ in range(part)]
            rows += [-1] * part
    return ids, rows, tile


def decode_greedily(model, ids, pixels):
    """64 ids with a KV cache, and the smallest margin on the way."""
    out = model(input_ids=torch.tensor([ids]), pixel_values=pixels, use_cache=True)
    greedy, margin = [], float("inf")
    for _ in range(NUM_GREEDY):
        row = out.logits[0, -1]
        top, index = row.topk(2)
        margin = min(margin, float((top[0] - top[1]) / row.abs().max()))
        greedy.append(int(index[0]))
        cache = out.past_key_values
        out = model(input_ids=torch.tensor([[greedy[-1]]]), past_key_values=cache, use_cache=True)
    return greedy, margin


def full_logits(model, ids, greedy, pixels, features_rows):
    """Logits of every position of the prompt and its continuation in one pass, without a cache."""
    embeds = model.get_input_embeddings()(torch.tensor([ids + greedy[:-1]]))
    if pixels is not None:
        image = model.get_image_features(pixels).pooler_output.reshape(-1, embeds.shape[-1])
        embeds[0, [i for i, row in enumerate(features_rows) if row >= 0]] = image
    return model(inputs_embeds=embeds, use_cache=False).logits[0]


def row_cosines(a, b):
    return torch.nn.functional.cosine_similarity(a.double(), b.double(), dim=-1)


def golden_positions(num_prompt):
    """Rows of logits that are kept: six over the prompt, its last included, and two of the continuation."""
    spread = np.linspace(0, num_prompt - 1, 6).astype(int).tolist()
    return sorted({*spread, num_prompt + NUM_GREEDY // 2 - 1, num_prompt + NUM_GREEDY - 2})


def run_prompt(model, rounded, spec, index, tile_size, first_tile):
    """One prompt, its salt chosen so that the greedy ids are clear and various, and bf16 is near."""
    config = spec["config"]
    vocab, per_tile = config["llm_config"]["vocab_size"], tile_tokens(config)
    for salt in range(200):
        name = f"{spec['name']}.{index}"
        ids, rows, end_tile = build_prompt(spec["prompts"][index], salt, name, vocab, per_tile, first_tile)
        tiles = [random_tile(SEED, t, tile_size) for t in range(first_tile, end_tile)]
        pixels = hf_model.normalise(np.stack(tiles)) if tiles else None
        greedy, margin = decode_greedily(model, ids, pixels)
        repeats = max(greedy.count(i) for i in set(greedy))
        if margin < MIN_MARGIN or len(set(greedy)) < MIN_DISTINCT or repeats > MAX_REPEATS:
            continue
        logits = full_logits(model, ids, greedy, pixels, rows)
        near = full_logits(rounded, ids, greedy, pixels, rows)
        positions = golden_positions(len(ids))
        cosine = float(row_cosines(logits[positions], near[positions]).min())
        if cosine >= MIN_BF16_COSINE:
            break
    else:
        raise ValueError(f"Cannot find a prompt for {spec['name']} {index}: no salt is clear, expected one of 200")
    if logits[len(ids) - 1 :].argmax(-1).tolist() != greedy:
        raise ValueError(f"Cannot trust {spec['name']} {index}: one pass and cached decoding disagree")
    clear = f"margin {margin:.1e}, {len(set(greedy))} distinct ids, bf16 cosine {cosine:.5f}"
    print(f"  {spec['name']}.{index}: salt {salt}, {len(ids)} tokens, {clear}", flush=True)
    return end_tile, {
        "input_ids": ids,
        "embedding_rows": rows,
        "greedy_ids": greedy,
        "margin": round(margin, 6),
        "bf16_cosine": round(cosine, 6),
        "logit_positions": positions,
        "logits": encode_f32(logits[positions].numpy()),
    }


def weights_digest(tensors):
    """SHA-256 over all values as bf16, in the generator's order."""
    digest = hashlib.sha256()
    for values in tensors.values():
        digest.update((values.view(np.uint32) >> 16).astype("<u2").tobytes())
    return digest.hexdigest()


def make_golden(spec):
    config = spec["config"]
    tile_size, per_tile = config["force_image_size"], tile_tokens(config)
    tensors = random_tensors(config, SEED)
    model = hf_model.load(config, tensors, config["llm_config"]["vocab_size"] - 1, per_tile)
    rounded = hf_model.round_activations(model)
    num_tiles, prompts = 0, []
    for index in range(len(spec["prompts"])):
        num_tiles, prompt = run_prompt(model, rounded, spec, index, tile_size, num_tiles)
        prompts.append(prompt)
    tiles = [random_tile(SEED, t, tile_size) for t in range(num_tiles)]
    features = np.zeros((0, per_tile, config["llm_config"]["hidden_size"]))
    if tiles:
        features = model.get_image_features(hf_model.normalise(np.stack(tiles))).pooler_output.numpy()
    return {
        "name": spec["name"],
        "features": spec.get("features", []),
        "seed": SEED,
        "config": config,
        "weights_sha256": weights_digest(tensors),
        "sample_values": {name: values.flatten()[:3].tolist() for name, values in [*tensors.items()][::9]},
        "num_tiles": num_tiles,
        "pixels_sha256": hashlib.sha256(b"".join(t.tobytes() for t in tiles)).hexdigest(),
        "vision_features": encode_f32(features),
        "prompts": prompts,
    }


def write(path, golden):
    """One line a field, and one a prompt, so that a change shows as a short diff."""
    prompts = ",\n".join(json.dumps(p, separators=(",", ":")) for p in golden["prompts"])
    fields = [f'"{k}": {json.dumps(v, separators=(",", ":"))}' for k, v in golden.items() if k != "prompts"]
    path.write_text("{\n" + ",\n".join(fields) + ',\n"prompts": [\n' + prompts + "\n]\n}\n")


def difference(made, committed):
    """The largest error relative to the array's scale; anything that is not a number must be equal."""
    if isinstance(made, dict) and "f32" in made:
        a, b = (np.frombuffer(base64.b64decode(x["f32"]), np.float32) for x in (made, committed))
        return float(np.abs(a - b).max() / np.abs(b).max()) if a.size else 0.0
    if isinstance(made, dict):
        return max((difference(made[k], committed[k]) for k in made), default=0.0)
    if isinstance(made, list) and made and isinstance(made[0], dict):
        return max(difference(a, b) for a, b in zip(made, committed, strict=True))
    return 0.0 if made == committed or isinstance(made, float) else float("inf")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*")
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    worst = 0.0
    with torch.no_grad():
        for spec in GOLDENS:
            if args.names and spec["name"] not in args.names:
                continue
            golden, path = make_golden(spec), HERE / f"{spec['name']}.json"
            if args.check:
                worst = max(worst, difference(golden, json.loads(path.read_text())))
            else:
                write(path, golden)
    if args.check:
        print(f"largest relative difference {worst:.1e}")
        sys.exit(0 if worst <= CHECK_TOLERANCE else 1)


if __name__ == "__main__":
    main()
