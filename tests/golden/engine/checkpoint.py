"""Owns the seeded random checkpoint in Python: the same tensors and values as tests/support/{counter_random,checkpoint_tensors}.ts."""
import math

import numpy as np

GOLDEN_RATIO = np.uint32(0x9E3779B9)
# As in checkpoint_tensors.ts: peaked attention, yet little amplification of rounding.
GAIN = 1.25


def mix(words):
    """Murmur3's 32-bit finaliser over an array of uint32."""
    h = words ^ (words >> np.uint32(16))
    h = h * np.uint32(0x85EBCA6B)
    h = h ^ (h >> np.uint32(13))
    h = h * np.uint32(0xC2B2AE35)
    return h ^ (h >> np.uint32(16))


def hash_name(name):
    """FNV-1a, 32 bits, over UTF-8."""
    h = 0x811C9DC5
    for byte in name.encode():
        h = ((h ^ byte) * 0x01000193) & 0xFFFFFFFF
    return h


def words(seed, name, length):
    """The first `length` words of the stream of (seed, name)."""
    seed_mix = int(mix(np.array([seed], np.uint32))[0])
    key = mix(np.array([hash_name(name) ^ seed_mix], np.uint32))
    return mix((np.arange(length, dtype=np.uint32) * GOLDEN_RATIO) ^ key)


def uniform(seed, name, length):
    return (words(seed, name, length) >> np.uint32(8)).astype(np.float64) * 2.0**-24


def integers(seed, name, length, bound):
    return np.floor(uniform(seed, name, length) * bound).astype(np.int64)


def bf16_values(seed, name, length, mean, half_range):
    """fp32 values that bf16 can hold: round to nearest even."""
    values = (mean + (uniform(seed, name, length) * 2 - 1) * half_range).astype(np.float32)
    bits = values.view(np.uint32)
    bits = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) & np.uint32(0xFFFF0000)
    return bits.view(np.float32)


def random_tile(seed, index, tile_size):
    """[tile, tile, 3] u8 RGB."""
    return (words(seed, f"pixels.{index}", tile_size * tile_size * 3) >> np.uint32(24)).astype(np.uint8).reshape(
        tile_size, tile_size, 3
    )


def matrix(name, shape, gain=1.0):
    return (name, shape, 0.0, gain * math.sqrt(3 / math.prod(shape[1:])))


def norm_weight(name, size):
    return (name, (size,), 1.0, 0.25)


def bias(name, size, half_range=0.1):
    return (name, (size,), 0.0, half_range)


def linear(name, out, fan_in, gain=1.0, bias_range=0.1):
    return [matrix(f"{name}.weight", (out, fan_in), gain), bias(f"{name}.bias", out, bias_range)]


def vision_tensors(config):
    vision = config["vision_config"]
    hidden, patch = vision["hidden_size"], vision["patch_size"]
    grid = vision["image_size"] // patch

    def norm(name):
        weight = [norm_weight(f"{name}.weight", hidden)]
        return weight if vision["norm_type"] == "rms_norm" else weight + [bias(f"{name}.bias", hidden)]

    yield ("vision_model.embeddings.class_embedding", (1, 1, hidden), 0.0, 1.0)
    yield ("vision_model.embeddings.position_embedding", (1, grid * grid + 1, hidden), 0.0, 1.0)
    yield matrix("vision_model.embeddings.patch_embedding.weight", (hidden, 3, patch, patch))
    yield bias("vision_model.embeddings.patch_embedding.bias", hidden)
    for layer in range(vision["num_hidden_layers"]):
        prefix = f"vision_model.encoder.layers.{layer}"
        yield from norm(f"{prefix}.norm1")
        qkv = linear(f"{prefix}.attn.qkv", 3 * hidden, hidden, GAIN, 0.3)
        yield from qkv if vision["qkv_bias"] else qkv[:1]
        if vision["qk_normalization"]:
            yield norm_weight(f"{prefix}.attn.q_norm.weight", hidden)
            yield norm_weight(f"{prefix}.attn.k_norm.weight", hidden)
        yield from linear(f"{prefix}.attn.proj", hidden, hidden)
        yield from norm(f"{prefix}.norm2")
        yield from linear(f"{prefix}.mlp.fc1", vision["intermediate_size"], hidden)
        yield from linear(f"{prefix}.mlp.fc2", hidden, vision["intermediate_size"])
        yield (f"{prefix}.ls1", (hidden,), 0.75, 0.25)
        yield (f"{prefix}.ls2", (hidden,), 0.75, 0.25)


def projector_tensors(config):
    shuffled = config["vision_config"]["hidden_size"] * round(1 / config["downsample_ratio"]) ** 2
    hidden = config["llm_config"]["hidden_size"]
    yield norm_weight("mlp1.0.weight", shuffled)
    yield bias("mlp1.0.bias", shuffled)
    yield from linear("mlp1.1", hidden, shuffled)
    yield from linear("mlp1.3", hidden, hidden)


def decoder_tensors(config):
    decoder = config["llm_config"]
    hidden, vocab, inner = decoder["hidden_size"], decoder["vocab_size"], decoder["intermediate_size"]
    head_dim = decoder.get("head_dim") or hidden // decoder["num_attention_heads"]
    q_size = head_dim * decoder["num_attention_heads"]
    kv_size = head_dim * decoder["num_key_value_heads"]
    qkv_bias = decoder["model_type"] == "qwen2" or decoder.get("qkv_bias", False)
    bias = decoder.get("bias", False)

    def projection(name, out, fan_in, has_bias, *more):
        return linear(name, out, fan_in, *more)[: 2 if has_bias else 1]

    yield ("language_model.model.embed_tokens.weight", (vocab, hidden), 0.0, 0.5)
    for layer in range(decoder["num_hidden_layers"]):
        prefix = f"language_model.model.layers.{layer}"
        yield norm_weight(f"{prefix}.input_layernorm.weight", hidden)
        yield from projection(f"{prefix}.self_attn.q_proj", q_size, hidden, qkv_bias, GAIN, 0.3)
        yield from projection(f"{prefix}.self_attn.k_proj", kv_size, hidden, qkv_bias, GAIN, 0.3)
        yield from projection(f"{prefix}.self_attn.v_proj", kv_size, hidden, qkv_bias, 1.0, 0.3)
        yield from projection(f"{prefix}.self_attn.o_proj", hidden, q_size, bias)
        yield norm_weight(f"{prefix}.post_attention_layernorm.weight", hidden)
        yield from projection(f"{prefix}.mlp.gate_proj", inner, hidden, bias, GAIN)
        yield from projection(f"{prefix}.mlp.up_proj", inner, hidden, bias, GAIN)
        yield from projection(f"{prefix}.mlp.down_proj", hidden, inner, bias)
    yield norm_weight("language_model.model.norm.weight", hidden)
    if not decoder["tie_word_embeddings"]:
        yield matrix("language_model.lm_head.weight", (vocab, hidden), 2.0)


def random_tensors(config, seed):
    """Ordered {original name: fp32 array of bf16 values}."""
    specs = [*vision_tensors(config), *projector_tensors(config), *decoder_tensors(config)]
    return {
        name: bf16_values(seed, name, math.prod(shape), mean, half_range).reshape(shape)
        for name, shape, mean, half_range in specs
    }
