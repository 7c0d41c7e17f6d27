"""
Owns one run at the true shape of InternVL3-1B: random weights in transformers' own layout, one tile, a short prompt.

`true_shape.py FOLDER` writes the checkpoint there (bf16, in shards) and what transformers computes from it in fp32.
Run by: deno task compare true-shape
"""
import json
import os
import pathlib
import sys

import torch
from transformers import InternVLConfig, InternVLForConditionalGeneration

import hf_model
from checkpoint import integers, random_tile
from make_goldens import encode_f32

SEED = 22
NUM_GREEDY = 16
VOCAB, IMAGE_TOKEN = 151674, 151667
BEFORE, TILE_TOKENS, AFTER = 24, 256, 20


def config():
    return InternVLConfig(
        vision_config={
            "hidden_size": 1024,
            "num_hidden_layers": 24,
            "num_attention_heads": 16,
            "intermediate_size": 4096,
            "image_size": [448, 448],
            "patch_size": [14, 14],
            "norm_type": "layer_norm",
            "attention_bias": True,
            "use_mean_pooling": True,
        },
        text_config={
            "model_type": "qwen2",
            "vocab_size": VOCAB,
            "hidden_size": 896,
            "num_hidden_layers": 24,
            "num_attention_heads": 14,
            "num_key_value_heads": 2,
            "intermediate_size": 4864,
            "max_position_embeddings": 32768,
            "rms_norm_eps": 1e-6,
            "tie_word_embeddings": False,
            "rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e6},
            "bos_token_id": None,
            "eos_token_id": None,
        },
        image_token_id=IMAGE_TOKEN,
        image_seq_length=TILE_TOKENS,
        tie_word_embeddings=False,
        attn_implementation="eager",
    )


def random_model():
    """Transformers' own initial values, with those that it leaves at 0 or 1 moved, all as bf16 holds them."""
    torch.manual_seed(SEED)
    model = InternVLForConditionalGeneration(config()).eval()
    for name, values in model.named_parameters():
        if values.ndim == 1 or "position_embeddings" in name or "cls_token" in name:
            values.add_(torch.randn_like(values) * 0.05)
        values.copy_(values.bfloat16().float())
    return model


def run(model, folder):
    tile = random_tile(SEED, 0, 448)
    pixels = hf_model.normalise(tile[None])
    text = integers(SEED, "true-shape", BEFORE + AFTER, IMAGE_TOKEN).tolist()
    ids = text[:BEFORE] + [IMAGE_TOKEN] * TILE_TOKENS + text[BEFORE:]
    features = model.model.get_image_features(pixels, output_hidden_states=True).pooler_output.reshape(TILE_TOKENS, -1)
    out = model(input_ids=torch.tensor([ids]), pixel_values=pixels, use_cache=True)
    positions = [0, BEFORE + TILE_TOKENS // 2, len(ids) - 1]
    rows, greedy, margins = [out.logits[0, p] for p in positions], [], []
    for step in range(NUM_GREEDY):
        top, index = out.logits[0, -1].topk(2)
        margins.append(float((top[0] - top[1]) / out.logits[0, -1].abs().max()))
        greedy.append(int(index[0]))
        if step + 1 < NUM_GREEDY:
            out = model(input_ids=torch.tensor([[greedy[-1]]]), past_key_values=out.past_key_values, use_cache=True)
    expected = {
        "seed": SEED,
        "input_ids": ids,
        "embedding_rows": [-1] * BEFORE + list(range(TILE_TOKENS)) + [-1] * AFTER,
        "greedy_ids": greedy,
        "margins": margins,
        "logit_positions": positions,
        "logits": encode_f32(torch.stack(rows).numpy()),
        "vision_features": encode_f32(features.numpy()),
    }
    (folder / "expected.json").write_text(json.dumps(expected))


def main():
    folder = pathlib.Path(sys.argv[1])
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    with torch.no_grad():
        model = random_model()
        run(model, folder)
        model.bfloat16().save_pretrained(folder, max_shard_size="1GB")


main()
