"""easy-VQA's training set, with what its pictures show. Its test set is never opened here."""

import re

import numpy as np
from PIL import Image

from scenes import COLORS, EASY_SHAPES, Scene, Thing, size_word


def fact(question, answer):
    """The colour or shape that a question and its answer give away, or None."""
    if question.startswith("what"):
        named = re.search(r"\b(circle|rectangle|triangle)\b|what is the (?!color)(\w+) shape", question)
        return {answer} | ({named[1] or named[2]} if named else set())
    denied = re.search(r"\b(not|no)\b", question) is not None
    words = re.findall(r"[a-z]+", question)
    found = [w for w in words if w in COLORS or w in EASY_SHAPES]
    return set(found) if (answer == "yes") != denied else set()


def measured_thing(image, color, shape):
    """The one shape of a picture: its box is where the picture differs from its background."""
    pixels = np.asarray(image, dtype=np.int32)
    corners = [tuple(pixels[y, x]) for y in (0, -1) for x in (0, -1)]
    ground = max(set(corners), key=corners.count)
    rows, columns = np.where(np.abs(pixels - ground).sum(-1) > 60)
    if len(rows) == 0 or shape is None or color is None:
        return None
    height, width = (int(v.max() - v.min() + 1) / 64 for v in (rows, columns))
    if max(width, height) > 0.6:  # the shape lies over the corners
        return None
    x, y = ((int(v.max() + v.min()) + 1) / 128 for v in (columns, rows))
    return Thing(shape, color, size_word(max(width, height)), x, y, width, height)


def training_set():
    """(picture, scene or None, [(question, answer)]) for every picture."""
    import easy_vqa
    by_image = {}
    for question, answer, image_id in zip(*easy_vqa.get_train_questions()):
        by_image.setdefault(image_id, []).append((question, answer))
    result = []
    for image_id, path in sorted(easy_vqa.get_train_image_paths().items()):
        asked = by_image.get(image_id, [])
        facts = set().union(*(fact(*pair) for pair in asked))
        image = Image.open(path).convert("RGB")
        thing = measured_thing(image, next((c for c in COLORS if c in facts), None),
                               next((s for s in EASY_SHAPES if s in facts), None))
        result.append((image, Scene("easy", [thing]) if thing else None, asked))
    return result
