"""Writes prompts.json: what the vendor's `chat` and `batch_chat` would say to the model, as text and as token ids.

The rules are those of the published InternVL3 checkpoints (`conversation.py`, template internvl2_5, and
`modeling_internvl_chat.py`), written anew from their documentation:

- the system text, then every turn as role, message, `<|im_end|>` and a newline; the last role stands alone;
- a first question about pictures that names no `<image>` gets `<image>` and a newline before it;
- the n-th `<image>` of the whole conversation becomes `<img>`, `<IMG_CONTEXT>` for every token of its tiles, `</img>`;
- the tokenizer reads the whole text at once, so that it puts its own first token (if it has one) before all.

Each case stands here twice: as the quick start writes it, and as the request that must come to the same.
Usage: python make_goldens.py (with requirements.txt beside it)
"""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
sys.path.insert(0, str(ROOT / "tests/golden/tokenizer"))
from reference import CONTROL, load  # noqa: E402
from transformers import AddedToken  # noqa: E402

#: One tokenizer of each family, from the repository's root.
FOLDERS = {
    "qwen2": "gpu-worker/models/internvl3-tiny",
    "internlm3": "tests/golden/tokenizer/sentencepiece-internlm3",
}
SYSTEM = "你是书生·万象，英文名是InternVL，是由上海人工智能实验室、清华大学及多家合作单位联合开发的多模态大语言模型。"
SEPARATOR = "<|im_end|>\n"
TOKENS_PER_TILE = 16


@dataclass
class Case:
    """One call of `chat`: the quick start's arguments, and the request's messages."""

    name: str
    question: str
    request: list[dict]
    history: list[tuple[str, str]] | None = None
    #: Tiles under each `<image>`.
    num_patches_list: list[int] = field(default_factory=list)
    system: str = SYSTEM
    #: Tiles of each picture of the request, in order; as many as above unless pictures are combined.
    tiles: list[int] | None = None
    combine_images: bool = False


def query_of(case: Case) -> str:
    """What `chat` gives to the tokenizer."""
    question = case.question
    if case.history is None and case.num_patches_list and "<image>" not in question:
        question = "<image>\n" + question
    text = f"<|im_start|>system\n{case.system}{SEPARATOR}"
    for asked, answered in case.history or []:
        text += f"<|im_start|>user\n{asked}{SEPARATOR}<|im_start|>assistant\n{answered}{SEPARATOR}"
    text += f"<|im_start|>user\n{question}{SEPARATOR}<|im_start|>assistant\n"
    for num_patches in case.num_patches_list:
        text = text.replace("<image>", "<img>" + "<IMG_CONTEXT>" * (TOKENS_PER_TILE * num_patches) + "</img>", 1)
    return text


def said(role: str, content: object) -> dict:
    return {"role": role, "content": content}


def tokenizer_of(folder: Path) -> object:
    """Cuts texts at every control token, the published way, also at those that the SentencePiece model knows itself."""
    tokenizer = load(folder)
    for token in CONTROL:
        known = tokenizer.convert_tokens_to_ids(token)
        tokenizer.add_tokens([AddedToken(token, normalized=False, special=True)], special_tokens=True)
        assert tokenizer.convert_tokens_to_ids(token) == known
    return tokenizer


def ids_of(tokenizer: object, query: str) -> list[int]:
    """InternLM3's tokenizer puts its first token before everything, Qwen2's has none."""
    ids = tokenizer.encode(query, add_special_tokens=False)
    pieces = getattr(tokenizer, "pieces", None)
    return ids if pieces is None else [pieces.bos_id(), *ids]


def words(text: str) -> dict:
    return {"type": "text", "text": text}


#: A picture; the test puts a file there that has the case's tiles.
PICTURE = {"type": "image_url", "image_url": {"url": "picture"}}


def grouped(group: object) -> dict:
    return {"type": "image_url", "image_url": {"url": "picture", "group": group}}


def video(num_segments: int) -> dict:
    return {"type": "video_url", "video_url": {"url": "video", "num_segments": num_segments}}


