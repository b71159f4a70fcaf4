"""Writes checkpoints of the goldens as GGUF files, as llama.cpp's converter does. Standard library only."""

import array
import struct

U32, I32, F32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9
TENSOR_F32, TENSOR_F16, TENSOR_Q4_0, TENSOR_Q4_1, TENSOR_Q5_0, TENSOR_Q5_1, TENSOR_Q8_0 = 0, 1, 2, 3, 6, 7, 8
TENSOR_BF16 = 30
ALIGNMENT = 32


def text(value):
    data = value if isinstance(value, bytes) else value.encode()
    return struct.pack("<Q", len(data)) + data


def scalar(kind, value):
    return text(value) if kind == STRING else struct.pack({U32: "<I", I32: "<i", F32: "<f", BOOL: "<?"}[kind], value)


def write_gguf(path, keys, tensors):
    """keys: (name, kind, value), a list for arrays; tensors: (name, shape outermost first, type, bytes)."""
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(keys))
    for name, kind, value in keys:
        head += text(name)
        if isinstance(value, list):
            head += struct.pack("<IIQ", ARRAY, kind, len(value)) + b"".join(scalar(kind, one) for one in value)
        else:
            head += struct.pack("<I", kind) + scalar(kind, value)
    body = b""
    for name, shape, kind, data in tensors:
        head += text(name) + struct.pack("<I", len(shape)) + struct.pack(f"<{len(shape)}Q", *reversed(shape))
        head += struct.pack("<IQ", kind, len(body))
        body += data + b"\0" * (-len(data) % ALIGNMENT)
    path.write_bytes(head + b"\0" * (-len(head) % ALIGNMENT) + body)


def floats(dtype, data):
    if dtype == "F32":
        return array.array("f", data)
    if dtype == "BF16":
        return array.array("f", b"".join(b"\0\0" + data[i:i + 2] for i in range(0, len(data), 2)))
    return array.array("f", struct.unpack(f"<{len(data) // 2}e", data))


def rounded(value):
    """To FP16 and back."""
    return struct.unpack("<e", struct.pack("<e", value))[0]


def encode(kind, values):
    """The blocks of 32, and what they stand for."""
    blocks, decoded = [], array.array("f")
    for start in range(0, len(values), 32):
        group = values[start:start + 32]
        bits = {TENSOR_Q4_0: 4, TENSOR_Q4_1: 4, TENSOR_Q5_0: 5, TENSOR_Q5_1: 5, TENSOR_Q8_0: 8}[kind]
        if kind in (TENSOR_Q4_1, TENSOR_Q5_1):
            least, zero, top = rounded(min(group)), 0, 2 ** bits - 1
            scale = rounded((max(group) - least) / top)
        else:
            least, zero, top = 0.0, 2 ** (bits - 1), 2 ** bits - 1
            scale = rounded(max(map(abs, group)) / (zero - 1))
        quants = [min(max(round((v - least) / scale) + zero, 0), top) if scale else zero for v in group]
        decoded.extend(scale * (q - zero) + least for q in quants)
        block = struct.pack("<e", scale)
        if kind in (TENSOR_Q4_1, TENSOR_Q5_1):
            block += struct.pack("<e", least)
        if kind == TENSOR_Q8_0:
            block += struct.pack("<32b", *(q - zero for q in quants))
        else:
            if bits == 5:
                block += struct.pack("<I", sum((q >> 4) << i for i, q in enumerate(quants)))
            block += bytes((quants[i] & 15) | (quants[i + 16] & 15) << 4 for i in range(16))
        blocks.append(block)
    return b"".join(blocks), decoded


def halves_in_turns(values, n_heads, cols):
    """llama.cpp's order of the rows of query and key."""
    half = len(values) // cols // n_heads // 2
    rows = array.array("f")
    for head in range(n_heads):
        for i in range(half):
            for part in range(2):
                row = (head * 2 + part) * half + i
                rows.extend(values[row * cols:(row + 1) * cols])
    return rows


