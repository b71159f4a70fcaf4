"""GGUF files of known shapes with random weights, for measurements: a decoder, and a CLIP tower with its projector.

Quants are random bits under one scale: what they stand for is as wide as trained weights are, and how long a product takes
does not depend on it. Words of the vocabulary are single letters and numbers. Needs gguf and numpy."""

from dataclasses import dataclass

import gguf
import numpy as np

POOL_BYTES = 1 << 24  # random bytes, read again and again


@dataclass(frozen=True)
class Decoder:
    hidden: int
    mlp: int
    layers: int
    heads: int
    kv_heads: int
    vocabulary: int = 32000


@dataclass(frozen=True)
class Tower:
    hidden: int = 1024
    mlp: int = 4096
    layers: int = 23  # of 24: features are taken before the last
    heads: int = 16
    image: int = 336
    patch: int = 14


DECODERS = {"1.1b": Decoder(2048, 5632, 22, 32, 4), "6.7b": Decoder(4096, 11008, 32, 32, 32)}
# Grids of LLaVA-1.6: pairs of width and height.
GRIDS = [336, 672, 672, 336, 672, 672, 1008, 336, 336, 1008]
BLOCK = {"Q4_0": 18, "Q8_0": 34}  # bytes of 32 weights: a scale in FP16, then quants
KINDS = ("F16", *BLOCK)


