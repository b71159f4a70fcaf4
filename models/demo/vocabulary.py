"""The demo model's tokenizer: a small SentencePiece BPE with byte fallback, in the files that LLaMA checkpoints have."""

import io
import json
from pathlib import Path

import sentencepiece
from sentencepiece import sentencepiece_model_pb2

import texts
from scenes import random_scene, seeded

N_PIECES = 638  # <unk>, <s>, </s>, 256 bytes and what the texts need; <image> and <pad> follow
IMAGE_TOKEN, PAD_TOKEN = "<image>", "<pad>"
VOCABULARY_SIZE = N_PIECES + 2


def corpus(n_scenes=20000):
    """Texts as training makes them, and every printable character once, so that each has a piece of its own."""
    rng = seeded(0)
    yield from (chr(c) + " " + chr(c) for c in range(33, 127))
    for _ in range(n_scenes):
        scene = random_scene(rng)
        prompt = rng.choice(texts.CAPTION_PROMPTS)
        answer = texts.caption(scene, prompt)
        if answer:
            yield f"USER: \n{prompt} ASSISTANT: {answer}"
        prompt, answer = texts.question(rng, scene)
        yield f"USER: \n{prompt} ASSISTANT: {answer}"


def train_pieces():
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=corpus(), model_writer=model, model_type="bpe", vocab_size=N_PIECES, byte_fallback=True,
        character_coverage=1.0, split_digits=True, normalization_rule_name="identity", remove_extra_whitespaces=False,
        add_dummy_prefix=True, num_threads=1, minloglevel=2)
    return model.getvalue()


def merges_of(pieces):
    """Every way to make a piece of two others, best pieces first: what tokenizer.json stores instead of scores."""
    ids = {piece.piece: i for i, piece in enumerate(pieces)}
    merges = []
    for piece in pieces:
        if piece.type != 1:
            continue
        word = piece.piece
        pairs = [(word[:i], word[i:]) for i in range(1, len(word)) if word[:i] in ids and word[i:] in ids]
        merges += [(piece.score, ids[a], ids[b], f"{a} {b}") for a, b in pairs]
    merges.sort(key=lambda m: (-m[0], m[1], m[2]))
    return [m[3] for m in merges]


def tokenizer_json(pieces):
    def added(index, content):
        return {"id": index, "content": content, "single_word": False, "lstrip": False, "rstrip": False,
                "normalized": False, "special": True}

    template = [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
    pair = [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}]
    return {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [added(0, "<unk>"), added(1, "<s>"), added(2, "</s>"), added(N_PIECES, IMAGE_TOKEN),
                         added(N_PIECES + 1, PAD_TOKEN)],
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": "\u2581"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}]},
        "pre_tokenizer": None,
        "post_processor": {"type": "TemplateProcessing", "single": template, "pair": template + pair,
                           "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}},
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "}, {"type": "ByteFallback"},
            {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
        "model": {"type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": True, "byte_fallback": True, "ignore_merges": False,
                  "vocab": {piece.piece: i for i, piece in enumerate(pieces)}, "merges": merges_of(pieces)},
    }


def tokenizer_config():
    def token(content):
        return {"content": content, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False,
                "special": True}

    contents = {0: "<unk>", 1: "<s>", 2: "</s>", N_PIECES: IMAGE_TOKEN, N_PIECES + 1: PAD_TOKEN}
    return {"add_bos_token": True, "add_eos_token": False,
            "added_tokens_decoder": {str(i): token(c) for i, c in contents.items()},
            "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": PAD_TOKEN,
            "clean_up_tokenization_spaces": False, "legacy": True, "model_max_length": 512, "sp_model_kwargs": {},
            "tokenizer_class": "LlamaTokenizer"}


def write(directory: Path):
    """tokenizer.model, tokenizer.json and what goes with them. Does nothing where they are already."""
    if (directory / "tokenizer.json").exists():
        return
    model = train_pieces()
    pieces = sentencepiece_model_pb2.ModelProto.FromString(model).pieces
    (directory / "tokenizer.model").write_bytes(model)
    files = {
        "tokenizer.json": tokenizer_json(pieces),
        "tokenizer_config.json": tokenizer_config(),
        "special_tokens_map.json": {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>",
                                    "pad_token": PAD_TOKEN},
        "added_tokens.json": {IMAGE_TOKEN: N_PIECES, PAD_TOKEN: N_PIECES + 1},
    }
    for name, content in files.items():
        (directory / name).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
