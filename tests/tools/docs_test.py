"""The page on adding a family says what is there: its example, the files it names, the options of its commands."""

import json
import re
import sys
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = (ROOT / "docs" / "add-a-model-family.md").read_text(encoding="utf-8")


class AddAModelFamily(unittest.TestCase):
    def test_its_example_is_the_family_as_it_is_compiled_in(self):
        shown = re.search(r"```json\n(.*?)```", PAGE, re.DOTALL).group(1)
        self.assertEqual(shown, (ROOT / "models/families/seed-oss.json").read_text(encoding="utf-8"))

    def test_the_files_it_names_are_there(self):
        named = set(re.findall(r"`((?:docs|models|src|tests|tools)/[\w./-]+)`", PAGE))
        self.assertGreater(len(named), 10)
        for name in named:
            self.assertTrue((ROOT / name).exists(), name)

    def test_its_commands_have_options_that_make_py_reads(self):
        source = (ROOT / "tests/goldens/make.py").read_text(encoding="utf-8")
        commands = re.findall(r"^    python make\.py (.*)$", PAGE, re.MULTILINE)
        self.assertEqual(len(commands), 2)
        for option in re.findall(r"--([\w-]+)", " ".join(commands)):
            self.assertIn(f'"{option}"' if f'"{option}"' in source else f'"--{option}"', source)

    def test_its_golden_is_committed_made_again_and_tested(self):
        folder = "text-seed-oss"
        config = json.loads((ROOT / "tests/goldens" / folder / "config.json").read_text(encoding="utf-8"))
        sizes = dict(re.findall(r"--([\w-]+) (\d+)", PAGE))
        for option, key in {"hidden": "hidden_size", "heads": "num_attention_heads", "kv-heads": "num_key_value_heads",
                            "head-size": "head_dim", "layers": "num_hidden_layers", "mlp": "intermediate_size"}.items():
            self.assertEqual(config[key], int(sizes[option]), key)
        self.assertIn(f"make {folder} ", (ROOT / "tests/goldens/make/committed.sh").read_text(encoding="utf-8"))
        parity = (ROOT / "tests/runtime/parity_test.cpp").read_text(encoding="utf-8")
        self.assertIn(re.search(r'`(\{"text-seed-oss"\})`', PAGE).group(1), parity)
        self.assertIn("known_families()", parity)

    def test_every_key_of_a_description_is_explained(self):
        reader = (ROOT / "src/checkpoint/family.cpp").read_text(encoding="utf-8")
        keys = re.search(r'check_keys\(\s*block,\s*\{(.*?)\},\s*name\)', reader, re.DOTALL).group(1)
        for key in re.findall(r'"(\w+)"', keys):
            self.assertTrue(f"`{key}`" in PAGE or key == "about", key)


if __name__ == "__main__":
    sys.exit(unittest.main())
