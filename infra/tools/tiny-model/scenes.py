"""The scene language: what a drawn scene may contain, and how one is drawn by chance."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, replace

Colour = tuple[int, int, int]

SHAPES = ("circle", "square", "triangle", "star", "cross", "ring")
COLOURS: dict[str, Colour] = {
    "red": (220, 30, 30),
    "green": (30, 160, 50),
    "blue": (40, 70, 220),
    "yellow": (240, 220, 40),
    "black": (12, 12, 12),
    "white": (250, 250, 250),
}
COLOUR_TOLERANCE = 14  # per channel
SIZES = ("small", "large")
RADIUS = {"small": (0.21, 0.26), "large": (0.40, 0.47)}  # of min(width, height) / 3
POSITIONS = (
    "top left", "top", "top right",
    "left", "centre", "right",
    "bottom left", "bottom", "bottom right",
)  # fmt: skip
GROUND_DISTANCE = 95.0  # RGB distance every ground colour keeps from every shape colour
WORDS = (
    "SUN MOON TREE FISH BIRD CAT DOG BEE ANT COW PIG FOX OWL HAT CUP KEY BOX BUS CAR VAN "
    "JET TAXI SHIP BOAT STOP EXIT OPEN SHUT PUSH PULL SALE FREE NEW OLD HOT COLD YES NO "
    "UP DOWN ICE TEA MILK EGG JAM RICE CAKE SALT BANK CAFE ZOO PARK SHOP BOOK WEST EAST"
).split()
DIRECTIONS = {"right": (1, 0), "left": (-1, 0), "down": (0, 1), "up": (0, -1), "still": (0, 0)}

MAX_ASPECT = 3.0
MAX_WORD_ASPECT = 2.0  # also of the frames of a motion
LONG_SIDE = (100, 2000)
SHORT_SIDE = 90


@dataclass(frozen=True)
class Shape:
    """One shape; `centre` is in fractions of the picture, `radius` in fractions of min(w, h) / 3."""

    kind: str
    colour: str
    size: str
    cell: int
    centre: tuple[float, float]
    radius: float
    paint: Colour


@dataclass(frozen=True)
class Text:
    """A printed word or number in the top or bottom third."""

    text: str
    row: int  # 0 is the top third, 2 the bottom third
    font: str  # a key of render.FONTS
    fill: float  # share of the largest size that fits
    offset: float  # 0 is the left-most place, 1 the right-most

    @property
    def is_number(self) -> bool:
        return self.text.isdigit()


@dataclass(frozen=True)
class Scene:
    """A picture before it is drawn; `shapes` are in row-major order of their cells."""

    width: int
    height: int
    ground: tuple[Colour, Colour]
    ground_is_horizontal: bool
    shapes: tuple[Shape, ...] = ()
    text: Text | None = None


@dataclass(frozen=True)
class Motion:
    """Four to eight frames in which one shape moves along a straight line or stays."""

    frames: tuple[Scene, ...]
    direction: str
    shape: Shape


def distance(a: Colour, b: Colour) -> float:
    return math.dist(a, b)


def mix(a: Colour, b: Colour, share: float) -> Colour:
    return tuple(round(x + (y - x) * share) for x, y in zip(a, b))  # type: ignore[return-value]


def is_ground(colour: Colour) -> bool:
    return all(distance(colour, other) > GROUND_DISTANCE for other in COLOURS.values())


def random_colour(rng: random.Random) -> Colour:
    return (rng.randrange(256), rng.randrange(256), rng.randrange(256))


def random_ground(rng: random.Random) -> tuple[Colour, Colour]:
    """Two ends of a gradient (equal for a plain ground), every step of it a valid ground."""
    first = random_colour(rng)
    while not is_ground(first):
        first = random_colour(rng)
    if rng.random() < 0.5:
        return first, first
    for _ in range(30):
        second = random_colour(rng)
        if all(is_ground(mix(first, second, step / 6)) for step in range(1, 7)):
            return first, second
    return first, first


def random_size(rng: random.Random, low_aspect: float, high_aspect: float) -> tuple[int, int]:
    """Width and height: aspect and long side are uniform in their logarithms."""
    aspect = math.exp(rng.uniform(math.log(low_aspect), math.log(high_aspect)))
    stretch = max(aspect, 1 / aspect)
    shortest = max(LONG_SIDE[0], math.ceil(SHORT_SIDE * stretch))
    long_side = math.exp(rng.uniform(math.log(shortest), math.log(LONG_SIDE[1])))
    short_side = long_side / stretch
    size = (long_side, short_side) if aspect >= 1 else (short_side, long_side)
    return round(size[0]), round(size[1])


def random_shape(rng: random.Random, cell: int, width: int, height: int) -> Shape:
    size = rng.choice(SIZES)
    radius = rng.uniform(*RADIUS[size])
    unit = min(width, height) / 3
    spare_x = max(0.0, width / 6 - radius * unit) * 0.5
    spare_y = max(0.0, height / 6 - radius * unit) * 0.5
    centre_x = (cell % 3 + 0.5) / 3 + rng.uniform(-spare_x, spare_x) / width
    centre_y = (cell // 3 + 0.5) / 3 + rng.uniform(-spare_y, spare_y) / height
    colour = rng.choice(list(COLOURS))
    paint = tuple(
        min(255, max(0, channel + rng.randint(-COLOUR_TOLERANCE, COLOUR_TOLERANCE))) for channel in COLOURS[colour]
    )
    return Shape(rng.choice(SHAPES), colour, size, cell, (centre_x, centre_y), radius, paint)  # type: ignore[arg-type]


def random_text(rng: random.Random, fonts: tuple[str, ...]) -> Text:
    text = str(rng.randint(1, 99)) if rng.random() < 0.25 else rng.choice(WORDS)
    return Text(text, rng.choice((0, 2)), rng.choice(fonts), rng.uniform(0.8, 1.0), rng.random())


def random_scene(
    rng: random.Random,
    *,
    aspect: tuple[float, float] = (1 / MAX_ASPECT, MAX_ASPECT),
    text: Text | None = None,
    num_shapes: tuple[int, int] = (1, 4),
    shape_ground: tuple[Colour, Colour] | None = None,
) -> Scene:
    """A scene with shapes in distinct cells; a text keeps its whole row free of shapes."""
    width, height = random_size(rng, *aspect)
    cells = [cell for cell in range(9) if text is None or cell // 3 != text.row]
    count = min(rng.randint(*num_shapes), len(cells))
    chosen = sorted(rng.sample(cells, count))
    shapes = tuple(random_shape(rng, cell, width, height) for cell in chosen)
    return Scene(width, height, shape_ground or random_ground(rng), rng.random() < 0.5, shapes, text)


def random_motion(rng: random.Random) -> Motion:
    """A shape that crosses more than half of the picture in a straight line, or stays."""
    base = random_scene(rng, aspect=(1 / 1.5, 1.5), num_shapes=(1, 1))
    direction = rng.choice(list(DIRECTIONS))
    step_x, step_y = DIRECTIONS[direction]
    num_frames = rng.randint(4, 8)
    shape = base.shapes[0]
    unit = min(base.width, base.height) / 3
    margin = (shape.radius * unit / base.width + 0.02, shape.radius * unit / base.height + 0.02)
    frames = []
    length = rng.uniform(0.5, 0.62)
    start = [rng.uniform(edge, 1 - edge) for edge in margin]
    for axis, step in enumerate((step_x, step_y)):
        if step:
            spare = max(0.0, 1 - 2 * margin[axis] - length)
            low = margin[axis] + rng.uniform(0, spare)
            start[axis] = low if step > 0 else 1 - low
    for index in range(num_frames):
        share = index / (num_frames - 1) * length
        centre = (start[0] + step_x * share, start[1] + step_y * share)
        frames.append(replace(base, shapes=(replace(shape, centre=centre),)))
    return Motion(tuple(frames), direction, shape)
