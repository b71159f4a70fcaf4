"""Batches for training: drawn pictures and the published training set's, each with several texts."""

import re
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

import texts
from checkpoint import IMAGE_SIZE, MEAN, N_IMAGE_TOKENS, STD
from scenes import COLORS, EASY_SHAPES, Scene, Thing, draw_scene, random_scene, seeded, size_word
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


def measured_thing(image, color, shape):
    """The one shape of a published picture: its box is where the picture differs from its background."""
    pixels = np.asarray(image, dtype=np.int32)
    corners = [tuple(pixels[y, x]) for y in (0, -1) for x in (0, -1)]
    ground = max(set(corners), key=corners.count)
    rows, columns = np.where(np.abs(pixels - ground).sum(-1) > 60)
    thing = Thing(shape, color, "")
    if len(rows) == 0:
        thing.size = None
        return thing
    thing.height = (rows.max() - rows.min() + 1) / 64
    thing.width = (columns.max() - columns.min() + 1) / 64
    thing.size = size_word(max(thing.width, thing.height))
    return thing


def published_training_set():
    """(picture, scene, [(question, answer)]) of easy-VQA's training set; its test set is never opened here."""
    import easy_vqa
    questions, answers, image_ids = easy_vqa.get_train_questions()
    by_image = {}
    for question, answer, image_id in zip(questions, answers, image_ids):
        by_image.setdefault(image_id, []).append((question, answer))
    result = []
    for image_id, path in easy_vqa.get_train_image_paths().items():
        asked = by_image.get(image_id, [])
        words = " ".join(a for _, a in asked) + " " + " ".join(
            q for q, _ in asked if re.match(r"what (is the )?(color|\w+ shape)", q))
        color = next((c for c in COLORS if re.search(rf"\b{c}\b", words)), None)
        shape = next((s for s in EASY_SHAPES if re.search(rf"\b{s}\b", words)), None)
        image = Image.open(path).convert("RGB")
        known = color is not None and shape is not None
        scene = Scene("easy", [measured_thing(image, color, shape)]) if known else None
        result.append((image, scene, asked))
    return result


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


def collate(pixels, rows, n_before):
    longest = max(sum(len(ids) for ids, _ in row) for row in rows)
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
    return Batch(torch.from_numpy(np.stack(pixels)), *(torch.from_numpy(a) for a in (ids, labels, segment, positions)))


class Stream(torch.utils.data.IterableDataset):
    """Endless batches from `seed` and the step it starts at: the same step always gives the same batch."""

    def __init__(self, tokenizer, seed, first_step, phase_two_step, pictures):
        self.encoder = Encoder(tokenizer)
        self.seed, self.first_step, self.phase_two_step, self.pictures = seed, first_step, phase_two_step, pictures

    def __iter__(self):
        published = published_training_set()
        step = self.first_step
        while True:
            yield self.batch(published, step)
            step += 1

    def batch(self, published, step):
        rng = seeded(self.seed * 1_000_003 + step)
        questions = step >= self.phase_two_step
        pixels, rows = [], []
        while len(rows) < self.pictures:
            example = self.example(rng, published, questions)
            if example[1]:
                pixels.append(example[0])
                rows.append(example[1])
        return collate(pixels, rows, len(self.encoder.before))

    def example(self, rng, published, questions):
        """One picture's values and its texts: a caption where there is one, and questions in the second phase."""
        asked = []
        if rng.random() < (0.3 if questions else 0.1):
            image, scene, asked = published[rng.randrange(len(published))]
            asked = rng.sample(asked, min(4, len(asked)))
        else:
            scene = random_scene(rng)
            image = draw_scene(scene, rng)
        row = []
        answer = texts.caption(scene) if scene else None
        if answer:
            prompt = texts.CAPTION_PROMPTS[0] if rng.random() < 0.7 else rng.choice(texts.CAPTION_PROMPTS)
            row.append(self.encoder.segment(prompt, answer))
        if questions:
            while scene and len(asked) < 4:
                asked.append(texts.question(rng, scene))
            row += [self.encoder.segment(*pair) for pair in asked]
        return pixel_values(image), row
