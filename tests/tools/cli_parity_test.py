"""trace, tokenize and inspect against the reference's outputs."""

import array
import json
import unittest

from galago_cli import GOLDENS, IMAGES, CliTest, read_safetensors

TOLERANCE = 1e-4  # max |difference| / max |reference|, FP32
N_NEW = 24


def values(header, data, name):
    begin, end = header[name]["data_offsets"]
    found = array.array("f" if header[name]["dtype"] == "F32" else "q")
    found.frombytes(data[begin:end])
    return found


class Parity(CliTest):
    def check_case(self, golden, case, model):
        out = self.folder / "trace.safetensors"
        prompt = self.folder / "prompt.txt"
        prompt.write_bytes(case["prompt"].encode())
        images = [part for name in case.get("images", []) for part in ("--image", IMAGES / name)]
        self.galago("trace", *model, *images, "--prompt-file", prompt, "--raw", "--precision", "fp32",
                    "--exif", "off", "--max-new-tokens", str(N_NEW), "--out", out)
        traced, reference = read_safetensors(out), read_safetensors(golden / "golden.safetensors")
        prefix = case["name"] + "."
        for name in (n for n in reference[0] if n.startswith(prefix)):
            self.check_tensor(values(*traced, name[len(prefix):]), values(*reference, name), name)

    def check_tensor(self, found, expected, name):
        # The goldens of later cases keep the last position's logits only.
        if name.endswith(".logits"):
            found = found[len(found) - len(expected):]
        self.assertEqual(len(found), len(expected), name)
        if expected.typecode == "q":
            self.assertEqual(found, expected, name)
            return
        bound = TOLERANCE * max(map(abs, expected))
        if name.endswith(".pixel_values"):
            bound = 0.02  # one level of 8 bits, normalised
        self.assertLessEqual(max(abs(a - b) for a, b in zip(found, expected)), bound, name)

    def check_folder(self, folder, *model):
        for case in json.loads((GOLDENS / folder / "golden.json").read_text())["cases"]:
            with self.subTest(folder=folder, case=case["name"]):
                self.check_case(GOLDENS / folder, case, model)

    def test_every_stage(self):
        for folder in ("llava-1.5", "llava-1.5-original", "llava-1.6-mistral-original", "internlm-xcomposer2-vl",
                       "text-llama"):
            self.check_folder(folder, "-m", GOLDENS / folder)

    def test_an_adapter_is_merged(self):
        self.check_folder("llava-1.5-lora", "-m", GOLDENS / "llava-1.5", "--lora", GOLDENS / "llava-1.5-lora")

    def test_tokenize(self):
        model = GOLDENS / "text-llama"
        reference = read_safetensors(model / "golden.safetensors")
        for case in json.loads((model / "golden.json").read_text())["cases"]:
            done = self.galago("tokenize", "-m", model, "--text", case["prompt"])
            expected = values(*reference, case["name"] + ".input_ids")
            self.assertEqual(done.stdout.decode(), " ".join(map(str, expected)) + "\n")

    def test_tokenize_gives_a_line_for_each_line(self):
        path = self.folder / "lines.txt"
        path.write_bytes("one\n\nthé end".encode())
        done = self.galago("tokenize", "-m", GOLDENS / "text-llama", "--file", path, "--no-special")
        self.assertEqual([bool(line) for line in done.stdout.split(b"\n")], [True, False, True, False])

    def test_inspect_accounts_for_every_tensor(self):
        for folder in ("llava-1.5", "llava-1.5-original", "internlm-xcomposer2-vl", "text-llama"):
            header, _ = read_safetensors(GOLDENS / folder / "model.safetensors")
            lines = self.galago("inspect", GOLDENS / folder).stdout.decode().splitlines()
            told = {line.split()[0] for line in lines if " -> " in line}
            self.assertEqual(told, header.keys() - {"__metadata__"})
            self.assertIn("0 unknown", lines[-1])
            self.assertIn("0 missing", lines[-1])


if __name__ == "__main__":
    unittest.main()
