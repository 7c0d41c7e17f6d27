"""Owns the configurations the goldens cover: each one stretches what a real InternVL3 checkpoint may ask of the engine."""

DECODER = {
    "model_type": "qwen2",
    "architectures": ["Qwen2ForCausalLM"],
    "vocab_size": 211,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 96,
    "max_position_embeddings": 512,
    "rms_norm_eps": 1e-6,
    "rope_theta": 1e6,
    "rope_scaling": None,
    "tie_word_embeddings": False,
    "hidden_act": "silu",
}
VISION = {
    "model_type": "intern_vit_6b",
    "architectures": ["InternVisionModel"],
    "hidden_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 80,
    "patch_size": 7,
    "num_channels": 3,
    "norm_type": "layer_norm",
    "layer_norm_eps": 1e-6,
    "qkv_bias": True,
    "qk_normalization": False,
    "hidden_act": "gelu",
}


def chat_config(tile, vision=None, decoder=None, trained_tile=None, **more):
    """An internvl_chat configuration; `trained_tile` is the position embedding's tile where it is another."""
    llm = {**DECODER, **(decoder or {})}
    return {
        "model_type": "internvl_chat",
        "architectures": ["InternVLChatModel"],
        "vision_config": {**VISION, "image_size": trained_tile or tile, **(vision or {})},
        "llm_config": llm,
        "force_image_size": tile,
        "downsample_ratio": 0.5,
        "ps_version": "v2",
        "select_layer": -1,
        "template": "internvl2_5",
        "tie_word_embeddings": llm["tie_word_embeddings"],
        **more,
    }


def vit(hidden, heads, intermediate, patch=7, layers=2, **more):
    return {
        "hidden_size": hidden,
        "num_attention_heads": heads,
        "intermediate_size": intermediate,
        "patch_size": patch,
        "num_hidden_layers": layers,
        **more,
    }


def llm(hidden, heads, kv_heads, intermediate, vocab, layers=2, **more):
    return {
        "hidden_size": hidden,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "intermediate_size": intermediate,
        "vocab_size": vocab,
        "num_hidden_layers": layers,
        **more,
    }


TIED = {"tie_word_embeddings": True}
DYNAMIC_ROPE = {"rope_scaling": {"factor": 2.0, "rope_type": "dynamic", "type": "dynamic"}}
VIT_6B = {"norm_type": "rms_norm", "qk_normalization": True, "qkv_bias": False}

# A prompt is a list of parts: an int is that many text tokens, "T" a tile. Tiles are numbered across a golden's prompts.
# `features` names what an engine may decline, by name, when it opens the checkpoint.
GOLDENS = [
    {
        "name": "base",
        "config": chat_config(28),
        "prompts": [[5, "T", 6], [17], [3, "T", "T", "T", 9], [1, "T", 4, "T", 4]],
    },
    {
        "name": "tied_head",
        "config": chat_config(56, vit(64, 4, 112, patch=14), llm(96, 3, 1, 160, 257, **TIED)),
        "prompts": [[4, "T", "T", 7], [33], [2, "T", 5]],
    },
    {
        "name": "head_dim_64",
        "config": chat_config(112, vit(64, 1, 132, patch=14), llm(128, 2, 2, 200, 307)),
        "prompts": [[6, "T", 11], [9, "T", 3, "T", 8], [12]],
    },
    {
        "name": "gqa_4",
        "config": chat_config(96, vit(64, 2, 104, patch=8, layers=1), llm(128, 4, 1, 176, 333)),
        "prompts": [[8, "T", 5], [2, "T", "T", 14], [40]],
    },
    {
        "name": "gqa_7_as_1b",
        "config": chat_config(28, vit(64, 4, 256, layers=3), llm(224, 14, 2, 152, 301, layers=3, **DYNAMIC_ROPE)),
        "prompts": [[7, "T", 12], [21], [3, "T", "T", "T", "T", 6]],
    },
    {
        "name": "text_only",
        "config": chat_config(14, vit(16, 1, 24, layers=1), llm(64, 2, 1, 104, 503, layers=4, rope_theta=1e4)),
        "prompts": [[1], [16], [63], [130]],
    },
    {
        "name": "dynamic_rope",
        "config": chat_config(
            28, None, llm(64, 2, 2, 96, 199, max_position_embeddings=256, rope_theta=1e4, **DYNAMIC_ROPE)
        ),
        "prompts": [[10, "T", 10], [192], [100, "T", "T", 20]],
    },
    {
        "name": "vision_6b",
        "features": ["vision_rms_norm", "vision_qk_norm"],
        "config": chat_config(28, vit(80, 5, 136, **VIT_6B), llm(64, 4, 2, 96, 223)),
        "prompts": [[5, "T", 6], [4, "T", "T", "T", 3]],
    },
    {
        "name": "vision_rms_norm",
        "features": ["vision_rms_norm"],
        "config": chat_config(42, vit(48, 3, 72, norm_type="rms_norm"), llm(64, 4, 4, 80, 227)),
        "prompts": [[5, "T", 6], [4, "T", "T", 9]],
    },
    {
        "name": "interpolated_positions",
        "features": ["position_interpolation"],
        "config": chat_config(56, vit(48, 3, 80), llm(64, 4, 2, 96, 229), trained_tile=28),
        "prompts": [[5, "T", 6], [4, "T", "T", 9]],
    },
    {
        "name": "odd_sizes",
        "config": chat_config(42, vit(40, 5, 52), llm(72, 3, 1, 100, 151, rms_norm_eps=1e-5)),
        "prompts": [[5, "T", 6], [13], [2, "T", "T", 2, "T", 7]],
    },
    {
        "name": "head_dim_128",
        "config": chat_config(28, vit(128, 1, 96, layers=1), llm(256, 2, 1, 136, 211)),
        "prompts": [[5, "T", 6], [4, "T", "T", 9], [19]],
    },
    {
        "name": "gqa_5_as_14b",
        "config": chat_config(56, vit(96, 3, 200, patch=14), llm(160, 10, 2, 248, 283, **DYNAMIC_ROPE)),
        "prompts": [[5, "T", 6], [4, "T", "T", 9], [30]],
    },
    {
        "name": "one_token_tiles",
        "config": chat_config(14, vit(32, 2, 36, layers=1), llm(32, 2, 1, 44, 1031, layers=2, **TIED)),
        "prompts": [["T", 1], ["T", "T", "T", 1], [2, "T", 1, "T", 1, "T", 5]],
    },
    {
        "name": "long_prompt",
        "config": chat_config(224, vit(48, 3, 80, patch=14, layers=1), llm(96, 3, 1, 96, 101, layers=3, max_position_embeddings=1024)),
        "prompts": [[11, "T", "T", 3, "T", "T", 60], [300]],
    },
    {
        "name": "deep",
        "config": chat_config(28, vit(32, 1, 64, layers=5), llm(48, 3, 1, 80, 163, layers=8, rope_theta=5e7)),
        "prompts": [[5, "T", 6], [25], [3, "T", "T", 3]],
    },
]
