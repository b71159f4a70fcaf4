"""Runs the program for tests: every end must be an exit, never a signal or a sanitizer's report."""

import json
import os
import struct
import subprocess
import tempfile
import unittest
from pathlib import Path

GOLDENS = Path(__file__).resolve().parent.parent / "goldens"
MODEL = GOLDENS / "llava-1.5"
IMAGES = GOLDENS / "images"
BINARY = os.environ["GALAGO"]


def read_safetensors(path):
    """The header and the bytes after it."""
    data = Path(path).read_bytes()
    n = struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8:8 + n]), data[8 + n:]


def bmp(width, height, pixels):
    """A BMP file of 24 bits a pixel; `width` is a multiple of 4, since lines are padded to that many bytes."""
    file_header = struct.pack("<2sI4xI", b"BM", 54 + len(pixels), 54)
    return file_header + struct.pack("<IIIHH24x", 40, width, height, 1, 24) + pixels


class CliTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def galago(self, *arguments, code=0, stdin=""):
        done = subprocess.run([BINARY, *map(os.fspath, arguments)], input=stdin.encode(), capture_output=True,
                              timeout=300, check=False)
        self.assertEqual(done.returncode, code, done.stderr.decode(errors="replace"))
        self.assertNotIn(b"Sanitizer", done.stderr)
        self.assertNotIn(b"runtime error", done.stderr)
        return done

    def caption(self, *arguments, code=0):
        return self.galago("caption", "-m", MODEL, "--max-new-tokens", "4", *arguments, code=code)

    def fails(self, code, name, *arguments):
        """One sentence on stderr that names the thing."""
        done = self.galago(*arguments, code=code)
        errors = [line for line in done.stderr.decode(errors="replace").splitlines() if "error" in line]
        self.assertEqual(len(errors), 1, done.stderr)
        self.assertIn(name, errors[0])
        return errors[0]
