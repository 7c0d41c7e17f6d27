"""Trains tokenizers of the published checkpoints' structure: Qwen2's byte-level BPE, and SentencePiece BPE as InternLM3's."""

from __future__ import annotations

import argparse
import contextlib
import json
import unicodedata
from pathlib import Path

import sentencepiece
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

CONTROL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<img>", "</img>", "<IMG_CONTEXT>")
MARKUP = ("<quad>", "</quad>", "<ref>", "</ref>", "<box>", "</box>")
QWEN2_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def described(tokens: dict[str, int]) -> dict[str, dict[str, object]]:
    flags = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True}
    return {str(number): {"content": token, **flags} for token, number in sorted(tokens.items(), key=lambda x: x[1])}


def write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False) + "\n", encoding="utf-8")


def train_qwen2(lines: list[str], folder: Path, size: int) -> None:
    """vocab.json, merges.txt and tokenizer_config.json, as a published folder without tokenizer.json has them."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    split = pre_tokenizers.Split(Regex(QWEN2_SPLIT), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=size, show_progress=False, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet())
    )
    tokenizer.train_from_iterator(lines, trainer)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.model.save(str(folder))
    first = tokenizer.get_vocab_size()
    added = {token: first + i for i, token in enumerate(CONTROL + MARKUP)}
    config = {"tokenizer_class": "Qwen2Tokenizer", "add_prefix_space": False, "added_tokens_decoder": described(added)}
    write_json(folder / "tokenizer_config.json", config)


def train_sentencepiece(lines: list[str], folder: Path, size: int, rules: str) -> None:
    """tokenizer.model and tokenizer_config.json. Rules: `internlm3` as its own; `few` and `nmt_nfkc` change characters."""
    folder.mkdir(parents=True, exist_ok=True)
    is_plain = rules == "internlm3"
    options: dict[str, object] = {"normalization_rule_name": "identity" if is_plain else "nmt_nfkc"}
    if rules == "few":
        (folder / "rules.tsv").write_text("".join(few_rules()), encoding="utf-8")
        options = {"normalization_rule_tsv": "rules.tsv"}
    # The model keeps the names it was trained with: no path of the machine.
    with contextlib.chdir(folder):
        train_model(lines, size, rules, options)
    (folder / "tokenizer.vocab").unlink()
    (folder / "rules.tsv").unlink(missing_ok=True)
    model = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    added = {token: model.piece_to_id(token) for token in ("<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>")}
    more = [token for token in CONTROL + MARKUP if token not in added]
    added |= {token: model.get_piece_size() + i for i, token in enumerate(more)}
    config = {"tokenizer_class": "InternLM3Tokenizer", "add_bos_token": True, "added_tokens_decoder": described(added)}
    write_json(folder / "tokenizer_config.json", config)


def train_model(lines: list[str], size: int, rules: str, options: dict[str, object]) -> None:
    """tokenizer.model and tokenizer.vocab in the current folder."""
    is_plain = rules == "internlm3"
    sentencepiece.SentencePieceTrainer.train(
        # Line breaks end a sentence of the trainer's; pieces hold none.
        sentence_iterator=iter([part for line in lines for part in line.replace("\0", "").splitlines() if part]),
        model_prefix="tokenizer",
        vocab_size=size,
        model_type="bpe",
        byte_fallback=rules != "nmt_nfkc",
        character_coverage=0.98,
        add_dummy_prefix=True,
        remove_extra_whitespaces=not is_plain,
        split_digits=True,
        allow_whitespace_only_pieces=is_plain,
        max_sentence_length=100_000,
        num_threads=1,
        minloglevel=2,
        # Control tokens may stand among the pieces.
        user_defined_symbols=["<|im_start|>", "<|im_end|>", "\n", "\n\n", "don't"],
        pad_id=-1,
        **options,
    )


def few_rules() -> list[str]:
    """A small part of NFKC: one character to one or several, and two to one."""
    codes = [*range(0xFF01, 0xFFA0), *range(0xFB00, 0xFB07), *range(0x2460, 0x2474), 0x3000, 0xA0, 0x212B]
    sources = [chr(code) for code in codes] + [base + "\u3099" for base in "かきくけこ"] + ["e\u0301", "\t"]
    rules = []
    for source in sources:
        target = " " if source == "\t" else unicodedata.normalize("NFKC", source)
        hexes = [" ".join(f"{ord(char):X}" for char in text) for text in (source, target)]
        rules.append("\t".join(hexes) + "\n")
    return rules


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("lines", type=Path, help="JSON list of texts")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--rules", nargs="+", default=["internlm3", "few"])
    arguments = parser.parse_args()
    texts = json.loads(arguments.lines.read_text(encoding="utf-8"))
    train_qwen2(texts, arguments.folder / "qwen2", arguments.size)
    for name in arguments.rules:
        train_sentencepiece(texts, arguments.folder / f"sentencepiece-{name}", arguments.size, name)
