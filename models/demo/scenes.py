"""Draws the pictures that the demo model learns from: scenes of shapes, digits and words, with what is in them.

Everything is a function of the random generator that is passed in, so a seed says what is drawn.
"""

from dataclasses import dataclass, field
from random import Random

from PIL import Image, ImageDraw, ImageFont

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


def _extent(rng, size, biggest=0.55):
    low, high = {"small": (0.15, 0.22), "": (0.28, 0.37), "large": (0.44, biggest)}[size]
    return rng.uniform(low, high)


def _thing(rng, shapes=SHAPES, biggest=0.55):
    thing = Thing(rng.choice(shapes), rng.choice(list(COLORS)), rng.choice(("small", "", "large")))
    side = _extent(rng, thing.size, biggest)
    thing.width = thing.height = side
    if thing.shape == "rectangle":
        short = side / rng.uniform(1.5, 2.4)
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
    for limit, make in ((0.30, easy_scene), (0.45, single_scene), (0.75, pair_scene), (0.88, count_scene)):
        if draw < limit:
            return make(rng)
    return text_scene(rng)


def _star(cx, cy, w, h):
    from math import cos, pi, sin
    points = []
    for i in range(10):
        r = 1.0 if i % 2 == 0 else 0.42
        points.append((cx + w / 2 * r * sin(pi * i / 5), cy - h / 2 * r * cos(pi * i / 5)))
    return points


def _cross(cx, cy, w, h):
    a, b = w / 6, h / 6
    x, y = w / 2, h / 2
    return [(cx - a, cy - y), (cx + a, cy - y), (cx + a, cy - b), (cx + x, cy - b), (cx + x, cy + b), (cx + a, cy + b),
            (cx + a, cy + y), (cx - a, cy + y), (cx - a, cy + b), (cx - x, cy + b), (cx - x, cy - b), (cx - a, cy - b)]


def _draw_thing(draw, thing, side):
    cx, cy, w, h = (v * side for v in (thing.x, thing.y, thing.width, thing.height))
    fill = COLORS[thing.color]
    box = (cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2)
    if thing.shape == "circle":
        draw.ellipse(box, fill)
    elif thing.shape in ("square", "rectangle"):
        draw.rectangle(box, fill)
    elif thing.shape == "triangle":
        draw.polygon([(cx, cy - h / 2), (cx + w / 2, cy + h / 2), (cx - w / 2, cy + h / 2)], fill)
    else:
        draw.polygon((_star if thing.shape == "star" else _cross)(cx, cy, w, h), fill)


def _draw_text(draw, scene, side, rng):
    height = side * (rng.uniform(0.5, 0.85) if scene.kind == "digit" else rng.uniform(0.34, 0.46))
    font = ImageFont.load_default(size=height)
    left, top, right, bottom = draw.textbbox((0, 0), scene.text, font=font)
    if right - left > 0.94 * side:
        font = ImageFont.load_default(size=height * 0.94 * side / (right - left))
        left, top, right, bottom = draw.textbbox((0, 0), scene.text, font=font)
    x = rng.uniform(0, max(0, side - (right - left))) - left
    y = rng.uniform(0, max(0, side - (bottom - top))) - top
    draw.text((x, y), scene.text, fill=COLORS[scene.color], font=font)


def background(rng):
    """Light tints, as easy-VQA's: around one bright gray, each channel a little off."""
    base = rng.randint(228, 255)
    return tuple(min(255, max(200, base + rng.randint(-18, 12))) for _ in range(3))


def draw_scene(scene, rng, sides=(64, 64, 64, 96, 128, 192)):
    """The picture of a scene: square, RGB, with a side out of `sides`."""
    side = rng.choice(sides) if scene.kind != "easy" else 64
    scale = rng.choice((1, 2, 4)) if side <= 128 else 2
    image = Image.new("RGB", (side * scale, side * scale), background(rng))
    draw = ImageDraw.Draw(image)
    for thing in scene.things:
        _draw_thing(draw, thing, side * scale)
    if scene.text:
        _draw_text(draw, scene, side * scale, rng)
    if scale > 1:
        image = image.resize((side, side), rng.choice((Image.Resampling.LANCZOS, Image.Resampling.BOX)))
    return image


def seeded(seed):
    """A generator for one seed; held-out pictures use seeds that training never reaches."""
    return Random(seed)