class Random:
    def __init__(self):
        self.generator = np.random.default_rng(1)
        self.pool = self.generator.integers(0, 256, POOL_BYTES, dtype=np.uint8)
        self.floats = self.generator.standard_normal(POOL_BYTES // 2, dtype=np.float32)

    def weights(self, shape, kind):
        """(array, GGUF's type or None for the array's own)"""
        count = int(np.prod(shape))
        size = 1 / np.sqrt(np.prod(shape[1:]))
        if kind in BLOCK:
            blocks = np.resize(self.pool, (count // 32, BLOCK[kind]))
            # Of quants as likely as each other: from -8 to 7, or from -128 to 127.
            blocks[:, :2] = np.frombuffer(np.float16(size / (4.6 if kind == "Q4_0" else 74)).tobytes(), np.uint8)
            return blocks.reshape(*shape[:-1], -1), getattr(gguf.GGMLQuantizationType, kind)
        values = np.resize((self.floats * size).astype(np.float16 if kind == "F16" else np.float32), count)
        return values.reshape(shape), None


def add_vector(writer, name, length, value=0.0):
    writer.add_tensor(name, np.full(length, value, np.float32))


def finish(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_decoder(path, shape, kind):
    """A LLaMA; its embeddings and output layer are of the same kind."""
    random, writer = Random(), gguf.GGUFWriter(str(path), "llama")
    writer.add_block_count(shape.layers)
    writer.add_context_length(4096)
    writer.add_embedding_length(shape.hidden)
    writer.add_feed_forward_length(shape.mlp)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(shape.hidden // shape.heads)
    writer.add_vocab_size(shape.vocabulary)
    writer.add_tokenizer_model("llama")
    letters = ["\u2581", *"abcdefghijklmnopqrstuvwxyz"]
    words = ["<unk>", "<s>", "</s>", *letters]
    words += [f"w{i}" for i in range(len(words), shape.vocabulary)]
    writer.add_token_list(words)
    writer.add_token_scores([0.0] * shape.vocabulary)
    writer.add_token_types([2, 3, 3] + [1] * (shape.vocabulary - 3))
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)

    def add(name, *dimensions):
        values, raw = random.weights(dimensions, kind)
        writer.add_tensor(name, values, raw_dtype=raw)

    kv = shape.hidden // shape.heads * shape.kv_heads
    add("token_embd.weight", shape.vocabulary, shape.hidden)
    for i in range(shape.layers):
        for name, rows, columns in (("attn_q", shape.hidden, shape.hidden), ("attn_k", kv, shape.hidden),
                                    ("attn_v", kv, shape.hidden), ("attn_output", shape.hidden, shape.hidden),
                                    ("ffn_gate", shape.mlp, shape.hidden), ("ffn_up", shape.mlp, shape.hidden),
                                    ("ffn_down", shape.hidden, shape.mlp)):
            add(f"blk.{i}.{name}.weight", rows, columns)
        add_vector(writer, f"blk.{i}.attn_norm.weight", shape.hidden, 1)
        add_vector(writer, f"blk.{i}.ffn_norm.weight", shape.hidden, 1)
    add_vector(writer, "output_norm.weight", shape.hidden, 1)
    add("output.weight", shape.vocabulary, shape.hidden)
    finish(writer)


def add_tower_keys(writer, tower, projection, tiled):
    writer.add_type("mmproj")
    writer.add_file_type(1)
    writer.add_bool("clip.has_vision_encoder", True)
    writer.add_bool("clip.has_llava_projector", True)
    writer.add_string("clip.projector_type", "mlp")
    writer.add_bool("clip.use_gelu", False)
    writer.add_float32("clip.vision.attention.layer_norm_epsilon", 1e-5)
    for key, value in (("image_size", tower.image), ("patch_size", tower.patch), ("embedding_length", tower.hidden),
                       ("feed_forward_length", tower.mlp), ("block_count", tower.layers),
                       ("attention.head_count", tower.heads), ("projection_dim", projection)):
        writer.add_uint32(f"clip.vision.{key}", value)
    writer.add_array("clip.vision.image_mean", [0.48145466, 0.4578275, 0.40821073])
    writer.add_array("clip.vision.image_std", [0.26862954, 0.26130258, 0.27577711])
    if tiled:
        writer.add_string("clip.vision.image_aspect_ratio", "anyres")
        writer.add_string("clip.vision.mm_patch_merge_type", "spatial_unpad")
        writer.add_uint32("clip.vision.image_crop_resolution", tower.image)
        writer.add_array("clip.vision.image_grid_pinpoints", GRIDS)


def write_mmproj(path, tower, projection, tiled):
    """LLaVA-1.5's tower and projector in FP16, or (tiled) LLaVA-1.6's."""
    random, writer = Random(), gguf.GGUFWriter(str(path), "clip")
    add_tower_keys(writer, tower, projection, tiled)

    def add(name, *dimensions):
        writer.add_tensor(name, random.weights(dimensions, "F16")[0])

    add("v.patch_embd.weight", tower.hidden, 3, tower.patch, tower.patch)
    add_vector(writer, "v.class_embd", tower.hidden, 0.1)
    n_positions = (tower.image // tower.patch) ** 2 + 1
    writer.add_tensor("v.position_embd.weight", random.weights((n_positions, tower.hidden), "F32")[0])
    norms = ["v.pre_ln", "v.post_ln"]
    for i in range(tower.layers):
        block = f"v.blk.{i}"
        norms += [f"{block}.ln1", f"{block}.ln2"]
        for name, rows, columns in (("attn_q", tower.hidden, tower.hidden), ("attn_k", tower.hidden, tower.hidden),
                                    ("attn_v", tower.hidden, tower.hidden), ("attn_out", tower.hidden, tower.hidden),
                                    ("ffn_up", tower.mlp, tower.hidden), ("ffn_down", tower.hidden, tower.mlp)):
            add(f"{block}.{name}.weight", rows, columns)
            add_vector(writer, f"{block}.{name}.bias", rows)
    for name in norms:
        add_vector(writer, f"{name}.weight", tower.hidden, 1)
        add_vector(writer, f"{name}.bias", tower.hidden)
    for name, columns in (("mm.0", tower.hidden), ("mm.2", projection)):
        add(f"{name}.weight", projection, columns)
        add_vector(writer, f"{name}.bias", projection)
    if tiled:
        add_vector(writer, "model.image_newline", projection, 0.1)
    finish(writer)
