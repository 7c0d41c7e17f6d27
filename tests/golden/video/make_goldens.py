"""Writes small videos and, beside them, what PyAV reads of each: frames a second, and the SHA-256 of every frame's RGB.

Frames are told in presentation order, as they decode without errors, upright. frame_indices.json holds choices of frames
made by the arithmetic of `get_index` in the vendor's quick start, in numpy.
Usage: python make_goldens.py (with requirements.txt beside it); `--check` reads the committed videos again instead.
"""

from __future__ import annotations

import hashlib
import json
import random
import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np

HERE = Path(__file__).parent
VIDEOS = HERE / "videos"
WIDTH, HEIGHT = 64, 48


def picture(number: int, width: int, height: int) -> np.ndarray:
    """A bar that moves over a ramp, and the number in binary below."""
    y, x = np.mgrid[0:height, 0:width]
    rgb = np.stack([x * 255 // width, y * 255 // height, (x + y + 4 * number) % 256], axis=-1).astype(np.uint8)
    left = number * 2 % width
    rgb[: height // 2, left : left + 6] = (250, 240, 20)
    for bit in range(6):
        rgb[height - 8 :, bit * 8 : bit * 8 + 6] = 255 if number >> bit & 1 else 0
    return rgb


def write(
    name: str,
    codec: str,
    frames: int = 30,
    rate: Fraction = Fraction(25),
    size: tuple[int, int] = (WIDTH, HEIGHT),
    pixels: str = "yuv420p",
    options: dict[str, str] | None = None,
    times: list[int] | None = None,
    audio: bool = False,
    container: dict[str, str] | None = None,
) -> None:
    """`times` are presentation times in ms, for a rate that varies."""
    with av.open(str(VIDEOS / name), "w", options=container or {}) as output:
        sound = output.add_stream("aac", rate=8000) if audio else None
        stream = output.add_stream(codec, rate=rate, options=options or {})
        stream.width, stream.height = size
        stream.pix_fmt = pixels
        stream.thread_count = 1
        if times:
            stream.codec_context.time_base = Fraction(1, 1000)
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(number, *size), format="rgb24")
            if times:
                frame.pts, frame.time_base = times[number], Fraction(1, 1000)
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
        if sound:
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), format="fltp", layout="mono")
            silence.sample_rate = 8000
            output.mux(sound.encode(silence))
            output.mux(sound.encode())


def ffmpeg(*arguments: str) -> None:
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *arguments], check=True, cwd=VIDEOS)


def cut_short(source: str, name: str, share: float) -> None:
    whole = (VIDEOS / source).read_bytes()
    (VIDEOS / name).write_bytes(whole[: int(len(whole) * share)])


def make_videos() -> None:
    VIDEOS.mkdir(exist_ok=True)
    for old in VIDEOS.iterdir():
        old.unlink()
    front = {"movflags": "+faststart"}
    write("h264.mp4", "libx264", options={"bf": "3", "crf": "30"}, container=front)
    write("h264.mov", "libx264", rate=Fraction(30000, 1001), options={"crf": "34"})
    write("hevc.mp4", "libx265", options={"x265-params": "log-level=none:pools=none:crf=34"})
    write("vp9.webm", "libvpx-vp9", rate=Fraction(30), options={"crf": "45", "b:v": "0"})
    write("av1.mkv", "libsvtav1", size=(64, 64), options={"crf": "50", "svtav1-params": "lp=1"})
    write("odd.webm", "libvpx-vp9", frames=7, size=(63, 47), options={"crf": "45", "b:v": "0"})
    write("odd.mp4", "libx264", frames=5, size=(51, 33), pixels="yuv444p", options={"crf": "34"})
    write("ten_bit.mkv", "libx265", frames=4, pixels="yuv420p10le", options={"x265-params": "log-level=none:pools=none"})
    write("ten_bit.mp4", "libx264", frames=4, pixels="yuv420p10le", options={"crf": "30"})
    write("ten_bit_422.mp4", "libx264", frames=4, pixels="yuv422p10le", options={"crf": "30"})
    place = "log-level=none:pools=none:crf=34:chromaloc=2:colormatrix=bt2020nc:transfer=smpte2084"
    write("top_left.mp4", "libx265", frames=4, pixels="yuv420p10le", options={"x265-params": place})
    uneven = [0, 40, 50, 200, 210, 1000, 1040, 1080, 2500, 2510, 2520, 4000]
    write("uneven.mp4", "libx264", frames=12, rate=Fraction(1000), times=uneven, options={"crf": "34"})
    write("uneven.mkv", "libx264", frames=12, rate=Fraction(1000), times=uneven, options={"crf": "34"})
    write("sound.mp4", "libx264", frames=9, options={"crf": "34"}, audio=True)
    write("one_frame.mp4", "libx264", frames=1, options={"crf": "34"})
    ffmpeg("-i", "h264.mp4", "-frames:v", "10", "palette.gif")
    for degrees in (90, 180, 270):
        source = ["-display_rotation", str(degrees), "-i", "sound.mp4"]
        ffmpeg(*source, "-an", "-c", "copy", f"turned{degrees}.mp4")
    ffmpeg("-ss", "0.5", "-i", "h264.mp4", "-c", "copy", "edited.mp4")
    cut_short("h264.mp4", "cut.mp4", 0.8)
    cut_short("vp9.webm", "cut.webm", 0.6)


