"""Draws a scene with Pillow and tells where each shape and character landed."""

from __future__ import annotations

import io
import math
import random
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from scenes import Colour, Scene, Shape, Text, distance, mix

RING_WIDTH = 0.40  # of the radius
CROSS_ARM = 0.33
STAR_INNER = 0.42
SQUARE_HALF = 0.88
TEXT_BOX = (0.9, 0.30)  # largest share of the picture's width and height a text may take
DEJAVU_PLACES = (
    Path("/usr/share/fonts/truetype/dejavu/DejaVuSans-Bold.ttf"),
    Path("/usr/share/fonts/TTF/DejaVuSans-Bold.ttf"),
)


@dataclass(frozen=True)
class Mark:
    """A box in fractions of the picture and what is in it (a shape, or one character)."""

    left: float
    top: float
    right: float
    bottom: float
    shape: Shape | None = None
    character: str = ""


def find_dejavu() -> str | None:
    """DejaVu Sans Bold from the system or from matplotlib's data, if either is installed."""
    for place in DEJAVU_PLACES:
        if place.exists():
            return str(place)
    try:
        import matplotlib
    except ImportError:
        return None
    place = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans-Bold.ttf"
    return str(place) if place.exists() else None


DEJAVU = find_dejavu()
FONTS: tuple[str, ...] = ("pillow", "dejavu") if DEJAVU else ("pillow",)


@lru_cache(maxsize=512)
def load_font(name: str, size: int) -> ImageFont.FreeTypeFont:
    if name == "dejavu" and DEJAVU:
        return ImageFont.truetype(DEJAVU, size)
    return ImageFont.load_default(size)  # type: ignore[return-value]


def outline(kind: str, x: float, y: float, radius: float) -> list[tuple[float, float]]:
    """The corner points of the shapes that are polygons."""
    if kind == "triangle":
        points = [(0.0, -1.0), (0.95, 0.85), (-0.95, 0.85)]
    elif kind == "square":
        half = SQUARE_HALF
        points = [(-half, -half), (half, -half), (half, half), (-half, half)]
    elif kind == "star":
        reach = [1.0 if corner % 2 == 0 else STAR_INNER for corner in range(10)]
        points = [
            (reach[corner] * math.sin(corner * math.pi / 5), -reach[corner] * math.cos(corner * math.pi / 5))
            for corner in range(10)
        ]
    else:
        arm = CROSS_ARM
        points = [
            (-arm, -1.0), (arm, -1.0), (arm, -arm), (1.0, -arm), (1.0, arm), (arm, arm),
            (arm, 1.0), (-arm, 1.0), (-arm, arm), (-1.0, arm), (-1.0, -arm), (-arm, -arm),
        ]  # fmt: skip
    return [(x + radius * dx, y + radius * dy) for dx, dy in points]


def draw_shape(draw: ImageDraw.ImageDraw, shape: Shape, width: int, height: int) -> Mark:
    radius = shape.radius * min(width, height) / 3
    x, y = shape.centre[0] * width, shape.centre[1] * height
    box = (x - radius, y - radius, x + radius, y + radius)
    if shape.kind == "circle":
        draw.ellipse(box, fill=shape.paint)
    elif shape.kind == "ring":
        draw.ellipse(box, outline=shape.paint, width=max(2, round(radius * RING_WIDTH)))
    else:
        draw.polygon(outline(shape.kind, x, y, radius), fill=shape.paint)
    return Mark(box[0] / width, box[1] / height, box[2] / width, box[3] / height, shape)


def text_size(text: str, font: str, width: int, height: int) -> float:
    """The largest font size at which the text fits its box."""
    left, top, right, bottom = load_font(font, 100).getbbox(text)
    return min(TEXT_BOX[0] * width / (right - left), TEXT_BOX[1] * height / (bottom - top)) * 100


def text_colour(ground: Colour) -> Colour:
    return max(((0, 0, 0), (255, 255, 255)), key=lambda colour: distance(colour, ground))


def draw_text(draw: ImageDraw.ImageDraw, scene: Scene, text: Text, width: int, height: int) -> list[Mark]:
    size = max(8, int(text_size(text.text, text.font, width, height) * text.fill))
    font = load_font(text.font, size)
    left, top, right, bottom = font.getbbox(text.text)
    spare = max(0.0, width * 0.96 - (right - left))
    x = width * 0.02 + spare * text.offset
    y = height * (text.row + 0.5) / 3 - (bottom - top) / 2
    share = (x + (right - left) / 2) / width if scene.ground_is_horizontal else (text.row + 0.5) / 3
    draw.text((x - left, y - top), text.text, font=font, fill=text_colour(mix(*scene.ground, share)))
    marks = []
    pen = x - left
    for character in text.text:
        advance = font.getlength(character)
        marks.append(
            Mark(pen / width, y / height, (pen + advance) / width, (y + bottom - top) / height, None, character)
        )
        pen += advance
    return marks


def draw_ground(scene: Scene, width: int, height: int) -> Image.Image:
    first, last = scene.ground
    if first == last:
        return Image.new("RGB", (width, height), first)
    length = width if scene.ground_is_horizontal else height
    strip = Image.new("RGB", (length, 1))
    strip.putdata([mix(first, last, step / max(1, length - 1)) for step in range(length)])
    if not scene.ground_is_horizontal:
        strip = strip.transpose(Image.Transpose.ROTATE_270)
    return strip.resize((width, height), Image.Resampling.NEAREST)


def render(scene: Scene, scale: float = 1.0) -> tuple[Image.Image, list[Mark]]:
    """The picture at `scale` times its size, and its marks."""
    width, height = max(16, round(scene.width * scale)), max(16, round(scene.height * scale))
    image = draw_ground(scene, width, height)
    draw = ImageDraw.Draw(image)
    marks = [draw_shape(draw, shape, width, height) for shape in scene.shapes]
    if scene.text:
        marks += draw_text(draw, scene, scene.text, width, height)
    return image, marks


def through_jpeg(image: Image.Image, rng: random.Random) -> Image.Image:
    """The picture after JPEG at a quality between 60 and 95, as a camera or a site would store it."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=rng.randint(60, 95), subsampling=rng.choice((0, 1, 2)))
    return Image.open(buffer).convert("RGB")
