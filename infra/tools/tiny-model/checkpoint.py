"""Reads an exported checkpoint folder back into the trainer's model."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor

from model import InternVLTiny, ModelSize


def read_size(settings: dict, tokenizer: Tokenizer) -> ModelSize:
    vision, text = settings["vision_config"], settings["llm_config"]
    return ModelSize(
        vocabulary=text["vocab_size"],
        image_token=tokenizer.token_to_id("<IMG_CONTEXT>"),
        tile=vision["image_size"],
        patch=vision["patch_size"],
        vision_hidden=vision["hidden_size"],
        vision_layers=vision["num_hidden_layers"],
        vision_heads=vision["num_attention_heads"],
        vision_mlp=vision["intermediate_size"],
        hidden=text["hidden_size"],
        layers=text["num_hidden_layers"],
        heads=text["num_attention_heads"],
        kv_heads=text["num_key_value_heads"],
        mlp=text["intermediate_size"],
        rope_theta=text["rope_theta"],
        max_positions=text["max_position_embeddings"],
    )


def read_weights(folder: Path) -> dict[str, Tensor]:
    return {name: value.float() for name, value in load_file(folder / "model.safetensors").items()}


def load_checkpoint(folder: Path) -> tuple[InternVLTiny, Tokenizer, int]:
    """The model, its tokenizer and the largest number of tiles."""
    settings = json.loads((folder / "config.json").read_text())
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    model = InternVLTiny(read_size(settings, tokenizer)).eval()
    model.load_state_dict(read_weights(folder))
    return model, tokenizer, settings["max_dynamic_patch"]
