#!/usr/bin/env python3
"""Runs galago_bench_resize and Pillow in turns and prints a table of both: bench_resize.py PROGRAM [THREADS]. For
docs/benchmarks/cpu-kernels.md; needs Pillow and numpy."""

import statistics
import subprocess
import sys
import time

import numpy as np
import PIL
from PIL import Image

TURNS = 5
SIZES = ((4000, 3000), (3000, 4000))


def cases(threads):
    """(name, sizes that Pillow resizes to; none: it has no such thing)"""
    for width, height in SIZES:
        fitted = (672, 504) if width > height else (504, 672)
        grid = (1792, 1344) if width > height else (1344, 1792)
        name = f"{width}x{height} to "
        yield name + "336x336", [(336, 336)]
        yield name + "{}x{}".format(*fitted), [fitted]
        for n in (1, threads):
            suffix = f", {n} thread{'s' if n > 1 else ''}"
            yield name + "5 tiles of 336" + suffix, [(336, 336), fitted]
            yield name + "13 tiles of 448" + suffix, [(448, 448), grid]


def pillow_ms(sizes, image):
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        for size in sizes:
            image.resize(size, Image.Resampling.BICUBIC)
        best = min(best, time.perf_counter() - start)
    return best * 1e3


def main():
    program, threads = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 2
    random = np.random.default_rng(1)
    images = [Image.fromarray(random.integers(0, 256, (height, width, 3), dtype=np.uint8)) for width, height in SIZES]
    names = list(cases(threads))
    ours, theirs = [], []
    for _ in range(TURNS):
        ours.append([float(line) for line in subprocess.check_output([program, str(threads)]).split()])
        theirs.append([pillow_ms(sizes, images[i * len(SIZES) // len(names)]) for i, (_, sizes) in enumerate(names)])
    print(f"| what | Galago, ms | Pillow {PIL.__version__} resize, ms | ratio |\n|---|---|---|---|")
    for i, (name, _) in enumerate(names):
        a, b = (statistics.median(turn[i] for turn in turns) for turns in (ours, theirs))
        print(f"| {name} | {a:.1f} | {b:.1f} | {b / a:.1f} |")


if __name__ == "__main__":
    main()
