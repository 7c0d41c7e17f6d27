"""Owns native/engine/tests/quant_golden.h: what bitsandbytes makes of made-up weights, in 8 and in 4 bits.

    python -m venv venv && venv/bin/pip install -r requirements.txt && venv/bin/python make_goldens.py

The weights come from the generator of the engine's C++ tests, so only results are stored: the quantised block scales in
full, packed codes and dequantised values as a hash over all their bits.
"""

import struct
from pathlib import Path

import numpy as np
import torch
from bitsandbytes import functional as F

HEADER = Path(__file__).resolve().parents[3] / "native/engine/tests/quant_golden.h"
MASK = 2**64 - 1


def random_words(seed: int, count: int) -> np.ndarray:
    """`Random::word` of native/engine/tests/support.cpp."""
    state, out = seed, np.empty(count, np.uint32)
    for i in range(count):
        state = (state * 6364136223846793005 + 1442695040888963407) & MASK
        out[i] = ((state ^ (state >> 22)) >> 22) & 0xFFFFFFFF
    return out


def weights(seed: int, rows: int, cols: int) -> np.ndarray:
    """`golden_weights` of native/engine/tests/quantise_test.cpp: bell-shaped, rows of unlike scale, fp16 values."""
    unit = random_words(seed, 3 * rows * cols).view(np.int32).astype(np.float32) * np.float32(2.0**-31)
    a, b, c = unit.reshape(-1, 3).T
    values = ((a + b) + c).reshape(rows, cols)
    scales = np.float32(2.0) ** -(np.arange(rows) % 5).astype(np.float32)
    return (values * scales[:, None]).astype(np.float16).astype(np.float32)


def fnv(data: bytes) -> int:
    """FNV-1a of 64 bits."""
    out = 0xCBF29CE484222325
    for byte in data:
        out = ((out ^ byte) * 0x100000001B3) & MASK
    return out


def floats(values: torch.Tensor) -> str:
    return ", ".join(f"0x{bits:08x}" for bits in values.float().flatten().numpy().view(np.uint32))


def four_bits(kind: str, seed: int, rows: int, cols: int) -> str:
    source = torch.from_numpy(weights(seed, rows, cols))
    packed, state = F.quantize_4bit(source, blocksize=64, quant_type=kind, compress_statistics=True)
    # As one row: where blocks cross rows, this version's CPU kernel takes the wrong scales.
    state.shape = torch.Size([1, rows * cols])
    values = F.dequantize_4bit(packed, state)
    absmax = F.dequantize_blockwise(state.absmax, state.state2) + state.offset
    short = values.bfloat16().view(torch.int16).numpy().tobytes()
    scales = ", ".join(str(x) for x in state.absmax.tolist())
    return (
        f"    {{WeightType::k{kind.capitalize()}, {seed}, {rows}, {cols},\n"
        f"     {{{scales}}},\n"
        f"     {{{floats(state.state2.absmax)}}},\n"
        f"     {floats(state.offset)}, 0x{fnv(packed.numpy().tobytes()):016x}u,\n"
        f"     0x{fnv(absmax.numpy().tobytes()):016x}u, 0x{fnv(values.numpy().tobytes()):016x}u,\n"
        f"     0x{fnv(short):016x}u}},\n"
    )


def eight_bits(seed: int, rows: int, cols: int) -> str:
    codes, absmax, _ = F.int8_vectorwise_quant(torch.from_numpy(weights(seed, rows, cols)).half())
    return (
        f"    {{{seed}, {rows}, {cols}, 0x{fnv(codes.numpy().tobytes()):016x}u, "
        f"0x{fnv(absmax.numpy().tobytes()):016x}u}},\n"
    )


def main() -> None:
    shapes = [(1, 3, 64), (2, 24, 1024), (3, 40, 896), (4, 7, 96)]
    codes = F.create_dynamic_map()
    text = f"""/** Owns what bitsandbytes makes of made-up weights; written by tests/golden/quant/make_goldens.py. */
#pragma once

#include <cstdint>
#include <vector>

#include "ops/ops.h"

namespace tessera::tests {{

/** 4-bit weights: block scales as codes, their own scales and offset as bits of fp32; the rest as FNV-1a hashes. */
struct Golden4 {{
  WeightType type;
  uint64_t seed;
  size_t rows, cols;
  std::vector<uint8_t> scale_codes;
  std::vector<uint32_t> scale_absmax;
  uint32_t offset;
  uint64_t packed, absmax, fp32, bf16;
}};

/** Int8 weights: codes and the largest magnitude of each row as hashes. */
struct Golden8 {{
  uint64_t seed;
  size_t rows, cols;
  uint64_t codes, absmax;
}};

inline constexpr uint64_t kGoldenScaleMap = 0x{fnv(codes.numpy().tobytes()):016x}u;

inline const std::vector<Golden4> kGoldens4 = {{
{"".join(four_bits(kind, *shape) for kind in ("nf4", "fp4") for shape in shapes)}}};

inline const std::vector<Golden8> kGoldens8 = {{
{"".join(eight_bits(*shape) for shape in shapes)}}};

}}  // namespace tessera::tests
"""
    HEADER.write_text(text)


if __name__ == "__main__":
    main()
