"""Writes cases.json and expected.bin: what Pillow makes of noise at odd sizes. The noise is that of resize_test.cpp."""
import json
from pathlib import Path

import numpy as np
from PIL import Image

HERE = Path(__file__).parent
SIZES = [  # in, out; (width, height)
    ((61, 47), (23, 17)), ((61, 47), (61, 20)), ((61, 47), (24, 47)), ((19, 13), (45, 38)), ((1, 1), (9, 7)),
    ((3, 200), (8, 256)), ((200, 3), (56, 8)), ((1, 300), (4, 5)), ((500, 1), (3, 6)), ((33, 33), (1, 1)),
    ((40, 40), (40, 40)), ((7, 5), (8, 6)), ((640, 480), (31, 29)), ((2, 2), (31, 3)), ((97, 31), (13, 61)),
    # Pillow 13 takes the vertical pass first in these, other versions do not.
    ((3, 200), (8, 56)), ((47, 61), (31, 24)), ((30, 90), (20, 29)), ((30, 90), (10, 49)), ((40, 40), (45, 11)),
    ((64, 48), (56, 31)), ((1, 40), (1, 5)), ((17, 300), (16, 16)),
    # Pairs on both sides of the border between the two orders.
    ((60, 60), (50, 39)), ((60, 60), (50, 40)), ((20, 70), (19, 67)), ((20, 70), (19, 68)), ((20, 70), (21, 69)),
]


def noise(width, height):
    state, values = width * 1000 + height, []
    for _ in range(width * height * 3):
        state = (state * 1664525 + 1013904223) & 0xFFFFFFFF
        values.append(state >> 24)
    return Image.fromarray(np.array(values, np.uint8).reshape(height, width, 3))


cases, data = [], b""
for source, size in SIZES:
    for name in ("bilinear", "bicubic", "lanczos"):
        data += noise(*source).resize(size, Image.Resampling[name.upper()]).tobytes()
        cases.append({"filter": name, "in": source, "out": size})
(HERE / "cases.json").write_text("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")
(HERE / "expected.bin").write_bytes(data)
