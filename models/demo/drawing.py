"""Draws scenes as pictures, and says for each patch of a picture what it shows."""

import io
from math import cos, pi, sin

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from scenes import COLORS, RELATIONS, SHAPES, nearly_square

GRID = 8  # patches a side
CHARACTERS = "0123456789abcdefghijklmnopqrstuvwxyz"
WHATS = ("nothing",) + SHAPES + tuple(CHARACTERS)
ROLES = ("none", "only", "above", "below", "left of", "right of")
SIZES = ("none", "small", "", "large")
UNSURE = -100  # a patch at an edge: no label


def _star(cx, cy, w, h):
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


def _draw_thing(draw, thing, side, fill):
    cx, cy, w, h = (v * side for v in (thing.x, thing.y, thing.width, thing.height))
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
    """Writes the scene's text somewhere; gives the boxes of its characters in units of the side."""
    height = side * (rng.uniform(0.5, 0.85) if scene.kind == "digit" else rng.uniform(0.34, 0.46))
    font = ImageFont.load_default(size=height)
    left, top, right, bottom = draw.textbbox((0, 0), scene.text, font=font)
    if right - left > 0.94 * side:
        font = ImageFont.load_default(size=height * 0.94 * side / (right - left))
        left, top, right, bottom = draw.textbbox((0, 0), scene.text, font=font)
    x = rng.uniform(0, max(0, side - (right - left))) - left
    y = rng.uniform(0, max(0, side - (bottom - top))) - top
    draw.text((x, y), scene.text, fill=COLORS[scene.color], font=font)
    ends = [x + font.getlength(scene.text[:i]) for i in range(len(scene.text) + 1)]
    return [(a / side, (y + top) / side, b / side, (y + bottom) / side) for a, b in zip(ends, ends[1:])]


def background(rng):
    """Light tints, as easy-VQA's: around one bright gray, each channel a little off."""
    base = rng.randint(228, 255)
    return tuple(min(255, max(200, base + rng.randint(-18, 12))) for _ in range(3))


def _shaded(image, ground, rng):
    """The plain background becomes a soft gradient."""
    pixels = np.asarray(image, dtype=np.float32)
    height, width = pixels.shape[:2]
    slope = np.linspace(0, 1, height)[:, None] * rng.uniform(-1, 1) + np.linspace(0, 1, width)[None] * rng.uniform(-1, 1)
    plain = (pixels == np.float32(ground)).all(-1, keepdims=True)
    tint = np.float32([rng.uniform(-25, 25) for _ in range(3)])
    return Image.fromarray(np.where(plain, pixels + slope[..., None] * tint, pixels).clip(0, 255).astype(np.uint8))


def _widened(image, ground, rng):
    """More background on two sides. The model crops the centre, so nothing of the scene is lost."""
    more = 2 * (int(image.width * rng.uniform(0.05, 0.6)) // 2)
    across = rng.random() < 0.5
    size = (image.width + more, image.height) if across else (image.width, image.height + more)
    wide = Image.new("RGB", size, ground)
    wide.paste(image, (more // 2, 0) if across else (0, more // 2))
    return wide


def _photographed(image, rng):
    """A little noise and JPEG's traces."""
    if rng.random() < 0.5:
        noise = np.random.default_rng(rng.getrandbits(32)).normal(0, rng.uniform(1, 6), (image.height, image.width, 3))
        image = Image.fromarray((np.asarray(image) + noise).clip(0, 255).astype(np.uint8))
    if rng.random() < 0.5:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=rng.randint(70, 95))
        image = Image.open(file).convert("RGB")
    return image


def draw_scene(scene, rng, sides=(64, 64, 80, 112, 160, 224, 320)):
    """The picture of a scene, RGB, and the boxes of its text's characters."""
    easy = scene.kind == "easy"
    side = 64 if easy else rng.choice(sides)
    scale = rng.choice((1, 2, 4)) if side <= 80 else (2 if side <= 160 else 1)
    ground = background(rng)
    image = Image.new("RGB", (side * scale, side * scale), ground)
    draw = ImageDraw.Draw(image)
    for thing in scene.things:
        _draw_thing(draw, thing, side * scale, COLORS[thing.color])
    boxes = _draw_text(draw, scene, side * scale, rng) if scene.text else []
    if scale > 1:
        image = image.resize((side, side), rng.choice((Image.Resampling.LANCZOS, Image.Resampling.BOX)))
    if easy:
        return image, boxes
    if rng.random() < 0.2:
        image = _shaded(image, ground, rng)
    if rng.random() < 0.2:
        image = _widened(image, ground, rng)
    return (_photographed(image, rng) if rng.random() < 0.4 else image), boxes


def _marked(scene, boxes, side=64):
    """[side, side] of which thing or character, counted from one, covers a pixel."""
    marks = Image.new("L", (side, side))
    draw = ImageDraw.Draw(marks)
    for i, thing in enumerate(scene.things):
        _draw_thing(draw, thing, side, i + 1)
    for i, box in enumerate(boxes):
        draw.rectangle([v * side for v in box], i + 1)
    return np.asarray(marks)


def _roles(scene):
    if scene.kind != "pair":
        return ["only"] * len(scene.things)
    return [scene.relation, RELATIONS[scene.relation]]


def patch_labels(scene, boxes):
    """[patches, 4]: what, colour, size and role of that which covers a patch. Learning to name what one looks at comes
    before learning to talk: these labels are for every patch, a caption is one line for the whole picture."""
    colors = list(COLORS)
    things = [(UNSURE if nearly_square(t) else WHATS.index(t.shape), 1 + colors.index(t.color), UNSURE if t.size is None else SIZES.index(t.size),
               ROLES.index(role)) for t, role in zip(scene.things, _roles(scene))]
    things += [(WHATS.index(c), 1 + colors.index(scene.color), UNSURE, ROLES.index("only")) for c in scene.text]
    if scene.kind == "count":
        things = [(what, color, UNSURE, role) for what, color, _, role in things]
    table = np.array([(0, 0, 0, 0)] + things)
    marks = _marked(scene, boxes)
    edge = len(marks) // GRID
    cells = marks.reshape(GRID, edge, GRID, edge).transpose(0, 2, 1, 3).reshape(GRID * GRID, edge * edge)
    covered = (cells > 0).mean(1)
    which = np.array([np.bincount(cell[cell > 0]).argmax() if cell.any() else 0 for cell in cells])
    labels = table[which]
    labels[(covered > 0) & (covered < 0.15)] = UNSURE
    return labels
