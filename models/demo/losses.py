"""What is trained: naming what each patch shows, and the answers of each picture's texts."""

import torch
from torch.nn.functional import cross_entropy

from data import IGNORED
from drawing import ROLES, SIZES, WHATS
from scenes import COLORS


class PatchHeads(torch.nn.Module):
    """Linear readings of the tower's features, thrown away after training."""

    def __init__(self, width):
        super().__init__()
        self.parts = (len(WHATS), len(COLORS) + 1, len(SIZES), len(ROLES))
        self.patch = torch.nn.Linear(width, sum(self.parts))
        self.count = torch.nn.Linear(width, 6)

    def loss(self, features, batch):
        readings = self.patch(features).split(self.parts, -1)
        losses = [cross_entropy(reading.flatten(0, 1), batch.patches[..., i].flatten(), ignore_index=IGNORED)
                  for i, reading in enumerate(readings)]
        losses.append(0.3 * cross_entropy(self.count(features.mean(1)), batch.counts, ignore_index=IGNORED))
        return losses


def tower_features(model, pixels):
    """[pictures, patches, width] of the layer before the last, without the class token; the last layer is not run."""
    tower = model.model.vision_tower
    tower = getattr(tower, "vision_model", tower)
    hidden = tower.pre_layrnorm(tower.embeddings(pixels))
    for layer in tower.encoder.layers[:-1]:
        hidden = layer(hidden, attention_mask=None)
        hidden = hidden[0] if isinstance(hidden, tuple) else hidden
    return hidden[:, 1:]


def attention_mask(segment, n_shared):
    """[pictures, 1, tokens, tokens]: all see the picture and what stands before it; a text sees only itself besides."""
    total = n_shared + segment.shape[1]
    mask = torch.ones(total, total, dtype=torch.bool, device=segment.device).tril().repeat(len(segment), 1, 1)
    mask[:, n_shared:, n_shared:] &= segment[:, :, None] == segment[:, None, :]
    return mask[:, None]


def answer_logits(model, features, batch, before):
    """Logits at the answers' tokens. A picture is encoded once; its texts follow it side by side, unseen by each
    other, each at the positions that it has when it stands alone."""
    n = len(features)
    embed = model.get_input_embeddings()
    images = model.model.multi_modal_projector(features)
    embeds = torch.cat([embed(before).expand(n, -1, -1), images, embed(batch.ids)], 1)
    n_shared = before.shape[1] + images.shape[1]
    positions = torch.cat([torch.arange(n_shared, device=embeds.device).expand(n, -1), batch.positions], 1)
    hidden = model.model.language_model(inputs_embeds=embeds, attention_mask=attention_mask(batch.segment, n_shared),
                                        position_ids=positions, use_cache=False).last_hidden_state[:, n_shared:]
    return model.lm_head(hidden[batch.labels != IGNORED])


def answer_loss(model, features, batch, before):
    wanted = batch.labels[batch.labels != IGNORED]
    return cross_entropy(answer_logits(model, features, batch, before), wanted)


@torch.no_grad()
def check_sharing(model, batch, before, image_token):
    """Texts that share their picture give what each gives alone, through the model's own forward pass. Training
    stops here where a new transformers treats masks or positions in another way."""
    shared = answer_logits(model, tower_features(model, batch.pixels), batch, before)
    n_images = (batch.pixels.shape[-1] // model.config.vision_config.patch_size) ** 2
    images = torch.full((n_images,), image_token, device=before.device)
    at = 0
    for row in range(len(batch.pixels)):
        for text in range(int(batch.segment[row].max()) + 1):
            chosen = batch.segment[row] == text
            ids = torch.cat([before[0], images, batch.ids[row][chosen]])[None]
            logits = model(input_ids=ids, pixel_values=batch.pixels[row : row + 1]).logits[0, -int(chosen.sum()):]
            alone = logits[batch.labels[row][chosen] != IGNORED]
            torch.testing.assert_close(shared[at : at + len(alone)], alone, rtol=1e-3, atol=1e-4)
            at += len(alone)
