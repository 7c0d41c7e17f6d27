"""Writes a training state as a checkpoint folder in the layout published for InternVL3."""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor

import tokenizer as tokenizer_builder
from model import MEAN, STD, InternVLTiny, ModelSize


def weights(model: InternVLTiny) -> dict[str, Tensor]:
    """Parameter names are already the published ones; the head is tied and so not written."""
    return {name: value.detach().to(torch.bfloat16).contiguous() for name, value in model.state_dict().items()}


def config(size: ModelSize, max_tiles: int, end_token: int, pad_token: int) -> dict[str, object]:
    return {
        "architectures": ["InternVLChatModel"],
        "downsample_ratio": 0.5,
        "dynamic_image_size": True,
        "force_image_size": size.tile,
        "hidden_size": size.hidden,
        "llm_config": {
            "architectures": ["Qwen2ForCausalLM"],
            "attention_dropout": 0.0,
            "bos_token_id": pad_token,
            "eos_token_id": end_token,
            "hidden_act": "silu",
            "hidden_size": size.hidden,
            "initializer_range": 0.02,
            "intermediate_size": size.mlp,
            "max_position_embeddings": size.max_positions,
            "max_window_layers": size.layers,
            "model_type": "qwen2",
            "num_attention_heads": size.heads,
            "num_hidden_layers": size.layers,
            "num_key_value_heads": size.kv_heads,
            "pad_token_id": pad_token,
            "rms_norm_eps": 1e-6,
            "rope_scaling": None,
            "rope_theta": size.rope_theta,
            "sliding_window": None,
            "tie_word_embeddings": True,
            "torch_dtype": "bfloat16",
            "use_bfloat16": True,
            "use_cache": True,
            "use_sliding_window": False,
            "vocab_size": size.vocabulary,
        },
        "max_dynamic_patch": max_tiles,
        "min_dynamic_patch": 1,
        "model_type": "internvl_chat",
        "pad2square": False,
        "ps_version": "v2",
        "select_layer": -1,
        "system_message": None,
        "template": "internvl2_5",
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "use_backbone_lora": 0,
        "use_llm_lora": 0,
        "use_thumbnail": True,
        "vision_config": {
            "architectures": ["InternVisionModel"],
            "attention_dropout": 0.0,
            "drop_path_rate": 0.0,
            "dropout": 0.0,
            "hidden_act": "gelu",
            "hidden_size": size.vision_hidden,
            "image_size": size.tile,
            "initializer_factor": 1.0,
            "initializer_range": 0.02,
            "intermediate_size": size.vision_mlp,
            "layer_norm_eps": 1e-6,
            "model_type": "intern_vit_6b",
            "norm_type": "layer_norm",
            "num_attention_heads": size.vision_heads,
            "num_channels": 3,
            "num_hidden_layers": size.vision_layers,
            "patch_size": size.patch,
            "qk_normalization": False,
            "qkv_bias": True,
            "torch_dtype": "bfloat16",
            "use_bfloat16": True,
            "use_flash_attn": False,
        },
    }


def write_folder(model: InternVLTiny, tokenizer: Tokenizer, max_tiles: int, folder: Path) -> None:
    size = model.size
    end_token, pad_token = tokenizer.token_to_id("<|im_end|>"), tokenizer.token_to_id("<|endoftext|>")
    save_file(weights(model), folder / "model.safetensors", metadata={"format": "pt"})
    tokenizer_builder.save(tokenizer, folder)
    tokenizer_builder.write_json(folder / "config.json", config(size, max_tiles, end_token, pad_token))
    tokenizer_builder.write_json(
        folder / "generation_config.json",
        {"_from_model_config": True, "eos_token_id": [end_token, pad_token], "pad_token_id": pad_token},
    )
    tokenizer_builder.write_json(
        folder / "preprocessor_config.json",
        {
            "crop_size": size.tile,
            "do_center_crop": True,
            "do_normalize": True,
            "do_resize": True,
            "feature_extractor_type": "CLIPFeatureExtractor",
            "image_mean": list(MEAN),
            "image_std": list(STD),
            "resample": 3,
            "size": size.tile,
        },
    )


def publish(model: InternVLTiny, tokenizer: Tokenizer, max_tiles: int, folder: Path) -> None:
    """Writes beside the folder first, then renames file by file, so a reader sees whole files."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as staging:
        write_folder(model, tokenizer, max_tiles, Path(staging))
        for path in sorted(Path(staging).iterdir()):
            path.chmod(0o644)
            os.replace(path, folder / path.name)


def load_model(state: dict[str, object], which: str = "average") -> tuple[InternVLTiny, Tokenizer, int]:
    """The model of a training state; `which` is `average` (smoothed weights) or `model`."""
    tokenizer = Tokenizer.from_str(state["tokenizer"])  # type: ignore[arg-type]
    model = InternVLTiny(ModelSize(**state["size"]))  # type: ignore[arg-type]
    model.load_state_dict(state[which])  # type: ignore[arg-type]
    return model.eval(), tokenizer, state["max_tiles"]  # type: ignore[return-value]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("state", type=Path, help="a state saved by train.py")
    parser.add_argument("folder", type=Path, help="the checkpoint folder to write")
    parser.add_argument("--which", choices=("average", "model"), default="average")
    arguments = parser.parse_args()
    state = torch.load(arguments.state, map_location="cpu", weights_only=True)
    publish(*load_model(state, arguments.which), arguments.folder)
    megabytes = (arguments.folder / "model.safetensors").stat().st_size / 1e6
    print(f"wrote {arguments.folder}: {megabytes:.1f} MB of weights")


if __name__ == "__main__":
    main()
