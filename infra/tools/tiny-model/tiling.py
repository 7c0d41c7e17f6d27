"""InternVL's dynamic tiling: the grid, the tiles and the thumbnail of a picture."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from PIL import Image

Region = tuple[float, float, float, float]  # left, top, width, height in fractions of the picture


@lru_cache(maxsize=8)
def grids(max_tiles: int) -> tuple[tuple[int, int], ...]:
    """All (columns, rows) of at most `max_tiles` tiles, ordered by area."""
    found = {(c, r) for c in range(1, max_tiles + 1) for r in range(1, max_tiles + 1) if c * r <= max_tiles}
    return tuple(sorted(found, key=lambda grid: (grid[0] * grid[1], grid)))


def choose_grid(width: int, height: int, tile: int, max_tiles: int) -> tuple[int, int]:
    """The nearest aspect ratio; on a tie the larger grid wins only for a picture large enough."""
    aspect = width / height
    best, best_difference = (1, 1), float("inf")
    for columns, rows in grids(max_tiles):
        difference = abs(aspect - columns / rows)
        if difference < best_difference:
            best, best_difference = (columns, rows), difference
        elif difference == best_difference and width * height > 0.5 * tile * tile * columns * rows:
            best = (columns, rows)
    return best


def cut(image: Image.Image, grid: tuple[int, int], tile: int) -> tuple[np.ndarray, list[Region]]:
    """Tiles as u8 [n, tile, tile, 3] in row-major order, then the thumbnail when there are several."""
    columns, rows = grid
    resized = np.asarray(image.resize((columns * tile, rows * tile), Image.Resampling.BICUBIC))
    tiles = resized.reshape(rows, tile, columns, tile, 3).transpose(0, 2, 1, 3, 4).reshape(-1, tile, tile, 3)
    regions = [(c / columns, r / rows, 1 / columns, 1 / rows) for r in range(rows) for c in range(columns)]
    if columns * rows > 1:
        thumbnail = np.asarray(image.resize((tile, tile), Image.Resampling.BICUBIC))
        tiles = np.concatenate([tiles, thumbnail[None]])
        regions.append((0.0, 0.0, 1.0, 1.0))
    return tiles, regions