def sentencepiece_pieces(data):
    """(piece, score, type) of each field 1 of a tokenizer.model."""
    def varint(at):
        value = shift = 0
        while True:
            value |= (data[at] & 127) << shift
            shift += 7
            at += 1
            if data[at - 1] < 128:
                return value, at

    def fields(at, end):
        while at < end:
            tag, at = varint(at)
            if tag & 7 == 0:
                value, at = varint(at)
            else:
                length = {1: 8, 5: 4}.get(tag & 7)
                if length is None:
                    length, at = varint(at)
                value, at = (at, at + length), at + length
            yield tag >> 3, value

    pieces = []
    for number, span in fields(0, len(data)):
        if number != 1:
            continue
        piece, score, kind = b"", 0.0, 1
        for inner, value in fields(*span):
            if inner == 1:
                piece = data[slice(*value)]
            elif inner == 2:
                score = struct.unpack("<f", data[slice(*value)])[0]
            elif inner == 3:
                kind = value
        pieces.append((piece, score, kind))
    return pieces


LAYER_NAMES = {
    "input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
}


def decoder_name(name):
    """llama.cpp's name for one of transformers'."""
    plain = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight",
             "lm_head.weight": "output.weight"}
    if name in plain:
        return plain[name]
    _, _, layer, rest = name.split(".", 3)
    part, kind = rest.rsplit(".", 1)
    return f"blk.{layer}.{LAYER_NAMES[part]}.{kind}"


def decoder_keys(config, pieces):
    arch = "llama"
    keys = [("general.architecture", STRING, arch)]
    for name, source in (("block_count", "num_hidden_layers"), ("context_length", "max_position_embeddings"),
                         ("embedding_length", "hidden_size"), ("feed_forward_length", "intermediate_size"),
                         ("attention.head_count", "num_attention_heads"),
                         ("attention.head_count_kv", "num_key_value_heads")):
        keys.append((f"{arch}.{name}", U32, config[source]))
    keys += [(f"{arch}.rope.freq_base", F32, config.get("rope_theta", 10000.0)),
             (f"{arch}.attention.layer_norm_rms_epsilon", F32, config["rms_norm_eps"]),
             ("tokenizer.ggml.model", STRING, "llama"),
             ("tokenizer.ggml.tokens", STRING, [piece for piece, _, _ in pieces]),
             ("tokenizer.ggml.scores", F32, [score for _, score, _ in pieces]),
             ("tokenizer.ggml.token_type", I32, [kind for _, _, kind in pieces]),
             ("tokenizer.ggml.bos_token_id", U32, 1), ("tokenizer.ggml.eos_token_id", U32, 2)]
    return keys


TOWER_NAMES = (
    ("vision_tower.vision_model.", "v."), ("encoder.layers.", "blk."), ("embeddings.class_embedding", "class_embd"),
    ("embeddings.patch_embedding", "patch_embd"), ("embeddings.position_embedding", "position_embd"),
    ("pre_layrnorm", "pre_ln"), ("post_layernorm", "post_ln"), ("layer_norm", "ln"), ("self_attn.out_proj", "attn_out"),
    ("multi_modal_projector.linear_1", "mm.0"), ("multi_modal_projector.linear_2", "mm.2"),
    ("self_attn.", "attn_"), ("_proj", ""),
)


def tower_name(name, swapped):
    """llama.cpp's name; its old converter called the MLP's first layer ffn_down."""
    for source, target in TOWER_NAMES:
        name = name.replace(source, target)
    first, second = ("ffn_down", "ffn_up") if swapped else ("ffn_up", "ffn_down")
    return name.replace("mlp.fc1", first).replace("mlp.fc2", second)


def tower_keys(config, n_layers):
    keys = [("general.architecture", STRING, "clip"), ("clip.has_vision_encoder", BOOL, True),
            ("clip.has_llava_projector", BOOL, True), ("clip.projector_type", STRING, "mlp"),
            ("clip.use_gelu", BOOL, config.get("hidden_act") == "gelu"), ("clip.vision.block_count", U32, n_layers),
            ("clip.vision.feature_layer", I32, [n_layers]),
            ("clip.vision.attention.layer_norm_epsilon", F32, config.get("layer_norm_eps", 1e-5)),
            ("clip.vision.image_mean", F32, [0.48145466, 0.4578275, 0.40821073]),
            ("clip.vision.image_std", F32, [0.26862954, 0.26130258, 0.27577711])]
    for name, source in (("image_size", "image_size"), ("patch_size", "patch_size"),
                         ("embedding_length", "hidden_size"), ("feed_forward_length", "intermediate_size"),
                         ("attention.head_count", "num_attention_heads")):
        keys.append(("clip.vision." + name, U32, config[source]))
    return keys
