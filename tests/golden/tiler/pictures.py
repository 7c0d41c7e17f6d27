# Owns the small pictures the tiler is tested on: one per way a format stores pixels, made from arithmetic alone.
import io
import random
import struct
import zlib

import numpy as np
from PIL import Image

from odd_jpegs import damaged, odd_jpeg

ODD = [17, 27, 33, 35, 44, 48, 93, 95, 156]
UNFINISHED = [1, 2, 4]
DAMAGED = [4, 7, 11, 14]


def photo(width, height, channels=3, seed=1):
    """Smooth colour, edges and some noise: something of all that a resampler and a codec can get wrong."""
    y, x = np.mgrid[0:height, 0:width]
    rng = np.random.default_rng(seed)
    planes = []
    for c in range(channels):
        wave = 110 + 70 * np.sin(x / (5 + 3 * c)) + 50 * np.cos(y / (7 - c)) + (((x // 9 + y // 6) & 1) * 40)
        planes.append(wave + rng.integers(-12, 13, (height, width)))
    return np.stack(planes, -1).clip(0, 255).astype(np.uint8)


def alpha(width, height):
    y, x = np.mgrid[0:height, 0:width]
    return ((x * 255 // max(1, width - 1)) ^ ((y * 5) & 255)).astype(np.uint8)


def rgba(width, height):
    return Image.fromarray(np.dstack([photo(width, height), alpha(width, height)]), "RGBA")


def save(image, kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def exif(orientation):
    block = Image.Exif()
    block[0x0112] = orientation
    return block


# -- PNG beyond what Pillow writes -------------------------------------------------------------------------------------
def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, depth, color, rows_of, before=(), after=(), interlace=False):
    """`rows_of(x0, y0, dx, dy)` gives the packed rows of one pass, without filter bytes."""
    passes = [(0, 0, 1, 1)]
    if interlace:
        passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    raw = b"".join(b"\0" + row for step in passes for row in rows_of(*step))
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, int(interlace))
    body = [chunk(b"IHDR", header), *before, chunk(b"IDAT", zlib.compress(raw, 9)), *after, chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def packed(array, depth):
    """Rows of samples below 8 bits."""

    def rows_of(x0, y0, dx, dy):
        for row in array[y0::dy, x0::dx]:
            if row.size:
                bits = np.unpackbits(row.astype(np.uint8)[:, None], axis=1)[:, 8 - depth :]
                yield np.packbits(bits.reshape(-1)).tobytes()

    return rows_of


def samples(array):
    def rows_of(x0, y0, dx, dy):
        for row in array[y0::dy, x0::dx]:
            if row.size:
                yield row.tobytes()

    return rows_of


def pngs():
    w, h = 53, 37
    rgb = photo(w, h)
    grey = rgb[..., 0]
    wide = (rgb.astype(">u2") * 257 + 91).astype(">u2")
    palette = photo(16, 1, seed=5).tobytes()
    yield "grey1", png(w, h, 1, 0, packed(grey >> 7, 1))
    yield "grey2", png(w, h, 2, 0, packed(grey >> 6, 2))
    yield "grey4", png(w, h, 4, 0, packed(grey >> 4, 4))
    yield "grey8", save(Image.fromarray(grey), "PNG")
    yield "grey8_key", png(w, h, 8, 0, samples(grey & 0xF0), before=[chunk(b"tRNS", struct.pack(">H", 0x80))])
    yield "grey16_exact", png(w, h, 16, 0, samples((grey.astype(">u2") << 2).astype(">u2")))
    yield "grey_alpha", save(Image.fromarray(np.dstack([grey, alpha(w, h)]), "LA"), "PNG")
    yield "rgb8", save(Image.fromarray(rgb), "PNG")
    keyed = (rgb & 0xC0).copy()
    yield "rgb8_key", png(w, h, 8, 2, samples(keyed), before=[chunk(b"tRNS", struct.pack(">HHH", *map(int, keyed[3, 3])))])
    yield "rgb16", png(w, h, 16, 2, samples(wide))
    yield "rgba8", save(rgba(w, h), "PNG")
    yield "rgba16", png(w, h, 16, 6, samples(np.dstack([wide, (alpha(w, h).astype(">u2") * 257).astype(">u2")])))
    yield "rgba8_interlaced", png(w, h, 8, 6, samples(np.asarray(rgba(w, h))), interlace=True)
    yield "palette4", png(w, h, 4, 3, packed(grey >> 4, 4), before=[chunk(b"PLTE", palette)])
    short = [chunk(b"PLTE", palette[:30])]
    yield "palette8_short", png(w, h, 8, 3, samples(grey >> 4), before=short)
    trns = chunk(b"tRNS", bytes(range(0, 240, 24)))
    yield "palette4_alpha", png(w, h, 4, 3, packed(grey >> 4, 4), before=[chunk(b"PLTE", palette), trns])
    yield "palette1_interlaced", png(w, h, 1, 3, packed(grey >> 7, 1), before=[chunk(b"PLTE", palette[:6])], interlace=True)
    block = exif(6).tobytes().removeprefix(b"Exif\0\0")
    yield "rgb8_exif_last", png(w, h, 8, 2, samples(rgb), after=[chunk(b"eXIf", block)])


# -- JPEG --------------------------------------------------------------------------------------------------------------
def jpegs():
    w, h = 61, 43
    image = Image.fromarray(photo(w, h))
    for name, subsampling in (("444", 0), ("422", 1), ("420", 2)):
        yield name, save(image, "JPEG", quality=85, subsampling=subsampling)
        yield f"{name}_progressive", save(image, "JPEG", quality=70, subsampling=subsampling, progressive=True)
    yield "420_restart", save(image, "JPEG", quality=80, subsampling=2, restart_marker_blocks=2)
    yield "rgb_stored", save(image, "JPEG", quality=90, keep_rgb=True)
    yield "grey", save(image.convert("L"), "JPEG", quality=80)
    yield "grey_progressive", save(image.convert("L"), "JPEG", quality=80, progressive=True)
    yield "cmyk", save(Image.fromarray(photo(w, h, 4), "CMYK"), "JPEG", quality=85)
    yield "one_pixel", save(Image.fromarray(photo(1, 1)), "JPEG")
    small = Image.fromarray(photo(40, 24))
    for orientation in range(1, 9):
        yield f"exif{orientation}", save(small, "JPEG", quality=60, exif=exif(orientation))
    # Tall and wide ones: the order of the passes differs, and so do many bytes.
    yield "tall", save(Image.fromarray(photo(48, 1500)), "JPEG", quality=30)
    yield "wide", save(Image.fromarray(photo(1500, 48)), "JPEG", quality=30)
    yield "large", save(Image.fromarray(photo(901, 677)), "JPEG", quality=12)


def odd():
    # Seeds of small files that have between them: 4:4:0, 4:1:1, subsampled luma, CMYK with subsampled black, RGB, several
    # scans, restarts, all kinds of progressive scans; then files that leave coefficients inaccurate; then damaged ones.
    for seed in ODD:
        yield f"odd{seed}", odd_jpeg(random.Random(seed))
    for seed in UNFINISHED:
        yield f"unfinished{seed}", odd_jpeg(random.Random(seed), incomplete=True)
    for seed in DAMAGED:
        rng = random.Random(seed)
        yield f"damaged{seed}", damaged(rng, odd_jpeg(rng))


# -- WebP --------------------------------------------------------------------------------------------------------------
def webps():
    w, h = 57, 41
    image = Image.fromarray(photo(w, h))
    yield "lossy", save(image, "WEBP", quality=70)
    yield "lossy_low", save(image, "WEBP", quality=5)
    yield "lossy_alpha", save(rgba(w, h), "WEBP", quality=60, exact=True)
    yield "lossless", save(image, "WEBP", lossless=True)
    yield "lossless_alpha", save(rgba(w, h), "WEBP", lossless=True, exact=True)
    yield "exif", save(image, "WEBP", quality=50, exif=exif(8))
    frames = [Image.fromarray(photo(w, h, seed=seed)) for seed in (2, 3)]
    yield "animated", save(frames[0], "WEBP", save_all=True, append_images=frames[1:], quality=50)
    first = rgba(w, h)
    yield "animated_alpha", save(first, "WEBP", save_all=True, append_images=[rgba(w, h).rotate(180)], lossless=True)


# -- GIF ---------------------------------------------------------------------------------------------------------------
def gifs():
    w, h = 47, 35
    image = Image.fromarray(photo(w, h)).quantize(64)
    plain = save(image, "GIF", interlace=0)
    yield "plain", plain
    yield "interlaced", save(image, "GIF", interlace=1)
    yield "grey", save(Image.fromarray(photo(w, h)[..., 1]), "GIF")
    yield "transparent", save(image, "GIF", transparency=int(np.asarray(image)[4, 4]))
    other = Image.fromarray(photo(w, h, seed=9)).quantize(16)
    yield "animated", save(image, "GIF", save_all=True, append_images=[other], duration=100)
    # The frame is moved: canvas around it on one side, over the edge on the other.
    at = plain.index(b"," + struct.pack("<HHHH", 0, 0, w, h))
    yield "moved", plain[: at + 1] + struct.pack("<HH", 9, 4) + plain[at + 5 :]
    keyed = save(image, "GIF", transparency=3)
    at = keyed.index(b"," + struct.pack("<HHHH", 0, 0, w, h))
    yield "moved_transparent", keyed[: at + 1] + struct.pack("<HH", 2, 11) + keyed[at + 5 :]


# -- BMP ---------------------------------------------------------------------------------------------------------------
def bmp(width, height, bits, rows, compression=0, palette=b"", masks=b"", top_down=False, size=40):
    data = rows if isinstance(rows, bytes) else b"".join(row + bytes(-len(row) % 4) for row in rows)
    at = 14 + size + (len(masks) if size == 40 else 0) + len(palette)
    info = struct.pack("<IiiHHIIiiII", size, width, -height if top_down else height, 1, bits, compression, len(data), 0, 0, len(palette) // 4, 0)
    if size > 40:
        info += masks + bytes(size - 40 - len(masks))
        masks = b""
    return b"BM" + struct.pack("<IHHI", at + len(data), 0, 0, at) + info + masks + palette + data


def rle8(indices):
    out = b""
    for row in indices:
        out += bytes([0, 6]) + row[:6].tobytes()
        out += b"".join(bytes([1, value]) for value in row[6:].tolist()) + b"\0\0"
    return out + b"\0\1"


def bmps():
    w, h = 45, 31
    image = Image.fromarray(photo(w, h))
    rgb = photo(w, h).astype(np.uint32)
    yield "rgb24", save(image, "BMP")
    yield "grey8", save(image.convert("L"), "BMP")
    yield "mono", save(image.convert("1"), "BMP")
    paletted = image.quantize(200)
    yield "palette8", save(paletted, "BMP")
    colours = b"".join(bytes(c) + b"\0" for c in photo(16, 1, seed=4)[0].tolist())
    four = (np.asarray(image)[..., 0] >> 4).astype(np.uint8)
    yield "palette4", bmp(w, h, 4, [row for row in packed(four, 4)(0, 0, 1, 1)], palette=colours)
    yield "top_down", bmp(w, h, 24, [row.tobytes() for row in photo(w, h)], top_down=True)
    yield "rle8", bmp(w, h, 8, rle8(four), compression=1, palette=colours)
    r, g, b = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    five = (r >> 3 << 10 | g >> 3 << 5 | b >> 3).astype("<u2")
    six = (r >> 3 << 11 | g >> 2 << 5 | b >> 3).astype("<u2")
    yield "rgb555", bmp(w, h, 16, [row.tobytes() for row in five[::-1]])
    yield "rgb565", bmp(w, h, 16, [row.tobytes() for row in six[::-1]], compression=3, masks=struct.pack("<III", 0xF800, 0x7E0, 0x1F))
    four_bytes = np.dstack([photo(w, h), alpha(w, h)])
    yield "rgbx32", bmp(w, h, 32, [row.tobytes() for row in four_bytes[::-1]])
    masks = struct.pack("<IIII", 0xFF, 0xFF00, 0xFF0000, 0xFF000000)
    yield "rgba32", bmp(w, h, 32, [row.tobytes() for row in four_bytes[::-1]], compression=3, masks=masks, size=124)


def all_pictures():
    for kind, make in (("jpg", jpegs), ("jpg", odd), ("png", pngs), ("webp", webps), ("gif", gifs), ("bmp", bmps)):
        for name, data in make():
            yield f"{name}.{kind}", data
