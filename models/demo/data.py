"""Batches for training: drawn pictures and the published training set's, each with several texts."""

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

import texts
from checkpoint import IMAGE_SIZE, MEAN, N_IMAGE_TOKENS, STD
from drawing import GRID, UNSURE, draw_scene, patch_labels
from published import training_set
from scenes import seeded, training_scene
from vocabulary import N_PIECES

IGNORED = -100


def pixel_values(image):
    """[3, size, size] as CLIPImageProcessor makes them: shortest edge to size, centre crop, rescale, normalise."""
    width, height = image.size
    if (width, height) != (IMAGE_SIZE, IMAGE_SIZE):
        short = min(width, height)
        image = image.resize((int(IMAGE_SIZE * width / short), int(IMAGE_SIZE * height / short)),
                             Image.Resampling.BICUBIC)
        left, top = (image.width - IMAGE_SIZE) // 2, (image.height - IMAGE_SIZE) // 2
        image = image.crop((left, top, left + IMAGE_SIZE, top + IMAGE_SIZE))
    values = np.asarray(image, dtype=np.float32) / 255.0
    return ((values - np.float32(MEAN)) / np.float32(STD)).transpose(2, 0, 1)


class Encoder:
    """Turns one turn into ids and labels; the text before and at the picture is the same for all."""

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer
        ids = tokenizer(texts.chat_text("x", "y"))["input_ids"]
        self.before = ids[: ids.index(N_PIECES)]
        self.cache = {}

    def segment(self, prompt, answer):
        key = (prompt, answer)
        if key not in self.cache:
            if len(self.cache) > 200000:
                self.cache.clear()
            ids = self.tokenizer(texts.chat_text(prompt, answer))["input_ids"]
            asked = self.tokenizer(f"USER: <image>\n{prompt} ASSISTANT:")["input_ids"]
            assert ids[: len(asked)] == asked
            start = ids.index(N_PIECES) + 1
            self.cache[key] = (ids[start:], len(asked) - start)
        return self.cache[key]


@dataclass
class Batch:
    pixels: torch.Tensor  # [pictures, 3, size, size]
    ids: torch.Tensor  # [pictures, texts' tokens], segments one after the other
    labels: torch.Tensor  # likewise: the next token, or IGNORED
    segment: torch.Tensor  # likewise: which text a token belongs to, -1 for padding
    positions: torch.Tensor  # likewise: as if its text alone followed the picture
    patches: torch.Tensor  # [pictures, patches, 4]: see drawing.patch_labels
    counts: torch.Tensor  # [pictures]: how many shapes there are


def collate(examples, n_before):
    pixels, rows, patches, counts = zip(*examples)
    longest = max(1, max(sum(len(ids) for ids, _ in row) for row in rows))
    shape = (len(rows), longest)
    ids, labels = np.zeros(shape, np.int64), np.full(shape, IGNORED, np.int64)
    segment, positions = np.full(shape, -1, np.int64), np.zeros(shape, np.int64)
    for r, row in enumerate(rows):
        at = 0
        for s, (tokens, n_prompt) in enumerate(row):
            n = len(tokens)
            ids[r, at : at + n] = tokens
            labels[r, at + n_prompt - 1 : at + n - 1] = tokens[n_prompt:]
            segment[r, at : at + n] = s
            positions[r, at : at + n] = np.arange(n) + n_before + N_IMAGE_TOKENS
            at += n
    arrays = np.stack(pixels), ids, labels, segment, positions, np.stack(patches), np.array(counts)
    return Batch(*(torch.from_numpy(a) for a in arrays))


class Stream(torch.utils.data.IterableDataset):
    """Endless batches from `seed` and the step it starts at: the same step always gives the same batch.
    `phases` are the steps from which pictures have captions, and questions too."""

    def __init__(self, tokenizer, seed, first_step, phases, pictures):
        self.encoder = Encoder(tokenizer)
        self.seed, self.first_step, self.phases, self.pictures = seed, first_step, phases, pictures

    def __iter__(self):
        published = training_set()
        step = self.first_step
        while True:
            yield self.batch(published, step)
            step += 1

    def sample(self, pictures):
        """A few drawn pictures with captions and questions, for checks."""
        rng = seeded(self.seed)
        examples = [self.example(rng, [], 2) for _ in range(pictures)]
        return collate(examples, len(self.encoder.before))

    def batch(self, published, step):
        rng = seeded(self.seed * 1_000_003 + step)
        phase = sum(step >= start for start in self.phases)
        examples = []
        while len(examples) < self.pictures:
            example = self.example(rng, published, phase)
            if example[1] or phase == 0:
                examples.append(example)
        return collate(examples, len(self.encoder.before))

    def example(self, rng, published, phase):
        """One picture's values, its texts and its labels."""
        asked = []
        if published and rng.random() < (0.1, 0.15, 0.15)[phase]:
            image, scene, asked = published[rng.randrange(len(published))]
            asked = rng.sample(asked, min(3, len(asked)))
            boxes = []
        else:
            scene = training_scene(rng)
            image, boxes = draw_scene(scene, rng)
        row = []
        prompt = texts.CAPTION_PROMPTS[0] if rng.random() < 0.6 else rng.choice(texts.CAPTION_PROMPTS)
        answer = texts.caption(scene, prompt) if scene and phase else None
        if answer and (phase == 1 or rng.random() < 0.9):
            row.append(self.encoder.segment(prompt, answer))
        if phase == 2:
            while scene and len(asked) < 3:
                asked.append(texts.question(rng, scene))
            row += [self.encoder.segment(*pair) for pair in asked]
        if scene is None:
            return pixel_values(image), row, np.full((GRID * GRID, 4), UNSURE), UNSURE
        return pixel_values(image), row, patch_labels(scene, boxes), len(scene.things)
