"""Owns seeded random configurations of each of the seven models: its own structure, everything a checkpoint may vary drawn."""
import random

from configs import VIT_6B, chat_config, llm, vit

# Heads, key heads and their size as published (the size a small one here), the MLP's width as a share of the hidden
# size, the tower, and what dynamic rope scaling stretches by.
MODELS = {
    "1b": {"heads": 14, "kv": 2, "sizes": (4, 6, 8), "mlp": 4864 / 896, "tower": "300m", "factor": 2.0},
    "2b": {"heads": 12, "kv": 2, "sizes": (4, 8, 10), "mlp": 8960 / 1536, "tower": "300m", "factor": 2.0},
    "8b": {"heads": 28, "kv": 4, "sizes": (4, 6), "mlp": 18944 / 3584, "tower": "300m", "factor": 2.0},
    "9b": {"heads": 32, "kv": 2, "sizes": (4, 6), "mlp": 10240 / 4096, "tower": "300m", "factor": 6.0},
    "14b": {"heads": 40, "kv": 8, "sizes": (4,), "mlp": 13824 / 5120, "tower": "300m", "factor": 2.0},
    "38b": {"heads": 40, "kv": 8, "sizes": (4,), "mlp": 27648 / 5120, "tower": "6b", "factor": 2.0},
    "78b": {"heads": 64, "kv": 8, "sizes": (4,), "mlp": 29568 / 8192, "tower": "6b", "factor": 2.0},
}
PER_MODEL = 6
# Twice this holds the longest such prompt and its answer.
BEGINS_BEYOND = 192


def random_vision(rng, tower):
    """InternViT-300M has 16 heads, the 6B 25; both an MLP of four times the width."""
    heads = 16 if tower == "300m" else 25
    hidden = heads * rng.choice([2, 4])
    more = VIT_6B if tower == "6b" else {}
    return vit(hidden, heads, 4 * hidden, patch=rng.choice([4, 7, 8, 14]), layers=rng.randint(2, 4), **more)


def random_decoder(rng, model, kind):
    head_dim = rng.choice(model["sizes"])
    hidden = model["heads"] * head_dim
    inner = 2 * round(model["mlp"] * hidden / 2)
    is_9b = model["factor"] == 6.0
    more = {
        "rope_theta": 5e7 if is_9b else 1e6,
        "rms_norm_eps": rng.choice([1e-5, 1e-6]),
        "rope_scaling": {"factor": model["factor"], "rope_type": "dynamic", "type": "dynamic"},
        "tie_word_embeddings": rng.random() < 0.2,
        "max_position_embeddings": {"within": 512, "grows beyond": 128, "begins beyond": BEGINS_BEYOND}[kind],
    }
    if is_9b:
        more |= {"model_type": "internlm3", "architectures": ["InternLM3ForCausalLM"]}
        # As published first, then every pair of flags, and heads that are not a share of the hidden size.
        more |= {"qkv_bias": rng.random() < 0.5, "bias": rng.random() < 0.5}
        more["head_dim"] = head_dim if rng.random() < 0.5 else head_dim + 2
    return llm(hidden, model["heads"], model["kv"], inner, rng.randint(97, 139), rng.randint(2, 3), **more)


def random_family(name, seed):
    """One configuration with one prompt. `kind`: whether prompt and answer stay within the trained length."""
    rng = random.Random(f"{name}.{seed}")
    model = MODELS[name]
    kind = rng.choice(["within", "within", "grows beyond", "begins beyond"])
    vision = random_vision(rng, model["tower"])
    patch = vision["patch_size"]
    ratio = rng.choice([0.5, 0.5, 0.5, 0.25, 1.0])
    grid = rng.choice([4, 8] if ratio == 0.25 else [2, 4, 6] if ratio == 0.5 else [2, 3])
    # The published way most of the time; now and then another of what config.json may say.
    more = {"downsample_ratio": ratio, "ps_version": rng.choice(["v2", "v2", "v2", "v1"])}
    more["select_layer"] = rng.choice([-1, -1, -1, -2, 1])
    trained = patch * (grid + 2) if rng.random() < 0.25 else None
    config = chat_config(patch * grid, vision, random_decoder(rng, model, kind), trained, **more)
    parts = [rng.randint(3, 20), "T", rng.randint(1, 9), "T", rng.randint(4, 30)]
    parts = [part for part in parts if part != "T" or rng.random() < 0.9] if kind == "within" else parts
    if "T" not in parts:
        parts.insert(1, "T")
    if kind == "begins beyond":
        others = sum(round(grid * ratio) ** 2 if part == "T" else part for part in parts[1:])
        parts[0] = BEGINS_BEYOND - others + rng.randint(1, 12)
    return {"name": f"{name}.{seed}", "kind": kind, "config": config, "prompts": [parts]}
