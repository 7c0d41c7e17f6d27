"""Measures a running server on held-out scenes through its OpenAI-compatible HTTP API.

Needs only Pillow. Prints a table per task and exits 1 when a figure is below its threshold.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import os
import random
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from PIL import Image

import language
from language import Exchange
from render import FONTS, render
from scenes import MAX_WORD_ASPECT, Scene, random_motion, random_scene, random_text

THRESHOLDS = {
    "caption": 90, "count": 90, "colour": 90, "where": 85, "compare": 85, "motion": 85, "words": 75, "chat": 90,
}  # fmt: skip
WORD_SHARE = 0.3
BUSY = (429, 503)  # asked again after a while


@dataclass(frozen=True)
class Case:
    exchange: Exchange
    scenes: tuple[Scene, ...]
    labels: tuple[str, ...]  # a text before each picture, such as "Frame1: "
    media_type: str


def data_url(scene: Scene, media_type: str) -> str:
    image: Image.Image = render(scene)[0]
    buffer = io.BytesIO()
    if media_type == "image/jpeg":
        image.save(buffer, "JPEG", quality=85)
    else:
        image.save(buffer, "PNG")
    return f"data:{media_type};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def cases(count: int, seed: int, multi_count: int) -> Iterator[Case]:
    """Per scene one question of each kind that it allows; then pairs, motions and small talk."""
    rng = random.Random(f"evaluation {seed}")

    def media_type() -> str:
        return rng.choice(("image/png", "image/jpeg"))

    for _ in range(count):
        if rng.random() < WORD_SHARE:
            scene = random_scene(rng, aspect=(1 / MAX_WORD_ASPECT, MAX_WORD_ASPECT), text=random_text(rng, FONTS))
        else:
            scene = random_scene(rng)
        makers = [language.ask_caption, language.ask_count, language.ask_colour, language.ask_where]
        makers += [language.ask_text] if scene.text else []
        kind = media_type()
        for maker in makers:
            if exchange := maker(scene, rng):
                yield Case(exchange, (scene,), ("",), kind)
    for number in range(multi_count):
        first, second = random_scene(rng), random_scene(rng)
        labels = ("Image-1: ", "Image-2: ") if number % 2 else ("", "")
        yield Case(language.ask_compare(first, second, rng), (first, second), labels, media_type())
    for _ in range(multi_count):
        motion = random_motion(rng)
        labels = tuple(f"Frame{number}: " for number in range(1, len(motion.frames) + 1))
        yield Case(language.ask_way(motion, rng), motion.frames, labels, media_type())
    for question, answer in language.CHAT.items():
        yield Case(Exchange("chat", question, answer), (), (), "")


def content(case: Case) -> str | list[dict[str, object]]:
    if not case.scenes:
        return case.exchange.question
    parts: list[dict[str, object]] = []
    for label, scene in zip(case.labels, case.scenes):
        if label:
            parts.append({"type": "text", "text": label})
        image_url = {"url": data_url(scene, case.media_type)}
        if case.exchange.task == "motion":
            image_url["detail"] = "low"  # each frame is one tile
        parts.append({"type": "image_url", "image_url": image_url})
    parts.append({"type": "text", "text": case.exchange.question})
    return parts


def ask(case: Case, arguments: argparse.Namespace) -> str:
    body: dict[str, object] = {
        "model": arguments.model,
        "messages": [{"role": "user", "content": content(case)}],
        "temperature": 0,
        "max_tokens": 100,
    }
    headers = {"Content-Type": "application/json"}
    if key := os.environ.get("TESSERA_API_KEY"):
        headers["Authorization"] = f"Bearer {key}"
    url = arguments.url.rstrip("/") + "/v1/chat/completions"
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    for wait_seconds in (1, 2, 4, 8, None):
        try:
            with urllib.request.urlopen(request, timeout=arguments.timeout) as response:
                return json.load(response)["choices"][0]["message"]["content"].strip()
        except urllib.error.HTTPError as error:
            if error.code not in BUSY or wait_seconds is None:
                return f"(HTTP {error.code}: {error.read(200).decode(errors='replace')})"
        time.sleep(wait_seconds)
    raise AssertionError("unreachable")


def print_table(right: dict[str, int], total: dict[str, int]) -> bool:
    """Whether every task reaches its threshold."""
    passed = True
    print(f"{'task':<16}{'right':>8}{'of':>8}{'percent':>10}{'at least':>10}")
    for task in sorted(total):
        percent = 100 * right[task] / total[task]
        threshold = THRESHOLDS.get(task)
        reached = threshold is None or percent >= threshold
        passed &= reached
        note = "" if reached else "  below"
        print(f"{task:<16}{right[task]:>8}{total[task]:>8}{percent:>10.1f}{threshold or '-':>10}{note}")
    return passed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="the server, without /v1")
    parser.add_argument("--model", default="internvl3-tiny")
    parser.add_argument("--count", type=int, default=500, help="scenes with one picture")
    parser.add_argument("--multi-count", type=int, default=100, help="pairs of pictures, and motions")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--timeout", type=float, default=120)
    parser.add_argument("--show-wrong", type=int, default=0, help="print this many wrong answers")
    arguments = parser.parse_args()
    right: dict[str, int] = {}
    total: dict[str, int] = {}
    shown = 0
    asked = list(cases(arguments.count, arguments.seed, arguments.multi_count))
    with ThreadPoolExecutor(arguments.threads) as pool:
        for case, answer in zip(asked, pool.map(lambda case: ask(case, arguments), asked)):
            task = case.exchange.task
            good = answer == case.exchange.answer
            right[task] = right.get(task, 0) + good
            total[task] = total.get(task, 0) + 1
            if not good and shown < arguments.show_wrong:
                shown += 1
                print(f"{task}: {case.exchange.question}\n  expected {case.exchange.answer}\n  answered {answer}")
    return 0 if print_table(right, total) else 1


if __name__ == "__main__":
    sys.exit(main())
