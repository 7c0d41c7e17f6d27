"""Checks that an exported checkpoint gives the same logits in transformers as in the trainer's model."""

from __future__ import annotations

import argparse
import random
from pathlib import Path

import torch
from torch import Tensor
from transformers import InternVLConfig, InternVLForConditionalGeneration

from checkpoint import load_checkpoint, read_weights
from data import SampleMaker, collate
from model import MEAN, STD, ModelSize
from prompt import PromptWriter

TOLERANCE = 2e-3


def transformers_config(size: ModelSize) -> InternVLConfig:
    return InternVLConfig(
        vision_config={
            "hidden_size": size.vision_hidden,
            "num_hidden_layers": size.vision_layers,
            "num_attention_heads": size.vision_heads,
            "intermediate_size": size.vision_mlp,
            "image_size": [size.tile, size.tile],
            "patch_size": [size.patch, size.patch],
            "attention_bias": True,
            "use_qk_norm": False,
            "norm_type": "layer_norm",
            "use_mean_pooling": True,  # no final norm
            "hidden_act": "gelu",
            "layer_norm_eps": 1e-6,
        },
        text_config={
            "model_type": "qwen2",
            "vocab_size": size.vocabulary,
            "hidden_size": size.hidden,
            "intermediate_size": size.mlp,
            "num_hidden_layers": size.layers,
            "num_attention_heads": size.heads,
            "num_key_value_heads": size.kv_heads,
            "rms_norm_eps": 1e-6,
            "tie_word_embeddings": True,
            "max_position_embeddings": size.max_positions,
            "rope_parameters": {"rope_type": "default", "rope_theta": size.rope_theta},
            "bos_token_id": None,
            "eos_token_id": None,
            "pad_token_id": None,
        },
        image_token_id=size.image_token,
        image_seq_length=size.tokens_per_tile,
        downsample_ratio=0.5,
        tie_word_embeddings=True,
    )


def rename(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Published names -> transformers' names; the fused qkv becomes three."""
    vision = {
        "class_embedding": "cls_token",
        "position_embedding": "position_embeddings",
        "patch_embedding.weight": "patch_embeddings.projection.weight",
        "patch_embedding.bias": "patch_embeddings.projection.bias",
    }
    layer = {
        "attn.proj": "attention.projection_layer",
        "norm1": "layernorm_before",
        "norm2": "layernorm_after",
        "ls1": "lambda_1",
        "ls2": "lambda_2",
    }
    projector = {"0": "layer_norm", "1": "linear_1", "3": "linear_2"}
    renamed: dict[str, Tensor] = {}
    for name, value in weights.items():
        if name.startswith("vision_model.embeddings."):
            renamed["model.vision_tower.embeddings." + vision[name.removeprefix("vision_model.embeddings.")]] = value
        elif name.startswith("vision_model.encoder.layers."):
            number, rest = name.removeprefix("vision_model.encoder.layers.").split(".", 1)
            place = f"model.vision_tower.encoder.layer.{number}."
            if rest.startswith("attn.qkv."):
                for part, piece in zip("qkv", value.chunk(3)):
                    renamed[f"{place}attention.{part}_proj.{rest.rsplit('.', 1)[1]}"] = piece.contiguous()
                continue
            for old, new in layer.items():
                rest = new + rest.removeprefix(old) if rest == old or rest.startswith(old + ".") else rest
            renamed[place + rest] = value
        elif name.startswith("mlp1."):
            number, rest = name.removeprefix("mlp1.").split(".")
            renamed[f"model.multi_modal_projector.{projector[number]}.{rest}"] = value
        else:
            renamed["model.language_model." + name.removeprefix("language_model.model.")] = value
    return renamed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=12)
    parser.add_argument("--seed", type=int, default=5)
    arguments = parser.parse_args()
    ours, tokenizer, max_tiles = load_checkpoint(arguments.folder)
    size = ours.size
    theirs = InternVLForConditionalGeneration(transformers_config(size)).eval()
    loaded = theirs.load_state_dict(rename(read_weights(arguments.folder)), strict=False)
    theirs.tie_weights()
    assert set(loaded.missing_keys) <= {"lm_head.weight"} and not loaded.unexpected_keys, loaded

    maker = SampleMaker(size, PromptWriter(tokenizer, size.tokens_per_tile), max_tiles)
    rng = random.Random(arguments.seed)
    worst = 0.0
    kinds = [kind for kind in maker.kinds if kind != "chat" and not kind.startswith("dense")]
    for index in range(arguments.count):
        sample = maker.make(kinds[index % len(kinds)], rng)
        sample.conversation.branches[1:] = []
        batch = collate([sample])
        mean, std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)
        pixels = (batch.tiles.permute(0, 3, 1, 2).float() / 255 - mean) / std
        with torch.no_grad():
            visual = ours.project(ours.vision_model(batch.tiles))
            expected = ours.logits(ours(visual, batch.ids, batch.positions, batch.mask(torch.float32)))
            found = theirs(input_ids=batch.ids, pixel_values=pixels).logits
        worst = max(worst, (expected - found).abs().max().item())
    print(f"largest difference of logits over {arguments.count} prompts: {worst:.2e}")
    raise SystemExit(worst > TOLERANCE)


if __name__ == "__main__":
    main()
