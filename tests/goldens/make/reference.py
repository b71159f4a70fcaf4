"""A checkpoint's folder and its cases to reference tensors: the same path makes goldens and checks them."""
import json
from pathlib import Path

import torch

from . import pixels
from .checkpoint import read_config, read_tensors
from .models import model_for, with_adapter
from .tokens import expand, read_tokens

STEPS = 24


class Reference:
    def __init__(self, root, folder, base=None, tensors=None, adapter=None):
        """base: the folder that an adapter in `folder` is for. tensors, adapter: weights other than those on disk."""
        self.root, folder = Path(root), Path(folder)
        home = Path(base) if base else folder
        config = read_config(home)
        self.architecture = config["architectures"][0]
        weights = tensors if tensors is not None else read_tensors(home, config.get("quantization_config"))
        if base:
            described = json.loads((folder / "adapter_config.json").read_text())
            weights = with_adapter(weights, adapter if adapter is not None else read_tensors(folder), described)
        self.tokens = read_tokens(home, self.architecture)
        with torch.no_grad():
            self.model = model_for(home, config, weights)
        self.image_id = self.model.image_id if self.model.pictures else None
        if self.model.pictures and self.image_id is None:
            self.image_id = self.tokens.id_of("<IMG_CONTEXT>")

    def prompt_ids(self, prompt, counts):
        # InternVL's run of <IMG_CONTEXT> is written {image}.
        return expand(self.tokens.encode(prompt.replace("{image}", "<IMG_CONTEXT>")), self.image_id, counts)

    @torch.no_grad()
    def run(self, case, required_margin=0.0):
        """(tensors of the case, facts for golden.json); nothing when two logits come closer than required."""
        tensors, facts, counts = {}, {}, []
        if case.get("images"):
            values, facts = self.model.pixels(pixels.open_pictures(self.root, case["images"]))
            tensors["pixel_values"] = values
            tensors["tower_features"] = self.model.tower(values)
            tensors["image_embeddings"] = self.model.image_embeddings(values, facts)
            counts = self.model.token_counts(tensors["image_embeddings"], facts)
        ids = torch.tensor(self.prompt_ids(case["prompt"], counts))
        image_mask = ids == self.image_id if self.image_id is not None else torch.zeros_like(ids, dtype=torch.bool)
        embeddings = self.model.embed(ids.masked_fill(image_mask, 0))
        if counts:
            rows = tensors["image_embeddings"].reshape(-1, embeddings.shape[-1])
            embeddings[image_mask] = rows
        tensors |= {"input_ids": ids, "logits": self.model.logits(embeddings, image_mask)}
        generated, margin = self.generate(embeddings, image_mask, tensors["logits"][-1], required_margin)
        if margin < required_margin:
            return None, None
        tensors["generated_ids"] = torch.tensor(generated)
        return tensors, facts | {"text": self.tokens.decode(generated), "min_top1_margin": round(margin, 4)}

    def generate(self, embeddings, image_mask, last, required_margin):
        """Greedy: every step computes the whole sequence anew, where that is the same."""
        generated, margin, cache = [], float("inf"), self.model.cache(embeddings)
        for step in range(STEPS):
            best = torch.topk(last, 2)
            margin = min(margin, (best.values[0] - best.values[1]).item())
            generated.append(int(best.indices[0]))
            if margin < required_margin or step + 1 == STEPS:
                break
            embedding = self.model.embed(best.indices[:1])
            if cache is not None:
                last = self.model.next_logits(embedding, cache)
                continue
            embeddings = torch.cat([embeddings, embedding])
            image_mask = torch.cat([image_mask, torch.zeros(1, dtype=torch.bool)])
            last = self.model.logits(embeddings, image_mask)[-1]
        return generated, margin

