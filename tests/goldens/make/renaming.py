"""Published tensor names to those of transformers' modules."""
import re

CLIP = [(r"^(?:model\.vision_tower\.|vit\.)?vision_tower\.(?:vision_model\.)?", "model.vision_tower.")]
LLAVA = CLIP + [
    (r"^(language_model\.)lm_head", "lm_head"),
    (r"^language_model\.model\.", "model.language_model."),
    (r"^(multi_modal_projector|image_newline)", r"model.\1"),
]
LLAVA_ORIGINAL = [
    (r"^model\.mm_projector\.0", "model.multi_modal_projector.linear_1"),
    (r"^model\.mm_projector\.2", "model.multi_modal_projector.linear_2"),
    (r"^model\.(embed_tokens|layers|norm)", r"model.language_model.\1"),
] + CLIP
INTERNLM2 = [
    (r"tok_embeddings", "embed_tokens"),
    (r"^((?:language_model\.)?)output\.", r"\1lm_head."),
    (r"attention\.wo\.", "self_attn.o_proj."),
    (r"attention\.wqkv\.", "self_attn.qkv_proj."),
    (r"feed_forward\.w1\.", "mlp.gate_proj."),
    (r"feed_forward\.w2\.", "mlp.down_proj."),
    (r"feed_forward\.w3\.", "mlp.up_proj."),
    (r"attention_norm", "input_layernorm"),
    (r"ffn_norm", "post_attention_layernorm"),
]
INTERNVL = INTERNLM2 + LLAVA[1:3] + [
    (r"^vision_model\.embeddings\.class_embedding", "model.vision_tower.embeddings.cls_token"),
    (r"^vision_model\.embeddings\.patch_embedding\.", "model.vision_tower.embeddings.patch_embeddings.projection."),
    (r"^vision_model\.embeddings\.position_embedding$", "model.vision_tower.embeddings.position_embeddings"),
    (r"^vision_model\.encoder\.layers\.", "model.vision_tower.encoder.layer."),
    (r"\.attn\.proj\.", ".attention.projection_layer."),
    (r"\.attn\.", ".attention."),
    (r"\.ls(\d)$", r".lambda_\1"),
    (r"\.norm1\.", ".layernorm_before."),
    (r"\.norm2\.", ".layernorm_after."),
    (r"^mlp1\.0", "model.multi_modal_projector.layer_norm"),
    (r"^mlp1\.1", "model.multi_modal_projector.linear_1"),
    (r"^mlp1\.3", "model.multi_modal_projector.linear_2"),
]
INTERNVL_HF = LLAVA[1:] + [(r"^vision_tower\.", "model.vision_tower.")]
XCOMPOSER = INTERNLM2 + [
    (r"^vit\.vision_tower\.vision_model\.", "vision_tower."),
    (r"^vision_proj\.0", "projector.linear_1"),
    (r"^vision_proj\.2", "projector.linear_2"),
]
IGNORED = re.compile(r"rotary_emb\.inv_freq$")


def renamed(tensors, rules):
    result = {}
    for name, tensor in tensors.items():
        if IGNORED.search(name):
            continue
        for pattern, replacement in rules:
            name = re.sub(pattern, replacement, name)
        result[name] = tensor
    return result


def split_rows(tensors, packed, parts, head_size, heads, kv_heads):
    """InternLM2's wqkv: for each key-value head its query heads, then its key, then its value."""
    result = {}
    for name, tensor in tensors.items():
        if packed not in name:
            result[name] = tensor
            continue
        groups = tensor.reshape(kv_heads, heads // kv_heads + 2, head_size, -1)
        pieces = groups[:, :-2], groups[:, -2], groups[:, -1]
        for part, piece in zip(parts, pieces):
            result[name.replace(packed, part)] = piece.reshape(-1, *tensor.shape[1:]).contiguous()
    return result


def split_thirds(tensors, packed, parts):
    result = {}
    for name, tensor in tensors.items():
        if packed in name:
            for part, piece in zip(parts, tensor.chunk(3)):
                result[name.replace(packed, part)] = piece.contiguous()
        else:
            result[name] = tensor
    return result
