"""The include check finds what it is for."""

import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent / "tools"))
import check_includes  # noqa: E402


class Direction(unittest.TestCase):
    def complaints(self, files):
        return list(check_includes.complaints(set(files), files.__getitem__))

    def test_downwards_is_fine(self):
        self.assertEqual(self.complaints({"src/base/a.h": "", "src/model/b.h": '#include "base/a.h"\n'}), [])

    def test_upwards_is_found(self):
        self.assertEqual(len(self.complaints({"src/base/a.h": '#include "model/b.h"\n', "src/model/b.h": ""})), 1)

    def test_tools_know_the_public_headers_only(self):
        files = {"tools/x.cpp": '#include "base/a.h"\n#include "galago/e.h"\n', "src/base/a.h": "",
                 "include/galago/e.h": ""}
        self.assertEqual(len(self.complaints(files)), 1)

    def test_kernels_include_plain_headers_only(self):
        self.assertEqual(self.complaints({"kernels/cpu/a.cpp": "#include <math.h>\n#include <immintrin.h>\n"}), [])
        self.assertEqual(len(self.complaints({"kernels/cpu/a.cpp": "#include <vector>\n"})), 1)

    def test_circle_is_found(self):
        found = self.complaints({"src/base/a.h": '#include "b.h"\n', "src/base/b.h": '#include "a.h"\n'})
        self.assertIn("circle", found[0])


if __name__ == "__main__":
    unittest.main()
