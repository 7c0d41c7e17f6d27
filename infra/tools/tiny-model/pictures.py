"""A scene as the model sees it: drawn at a fitting resolution, stored, resized and cut into tiles."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np

from patch_head import patch_labels
from render import render, through_jpeg
from scenes import Scene
from tiling import choose_grid, cut


@dataclass(frozen=True)
class Picture:
    tiles: np.ndarray  # u8 [n, tile, tile, 3], the thumbnail last
    labels: np.ndarray  # i64 [n, patches, fields]


def see(scene: Scene, rng: random.Random, tile: int, patch: int, max_tiles: int, exact: bool = False) -> Picture:
    """`exact` draws at the scene's own size; otherwise never much finer than the tiles can show."""
    grid = choose_grid(scene.width, scene.height, tile, max_tiles)
    finest = tile * max(grid[0] / scene.width, grid[1] / scene.height)
    scale = 1.0 if exact else min(1.0, finest * rng.uniform(1.0, 2.2))
    image, marks = render(scene, scale)
    if rng.random() < 0.3:
        image = through_jpeg(image, rng)
    tiles, regions = cut(image, grid, tile)
    word = scene.text.text if scene.text else ""
    return Picture(tiles, patch_labels(marks, word, regions, tile // patch))
