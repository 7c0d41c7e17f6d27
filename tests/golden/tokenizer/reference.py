"""Ids of texts by transformers: one JSON list of ids for each line."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import sentencepiece
from transformers import AddedToken, AutoTokenizer, PythonBackend

CONTROL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<img>", "</img>", "<IMG_CONTEXT>")


class InternLM3Tokenizer(PythonBackend):
    """What the published tokenizer does with text: added tokens are cut out, the rest goes to the library as it is."""

    def __init__(self, folder: Path) -> None:
        self.pieces = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
        flags = {"normalized": False, "special": True}
        super().__init__(unk_token=AddedToken("<unk>", **flags))

    @property
    def vocab_size(self) -> int:
        return self.pieces.get_piece_size()

    def get_vocab(self) -> dict[str, int]:
        return {self.pieces.id_to_piece(i): i for i in range(self.vocab_size)} | self.added_tokens_encoder

    def _tokenize(self, text: str, **_: object) -> list[str]:
        return self.pieces.encode(text, out_type=str)

    def _convert_token_to_id(self, token: str) -> int:
        return self.pieces.piece_to_id(token)

    def _convert_id_to_token(self, index: int) -> str:
        return self.pieces.id_to_piece(index)


def load(folder: Path):
    if not (folder / "tokenizer.model").exists():
        return AutoTokenizer.from_pretrained(folder)
    tokenizer = InternLM3Tokenizer(folder)
    config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    for number, token in config["added_tokens_decoder"].items():
        if int(number) < tokenizer.vocab_size:
            continue
        tokenizer.add_tokens([AddedToken(token["content"], normalized=False, special=True)], special_tokens=True)
        assert tokenizer.convert_tokens_to_ids(token["content"]) == int(number)
    return tokenizer


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("lines", type=Path, help="JSON list of texts")
    parser.add_argument("--save-json", action="store_true", help="write the folder's tokenizer.json first")
    arguments = parser.parse_args()
    reference = load(arguments.folder)
    if arguments.save_json:
        reference.backend_tokenizer.save(str(arguments.folder / "tokenizer.json"))
    for text in json.loads(arguments.lines.read_text(encoding="utf-8")):
        assert not any(token in text for token in CONTROL), "control tokens are another test's"
        print(json.dumps(reference.encode(text, add_special_tokens=False)))
