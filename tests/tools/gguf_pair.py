"""Goldens of LLaVA and InternVL as the pairs of GGUF files that llama.cpp's converters make. Standard library only."""

import json
import math
import re
import struct

import gguf_writer as gguf
from galago_cli import read_safetensors

STORED = {"F32": gguf.TENSOR_F32, "F16": gguf.TENSOR_F16, "BF16": gguf.TENSOR_BF16}
SIZES = {"F32": 4, "F16": 2, "BF16": 2}
CONTROL = 3

# Foreign names to llama.cpp's, in this order; what is left over is the same in both.
DECODER_NAMES = (
    (r"^model\.embed_tokens\.|^model\.tok_embeddings\.", "token_embd."), (r"^model\.norm\.", "output_norm."),
    (r"^lm_head\.", "output."), (r"^model\.layers\.", "blk."), (r"\.input_layernorm\.|\.attention_norm\.", ".attn_norm."),
    (r"\.post_attention_layernorm\.", ".ffn_norm."), (r"\.self_attn\.([qkv])_proj\.", r".attn_\1."),
    (r"\.self_attn\.o_proj\.|\.attention\.wo\.", ".attn_output."), (r"\.self_attn\.qkv_proj\.", ".attn_qkv."),
    (r"\.attention\.wqkv\.", ".wqkv."), (r"\.mlp\.gate_up_proj\.|\.mlp\.up_proj\.|\.feed_forward\.w3\.", ".ffn_up."),
    (r"\.mlp\.gate_proj\.|\.feed_forward\.w1\.", ".ffn_gate."), (r"\.mlp\.down_proj\.|\.feed_forward\.w2\.", ".ffn_down."),
)
INTERN_VIT_NAMES = (
    (r"^(vision_model|vision_tower)\.", "v."), (r"^v\.embeddings\.(class_embedding|cls_token)$", "v.class_embd"),
    (r"^v\.embeddings\.position_embeddings?$", "v.position_embd.weight"),
    (r"^v\.embeddings\.(patch_embedding|patch_embeddings\.projection)\.", "v.patch_embd."),
    (r"^v\.encoder\.layers?\.", "v.blk."), (r"\.(norm1|layernorm_before)\.", ".ln1."), (r"\.(norm2|layernorm_after)\.", ".ln2."),
    (r"\.attn\.qkv\.", ".qkv."), (r"\.attention\.([qkv])_proj\.", r".attn_\1."), (r"\.(attn|attention)\.([qk])_norm\.", r".attn_\2_norm."),
    (r"\.(attn\.proj|attention\.projection_layer)\.", ".attn_out."), (r"\.(ls|lambda_)([12])$", r".ls\2.weight"),
    (r"\.mlp\.fc1\.", ".ffn_up."), (r"\.mlp\.fc2\.", ".ffn_down."), (r"^mlp1\.", "mm.model.mlp."),
    (r"^multi_modal_projector\.layer_norm\.", "mm.model.mlp.0."), (r"^multi_modal_projector\.linear_1\.", "mm.model.mlp.1."),
    (r"^multi_modal_projector\.linear_2\.", "mm.model.mlp.3."),
)
CLIP_NAMES = (
    (r"^vision_tower\.(vision_model\.)?", "v."), (r"^v\.encoder\.layers\.", "v.blk."), (r"\.embeddings\.(class|patch|position)_embedding", r".\1_embd"),
    (r"pre_layrnorm", "pre_ln"), (r"post_layernorm", "post_ln"), (r"layer_norm", "ln"), (r"\.self_attn\.out_proj\.", ".attn_out."),
    (r"\.self_attn\.([qkv])_proj\.", r".attn_\1."), (r"\.mlp\.fc1\.", ".ffn_down."), (r"\.mlp\.fc2\.", ".ffn_up."),
    (r"^multi_modal_projector\.linear_1\.", "mm.0."), (r"^multi_modal_projector\.linear_2\.", "mm.2."),
    (r"^image_newline$", "model.image_newline"),
)


def rename(name, rules):
    for pattern, target in rules:
        name = re.sub(pattern, target, name)
    return name


def weights(folder):
    """name -> (shape, dtype, bytes) of all shards."""
    found = {}
    for path in sorted(folder.glob("model*.safetensors")):
        header, data = read_safetensors(path)
        for name, entry in header.items():
            if name != "__metadata__":
                found[name] = (entry["shape"], entry["dtype"], data[slice(*entry["data_offsets"])])
    return found


def tensor(name, shape, dtype, data):
    """Vectors and what is no matrix become FP32, as the converters have it."""
    shape = [side for side in shape if side != 1] or [1]
    if len(shape) != 2 or "position_embd" in name:
        return name, shape, gguf.TENSOR_F32, gguf.floats(dtype, data).tobytes()
    return name, shape, STORED[dtype], data


def rows_of(data, count):
    size = len(data) // count
    return [data[i * size:(i + 1) * size] for i in range(count)]


def turned(rows, n_heads):
    """The rows of a head's two halves in turns."""
    half = len(rows) // n_heads // 2
    return [rows[(head * 2 + part) * half + i] for head in range(n_heads) for i in range(half) for part in range(2)]


