"""Pairs of GGUF files made from the goldens of LLaVA and InternVL give the goldens' stages."""

import hashlib
import json
import os
import struct
import unittest

import gguf_writer as gguf
from cli_parity_test import TOLERANCE, values
from galago_cli import GOLDENS, IMAGES, CliTest, read_safetensors
from gguf_pair import write_pair

N_NEW = 24
IMAGE_MARK = -200  # what stands for a picture where the vocabulary has no token for it


class GgufPairTest(CliTest):
    def check_case(self, model, golden, case, *options):
        out = self.folder / "trace.safetensors"
        prompt = self.folder / "prompt.txt"
        prompt.write_text(case["prompt"].replace("<img>{image}</img>", "<image>"))
        images = [part for name in case["images"] for part in ("--image", IMAGES / name)]
        self.galago("trace", "-m", model, *images, "--prompt-file", prompt, "--raw", "--precision", "fp32",
                    "--exif", "off", "--max-new-tokens", str(N_NEW), "--out", out, *options)
        traced, reference = read_safetensors(out), read_safetensors(golden / "golden.safetensors")
        config = json.loads((golden / "config.json").read_text())
        prefix = case["name"] + "."
        for name in (n for n in reference[0] if n.startswith(prefix)):
            self.check_tensor(values(*traced, name[len(prefix):]), values(*reference, name), name,
                              config.get("image_token_index"))

    def check_tensor(self, found, expected, name, image_token):
        if name.endswith(".logits"):
            found = found[len(found) - len(expected):]
        self.assertEqual(len(found), len(expected), name)
        if expected.typecode == "q":
            self.assertEqual([image_token if id == IMAGE_MARK else id for id in found], list(expected), name)
            return
        bound = 0.02 if name.endswith(".pixel_values") else TOLERANCE * max(map(abs, expected))
        self.assertLessEqual(max(abs(a - b) for a, b in zip(found, expected)), bound, name)

    def check(self, golden, only=None, **options):
        golden = GOLDENS / golden
        model = write_pair(golden, self.folder, **options)
        for case in json.loads((golden / "golden.json").read_text())["cases"]:
            if only is None or case["name"] in only:
                with self.subTest(golden=golden.name, case=case["name"]):
                    self.check_case(model, golden, case)
        lines = self.galago("inspect", model).stdout.decode().splitlines()
        self.assertIn("0 unknown", lines[-1])
        self.assertIn("0 missing", lines[-1])
        return lines

    def test_llava_1_6_with_either_naming_of_the_layers(self):
        lines = self.check("llava-1.6-vicuna", swapped=True)
        self.assertIn("chat format      llava_v1", lines)
        lines = self.check("llava-1.6-mistral", only=("wide", "two_images"))
        self.assertIn("chat format      mistral_instruct", lines)

    def test_internvl_with_each_decoder(self):
        for golden, chat in (("internvl2-internlm2", "internlm2-chat"), ("internvl2-phi3", "phi3-chat")):
            lines = self.check(golden, tiles=6)
            self.assertIn("chat format      " + chat, lines)
        self.check("internvl3-hf", tiles=6)

    def test_internvl_from_older_converters_has_twelve_tiles(self):
        lines = self.check("internvl2-qwen2")
        self.assertIn("chat format      Hermes-2", lines)
        newer = self.folder / "InternVL2_5-1B-Q8_0.gguf"
        (self.folder / "model.gguf").rename(newer)
        self.assertIn("chat format      internvl2_5", self.galago("inspect", newer).stdout.decode().splitlines())

    def test_mmproj_names_the_second_file(self):
        golden = GOLDENS / "internvl2-qwen2"
        model = write_pair(golden, self.folder)
        case = json.loads((golden / "golden.json").read_text())["cases"][1]
        elsewhere = self.folder / "tower.bin"
        (self.folder / "mmproj-model.gguf").rename(elsewhere)
        self.assertIn("blk.0.attn_q", self.galago("inspect", model).stdout.decode())
        self.check_case(model, golden, case, "--mmproj", elsewhere)
        self.assertIn("v.patch_embd", self.galago("inspect", model, "--mmproj", elsewhere).stdout.decode())
        self.assertIn("holds no vision tower", self.fails(3, "model.gguf", "inspect", model, "--mmproj", model))
        self.assertIn("tower alone", self.fails(3, "tower.bin", "inspect", elsewhere))
        self.fails(2, "tower.bin", "inspect", golden, "--mmproj", elsewhere)
        self.fails(3, "none.gguf", "inspect", model, "--mmproj", self.folder / "none.gguf")

    def test_ollamas_store_names_both_files(self):
        golden = GOLDENS / "llava-1.6-mistral"
        model = write_pair(golden, self.folder)
        blobs, manifest = self.folder / "blobs", self.folder / "manifests" / "registry.ollama.ai" / "library" / "llava"
        blobs.mkdir()
        manifest.mkdir(parents=True)
        layers = []
        for path, kind in ((model, "model"), (self.folder / "mmproj-model.gguf", "projector")):
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            path.rename(blobs / f"sha256-{digest}")
            layers.append({"mediaType": "application/vnd.ollama.image." + kind, "digest": "sha256:" + digest,
                           "size": (blobs / f"sha256-{digest}").stat().st_size})
        (manifest / "latest").write_text(json.dumps({"layers": layers}))
        os.environ["OLLAMA_MODELS"] = os.fspath(self.folder)
        self.addCleanup(os.environ.pop, "OLLAMA_MODELS")
        self.check_case("llava", golden, json.loads((golden / "golden.json").read_text())["cases"][1])

    def test_what_a_tower_file_says_is_checked(self):
        model = write_pair(GOLDENS / "llava-1.6-vicuna", self.folder)
        tower = self.folder / "mmproj-model.gguf"
        whole = tower.read_bytes()
        tower.write_bytes(whole.replace(gguf.text("spatial_unpad"), gguf.text("spatial_unpat")))
        self.assertIn("mm_patch_merge_type", self.fails(3, "mmproj-model.gguf", "inspect", model))
        tower.write_bytes(whole.replace(b"clip.projector_type", b"clip.projector_kind"))  # the first converters had no such key
        self.assertIn("gguf-llava-1.6", self.galago("inspect", model).stdout.decode())
        tower.write_bytes(whole.replace(gguf.text("mlp"), gguf.text("ldp")))
        self.fails(3, "mmproj-model.gguf", "inspect", model)
        grids = gguf.text("clip.vision.image_grid_pinpoints") + struct.pack("<II", gguf.ARRAY, gguf.I32)
        at = whole.index(grids) + len(grids)
        (count,) = struct.unpack("<Q", whole[at:at + 8])
        tower.write_bytes(whole[:at] + struct.pack("<Q", count - 1) + whole[at + 8:at + 4 + 4 * count] + whole[at + 8 + 4 * count:])
        self.fails(3, "mmproj-model.gguf", "inspect", model)


if __name__ == "__main__":
    unittest.main()
