# Owns the pictures that `deno task bench tiler` measures: photo-like JPEGs and a screenshot, the same every time.
# Run by the bench: python pictures.py <folder>
import pathlib
import sys

import numpy
from PIL import Image, ImageDraw


def photo(width, height):
    """Gradients, soft shapes, texture and sensor noise: about what a phone's picture costs to decode."""
    rng = numpy.random.default_rng(7)
    y, x = numpy.mgrid[0:height, 0:width].astype(numpy.float32)
    waves = numpy.sin(x / 37) * numpy.cos(y / 53) * 25
    planes = [x / width * 150 + waves + 40, y / height * 130 + waves + 50, (x + y) / (width + height) * 160 + 45]
    image = Image.fromarray(numpy.clip(numpy.stack(planes, -1), 0, 255).astype(numpy.uint8))
    draw = ImageDraw.Draw(image)
    for _ in range(120):
        left, top = int(rng.integers(0, width)), int(rng.integers(0, height))
        size = int(rng.integers(height // 60 + 2, height // 6 + 3))
        colour = tuple(int(value) for value in rng.integers(0, 256, 3))
        (draw.ellipse if rng.random() < 0.5 else draw.rectangle)((left, top, left + size, top + size), fill=colour)
    noise = rng.normal(0, 5, (height, width, 1)).astype(numpy.float32)
    return Image.fromarray(numpy.clip(numpy.asarray(image) + noise, 0, 255).astype(numpy.uint8))


def screenshot(width, height):
    """Flat areas, lines of text, a few icons."""
    rng = numpy.random.default_rng(8)
    image = Image.new("RGB", (width, height), (250, 250, 252))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, width, 60), fill=(40, 44, 52))
    draw.rectangle((0, 60, 300, height), fill=(235, 237, 240))
    for row in range(90, height - 20, 18):
        text = "".join(chr(int(c)) for c in rng.integers(33, 127, int(rng.integers(20, 200))))
        draw.text((320 + 24 * int(rng.integers(0, 4)), row), text, fill=(30, 30, 40))
        draw.text((20, row), text[:24], fill=(90, 90, 110))
    for _ in range(40):
        left, top = int(rng.integers(0, width - 40)), int(rng.integers(0, height - 40))
        draw.ellipse((left, top, left + 32, top + 32), fill=tuple(int(value) for value in rng.integers(0, 256, 3)))
    return image


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, width, height in (("jpeg_1920x1080", 1920, 1080), ("jpeg_4032x3024", 4032, 3024), ("jpeg_40mp", 7744, 5168)):
        path = folder / f"{name}.jpg"
        if not path.exists():
            photo(width, height).save(path, quality=88, subsampling="4:2:0")
    path = folder / "png_screenshot.png"
    if not path.exists():
        screenshot(2560, 1440).save(path)


main()
