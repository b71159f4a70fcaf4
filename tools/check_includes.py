#!/usr/bin/env python3
"""Holds the direction of includes: each room may know those below it only (docs/architecture.md)."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"', re.MULTILINE)
SYSTEM_INCLUDE = re.compile(r'^\s*#\s*include\s*<([^>]+)>', re.MULTILINE)

# Compiled once per instruction set: inline functions of other headers would be compiled for a wide one too, and the
# linker may keep that copy for every caller. Only headers without such functions may be included there.
PER_INSTRUCTION_SET = "kernels/cpu/"
PLAIN = {"cstddef", "cstdint", "math.h", "stddef.h", "stdint.h", "string.h", "immintrin.h"}

# Room -> rooms whose headers it may include, besides its own.
PUBLIC = "include/galago"
MAY = {
    PUBLIC: set(),
    "src/base": {PUBLIC},
    "src/tensor": {PUBLIC, "src/base"},
    "src/memory": {PUBLIC, "src/base", "src/tensor"},
    "src/checkpoint": {PUBLIC, "src/base", "src/tensor"},
    "src/text": {PUBLIC, "src/base", "src/tensor"},
    "src/vision": {PUBLIC, "src/base", "src/tensor", "kernels"},
    "kernels": set(),
    "src/backend": {PUBLIC, "src/base", "src/tensor", "src/memory", "kernels"},
    "src/model": {PUBLIC, "src/base", "src/tensor", "src/memory", "src/backend"},
    "src/runtime": {PUBLIC, "src/base", "src/tensor", "src/memory", "src/backend", "src/model", "src/checkpoint",
                    "src/text", "src/vision"},
    "tools": {PUBLIC},
}


def room_of(path):
    return next((room for room in MAY if path.startswith(room + "/")), None)


def resolve(source, name, files):
    """The project's file that an include names, or None for a library's."""
    roots = [Path(source).parent, Path("include"), Path("src"), Path(".")]
    return next((str(root / name) for root in roots if str(root / name) in files), None)


def cycle(graph):
    """Files that include one another in a circle, or nothing."""
    state, path = {}, []

    def visit(node):
        state[node] = "open"
        path.append(node)
        for other in graph.get(node, ()):
            if state.get(other) == "open":
                return path[path.index(other):] + [other]
            if other not in state and (found := visit(other)):
                return found
        path.pop()
        state[node] = "done"
        return None

    return next((found for node in list(graph) if node not in state and (found := visit(node))), None)


def complaints(files, read):
    graph = {}
    for source in sorted(files):
        room = room_of(source)
        if room is None:
            continue
        names = INCLUDE.findall(read(source))
        if source.startswith(PER_INSTRUCTION_SET):
            for name in SYSTEM_INCLUDE.findall(read(source)):
                if name not in PLAIN:
                    yield f"{source} includes <{name}>: kernels may include {', '.join(sorted(PLAIN))} only"
        graph[source] = [target for name in names if (target := resolve(source, name, files))]
        for target in graph[source]:
            other = room_of(target)
            if other is None or (other != room and other not in MAY[room]):
                yield f"{source} includes {target}: {room} may know {', '.join(sorted(MAY[room])) or 'nothing else'}"
    if circle := cycle(graph):
        yield "includes run in a circle: " + " -> ".join(circle)


def main():
    listed = subprocess.run(["git", "ls-files", "*.h", "*.cpp", "*.cu", "*.cuh"], cwd=ROOT, capture_output=True,
                            text=True, check=True).stdout.split()
    files = {path for path in listed if (ROOT / path).exists()}
    found = list(complaints(files, lambda path: (ROOT / path).read_text(encoding="utf-8")))
    print("\n".join(found), end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
