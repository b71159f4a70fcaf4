"""A GGUF file's matrices in other block types, rounded by llama.cpp's own code, which the package xllamacpp carries compiled;
tools/interop makes K-quant files with it. Needs the packages gguf, numpy and xllamacpp.

    requantise_gguf.py IN.gguf OUT.gguf TYPE DECODED.gguf

DECODED.gguf gets the same weights decoded to FP32, by llama.cpp's code too: beside them it computes in FP32. TYPE (Q2_K, Q5_0, ...) is what matrices become whose rows are multiples of its block; the others become what llama-quantize
gives them instead, types with blocks of 32. Token embeddings and the output layer become Q6_K or Q8_0 in the same way."""

import ctypes
import sys
from pathlib import Path

import gguf
import numpy as np
import xllamacpp

# What takes the place of a type whose blocks of 256 do not divide a row.
SMALLER = {"Q2_K": "IQ4_NL", "Q3_K": "IQ4_NL", "Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0"}
VOCABULARY = ("token_embd.weight", "output.weight")


def chosen_type(name, columns, wanted):
    names = [wanted, SMALLER.get(wanted)] if name not in VOCABULARY else ["Q6_K", "Q8_0"]
    for one in filter(None, names):
        kind = gguf.GGMLQuantizationType[one]
        if columns % gguf.GGML_QUANT_SIZES[kind][0] == 0:
            return kind
    return None  # stays FP32


def quantised(values, kind):
    """Rows of FP32 as the bytes of their blocks, and what those decode to."""
    library = ctypes.CDLL(str(next(Path(xllamacpp.__file__).parent.glob("xllamacpp*.so"))))
    library.ggml_quantize_chunk.restype = ctypes.c_size_t
    library.ggml_quantize_chunk.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64,
                                            ctypes.c_int64, ctypes.c_void_p]
    block, block_bytes = gguf.GGML_QUANT_SIZES[kind]
    rows, columns = values.shape
    values = np.ascontiguousarray(values, dtype=np.float32)
    out = np.empty((rows, columns // block * block_bytes), dtype=np.uint8)
    written = library.ggml_quantize_chunk(kind, values.ctypes.data, out.ctypes.data, 0, rows, columns, None)
    assert written == out.nbytes, (written, out.nbytes)
    decode = getattr(library, f"dequantize_row_{kind.name.lower().replace('_k', '_K')}")
    decode.argtypes, decode.restype = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64], None
    decoded = np.empty((rows, columns), dtype=np.float32)
    decode(out.ctypes.data, decoded.ctypes.data, decoded.size)
    return out, decoded


def copy_metadata(reader, writer):
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name == gguf.Keys.General.ARCHITECTURE:
            continue
        kind = field.types[0]
        writer.add_key_value(field.name, field.contents(), kind, sub_type=field.types[-1] if len(field.types) > 1 else None)


def requantise(source, target, wanted, decoded):
    """Returns how many matrices became which type."""
    reader = gguf.GGUFReader(source)
    writers = [gguf.GGUFWriter(path, reader.fields[gguf.Keys.General.ARCHITECTURE].contents()) for path in (target, decoded)]
    for writer in writers:
        copy_metadata(reader, writer)
    counts = {}
    for tensor in reader.tensors:
        values = gguf.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        kind = chosen_type(tensor.name, values.shape[1], wanted) if len(tensor.shape) == 2 else None
        if kind is None:
            for writer in writers:
                writer.add_tensor(tensor.name, values)
            continue
        counts[kind.name] = counts.get(kind.name, 0) + 1
        blocks, values = quantised(values, kind)
        writers[0].add_tensor(tensor.name, blocks, raw_dtype=kind)
        writers[1].add_tensor(tensor.name, values)
    for writer in writers:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    return counts


if __name__ == "__main__":
    print(" ".join(f"{count} {kind}" for kind, count in sorted(requantise(*sys.argv[1:5]).items())))
