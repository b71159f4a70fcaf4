"""Captions of scenes, and questions about them with their answers."""

from scenes import COLORS, EASY_SHAPES, NUMBERS, RELATIONS, SHAPES, nearly_square

# The last one is answered from the other end: "A blue square below a red circle."
CAPTION_PROMPTS = ("Describe the picture.", "What is in this picture?", "Write a caption.", "Describe this image.")

EASY_YES = ("is there a {}?", "is there a {} in the image?", "does the image contain a {}?", "is a {} present?")
EASY_NO = ("is there not a {}?", "is there not a {} in the image?", "does the image not contain a {}?",
           "is no {} present?")
EASY_SHAPE = ("what shape is in the image?", "what shape does the image contain?", "what shape is present?")
EASY_COLOR = ("what color is the shape?", "what is the color of the shape?")


def noun(thing, size=True):
    words = ([thing.size] if size and thing.size else []) + [thing.color, thing.shape]
    return " ".join(words)


def plural(shape):
    return shape + ("es" if shape.endswith("s") else "s")


def in_order(scene, prompt):
    """The two things and the relation of the first: from top left on, or backwards for the last prompt."""
    first, second = scene.things
    if (scene.relation in ("below", "right of")) != (prompt == CAPTION_PROMPTS[-1]):
        return second, first, RELATIONS[scene.relation]
    return first, second, scene.relation


def caption(scene, prompt=CAPTION_PROMPTS[0]):
    """The one answer to a caption prompt, or None where a scene's size or shape could be told in two ways."""
    if scene.kind in ("easy", "single"):
        thing = scene.things[0]
        if thing.size is None or nearly_square(thing):
            return None
        return f"A {noun(thing)}."
    if scene.kind == "pair":
        first, second, relation = in_order(scene, prompt)
        relation = relation if relation in ("above", "below") else "to the " + relation
        return f"A {noun(first)} {relation} a {noun(second)}."
    if scene.kind == "count":
        thing = scene.things[0]
        return f"{NUMBERS[len(scene.things)].capitalize()} {thing.color} {plural(thing.shape)}."
    if scene.kind == "digit":
        return f"The digit {scene.text} in {scene.color}."
    return f'The word "{scene.text}" in {scene.color}.'


def _yes(flag):
    return "yes" if flag else "no"


def _other(rng, values, value, chance):
    """`value` itself with a chance, else one of the others."""
    if rng.random() < chance:
        return value
    return rng.choice([v for v in values if v != value])


def easy_question(rng, thing):
    """One question about a single shape, in the published set's templates and about as frequent as there."""
    draw = rng.random()
    if draw < 0.14:
        return rng.choice(EASY_COLOR + (f"what color is the {thing.shape}?", f"what is the color of the {thing.shape}?")), thing.color
    if draw < 0.28:
        return rng.choice(EASY_SHAPE + (f"what is the {thing.color} shape?",)), thing.shape
    if draw < 0.75:
        color = _other(rng, list(COLORS), thing.color, 0.3)
        what, present = f"{color} shape", color == thing.color
    else:
        shape = _other(rng, EASY_SHAPES, thing.shape, 0.45)
        what, present = shape, shape == thing.shape
    positive = rng.random() < 0.5
    return rng.choice(EASY_YES if positive else EASY_NO).format(what), _yes(present == positive)


def pair_question(rng, scene):
    first, second = scene.things
    if rng.random() < 0.5:
        subject, other, relation = first, second, scene.relation
    else:
        subject, other, relation = second, first, RELATIONS[scene.relation]
    phrase = relation if relation in ("above", "below") else "to the " + relation
    draw = rng.random()
    if draw < 0.4:
        return f"What is {phrase} the {noun(other, size=False)}?", f"A {noun(subject)}."
    if draw < 0.6:
        asked = relation if rng.random() < 0.5 else RELATIONS[relation]
        words = asked if asked in ("above", "below") else "to the " + asked
        return f"Is the {noun(subject, False)} {words} the {noun(other, False)}?", _yes(asked == relation)
    if draw < 0.8 and first.shape != second.shape:
        return f"What color is the {subject.shape}?", subject.color
    shape, color = _other(rng, SHAPES, subject.shape, 0.6), _other(rng, list(COLORS), subject.color, 0.7)
    present = any((t.shape, t.color) == (shape, color) for t in scene.things)
    return f"Is there a {color} {shape}?", _yes(present)


def count_question(rng, scene):
    thing = scene.things[0]
    n = len(scene.things)
    draw = rng.random()
    if draw < 0.4:
        return rng.choice((f"How many {plural(thing.shape)} are there?", "How many shapes are there?")), NUMBERS[n]
    if draw < 0.6:
        return f"What color are the {plural(thing.shape)}?", thing.color
    asked = _other(rng, (2, 3, 4, 5), n, 0.5)
    return f"Are there {NUMBERS[asked]} {plural(thing.shape)}?", _yes(asked == n)


def text_question(rng, scene):
    if rng.random() < 0.4:
        return f"What color is the {scene.kind}?", scene.color
    if scene.kind == "digit":
        return rng.choice(("What digit is shown?", "Which number is this?")), scene.text
    return rng.choice(("What word is written?", "What does it say?")), scene.text


def question(rng, scene):
    """A question about the scene and its answer."""
    if scene.kind == "easy":
        return easy_question(rng, scene.things[0])
    if scene.kind == "single":
        thing = scene.things[0]
        if thing.shape in EASY_SHAPES and not nearly_square(thing):
            return easy_question(rng, thing)
        return rng.choice((("What shape is this?", thing.shape), ("What color is it?", thing.color)))
    if scene.kind == "pair":
        return pair_question(rng, scene)
    return count_question(rng, scene) if scene.kind == "count" else text_question(rng, scene)


def chat_text(prompt, answer):
    """One turn as LLaVA-1.5 writes it, the end of the text included."""
    return f"USER: <image>\n{prompt} ASSISTANT: {answer}</s>"
