"""Writes blocks.safetensors: for each block type of GGUF random blocks and what the gguf package (0.19.0) decodes
them to. Needs gguf, numpy and safetensors."""
from pathlib import Path

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize
from safetensors.numpy import save_file

# Where the halves of a block lie; random ones could be infinite or no numbers.
HALVES = {
    "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "IQ4_NL": [0],
    "Q2_K": [80, 82], "Q3_K": [108], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208],
}
N_BLOCKS = 3

random = np.random.default_rng(4)
tensors = {}
for name, halves in HALVES.items():
    block_type = GGMLQuantizationType[name]
    size = GGML_QUANT_SIZES[block_type][1]
    blocks = random.integers(0, 256, (N_BLOCKS, size), dtype=np.uint8)
    for at in halves:
        blocks[:, at:at + 2] = random.normal(0, 0.1, (N_BLOCKS, 1)).astype(np.float16).view(np.uint8)
    row = blocks.reshape(1, -1)
    tensors[name + ".blocks"] = row[0]
    tensors[name + ".values"] = dequantize(row, block_type)[0].astype(np.float32)
save_file(tensors, Path(__file__).parent / "blocks.safetensors")