def cases() -> list[Case]:
    hello, story = "Hello, who are you?", "Can you tell me a story?"
    shortly, poem = "Please describe the image shortly.", "Please write a poem according to the image."
    both, differ = "Describe the two images in detail.", "What are the similarities and differences between them?"
    panda, detail = "What is the red panda doing?", "Describe this video in detail."
    separate = f"Image-1: <image>\nImage-2: <image>\n{both}"
    separate_parts = [words("Image-1: "), PICTURE, words("Image-2: "), PICTURE, words(both)]
    frames = "".join(f"Frame{i + 1}: <image>\n" for i in range(8))
    return [
        Case("text, one round", hello, [said("user", hello)]),
        Case(
            "text, two rounds",
            story,
            [said("user", hello), said("assistant", "I am InternVL."), said("user", story)],
            history=[(hello, "I am InternVL.")],
        ),
        Case("text, a system message", hello, [said("system", "Be brief."), said("user", hello)], system="Be brief."),
        Case("text, nothing", "", [said("user", "")]),
        Case("text, white space and emoji", " \n\té e\u0301 👩‍🚀\r\n", [said("user", " \n\té e\u0301 👩‍🚀\r\n")]),
        Case(
            "one picture, one round",
            f"<image>\n{shortly}",
            [said("user", [PICTURE, words(shortly)])],
            num_patches_list=[13],
        ),
        Case(
            "one picture, no placeholder",
            shortly,
            [said("user", [PICTURE, words(shortly)])],
            num_patches_list=[3],
        ),
        Case(
            "one picture, behind the text",
            f"{shortly}<image>\n",
            [said("user", [words(shortly), PICTURE])],
            num_patches_list=[1],
        ),
        Case(
            "one picture, two rounds",
            poem,
            [said("user", [PICTURE, words(shortly)]), said("assistant", "A panda."), said("user", poem)],
            history=[(f"<image>\n{shortly}", "A panda.")],
            num_patches_list=[7],
        ),
        Case(
            "two pictures combined, by the request",
            f"<image>\n{both}",
            [said("user", [PICTURE, PICTURE, words(both)])],
            num_patches_list=[5],
            tiles=[3, 2],
            combine_images=True,
        ),
        Case(
            "two pictures combined, by a group, two rounds",
            differ,
            [said("user", [grouped(1), grouped(1), words(both)]), said("assistant", "Two."), said("user", differ)],
            history=[(f"<image>\n{both}", "Two.")],
            num_patches_list=[5],
            tiles=[3, 2],
        ),
        Case("two pictures separate", separate, [said("user", separate_parts)], num_patches_list=[3, 2]),
        Case(
            "two pictures separate, two rounds",
            differ,
            [said("user", separate_parts), said("assistant", "A cat."), said("user", differ)],
            history=[(separate, "A cat.")],
            num_patches_list=[3, 2],
        ),
        Case(
            "a picture in the second round",
            f"<image>\n{poem}",
            [
                said("user", [PICTURE, words(shortly)]),
                said("assistant", "A cat."),
                said("user", [PICTURE, words(poem)]),
            ],
            history=[(f"<image>\n{shortly}", "A cat.")],
            num_patches_list=[2, 1],
        ),
        Case(
            "a video",
            f"{frames}{panda}",
            [said("user", [video(8), words(panda)])],
            num_patches_list=[1] * 8,
        ),
        Case(
            "a video, two rounds",
            detail,
            [said("user", [video(8), words(panda)]), said("assistant", "Eating."), said("user", detail)],
            history=[(f"{frames}{panda}", "Eating.")],
            num_patches_list=[1] * 8,
        ),
    ]


def main() -> None:
    tokenizers = {family: tokenizer_of(ROOT / folder) for family, folder in FOLDERS.items()}
    written = []
    for case in cases():
        query = query_of(case)
        written.append(
            {
                "name": case.name,
                "request": {"messages": case.request, "mm_processor_kwargs": {"combine_images": case.combine_images}},
                "tiles": case.tiles or case.num_patches_list,
                "query": query,
                "ids": {family: ids_of(tokenizer, query) for family, tokenizer in tokenizers.items()},
            }
        )
    script = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
    golden = {"script_sha256": script, "folders": FOLDERS, "tokens_per_tile": TOKENS_PER_TILE, "cases": written}
    (HERE / "prompts.json").write_text(json.dumps(golden, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
