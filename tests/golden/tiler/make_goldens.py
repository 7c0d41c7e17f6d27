# Owns the goldens of the tiler: small pictures and what Pillow and the model vendor's code make of them.
# Run:  pip install -r requirements.txt && python make_goldens.py
# Pictures are written only where missing, because encoders change; goldens.json is made anew from what is there.
import hashlib
import io
import json
import pathlib
import platform
import sys

import PIL
from PIL import Image, ImageOps

from pictures import all_pictures

HERE = pathlib.Path(__file__).parent
PICTURES = HERE / "pictures"


def target_ratios(min_num, max_num):
    """The vendor's expression, whose order within an area is the iteration order of a set."""
    ratios = set(
        (i, j)
        for n in range(min_num, max_num + 1)
        for i in range(1, n + 1)
        for j in range(1, n + 1)
        if i * j <= max_num and i * j >= min_num
    )
    return sorted(ratios, key=lambda x: x[0] * x[1])


def find_closest_aspect_ratio(aspect_ratio, ratios, width, height, image_size):
    best_ratio_diff = float("inf")
    best_ratio = (1, 1)
    area = width * height
    for ratio in ratios:
        ratio_diff = abs(aspect_ratio - ratio[0] / ratio[1])
        if ratio_diff < best_ratio_diff:
            best_ratio_diff = ratio_diff
            best_ratio = ratio
        elif ratio_diff == best_ratio_diff:
            if area > 0.5 * image_size * image_size * ratio[0] * ratio[1]:
                best_ratio = ratio
    return best_ratio


def load(data, exact):
    image = Image.open(io.BytesIO(data))
    if exact:
        return image.convert("RGB")
    image = ImageOps.exif_transpose(image)
    if "transparency" in image.info or "A" in image.getbands():
        image = image.convert("RGBA")
        white = Image.new("RGB", image.size, (255, 255, 255))
        white.paste(image, mask=image.getchannel("A"))
        return white
    return image.convert("RGB")


def tile(image, size, min_num, max_num):
    width, height = image.size
    cols, rows = find_closest_aspect_ratio(width / height, target_ratios(min_num, max_num), width, height, size)
    resized = image.resize((cols * size, rows * size))
    tiles = [
        resized.crop((col * size, row * size, (col + 1) * size, (row + 1) * size))
        for row in range(rows)
        for col in range(cols)
    ]
    if len(tiles) != 1:
        tiles.append(image.resize((size, size)))
    return cols, rows, tiles


def case(name, data, exact, size, min_num, max_num):
    image = load(data, exact)
    cols, rows, tiles = tile(image, size, min_num, max_num)
    return {
        "file": name,
        "options": {"tileSize": size, "minTiles": min_num, "maxTiles": max_num, "thumbnail": True, "exact": exact},
        "sourceWidth": image.width,
        "sourceHeight": image.height,
        "cols": cols,
        "rows": rows,
        "tiles": len(tiles),
        # Over all tiles, one after another.
        "hash": hashlib.sha256(b"".join(t.tobytes() for t in tiles)).hexdigest(),
    }


def cases():
    for path in sorted(PICTURES.iterdir()):
        data = path.read_bytes()
        yield case(path.name, data, True, 28, 1, 6)
        # 16-bit grey is where the default mode leaves Pillow on purpose: Pillow clips, the tiler scales.
        if not path.stem.endswith("_exact"):
            yield case(path.name, data, False, 28, 1, 6)
        if path.stem in ("large", "tall", "wide", "lossy", "rgb8"):
            yield case(path.name, data, True, 448, 1, 12)
            yield case(path.name, data, True, 37, 2, 40)


def random_sizes(count):
    """1 to 8000 each, by a generator that tests/tile/goldens_test.ts has too."""
    state, sizes = 1, []
    for _ in range(count):
        pair = []
        for _ in range(2):
            state = (state * 1664525 + 1013904223) % 2**32
            pair.append(1 + (state >> 8) % 8000)
        sizes.append(tuple(pair))
    return sizes


def grids():
    """Choices for thousands of sizes up to 8000: all small ones and multiples, where ties are, a spread, random ones."""
    for size, min_num, max_num in ((448, 1, 12), (448, 1, 6), (448, 2, 12), (448, 1, 1), (28, 1, 40), (14, 3, 64)):
        ratios = target_ratios(min_num, max_num)
        sizes = [(w, h) for w in range(1, 49) for h in range(1, 49)]
        sizes += [(w, h) for w in range(50, 4000, 97) for h in range(50, 4000, 97)]
        sizes += [(w * 56, h * 56) for w in range(1, 33) for h in range(1, 33)]
        sizes += [(w * 250, h * 250) for w in range(1, 33) for h in range(1, 33)]
        sizes += random_sizes(8000)
        choices = [find_closest_aspect_ratio(w / h, ratios, w, h, size) for w, h in sizes]
        text = "\n".join(f"{w}x{h} {c}x{r}" for (w, h), (c, r) in zip(sizes, choices))
        yield {
            "tileSize": size,
            "minTiles": min_num,
            "maxTiles": max_num,
            "count": len(sizes),
            "hash": hashlib.sha256(text.encode()).hexdigest(),
        }


def main():
    if PIL.__version__ != "13.0.0":
        sys.exit(f"Cannot make goldens: Pillow is {PIL.__version__}, expected 13.0.0")
    PICTURES.mkdir(exist_ok=True)
    for name, data in all_pictures():
        if not (PICTURES / name).exists():
            (PICTURES / name).write_bytes(data)
    goldens = {
        "made_by": {"pillow": PIL.__version__, "python": platform.python_version()},
        "cases": list(cases()),
        "grids": list(grids()),
    }
    (HERE / "goldens.json").write_text(json.dumps(goldens, indent=1) + "\n")
    total = sum(path.stat().st_size for path in PICTURES.iterdir())
    print(f"{len(goldens['cases'])} cases, {total} bytes of pictures")


if __name__ == "__main__":
    main()
