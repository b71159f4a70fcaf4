"""Makes up the scenes that the demo model learns from: shapes, digits and words, and where they are.

Everything is a function of the random generator that is passed in, so a seed says what is shown. drawing.py draws them.
"""

from dataclasses import dataclass, field
from random import Random

# The eight colours and three shapes of easy-VQA first; the rest are ours.
COLORS = {
    "red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "black": (0, 0, 0),
    "gray": (128, 128, 128), "teal": (0, 128, 128), "brown": (165, 42, 42), "yellow": (255, 255, 0),
}
EASY_SHAPES = ("circle", "rectangle", "triangle")
SHAPES = ("circle", "square", "triangle", "star", "cross", "rectangle")
WORDS = ("cat", "dog", "sun", "car", "tree", "fish", "bird", "moon", "boat", "home",
         "cup", "hat", "key", "box", "egg", "red", "yes", "no", "go", "stop")
NUMBERS = ("zero", "one", "two", "three", "four", "five")
RELATIONS = {"above": "below", "below": "above", "left of": "right of", "right of": "left of"}


@dataclass
class Thing:
    """One shape: what it is, and its box in units of the picture's side."""

    shape: str
    color: str
    size: str  # "small", "" or "large"
    x: float = 0.5
    y: float = 0.5
    width: float = 0.2
    height: float = 0.2


@dataclass
class Scene:
    """What a picture shows. `kind` is "easy", "single", "pair", "count", "digit" or "word"."""

    kind: str
    things: list = field(default_factory=list)
    relation: str = ""  # of the first thing to the second
    text: str = ""  # the digit or word
    color: str = ""  # of the text


def size_word(fraction):
    """The word for a thing's longer side, or None where people would disagree."""
    if fraction <= 0.23:
        return "small"
    if 0.28 <= fraction <= 0.38:
        return ""
    if fraction >= 0.43:
        return "large"
    return None


def nearly_square(thing):
    """easy-VQA calls its squares rectangles; a caption that says either would be unfair."""
    ratio = max(thing.width, thing.height) / min(thing.width, thing.height)
    return thing.shape == "rectangle" and ratio < 1.4


def _extent(rng, size, biggest=0.55):
    low, high = {"small": (0.15, 0.22), "": (0.28, 0.37), "large": (0.44, biggest)}[size]
    return rng.uniform(low, high)


def _thing(rng, shapes=SHAPES, biggest=0.55):
    thing = Thing(rng.choice(shapes), rng.choice(list(COLORS)), rng.choice(("small", "", "large")))
    side = _extent(rng, thing.size, biggest)
    thing.width = thing.height = side
    if thing.shape == "rectangle":
        short = side / rng.uniform(1.7, 2.6)
        thing.width, thing.height = (side, short) if rng.random() < 0.5 else (short, side)
    return thing


def _place(rng, thing):
    thing.x = rng.uniform(thing.width / 2, 1 - thing.width / 2)
    thing.y = rng.uniform(thing.height / 2, 1 - thing.height / 2)


def easy_scene(rng):
    """One shape as easy-VQA draws them: 9 to 34 of 64 pixels, a rectangle's sides independent of each other."""
    thing = Thing(rng.choice(EASY_SHAPES), rng.choice(list(COLORS)), "")
    thing.width = thing.height = rng.uniform(9, 34) / 64
    if thing.shape == "rectangle":
        thing.height = rng.uniform(9, 34) / 64
    if thing.shape == "triangle":
        thing.height = thing.width * 0.88
    _place(rng, thing)
    thing.size = size_word(max(thing.width, thing.height))
    return Scene("easy", [thing])


def single_scene(rng):
    thing = _thing(rng, biggest=0.8)
    _place(rng, thing)
    return Scene("single", [thing])


def pair_scene(rng):
    """Two different things, clearly apart along one axis."""
    first, second = _thing(rng, biggest=0.5), _thing(rng, biggest=0.5)
    while (first.shape, first.color) == (second.shape, second.color):
        second = _thing(rng, biggest=0.5)
    relation = rng.choice(list(RELATIONS))
    vertical = relation in ("above", "below")
    before, after = (first, second) if relation in ("above", "left of") else (second, first)
    along = (lambda t: t.height) if vertical else (lambda t: t.width)
    used = along(before) + along(after)
    if used > 0.94:  # two large ones: shrink both to fit, they stay large or become it
        for thing in (before, after):
            thing.width *= 0.94 / used
            thing.height *= 0.94 / used
        used = 0.94
    slack = 1 - used
    gap = rng.uniform(min(0.06, slack), slack)
    start = rng.uniform(0, slack - gap)
    centers = (start + along(before) / 2, start + along(before) + gap + along(after) / 2)
    shared = rng.uniform(0.35, 0.65)
    for thing, center in zip((before, after), centers):
        half = (thing.width if vertical else thing.height) / 2
        cross = min(max(shared + rng.uniform(-0.08, 0.08), half), 1 - half)
        thing.x, thing.y = (cross, center) if vertical else (center, cross)
    return Scene("pair", [first, second], relation)


def count_scene(rng):
    """Two to five like things, apart from each other."""
    n = rng.randint(2, 5)
    shape, color = rng.choice(SHAPES), rng.choice(list(COLORS))
    cells = rng.sample([(i, j) for i in range(3) for j in range(3)], n)
    things = []
    for i, j in cells:
        side = rng.uniform(0.17, 0.25)
        thing = Thing(shape, color, "", width=side, height=side)
        if shape == "rectangle":
            thing.height = side / 1.7
        thing.x = (i + 0.5) / 3 + rng.uniform(-0.03, 0.03)
        thing.y = (j + 0.5) / 3 + rng.uniform(-0.03, 0.03)
        things.append(thing)
    return Scene("count", things)


def text_scene(rng):
    color = rng.choice(list(COLORS))
    if rng.random() < 0.5:
        return Scene("digit", text=str(rng.randint(0, 9)), color=color)
    return Scene("word", text=rng.choice(WORDS), color=color)


def random_scene(rng):
    draw = rng.random()
    for limit, make in ((0.10, easy_scene), (0.32, single_scene), (0.70, pair_scene), (0.80, count_scene)):
        if draw < limit:
            return make(rng)
    return text_scene(rng)


def training_scene(rng):
    """Half of the scenes that leave out what is hardest are drawn anew: squares, rectangles (one is taken for the
    other) and words."""
    scene = random_scene(rng)
    hard = scene.kind == "word" or any(thing.shape in ("square", "rectangle") for thing in scene.things)
    return scene if hard or rng.random() < 0.5 else random_scene(rng)


def seeded(seed):
    """A generator for one seed; held-out pictures use seeds that training never reaches."""
    return Random(seed)
