# Owns fresh random pictures and what Pillow makes of them; compare.ts asks for them and tiles them itself.
# Run by: deno task compare tiler [pictures] [seed]
import base64
import io
import json
import random
import sys

import numpy
import PIL
from PIL import Image

from make_goldens import case
from odd_jpegs import damaged, odd_jpeg

KINDS = ["jpeg", "jpeg", "odd_jpeg", "odd_jpeg", "unfinished_jpeg", "damaged_jpeg", "damaged_jpeg", "grey", "cmyk"]
KINDS += ["png", "rgba", "palette", "webp", "lossless", "gif", "bmp"]
SETTINGS = [(28, 1, 6), (28, 1, 12), (37, 2, 40), (448, 1, 12), (448, 1, 4)]


def pixels(rng, width, height):
    """A gradient, some edges, some noise: smooth and rough places in one picture."""
    y, x = numpy.mgrid[0:height, 0:width]
    planes = [(x * rng.random() + y * rng.random() + rng.random() * 255) % 256 for _ in range(4)]
    noise = numpy.random.default_rng(rng.getrandbits(32)).normal(0, rng.choice([0, 3, 40]), (height, width, 4))
    return numpy.clip(numpy.stack(planes, -1) + noise, 0, 255).astype(numpy.uint8)


def picture(rng):
    longest = rng.choice([40, 200, 700, 1600])
    width, height = rng.randint(1, longest), rng.randint(1, longest)
    array = pixels(rng, width, height)
    rgb, rgba = Image.fromarray(array[..., :3]), Image.fromarray(array, "RGBA")
    exif = Image.Exif()
    exif[0x112] = rng.randint(1, 8)
    kind = rng.choice(KINDS)
    if kind in ("odd_jpeg", "unfinished_jpeg", "damaged_jpeg"):
        data = odd_jpeg(rng, incomplete=kind == "unfinished_jpeg")
        return kind, damaged(rng, data) if kind == "damaged_jpeg" else data
    out = io.BytesIO()
    if kind in ("jpeg", "grey", "cmyk"):
        mode = {"jpeg": "RGB", "grey": "L", "cmyk": "CMYK"}[kind]
        how = {} if kind != "jpeg" else {"subsampling": rng.choice(["4:4:4", "4:2:2", "4:2:0"])}
        image = rgb.convert(mode)
        image.save(out, "JPEG", quality=rng.randint(20, 98), progressive=rng.random() < 0.3, exif=exif, **how)
    elif kind in ("webp", "lossless"):
        image = rgba if rng.random() < 0.3 else rgb
        image.save(out, "WEBP", quality=rng.randint(20, 95), lossless=kind == "lossless", method=0, exif=exif)
    else:
        image = {"png": rgb, "rgba": rgba, "bmp": rgb}.get(kind) or rgb.quantize(rng.choice([2, 16, 256]))
        image.save(out, {"gif": "GIF", "bmp": "BMP"}.get(kind, "PNG"))
    return kind, out.getvalue()


def main():
    if PIL.__version__ != "13.0.0":
        sys.exit(f"Cannot compare: Pillow is {PIL.__version__}, expected 13.0.0")
    count, seed = int(sys.argv[1]), int(sys.argv[2])
    rng = random.Random(seed)
    for _ in range(count):
        kind, data = picture(rng)
        try:
            golden = case(kind, data, rng.random() < 0.5, *rng.choice(SETTINGS))
        except OSError as error:
            if kind != "damaged_jpeg":
                raise
            # Whatever Pillow refuses may be refused here, or not.
            golden = {"file": kind, "refused": str(error)}
        print(json.dumps({**golden, "data": base64.b64encode(data).decode()}), flush=True)


main()
