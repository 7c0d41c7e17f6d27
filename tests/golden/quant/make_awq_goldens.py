"""Owns native/engine/tests/awq_golden.h: what AWQ's packed 4-bit weights stand for, by the layout's definition.

    python -m venv venv && venv/bin/pip install -r requirements.txt && venv/bin/python make_awq_goldens.py

An int32 of `qweight` [in, out / 8] and `qzeros` [in / group, out / 8] holds eight outputs in the order 0, 2, 4, 6, 1, 3,
5, 7; a weight is (code - zero) * scale in fp16, as torch computes it. The packed words come from the generator of the
engine's C++ tests, so only hashes of the weights [out, in] are stored.
"""

from pathlib import Path

import numpy as np
import torch

from make_goldens import fnv, random_words

HEADER = Path(__file__).resolve().parents[3] / "native/engine/tests/awq_golden.h"
ORDER = [0, 2, 4, 6, 1, 3, 5, 7]


def unpack(words: np.ndarray) -> np.ndarray:
    """[lines, n / 8] of 32 bits to codes [lines, n]."""
    codes = np.empty((words.shape[0], words.shape[1], 8), np.int32)
    for place, output in enumerate(ORDER):
        codes[:, :, output] = words >> np.uint32(4 * place) & np.uint32(15)
    return codes.reshape(words.shape[0], -1)


def golden(seed: int, outputs: int, inputs: int, group: int) -> str:
    groups, eighths = inputs // group, outputs // 8
    words = random_words(seed, (inputs + groups) * eighths + groups * outputs)
    qweight, qzeros, rest = np.split(words, [inputs * eighths, (inputs + groups) * eighths])
    codes = unpack(qweight.reshape(inputs, eighths))
    zeros = unpack(qzeros.reshape(groups, eighths)).repeat(group, axis=0)
    # 0 to 1/16, then every fifth of them so small that fp16 has few bits for it.
    scales = (rest.astype(np.float64) * 2.0**-36).astype(np.float32)
    scales[::5] *= np.float32(2.0**-12)
    scales = torch.from_numpy(scales.reshape(groups, outputs)).half().repeat_interleave(group, dim=0)
    weights = (torch.from_numpy(codes - zeros).to(torch.int8) * scales).T.contiguous()
    weights = weights + 0  # a scale of 0 gives zeros of both signs, which no product can tell apart
    assert weights.dtype == torch.float16
    half = fnv(weights.view(torch.int16).numpy().tobytes())
    bf16 = fnv(weights.bfloat16().view(torch.int16).numpy().tobytes())
    return f"    {{{seed}, {outputs}, {inputs}, {group}, 0x{half:016x}u, 0x{bf16:016x}u}},\n"


def main() -> None:
    shapes = [(1, 8, 64, 64), (2, 40, 256, 128), (3, 72, 384, 64), (4, 64, 512, 256)]
    HEADER.write_text(f"""/** Owns what AWQ's made-up packed weights stand for; written by tests/golden/quant/make_awq_goldens.py. */
#pragma once

#include <cstdint>
#include <vector>

namespace tessera::tests {{

/** Weights [outputs][inputs] of the seed's words as fp16, and these rounded to bf16: FNV-1a hashes. */
struct GoldenAwq {{
  uint64_t seed;
  size_t outputs, inputs, group;
  uint64_t fp16, bf16;
}};

inline const std::vector<GoldenAwq> kGoldensAwq = {{
{"".join(golden(*shape) for shape in shapes)}}};

}}  // namespace tessera::tests
""")


if __name__ == "__main__":
    main()
