"""Builds the checkpoint's tokenizer: a Qwen2 byte-level BPE whose merges fit the scene language."""

from __future__ import annotations

import json
import random
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

import language
import scenes

SYSTEM_TEXT = (
    "你是书生·万象，英文名是InternVL，是由上海人工智能实验室、清华大学及多家合作单位联合开发的多模态大语言模型。"
)
OTHER_SYSTEM_TEXTS = ("You are a helpful assistant.", "Answer briefly.")
SPECIAL_TOKENS = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<img>", "</img>", "<IMG_CONTEXT>",
    "<quad>", "</quad>", "<ref>", "</ref>", "<box>", "</box>",
)  # fmt: skip
PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
MODEL_MAX_LENGTH = 4096
CHAT_TEMPLATE = (
    "{%- if messages[0]['role'] != 'system' %}{{- '<|im_start|>system\\n"
    + SYSTEM_TEXT
    + "<|im_end|>\\n' }}{%- endif %}"
    "{%- for message in messages %}{{- '<|im_start|>' + message['role'] + '\\n' }}"
    "{%- if message['content'] is string %}{{- message['content'] }}"
    "{%- else %}{%- for part in message['content'] %}"
    "{%- if part['type'] == 'text' %}{{- part['text'] }}"
    "{%- elif part['type'] in ('image', 'image_url', 'video') %}{{- '<IMG_CONTEXT>\\n' }}{%- endif %}"
    "{%- endfor %}{%- endif %}{{- '<|im_end|>\\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)


def corpus() -> list[str]:
    """Text of the closed language, often enough that every word of it becomes one token."""
    rng = random.Random(0)
    lines = [SYSTEM_TEXT, *OTHER_SYSTEM_TEXTS] * 50
    lines += ["system\n", "user\n", "assistant\n", "Image-1: ", "Image-2: ", "Frame1: ", "Frame8: "] * 50
    for word in scenes.WORDS:
        lines += [word, f"the word {word}."] * 5
    for question, answer in language.CHAT.items():
        lines += [question, answer] * 5
    lines += [*language.UNKNOWN_QUESTIONS, language.UNKNOWN_ANSWER, language.NO_TEXT_ANSWER] * 5
    for _ in range(3000):
        text = scenes.random_text(rng, ("pillow",)) if rng.random() < 0.3 else None
        first, second = scenes.random_scene(rng, text=text), scenes.random_scene(rng)
        motion = scenes.random_motion(rng)
        exchanges = [
            language.ask_caption(first, rng), language.ask_count(first, rng), language.ask_colour(first, rng),
            language.ask_shape(first, rng), language.ask_where(first, rng), language.ask_text(first, rng),
            language.ask_compare(first, second, rng), language.ask_nth_caption(first, second, rng),
            language.ask_way(motion, rng), language.ask_motion_caption(motion, rng),
        ]  # fmt: skip
        lines += [text for exchange in exchanges if exchange for text in (exchange.question, exchange.answer)]
    return lines


def build() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=4000,
        min_frequency=5,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(corpus(), trainer)
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in SPECIAL_TOKENS])
    return tokenizer


def vocabulary_size(tokenizer: Tokenizer) -> int:
    """Rows of the embedding table: padded to a multiple of 32."""
    return (tokenizer.get_vocab_size() + 31) // 32 * 32


def write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def save(tokenizer: Tokenizer, folder: Path) -> None:
    """All tokenizer files of a published checkpoint."""
    tokenizer.save(str(folder / "tokenizer.json"))
    tokenizer.model.save(str(folder))
    added = {token: tokenizer.token_to_id(token) for token in SPECIAL_TOKENS}
    described = {
        str(number): {
            "content": token, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True,
        }
        for token, number in added.items()
    }  # fmt: skip
    write_json(folder / "added_tokens.json", added)
    write_json(
        folder / "special_tokens_map.json",
        {
            "additional_special_tokens": [token for token in SPECIAL_TOKENS if token != "<|endoftext|>"],
            "eos_token": "<|im_end|>",
            "pad_token": "<|endoftext|>",
        },
    )
    write_json(
        folder / "tokenizer_config.json",
        {
            "add_bos_token": False,
            "add_eos_token": False,
            "add_prefix_space": False,
            "added_tokens_decoder": described,
            "additional_special_tokens": [token for token in SPECIAL_TOKENS if token != "<|endoftext|>"],
            "bos_token": None,
            "chat_template": CHAT_TEMPLATE,
            "clean_up_tokenization_spaces": False,
            "eos_token": "<|im_end|>",
            "errors": "replace",
            "model_max_length": MODEL_MAX_LENGTH,
            "pad_token": "<|endoftext|>",
            "split_special_tokens": False,
            "tokenizer_class": "Qwen2Tokenizer",
            "unk_token": None,
        },
    )


if __name__ == "__main__":
    import argparse

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    built = build()
    save(built, parser.parse_args().folder)
    print(f"{built.get_vocab_size()} tokens, {vocabulary_size(built)} embedding rows")