def decoder_tensors(found, config):
    heads, kv_heads, kind = config["num_attention_heads"], config["num_key_value_heads"], config["model_type"]
    tensors = []

    def add(name, shape, dtype, rows, n_heads):
        if n_heads and kind != "qwen2":
            rows = turned(rows, n_heads)
        tensors.append(tensor(name, [len(rows)] + shape[1:], dtype, b"".join(rows)))

    for source, (shape, dtype, data) in found.items():
        name = rename(source, DECODER_NAMES)
        rows = rows_of(data, shape[0])
        if ".wqkv." in name:  # groups of query heads, key, value
            size = shape[0] // (heads + 2 * kv_heads)
            each = heads // kv_heads
            parts = {"q": [], "k": [], "v": []}
            for group in range(kv_heads):
                start = group * (each + 2) * size
                parts["q"] += rows[start:start + each * size]
                parts["k"] += rows[start + each * size:start + (each + 1) * size]
                parts["v"] += rows[start + (each + 1) * size:start + (each + 2) * size]
            for part, n_heads in (("q", heads), ("k", kv_heads), ("v", 0)):
                add(name.replace("wqkv", "attn_" + part), shape, dtype, parts[part], n_heads)
        else:
            n_heads = {"attn_q": heads, "attn_k": kv_heads}.get(name.split(".")[-2], 0)
            add(name, shape, dtype, rows, n_heads)
    return tensors


def decoder_keys(folder, config):
    arch = {"mistral": "llama"}.get(config["model_type"], config["model_type"])
    rope = config.get("rope_parameters") or {}
    keys = [("general.architecture", gguf.STRING, arch), ("general.name", gguf.STRING, folder.name)]
    for name, source in (("block_count", "num_hidden_layers"), ("context_length", "max_position_embeddings"),
                         ("embedding_length", "hidden_size"), ("feed_forward_length", "intermediate_size"),
                         ("attention.head_count", "num_attention_heads"), ("attention.head_count_kv", "num_key_value_heads")):
        keys.append((f"{arch}.{name}", gguf.U32, config[source]))
    keys += [(f"{arch}.rope.freq_base", gguf.F32, config.get("rope_theta", rope.get("rope_theta", 10000.0))),
             (f"{arch}.attention.layer_norm_rms_epsilon", gguf.F32, config["rms_norm_eps"])]
    if arch == "phi3":
        original = config["original_max_position_embeddings"]
        attention = math.sqrt(1 + math.log(config["max_position_embeddings"] / original) / math.log(original))
        keys += [("phi3.rope.scaling.attn_factor", gguf.F32, attention),
                 ("phi3.rope.scaling.original_context_length", gguf.U32, original),
                 ("phi3.rope.dimension_count", gguf.U32, config["hidden_size"] // config["num_attention_heads"]),
                 ("phi3.attention.sliding_window", gguf.U32, config["sliding_window"])]
    template = json.loads((folder / "tokenizer_config.json").read_text()).get("chat_template")
    if template:
        keys.append(("tokenizer.chat_template", gguf.STRING, template))
    return keys + (sentencepiece_keys(folder, arch) if (folder / "tokenizer.model").exists() else byte_level_keys(folder))


def sentencepiece_keys(folder, arch):
    pieces = gguf.sentencepiece_pieces((folder / "tokenizer.model").read_bytes())
    path = folder / "added_tokens.json"
    added = json.loads(path.read_text()) if path.exists() else {}
    for token, index in sorted(added.items(), key=lambda item: item[1]):
        if index == len(pieces):
            pieces.append((token.encode(), -1000.0, CONTROL))
    return [("tokenizer.ggml.model", gguf.STRING, "llama"),
            ("tokenizer.ggml.tokens", gguf.STRING, [piece for piece, _, _ in pieces]),
            ("tokenizer.ggml.scores", gguf.F32, [score for _, score, _ in pieces]),
            ("tokenizer.ggml.token_type", gguf.I32, [kind for _, _, kind in pieces]),
            ("tokenizer.ggml.add_space_prefix", gguf.BOOL, arch != "internlm2"),
            ("tokenizer.ggml.bos_token_id", gguf.U32, 1), ("tokenizer.ggml.eos_token_id", gguf.U32, 2)]


def byte_level_keys(folder):
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    ids = dict(tokenizer["model"]["vocab"])
    special = {token["content"]: token["id"] for token in tokenizer["added_tokens"]}
    ids.update(special)
    tokens = sorted(ids, key=ids.get)
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in tokenizer["model"]["merges"]]
    return [("tokenizer.ggml.model", gguf.STRING, "gpt2"), ("tokenizer.ggml.pre", gguf.STRING, "qwen2"),
            ("tokenizer.ggml.tokens", gguf.STRING, tokens),
            ("tokenizer.ggml.token_type", gguf.I32, [CONTROL if token in special else 1 for token in tokens]),
            ("tokenizer.ggml.merges", gguf.STRING, merges),
            ("tokenizer.ggml.eos_token_id", gguf.U32, special["<|im_end|>"]), ("tokenizer.ggml.add_bos_token", gguf.BOOL, False)]


