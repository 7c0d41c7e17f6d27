"""The InternVL3 architecture at a small size, in PyTorch; parameter names are the published ones."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class ModelSize:
    """Everything that decides the shapes of the weights."""

    vocabulary: int
    image_token: int
    tile: int = 112
    patch: int = 14
    vision_hidden: int = 160
    vision_layers: int = 5
    vision_heads: int = 5
    vision_mlp: int = 640
    hidden: int = 128
    layers: int = 4
    heads: int = 4
    kv_heads: int = 2
    mlp: int = 384
    rope_theta: float = 10000.0
    max_positions: int = 4096

    @property
    def patches_per_side(self) -> int:
        return self.tile // self.patch

    @property
    def tokens_per_tile(self) -> int:
        return (self.patches_per_side // 2) ** 2


def attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
    """Written out: on a CPU in bf16 its backward pass is faster than the fused kernel's."""
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
    if mask is not None:
        scores = scores + mask
    return scores.softmax(-1).to(value.dtype) @ value


class VisionAttention(nn.Module):
    def __init__(self, size: ModelSize) -> None:
        super().__init__()
        self.heads = size.vision_heads
        self.qkv = nn.Linear(size.vision_hidden, 3 * size.vision_hidden)
        self.proj = nn.Linear(size.vision_hidden, size.vision_hidden)

    def forward(self, x: Tensor) -> Tensor:
        tiles, length, hidden = x.shape
        query, key, value = self.qkv(x).view(tiles, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        return self.proj(attention(query, key, value).transpose(1, 2).reshape(tiles, length, hidden))


class VisionMlp(nn.Module):
    def __init__(self, size: ModelSize) -> None:
        super().__init__()
        self.fc1 = nn.Linear(size.vision_hidden, size.vision_mlp)
        self.fc2 = nn.Linear(size.vision_mlp, size.vision_hidden)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class VisionLayer(nn.Module):
    def __init__(self, size: ModelSize) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(size.vision_hidden, eps=1e-6)
        self.norm2 = nn.LayerNorm(size.vision_hidden, eps=1e-6)
        self.attn = VisionAttention(size)
        self.mlp = VisionMlp(size)
        self.ls1 = nn.Parameter(torch.ones(size.vision_hidden))
        self.ls2 = nn.Parameter(torch.ones(size.vision_hidden))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.ls1 * self.attn(self.norm1(x))
        return x + self.ls2 * self.mlp(self.norm2(x))


class VisionEmbeddings(nn.Module):
    def __init__(self, size: ModelSize) -> None:
        super().__init__()
        self.patch = size.patch
        self.class_embedding = nn.Parameter(torch.randn(1, 1, size.vision_hidden) * 0.02)
        self.position_embedding = nn.Parameter(torch.randn(1, size.patches_per_side**2 + 1, size.vision_hidden) * 0.02)
        self.patch_embedding = nn.Conv2d(3, size.vision_hidden, size.patch, size.patch)
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(3, 1, 1), persistent=False)

    def forward(self, tiles: Tensor) -> Tensor:
        """u8 [n, tile, tile, 3] -> [n, 1 + patches, hidden]; the convolution is a matrix product."""
        count, side, _, _ = tiles.shape
        pixels = (tiles.permute(0, 3, 1, 2).float() / 255 - self.mean) / self.std
        grid = side // self.patch
        patches = pixels.view(count, 3, grid, self.patch, grid, self.patch).permute(0, 2, 4, 1, 3, 5)
        patches = patches.reshape(count, grid * grid, -1)
        weight = self.patch_embedding.weight.flatten(1)
        embedded = F.linear(patches, weight, self.patch_embedding.bias)
        return torch.cat((self.class_embedding.expand(count, -1, -1), embedded), 1) + self.position_embedding


class VisionEncoder(nn.Module):
    def __init__(self, size: ModelSize) -> None:
        super().__init__()
        self.layers = nn.ModuleList(VisionLayer(size) for _ in range(size.vision_layers))


class VisionModel(nn.Module):
    def __init__(self, size: ModelSize) -> None:
        super().__init__()
        self.embeddings = VisionEmbeddings(size)
        self.encoder = VisionEncoder(size)

    def forward(self, tiles: Tensor) -> Tensor:
        """The patches' features without the class token; there is no final norm."""
        x = self.embeddings(tiles)
        for layer in self.encoder.layers:
            x = layer(x)
        return x[:, 1:]


class RmsNorm(nn.Module):
    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(hidden))

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x.float(), (x.shape[-1],), self.weight, 1e-6)


