"""Random weights under which every stage is alive: attention that attends, norms that are not one, clear decisions."""
import math
import re

import torch

from . import packing

LOGIT_SPREAD = 24.0
EMBEDDING_SPREAD = 0.5
# Special tokens and padding rows lose every decision, as they do in trained models.
DAMPED = 1 / 16
PACKED_LINEAR = re.compile(r"model\.layers\..*_proj\.weight$")


def normal(shape, generator):
    return torch.randn(shape, generator=generator)


def one(name, shape, text, generator):
    values = normal(shape, generator)
    hidden = text["hidden_size"]
    if name.endswith("inv_freq"):
        return 1.0 / 10000 ** (torch.arange(shape[0]) / shape[0])
    if re.search(r"(lm_head|^output|\.output)\.weight$", name):
        return values * LOGIT_SPREAD / math.sqrt(hidden)
    if re.search(r"model\.norm\.weight$", name) and text["tie_word_embeddings"]:
        return (1 + 0.1 * values) * LOGIT_SPREAD / (EMBEDDING_SPREAD * math.sqrt(hidden))
    if re.search(r"(embed_tokens|tok_embeddings|image_newline|class_embedding|cls_token|position_embeddings?)(\.weight)?$", name):
        return values * EMBEDDING_SPREAD
    if re.search(r"\.(ls\d|lambda_\d)$", name):
        return 0.5 + 0.2 * values
    if name.endswith(".bias"):
        return 0.2 * values
    if len(shape) == 1:
        return 1 + 0.2 * values
    if name.endswith("Plora_B.weight"):
        return values * 0.5
    gain = 1.4 if re.search(r"(q_proj|k_proj|qkv|wqkv)", name) else 1.0
    return values * gain / math.sqrt(math.prod(shape[1:]))


def random_weights(shapes, text, special_ids, tokenizer_size, seed):
    generator = torch.Generator().manual_seed(seed)
    weights = {name: one(name, shape, text, generator) for name, shape in sorted(shapes.items())}
    for name, values in weights.items():
        is_output = re.search(r"(lm_head|(^|\.)output)\.weight$", name)
        is_tied = text["tie_word_embeddings"] and name.endswith("embed_tokens.weight")
        if is_output or is_tied:
            values[sorted(special_ids)] *= DAMPED
            values[tokenizer_size:] *= DAMPED
    return weights


def stored(weights, quantisation, seed):
    """The tensors as their files hold them, in the stored type already, linears of the decoder packed where said so."""
    if quantisation is None:
        return weights
    generator = torch.Generator().manual_seed(seed)
    result = {}
    for name, values in weights.items():
        layer = name.removesuffix(".weight")
        if not PACKED_LINEAR.search(name):
            result[name] = values
        elif quantisation["quant_method"] == "awq":
            result |= packing.pack_awq(layer, values.float(), quantisation["group_size"])
        elif quantisation["quant_method"] == "gptq":
            result |= packing.pack_gptq(layer, values.float(), quantisation["group_size"], quantisation["desc_act"], generator)
        else:
            result |= packing.pack_nf4(name, values.float(), quantisation["bnb_4bit_use_double_quant"])
    return result


def adapter_weights(config, base_shapes, seed, old_names):
    """A PEFT adapter for the seven projections of a LLaVA's decoder."""
    generator = torch.Generator().manual_seed(seed)
    rank, result = config["r"], {}
    for name, shape in sorted(base_shapes.items()):
        if not re.search(r"language_model\..*layers.*_proj\.weight$", name):
            continue
        path = name.removesuffix(".weight")
        if not old_names:
            path = path.replace("language_model.model.", "model.language_model.")
        at = f"base_model.model.{path}."
        result[at + "lora_A.weight"] = normal((rank, shape[1]), generator) / math.sqrt(shape[1])
        result[at + "lora_B.weight"] = normal((shape[0], rank), generator) * 0.2
    return result