def turned(frame: av.VideoFrame) -> np.ndarray:
    """Upright: the display matrix turns counter-clockwise."""
    return np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90)))


def decoded(container: av.container.InputContainer, stream: av.VideoStream) -> Iterator[av.VideoFrame]:
    """What decodes: a packet that does not is left out, a file that breaks off ends there."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except av.error.FFmpegError:
            packet = None
        if packet is not None and packet.size == 0:
            packet = None
        try:
            yield from stream.codec_context.decode(packet)
        except av.error.EOFError:
            return
        except av.error.FFmpegError:
            pass
        if packet is None:
            return


def read(path: Path) -> dict[str, object]:
    hashes: list[str] = []
    size = None
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        rate = float(stream.average_rate)
        for frame in decoded(container, stream):
            rgb = turned(frame)
            size = [rgb.shape[1], rgb.shape[0]]
            hashes.append(hashlib.sha256(rgb.tobytes()).hexdigest()[:24])
    return {"fps": rate, "size": size, "frames": hashes}


def get_index(bound: tuple[float, float] | None, fps: float, max_frame: int, first_idx: int, num_segments: int) -> list[int]:
    start, end = bound or (-100000, 100000)
    start_idx = max(first_idx, round(start * fps))
    end_idx = min(round(end * fps), max_frame)
    seg_size = float(end_idx - start_idx) / num_segments
    return [int(start_idx + (seg_size / 2) + np.round(seg_size * index)) for index in range(num_segments)]


def index_cases() -> list[list[object]]:
    """[start, end, fps, number of frames, segments, indices]."""
    draw = random.Random(7)
    rates = [25, 30, 60, 24000 / 1001, 30000 / 1001, 12.5, 1, 0.5]
    made = []
    for _ in range(240):
        num_frames = draw.choice([1, 2, 3, 7, 8, 9, draw.randint(10, 300), draw.randint(300, 100_000)])
        fps = draw.choice([*rates, draw.uniform(0.5, 240)])
        segments = draw.choice([1, 2, 5, 8, 8, 12, 16])
        bound = None
        if draw.random() < 0.6:
            length = (num_frames - 1) / fps
            bound = tuple(sorted(round(draw.uniform(0, length), draw.choice([0, 1, 3, 9])) for _ in range(2)))
            if bound[0] * fps > num_frames - 1 or bound[0] >= bound[1]:
                bound = None
        indices = get_index(bound, fps, num_frames - 1, 0, segments)
        made.append([*(bound or (None, None)), fps, num_frames, segments, indices])
    return made


def main() -> int:
    goldens = HERE / "videos.json"
    if "--check" not in sys.argv:
        make_videos()
    told = {path.name: read(path) for path in sorted(VIDEOS.iterdir())}
    if "--check" in sys.argv:
        return 0 if json.loads(goldens.read_text()) == told else 1
    goldens.write_text(json.dumps(told, indent=1) + "\n")
    cases = ",\n".join(json.dumps(case) for case in index_cases())
    (HERE / "frame_indices.json").write_text(f"[\n{cases}\n]\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
