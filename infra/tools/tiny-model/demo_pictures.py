"""Draws the demonstration pictures and writes their right captions to captions.json."""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

import language
from render import render
from scenes import COLOURS, POSITIONS, RADIUS, Scene, Shape, Text


def shape(description: str, width: int, height: int, rng: random.Random) -> Shape:
    """A shape from a phrase such as `large red circle top left`."""
    size, colour, kind, place = description.split(" ", 3)
    cell = POSITIONS.index(place)
    centre = ((cell % 3 + 0.5) / 3, (cell // 3 + 0.5) / 3)
    return Shape(kind, colour, size, cell, centre, rng.uniform(*RADIUS[size]), COLOURS[colour])


def scene(
    width: int, height: int, ground: tuple, horizontal: bool, descriptions: list[str], text: Text | None = None
) -> Scene:
    rng = random.Random(f"{width}x{height}")
    shapes = tuple(shape(description, width, height, rng) for description in descriptions)
    ordered = tuple(sorted(shapes, key=lambda one: one.cell))
    return Scene(width, height, ground, horizontal, ordered, text)


GREY, PINK, TEAL, SAND, PURPLE = (128, 128, 128), (230, 130, 200), (20, 150, 160), (190, 160, 120), (150, 60, 170)
SCENES: dict[str, Scene] = {
    "square.png": scene(
        480, 480, (GREY, GREY), True, ["large red circle top left", "small blue cross centre", "large yellow star bottom right"]
    ),
    "wide.jpg": scene(
        1500, 520, (PINK, SAND), True, ["large green triangle left", "small white ring top", "large black square right"]
    ),
    "tall.png": scene(300, 800, (TEAL, TEAL), False, ["small red star top right", "large yellow ring bottom"]),
    "word.png": scene(
        720, 480, (SAND, PINK), False, ["large blue circle left", "small green square right"],
        Text("SUN", 2, "pillow", 0.9, 0.5),
    ),
    "number.jpg": scene(640, 640, (PURPLE, PURPLE), True, ["large white cross centre"], Text("42", 0, "pillow", 0.9, 0.3)),
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    for name, drawn in SCENES.items():
        image, _ = render(drawn)
        if name.endswith(".jpg"):
            image.save(folder / name, quality=90)
        else:
            image.save(folder / name, optimize=True)
    captions = {name: language.caption(drawn) for name, drawn in SCENES.items()}
    (folder / "captions.json").write_text(json.dumps(captions, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
