"""galago quantize --format gguf: the file is the model that loading in as few bits gives."""

import json
import os
import shutil
import unittest

from cli_parity_test import values
from galago_cli import GOLDENS, IMAGES, CliTest, read_safetensors

TEXT_MODELS = ("text-llama", "text-llama-awq", "text-llama-nf4", "text-llama-linear", "text-llama3", "text-qwen2", "text-internlm2", "text-mistral-window",
               "text-phi3")


class GgufWriteTest(CliTest):
    def trace(self, model, case, precision):
        out, prompt = self.folder / "trace.safetensors", self.folder / "prompt.txt"
        prompt.write_bytes(case["prompt"].encode())
        self.galago("trace", "-m", model, "--prompt-file", prompt, "--raw", "--precision", precision,
                    "--max-new-tokens", "8", "--out", out)
        traced = read_safetensors(out)
        return {name: values(*traced, name) for name in ("input_ids", "logits", "generated_ids")}

    def write(self, golden, precision):
        out = self.folder / f"{golden}-{precision}.gguf"
        self.galago("quantize", GOLDENS / golden, out, "--format", "gguf", "--precision", precision)
        return out

    def check(self, written, original, case, tolerance, precisions):
        found, expected = (self.trace(model, case, precision) for model, precision in zip((written, original), precisions))
        self.assertEqual(found["input_ids"], expected["input_ids"])
        bound = tolerance * max(map(abs, expected["logits"]))
        self.assertEqual(len(found["logits"]), len(expected["logits"]))
        self.assertLessEqual(max(abs(a - b) for a, b in zip(found["logits"], expected["logits"])), bound)
        self.assertEqual(found["generated_ids"], expected["generated_ids"])

    def test_fp16_keeps_every_text_model(self):
        for golden in TEXT_MODELS:
            written = self.write(golden, "fp16")
            lines = self.galago("inspect", written).stdout.decode().splitlines()
            self.assertIn("0 unknown", lines[-1])
            self.assertIn("0 missing", lines[-1])
            # No window is written, so prompts stay within it; tokens after them need not.
            cases = json.loads((GOLDENS / golden / "golden.json").read_text())["cases"]
            for case in cases[:1] if golden == "text-mistral-window" else cases:
                with self.subTest(golden=golden, case=case["name"]):
                    if golden == "text-mistral-window":
                        case = {"prompt": case["prompt"][:8]}
                    self.check(written, GOLDENS / golden, case, 2e-3, ("fp32", "fp16"))

    def test_vision_models_become_pairs(self):
        for golden in ("llava-1.5", "llava-1.5-original", "llava-1.6-mistral", "llava-1.6-vicuna", "internvl2-qwen2", "internvl2-internlm2",
                       "internvl2-llama", "internvl3-hf"):
            with self.subTest(golden=golden):
                written = self.write(golden, "fp16")
                tower = written.parent / ("mmproj-" + written.name)
                lines = self.galago("inspect", written, "--mmproj", tower).stdout.decode().splitlines()
                self.assertIn("0 unknown", lines[-1])
                self.assertIn("0 missing", lines[-1])
                case = json.loads((GOLDENS / golden / "golden.json").read_text())["cases"][0]
                found, expected = (self.trace_picture(model, case) for model in ((written, "--mmproj", tower), (GOLDENS / golden,)))
                self.assertEqual(found["generated_ids"], expected["generated_ids"])
                for name in ("tower_features", "image_embeddings", "logits"):
                    bound = 2e-3 * max(map(abs, expected[name]))
                    self.assertEqual(len(found[name]), len(expected[name]))
                    self.assertLessEqual(max(abs(a - b) for a, b in zip(found[name], expected[name])), bound, name)

    def trace_picture(self, model, case):
        out, prompt = self.folder / "trace.safetensors", self.folder / "prompt.txt"
        prompt.write_text(case["prompt"].replace("<img>{image}</img>", "<image>"))
        images = [part for name in case["images"] for part in ("--image", IMAGES / name)]
        self.galago("trace", "-m", *model, *images, "--prompt-file", prompt, "--raw", "--precision", "fp32", "--exif", "off",
                    "--max-new-tokens", "8", "--out", out)
        traced = read_safetensors(out)
        return {name: values(*traced, name) for name in ("tower_features", "image_embeddings", "logits", "generated_ids")}

    def test_fewer_bits_are_those_of_loading_in_as_few(self):
        golden = "text-llama"  # all columns are multiples of 32
        case = json.loads((GOLDENS / golden / "golden.json").read_text())["cases"][0]
        for precision in ("int8", "int4"):
            with self.subTest(precision=precision):
                self.check(self.write(golden, precision), GOLDENS / golden, case, 1e-5, ("auto", precision))

    def test_what_cannot_be_written_is_said_and_leaves_nothing(self):
        out = self.folder / "out.gguf"
        for golden, told in (("internvl2-phi3", "longrope"), ("text-phi3-longrope", "longrope")):
            self.assertIn(told, self.fails(3, golden, "quantize", GOLDENS / golden, out, "--format", "gguf", "--precision", "int8"))
        self.fails(2, "fp16", "quantize", GOLDENS / "text-llama", out, "--precision", "fp16")
        self.fails(2, "groups of 64", "quantize", GOLDENS / "text-llama", out, "--format", "gguf", "--precision", "int8", "--group", "64")
        self.fails(2, "groups of 48", "quantize", GOLDENS / "text-llama", out, "--precision", "int8", "--group", "48")
        self.fails(2, "symmetric", "quantize", GOLDENS / "text-llama", out, "--format", "gguf", "--precision", "int4", "--symmetric")
        self.assertEqual(os.listdir(self.folder), [])
        out.write_text("mine")
        self.fails(2, "out.gguf", "quantize", GOLDENS / "text-llama", out, "--format", "gguf", "--precision", "int8")
        self.assertEqual(out.read_text(), "mine")
        self.fails(2, "out.gguf", "quantize", out, self.folder / "again", "--precision", "int8")

    def test_a_tokenizer_larger_than_the_embeddings_is_refused(self):
        model = self.folder / "model"
        shutil.copytree(GOLDENS / "text-llama", model)
        config = json.loads((model / "config.json").read_text())
        (model / "config.json").write_text(json.dumps({**config, "vocab_size": 10}))
        told = self.fails(3, "model", "quantize", model, self.folder / "out.gguf", "--format", "gguf", "--precision", "int8")
        self.assertIn("the embeddings 10 rows", told)

    def test_groups_of_other_sizes(self):
        case = json.loads((GOLDENS / "text-llama" / "golden.json").read_text())["cases"][0]
        sizes = []
        for group in ("32", "64", "128"):
            out = self.folder / group
            self.galago("quantize", GOLDENS / "text-llama", out, "--precision", "int4", "--group", group)
            self.assertEqual(len(self.trace(out, case, "auto")["generated_ids"]), 8)
            sizes.append((out / "model.safetensors").stat().st_size)
        self.assertEqual(sizes, sorted(sizes, reverse=True))
        self.assertLess(sizes[2], sizes[0])

    def test_symmetric_groups_take_half_a_bit_less(self):
        case = json.loads((GOLDENS / "text-llama" / "golden.json").read_text())["cases"][0]
        expected = self.trace(GOLDENS / "text-llama", case, "fp32")["logits"]
        scale, differences, sizes = max(map(abs, expected)), [], []
        for name, options in (("minima", ()), ("symmetric", ("--symmetric",))):
            out = self.folder / name
            self.galago("quantize", GOLDENS / "text-llama", out, "--precision", "int4", *options)
            logits = self.trace(out, case, "auto")["logits"]
            differences.append(max(abs(a - b) for a, b in zip(logits, expected)) / scale)
            sizes.append((out / "model.safetensors").stat().st_size)
        self.assertLess(sizes[1], sizes[0])
        self.assertLess(differences[1], 1.5 * differences[0])


if __name__ == "__main__":
    unittest.main()