def factors(config):
    """Phi-3's rotary factors are tensors."""
    scaling = config.get("rope_scaling") or {}
    return [(f"rope_factors_{kind}.weight", [len(scaling[f"{kind}_factor"])], gguf.TENSOR_F32,
             struct.pack(f"<{len(scaling[f'{kind}_factor'])}f", *scaling[f"{kind}_factor"]))
            for kind in ("long", "short") if f"{kind}_factor" in scaling]


def side(value):
    return value[0] if isinstance(value, list) else value


def vision_keys(config, n_layers):
    keys = [("general.architecture", gguf.STRING, "clip"), ("general.type", gguf.STRING, "mmproj"),
            ("clip.has_vision_encoder", gguf.BOOL, True), ("clip.vision.block_count", gguf.U32, n_layers),
            ("clip.vision.image_size", gguf.U32, side(config["image_size"])),
            ("clip.vision.patch_size", gguf.U32, side(config["patch_size"]))]
    for name, source in (("embedding_length", "hidden_size"), ("feed_forward_length", "intermediate_size"),
                         ("attention.head_count", "num_attention_heads")):
        keys.append(("clip.vision." + name, gguf.U32, config[source]))
    return keys


def internvl_tower(found, config, tiles):
    vision = config["vision_config"]
    keys = vision_keys(vision, vision["num_hidden_layers"])
    keys += [("clip.projector_type", gguf.STRING, "internvl"), ("clip.use_gelu", gguf.BOOL, True),
             ("clip.vision.projector.scale_factor", gguf.U32, int(1 / config["downsample_ratio"])),
             ("clip.vision.attention.layer_norm_epsilon", gguf.F32, vision["layer_norm_eps"]),
             ("clip.vision.image_mean", gguf.F32, [0.485, 0.456, 0.406]),
             ("clip.vision.image_std", gguf.F32, [0.229, 0.224, 0.225])]
    if tiles:
        keys += [("clip.vision.preproc_min_tiles", gguf.U32, 1), ("clip.vision.preproc_max_tiles", gguf.U32, tiles)]
    tensors = []
    for source, (shape, dtype, data) in found.items():
        name = rename(source, INTERN_VIT_NAMES)
        if ".qkv." not in name:
            tensors.append(tensor(name, shape, dtype, data))
            continue
        for part, third in zip("qkv", rows_of(data, 3)):
            tensors.append(tensor(name.replace("qkv", "attn_" + part), [shape[0] // 3] + shape[1:], dtype, third))
    return keys, tensors


def llava_tower(found, config, swapped):
    vision = config["vision_config"]
    n_layers = vision["num_hidden_layers"] - 1
    keys = vision_keys(vision, n_layers) + [
        ("clip.has_llava_projector", gguf.BOOL, True), ("clip.projector_type", gguf.STRING, "mlp"),
        ("clip.use_gelu", gguf.BOOL, False), ("clip.vision.attention.layer_norm_epsilon", gguf.F32, 1e-5),
        ("clip.vision.image_mean", gguf.F32, [0.48145466, 0.4578275, 0.40821073]),
        ("clip.vision.image_std", gguf.F32, [0.26862954, 0.26130258, 0.27577711])]
    if "image_grid_pinpoints" in config:  # as llama.cpp reads them: width, height
        flat = [length for height, width in config["image_grid_pinpoints"] for length in (width, height)]
        keys += [("clip.vision.image_grid_pinpoints", gguf.I32, flat), ("clip.vision.image_aspect_ratio", gguf.STRING, "anyres"),
                 ("clip.vision.mm_patch_merge_type", gguf.STRING, "spatial_unpad")]
    tensors = []
    for source, (shape, dtype, data) in found.items():
        name = rename(source, CLIP_NAMES)
        if name.startswith(f"v.blk.{n_layers}.") or "position_ids" in name:
            continue
        if not swapped:
            name = re.sub("ffn_(up|down)", lambda match: "ffn_" + {"up": "down", "down": "up"}[match[1]], name)
        tensors.append(tensor(name, shape, dtype, data))
    return keys, tensors


def write_pair(golden, folder, swapped=False, tiles=0):
    """model.gguf and mmproj-model.gguf in `folder`; `tiles`: what newer converters of InternVL say."""
    config = json.loads((golden / "config.json").read_text())
    text = config.get("llm_config") or config["text_config"]
    found = weights(golden)
    plain = {name[len("language_model."):]: value for name, value in found.items() if name.startswith("language_model.")}
    rest = {name: value for name, value in found.items() if not name.startswith("language_model.")}
    gguf.write_gguf(folder / "model.gguf", decoder_keys(golden, text), decoder_tensors(plain, text) + factors(text))
    is_internvl = config["model_type"].startswith("internvl")
    keys, tensors = internvl_tower(rest, config, tiles) if is_internvl else llava_tower(rest, config, swapped)
    gguf.write_gguf(folder / "mmproj-model.gguf", keys, tensors)
    return folder / "model.gguf"
