"""Partial LoRA (arXiv:2401.16420): a low-rank addition that image tokens alone go through."""
import torch


class ImageRows:
    """Which rows of the current pass are image tokens; shared by all layers of a decoder."""

    def __init__(self):
        self.mask = None


class PartialLoraLinear(torch.nn.Module):
    def __init__(self, base, scale, image_rows):
        super().__init__()
        self.base, self.scale, self.image_rows = base, scale, image_rows
        self.a = self.b = None

    def forward(self, values):
        out = self.base(values)
        mask = self.image_rows.mask
        if mask.any():
            out = out.clone()
            out[:, mask] += self.scale * (values[:, mask] @ self.a.T @ self.b.T)
        return out


def split_query_key_value(rows, heads, kv_heads, head_size):
    groups = rows.reshape(kv_heads, heads // kv_heads + 2, head_size, -1)
    return [piece.reshape(-1, rows.shape[1]) for piece in (groups[:, :-2], groups[:, -2], groups[:, -1])]


def add_partial_lora(decoder, adapters, scale):
    """adapters: {module path: (A, B)}; replaces those Linears of the decoder."""
    image_rows = ImageRows()
    for path, (a, b) in adapters.items():
        parent_path, _, leaf = path.rpartition(".")
        parent = decoder.get_submodule(parent_path)
        layer = PartialLoraLinear(getattr(parent, leaf), scale, image_rows)
        layer.a, layer.b = a, b
        setattr(parent, leaf, layer)
    return image_rows
