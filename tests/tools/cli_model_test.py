"""Models by name, and the chat format they are spoken to in."""

import os
import shutil
import unittest
from unittest import mock

from galago_cli import IMAGES, MODEL, CliTest


class Models(CliTest):
    def test_a_name_of_the_hubs_cache(self):
        snapshot = self.folder / "models--org--small" / "snapshots" / "0123456789abcdef"
        snapshot.mkdir(parents=True)
        for file in MODEL.iterdir():
            (snapshot / file.name).symlink_to(file)
        with mock.patch.dict(os.environ, HF_HUB_CACHE=str(self.folder), OLLAMA_MODELS=str(self.folder)):
            by_name = self.galago("tokenize", "-m", "org/small", "--text", "The quick")
            self.assertEqual(by_name.stdout, self.galago("tokenize", "-m", MODEL, "--text", "The quick").stdout)
            sentence = self.fails(3, "org/other", "tokenize", "-m", "org/other", "--text", "a")
        self.assertIn("models--org--other", sentence)
        self.assertIn("hf download", sentence)

    def test_a_chat_format_that_there_is_not(self):
        self.assertIn("vicuna_v1", self.fails(2, "no-such-format", "caption", "-m", MODEL, "--chat-format",
                                              "no-such-format", IMAGES / "wide.jpg"))

    def test_an_unknown_chat_template_is_named_and_can_be_overridden(self):
        model = self.folder / "model"
        shutil.copytree(MODEL, model, ignore=shutil.ignore_patterns("golden.*", "chat_template*"))
        (model / "chat_template.jinja").write_text("{{ messages }}")
        ask = ["caption", "-m", model, "--max-new-tokens", "2", IMAGES / "wide.jpg"]
        warned = self.galago(*ask).stderr
        self.assertIn(b"chat_template.jinja", warned)
        self.assertIn(b"--chat-format", warned)
        self.assertNotIn(b"chat_template", self.galago(*ask, "--chat-format", "llava_v1").stderr)

    def test_a_system_text_takes_part_in_the_answer(self):
        def caption(*options):
            return self.galago("caption", "-m", MODEL, "--max-new-tokens", "8", *options, IMAGES / "wide.jpg").stdout
        self.assertEqual(caption("--system", "Be brief."), caption("--system", "Be brief."))
        self.assertNotEqual(caption("--system", "Be brief."), caption())


if __name__ == "__main__":
    unittest.main()
