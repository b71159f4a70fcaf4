"""Checkpoints that cannot be loaded: exit 3 and one sentence."""

import json
import shutil
import struct
import unittest

from galago_cli import IMAGES, MODEL, CliTest, read_safetensors


class BadCheckpoints(CliTest):
    def setUp(self):
        super().setUp()
        self.model = self.folder / "model"
        shutil.copytree(MODEL, self.model, ignore=shutil.ignore_patterns("golden.*"))
        self.weights = self.model / "model.safetensors"

    def refuses(self, name):
        return self.fails(3, name, "caption", "-m", self.model, "--max-new-tokens", "2", IMAGES / "wide.jpg")

    def edit_header(self, edit):
        header, data = read_safetensors(self.weights)
        name = next(n for n in header if n.endswith("layers.0.self_attn.q_proj.weight"))
        edit(header, name)
        text = json.dumps(header).encode()
        self.weights.write_bytes(struct.pack("<Q", len(text)) + text + data)

    def remove_tensor(self):
        """Takes a tensor out of the weights, its bytes too, so that the file itself is sound."""
        header, data = read_safetensors(self.weights)
        removed = next(n for n in header if n.endswith("layers.0.self_attn.q_proj.weight"))
        header.pop(removed)
        kept = b""
        for name in sorted(header.keys() - {"__metadata__"}, key=lambda n: header[n]["data_offsets"]):
            begin, end = header[name]["data_offsets"]
            header[name]["data_offsets"] = [len(kept), len(kept) + end - begin]
            kept += data[begin:end]
        text = json.dumps(header).encode()
        self.weights.write_bytes(struct.pack("<Q", len(text)) + text + kept)
        return removed, [name for name in header if name != "__metadata__"]

    def test_missing_directory(self):
        self.model = self.folder / "nowhere"
        self.refuses("nowhere")

    def test_missing_tensor(self):
        self.remove_tensor()
        self.assertIn(str(self.model), self.refuses("decoder.0.attn.q"))

    def test_wrong_shape(self):
        def reverse(header, name):
            entry = header[name]
            entry["shape"] = [entry["shape"][0] * 2, entry["shape"][1] // 2]
        self.edit_header(reverse)
        self.refuses("q_proj")

    def test_unknown_dtype(self):
        self.edit_header(lambda header, name: header[name].update(dtype="F13"))
        self.refuses("F13")

    def test_overlapping_offsets(self):
        def overlap(header, name):
            entry = header[name]["data_offsets"]
            other = next(n for n in header if n not in (name, "__metadata__") and header[n]["shape"] == header[name]["shape"])
            header[other]["data_offsets"] = list(entry)
        self.edit_header(overlap)
        self.refuses("model.safetensors")

    def test_negative_offsets(self):
        self.edit_header(lambda header, name: header[name].update(data_offsets=[-8, 8]))
        self.refuses("model.safetensors")

    def test_header_length_beyond_the_file(self):
        for length in (1 << 40, (1 << 64) - 1):
            data = self.weights.read_bytes()
            self.weights.write_bytes(struct.pack("<Q", length) + data[8:])
            self.refuses("model.safetensors")

    def test_missing_shard(self):
        removed, kept = self.remove_tensor()
        self.weights.rename(self.model / "model-00001-of-00002.safetensors")
        shards = {name: "model-00001-of-00002.safetensors" for name in kept}
        shards[removed] = "model-00002-of-00002.safetensors"
        (self.model / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
        self.refuses("model-00002-of-00002.safetensors")

    def test_malformed_json(self):
        for name in ("config.json", "tokenizer.json"):
            good = (self.model / name).read_text()
            for bad in (good[:len(good) // 2], "[]", "{}", ""):
                (self.model / name).write_text(bad)
                self.refuses(str(self.model))
            (self.model / name).write_text(good)


if __name__ == "__main__":
    unittest.main()
