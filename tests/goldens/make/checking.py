"""A folder's goldens computed again from its files, and compared with what is stored."""
import json
from pathlib import Path

import torch
from safetensors.torch import load_file

from .reference import Reference

TOLERANCE = 1e-5


def difference(stored, computed):
    """Relative to the largest value; stored logits may be the last rows only, integers are to be equal."""
    if stored.shape != computed.shape and stored.dim() == computed.dim() and stored.shape[1:] == computed.shape[1:]:
        computed = computed[-stored.shape[0]:]
    if stored.shape != computed.shape:
        return float("inf")
    if not stored.is_floating_point():
        return 0.0 if torch.equal(stored, computed) else float("inf")
    return ((stored - computed).abs().max() / stored.abs().max()).item()


def check(root, folder):
    """The largest difference of each kind of tensor; true when all are within the tolerance."""
    folder = Path(folder)
    golden = json.loads((folder / "golden.json").read_text())
    stored = load_file(folder / "golden.safetensors")
    base = folder / golden["base"] if "base" in golden else None
    reference = Reference(root, folder, base)
    worst = {}
    for case in golden["cases"]:
        tensors, _ = reference.run(case)
        for name, tensor in tensors.items():
            key = f"{case['name']}.{name}"
            if key in stored:
                worst[name] = max(worst.get(name, 0.0), difference(stored.pop(key), tensor))
    passed = not stored and all(value <= TOLERANCE for value in worst.values())
    print("ok  " if passed else "FAIL", folder.name, {k: float(f"{v:.1e}") for k, v in worst.items()},
          f"not computed: {sorted(stored)}" if stored else "")
    return passed
