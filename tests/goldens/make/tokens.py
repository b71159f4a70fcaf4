"""Prompts to token ids and back, from the tokenizer files of a checkpoint's folder."""
import json
import re
from pathlib import Path

import sentencepiece
import tokenizers

ORIGINAL_LLAVA_IMAGE = -200
XCOMPOSER_IMAGE = -1


class JsonTokens:
    """tokenizer.json, as the tokenizers library reads it."""

    def __init__(self, folder):
        self.tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        added = json.loads((folder / "tokenizer.json").read_text())["added_tokens"]
        self.special_ids = {token["id"] for token in added}
        self.size = self.tokenizer.get_vocab_size()

    def id_of(self, text):
        return self.tokenizer.token_to_id(text)

    def encode(self, prompt):
        return self.tokenizer.encode(prompt).ids

    def decode(self, ids):
        return self.tokenizer.decode(ids, skip_special_tokens=False)


class PieceTokens:
    """tokenizer.model; text between special tokens is encoded stretch by stretch, after a BOS."""

    def __init__(self, folder, image_id=None):
        self.pieces = sentencepiece.SentencePieceProcessor(str(folder / "tokenizer.model"))
        decoder = json.loads((folder / "tokenizer_config.json").read_text())["added_tokens_decoder"]
        self.special = {token["content"]: int(number) for number, token in decoder.items()}
        self.special_ids = set(self.special.values())
        self.size = max(len(self.pieces), 1 + max(self.special_ids))
        self.marks = dict(self.special)
        if image_id is not None:
            self.marks["<image>"] = image_id

    def id_of(self, text):
        return self.special[text]

    def encode(self, prompt):
        ids = [self.pieces.bos_id()]
        marks = sorted(self.marks, key=len, reverse=True)
        for stretch in re.split("(" + "|".join(map(re.escape, marks)) + ")", prompt):
            ids += [self.marks[stretch]] if stretch in self.marks else self.pieces.encode(stretch)
        return ids

    def decode(self, ids):
        return self.pieces.decode([i for i in ids if i < len(self.pieces)])


def read_tokens(folder, architecture):
    folder = Path(folder)
    if (folder / "tokenizer.json").exists():
        return JsonTokens(folder)
    image_ids = {"LlavaLlamaForCausalLM": ORIGINAL_LLAVA_IMAGE, "LlavaMistralForCausalLM": ORIGINAL_LLAVA_IMAGE,
                 "InternLMXComposer2ForCausalLM": XCOMPOSER_IMAGE}
    return PieceTokens(folder, image_ids.get(architecture))


def expand(ids, image_id, counts):
    """Every image token becomes as many as its picture has."""
    expanded, counts = [], list(counts)
    for token in ids:
        expanded += [token] * counts.pop(0) if token == image_id else [token]
    assert not counts, "fewer image tokens than pictures"
    return expanded
