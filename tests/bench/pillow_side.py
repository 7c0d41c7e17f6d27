# Owns Pillow's side of `deno task bench tiler`: a path per line comes in, the milliseconds of one run go out.
import json
import os
import sys
import time

import PIL
from PIL import Image

# The bench sends the grid along, so that both sides do the same work.
print(json.dumps({"version": PIL.__version__, "pid": os.getpid()}), flush=True)
for line in sys.stdin:
    ask = json.loads(line)
    size, cols, rows = ask["tileSize"], ask["cols"], ask["rows"]
    start = time.perf_counter()
    image = Image.open(ask["path"]).convert("RGB")
    decoded = time.perf_counter()
    canvas = image.resize((cols * size, rows * size), Image.BICUBIC)
    thumbnail = image.resize((size, size), Image.BICUBIC)
    resized = time.perf_counter()
    boxes = [(col * size, row * size, (col + 1) * size, (row + 1) * size) for row in range(rows) for col in range(cols)]
    tiles = [canvas.crop(box).tobytes() for box in boxes] + [thumbnail.tobytes()]
    cut = time.perf_counter()
    assert len(tiles) == cols * rows + 1
    steps = {"decode": decoded - start, "resize": resized - decoded, "cut": cut - resized}
    print(json.dumps({name: seconds * 1000 for name, seconds in steps.items()}), flush=True)