def rotate(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    low, high = x.chunk(2, -1)
    return x * cosine + torch.cat((-high, low), -1) * sine


class DecoderAttention(nn.Module):
    def __init__(self, size: ModelSize) -> None:
        super().__init__()
        self.heads, self.kv_heads = size.heads, size.kv_heads
        self.head_dim = size.hidden // size.heads
        self.q_proj = nn.Linear(size.hidden, size.heads * self.head_dim)
        self.k_proj = nn.Linear(size.hidden, size.kv_heads * self.head_dim)
        self.v_proj = nn.Linear(size.hidden, size.kv_heads * self.head_dim)
        self.o_proj = nn.Linear(size.heads * self.head_dim, size.hidden, bias=False)
        self.keep_scores = False  # of the first head, for a training-only loss
        self.scores: Tensor | None = None

    def forward(self, x: Tensor, cosine: Tensor, sine: Tensor, mask: Tensor) -> Tensor:
        rows, length, _ = x.shape
        query = self.q_proj(x).view(rows, length, self.heads, self.head_dim).transpose(1, 2)
        key = self.k_proj(x).view(rows, length, self.kv_heads, self.head_dim).transpose(1, 2)
        value = self.v_proj(x).view(rows, length, self.kv_heads, self.head_dim).transpose(1, 2)
        query = rotate(query, cosine, sine).to(value.dtype)
        key = rotate(key, cosine, sine).to(value.dtype)
        groups = self.heads // self.kv_heads
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
        if self.keep_scores:
            self.scores = (query[:, 0] * self.head_dim**-0.5) @ key[:, 0].transpose(-1, -2) + mask[:, 0]
        return self.o_proj(attention(query, key, value, mask).transpose(1, 2).reshape(rows, length, -1))


class DecoderMlp(nn.Module):
    def __init__(self, size: ModelSize) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(size.hidden, size.mlp, bias=False)
        self.up_proj = nn.Linear(size.hidden, size.mlp, bias=False)
        self.down_proj = nn.Linear(size.mlp, size.hidden, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class DecoderLayer(nn.Module):
    def __init__(self, size: ModelSize) -> None:
        super().__init__()
        self.self_attn = DecoderAttention(size)
        self.mlp = DecoderMlp(size)
        self.input_layernorm = RmsNorm(size.hidden)
        self.post_attention_layernorm = RmsNorm(size.hidden)

    def forward(self, x: Tensor, cosine: Tensor, sine: Tensor, mask: Tensor) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), cosine, sine, mask)
        return x + self.mlp(self.post_attention_layernorm(x))


class Decoder(nn.Module):
    def __init__(self, size: ModelSize) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(size.vocabulary, size.hidden)
        self.layers = nn.ModuleList(DecoderLayer(size) for _ in range(size.layers))
        self.norm = RmsNorm(size.hidden)
        head_dim = size.hidden // size.heads
        powers = torch.arange(0, head_dim, 2).float() / head_dim
        self.register_buffer("frequencies", size.rope_theta**-powers, persistent=False)

    def forward(self, x: Tensor, positions: Tensor, mask: Tensor) -> Tensor:
        angles = positions[:, None, :, None].float() * self.frequencies
        angles = torch.cat((angles, angles), -1)
        cosine, sine = angles.cos().to(mask.dtype), angles.sin().to(mask.dtype)
        for layer in self.layers:
            x = layer(x, cosine, sine, mask)
        return self.norm(x)


class LanguageModel(nn.Module):
    """Qwen2 with tied embeddings: the output head is `embed_tokens`."""

    def __init__(self, size: ModelSize) -> None:
        super().__init__()
        self.model = Decoder(size)


class InternVLTiny(nn.Module):
    def __init__(self, size: ModelSize) -> None:
        super().__init__()
        self.size = size
        self.vision_model = VisionModel(size)
        channels = 4 * size.vision_hidden
        self.mlp1 = nn.Sequential(
            nn.LayerNorm(channels), nn.Linear(channels, size.hidden), nn.GELU(), nn.Linear(size.hidden, size.hidden)
        )
        self.language_model = LanguageModel(size)
        self.initialise()

    def initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=min(0.08, module.in_features**-0.5))
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
        depth_scale = math.sqrt(2 * self.size.layers)
        for layer in self.language_model.model.layers:
            layer.self_attn.o_proj.weight.data /= depth_scale
            layer.mlp.down_proj.weight.data /= depth_scale

    def project(self, features: Tensor) -> Tensor:
        """Pixel shuffle by one half (v2: row-major tokens), then the projector."""
        tiles, _, channels = features.shape
        half = self.size.patches_per_side // 2
        blocks = features.view(tiles, half, 2, half, 2, channels).transpose(2, 3)
        return self.mlp1(blocks.reshape(tiles, half * half, 4 * channels))

    def forward(self, visual: Tensor | None, ids: Tensor, positions: Tensor, mask: Tensor) -> Tensor:
        """`visual` [tiles, tokens, hidden] fills the image tokens in order; returns hidden states."""
        x = self.language_model.model.embed_tokens(ids)
        if visual is not None:
            rows, columns = (ids == self.size.image_token).nonzero(as_tuple=True)
            x = x.index_put((rows, columns), visual.flatten(0, 1).to(x.dtype))
        return self.language_model.model(x, positions, mask)

    def logits(self, hidden: Tensor) -> Tensor:
        return F.linear(hidden, self.language_model.model.embed_tokens.weight)
