"""The training-only head on every patch: what lies there. Dropped at export."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from render import Mark
from scenes import COLOURS, SHAPES, SIZES, WORDS
from tiling import Region

CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
FIELDS = ("shape", "colour", "size", "character", "word")
CLASSES = (len(SHAPES) + 1, len(COLOURS) + 1, len(SIZES) + 1, len(CHARACTERS) + 1, len(WORDS))
COLOUR_NAMES = tuple(COLOURS)
TASK_WEIGHTS = (2.0, 1.0, 0.7, 1.0, 1.0)  # shapes are the hardest of what matters most
IGNORED = -100
MIN_OVERLAP = 0.25


def overlap(mark: Mark, region: Region, edges: np.ndarray) -> np.ndarray:
    """Per patch [side, side]: shared area over the smaller of the two areas."""
    left, top, width, height = region
    lefts, tops = left + width * edges[:-1], top + height * edges[:-1]
    step_x, step_y = width * edges[1], height * edges[1]
    shared_x = np.clip(np.minimum(mark.right, lefts + step_x) - np.maximum(mark.left, lefts), 0, None)
    shared_y = np.clip(np.minimum(mark.bottom, tops + step_y) - np.maximum(mark.top, tops), 0, None)
    area = min((mark.right - mark.left) * (mark.bottom - mark.top), step_x * step_y)
    return shared_y[:, None] * shared_x[None, :] / area


def patch_labels(marks: list[Mark], word: str, regions: list[Region], side: int) -> np.ndarray:
    """i64 [tiles, side * side, len(FIELDS)]; 0 is 'nothing' for all fields but the word's."""
    edges = np.arange(side + 1) / side
    labels = np.zeros((len(regions), side, side, len(FIELDS)), np.int64)
    labels[..., 4] = IGNORED
    for index, region in enumerate(regions):
        best = np.full((side, side), MIN_OVERLAP)
        for mark in marks:
            share = overlap(mark, region, edges)
            here = share > best
            if not here.any():
                continue
            best = np.where(here, share, best)
            if mark.shape:
                shape = mark.shape
                labels[index, here, 0] = SHAPES.index(shape.kind) + 1
                labels[index, here, 1] = COLOUR_NAMES.index(shape.colour) + 1
                labels[index, here, 2] = SIZES.index(shape.size) + 1
            else:
                labels[index, here, 3] = CHARACTERS.index(mark.character) + 1
        letters = [mark for mark in marks if mark.character]
        if word in WORDS and all(
            mark.left >= region[0] - 0.01 and mark.right <= region[0] + region[2] + 0.01 for mark in letters
        ):
            labels[index, labels[index, ..., 3] > 0, 4] = WORDS.index(word)
    return labels.reshape(len(regions), side * side, len(FIELDS))


class PatchHead(nn.Module):
    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.linear = nn.Linear(hidden, sum(CLASSES))
        weights = [torch.ones(count) for count in CLASSES]
        for field in range(4):
            weights[field][0] = 0.3  # most patches show only the ground
        for name, weight in zip(FIELDS, weights):
            self.register_buffer(f"{name}_weight", weight, persistent=False)

    def forward(
        self, features: Tensor, labels: Tensor, task_weights: Sequence[float] = TASK_WEIGHTS
    ) -> tuple[Tensor, dict[str, tuple[int, int]]]:
        """The loss, and per field (right, all) over the patches that are not ground."""
        losses, right = [], {}
        for index, part in enumerate(self.linear(features).split(CLASSES, -1)):
            name = FIELDS[index]
            target = labels[..., index].flatten()
            part = part.flatten(0, -2).float()
            asked = target >= 0 if name == "word" else target > 0
            num_asked = int(asked.sum())
            if name == "word" and num_asked == 0:
                continue
            loss = F.cross_entropy(part, target, getattr(self, f"{name}_weight"), ignore_index=IGNORED)
            losses.append(task_weights[index] * loss)
            guesses = part.detach().argmax(-1)
            right[name] = (int((guesses == target)[asked].sum()), num_asked)
        return torch.stack(losses).sum(), right
