"""The tensors of a checkpoint's folder: read (shards joined, four bits dequantised), and written."""
import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from . import packing


def read_config(folder):
    return json.loads((Path(folder) / "config.json").read_text())


def write_json(path, value):
    Path(path).write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read_tensors(folder, quantisation=None):
    tensors = {}
    for file in sorted(Path(folder).glob("*.safetensors")):
        if file.name != "golden.safetensors":
            tensors |= load_file(file)
    if quantisation is not None:
        tensors = dequantised(tensors, quantisation)
    return {name: tensor.float() for name, tensor in tensors.items()}


def dequantised(tensors, quantisation):
    method = quantisation["quant_method"]
    plain = {}
    for name in tensors:
        if name.endswith(".qweight"):
            layer = name.removesuffix(".qweight")
            plain[layer + ".weight"] = (packing.unpack_awq(tensors, layer, quantisation["group_size"])
                                        if method == "awq" else packing.unpack_gptq(tensors, layer))
        elif name.endswith(".weight"):
            is_packed = f"{name}.quant_map" in tensors
            plain[name] = packing.unpack_nf4(tensors, name) if is_packed else tensors[name]
    return plain


def write_tensors(folder, tensors, shards=1):
    tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    if shards == 1:
        save_file(tensors, Path(folder) / "model.safetensors", metadata={"format": "pt"})
        return
    names = sorted(tensors, reverse=True)
    weight_map = {}
    for shard in range(shards):
        file = f"model-{shard + 1:05}-of-{shards:05}.safetensors"
        part = names[len(names) * shard // shards: len(names) * (shard + 1) // shards]
        weight_map |= {name: file for name in part}
        save_file({name: tensors[name] for name in part}, Path(folder) / file, metadata={"format": "pt"})
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    write_json(Path(folder) / "model.safetensors.index.json",
               {"metadata": {"total_size": size}, "weight_map": dict(sorted(weight_map.items()))})
