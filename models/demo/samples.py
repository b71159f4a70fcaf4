#!/usr/bin/env python3
"""Draws the sample pictures again: scenes chosen by hand for variety, drawn with a seed that training never reaches."""

from pathlib import Path

from drawing import draw_scene
from scenes import Scene, Thing, seeded

SAMPLES = {
    "circle-above-square.png": Scene("pair", [Thing("circle", "red", "small", 0.45, 0.25, 0.2, 0.2),
                                              Thing("square", "blue", "", 0.52, 0.68, 0.31, 0.31)], "above"),
    "star-left-of-cross.jpg": Scene("pair", [Thing("star", "yellow", "large", 0.27, 0.5, 0.46, 0.46),
                                             Thing("cross", "teal", "small", 0.8, 0.52, 0.2, 0.2)], "left of"),
    "large-triangle.png": Scene("single", [Thing("triangle", "green", "large", 0.5, 0.55, 0.6, 0.6)]),
    "three-stars.jpg": Scene("count", [Thing("star", "brown", "", x, y, 0.23, 0.23)
                                       for x, y in ((0.18, 0.2), (0.82, 0.5), (0.5, 0.82))]),
    "digit.png": Scene("digit", text="7", color="blue"),
    "word.png": Scene("word", text="moon", color="black"),
    "rectangle.jpg": Scene("single", [Thing("rectangle", "gray", "", 0.4, 0.6, 0.36, 0.2)]),
    "small-circle.png": Scene("single", [Thing("circle", "yellow", "small", 0.72, 0.28, 0.19, 0.19)]),
}


def main():
    folder = Path(__file__).resolve().parent / "samples"
    folder.mkdir(exist_ok=True)
    for i, (name, scene) in enumerate(SAMPLES.items()):
        image, _ = draw_scene(scene, seeded(3_000_000_000_000 + i), sides=(160,))
        image.save(folder / name, **({"quality": 90} if name.endswith("jpg") else {"optimize": True}))


if __name__ == "__main__":
    main()
