"""GGUF files made from the goldens: the same outputs as the checkpoints that they were made from."""

import json
import struct
import unittest

import gguf_writer as gguf
from cli_parity_test import values
from galago_cli import GOLDENS, IMAGES, CliTest, read_safetensors

MODEL = GOLDENS / "text-llama"


class GgufTest(CliTest):
    def text_model(self, name, kind, as_stored=True, keys=(), value_kind=None):
        """text-llama with its matrices in blocks of this type, or with what these stand for in FP32; `value_kind`: the
        values' own type."""
        config = json.loads((MODEL / "config.json").read_text())
        header, data = read_safetensors(MODEL / "model.safetensors")
        tensors = []
        for source, entry in header.items():
            if source == "__metadata__":
                continue
            numbers = gguf.floats(entry["dtype"], data[slice(*entry["data_offsets"])])
            for part, heads in (("q_proj", "num_attention_heads"), ("k_proj", "num_key_value_heads")):
                if part in source:
                    numbers = gguf.halves_in_turns(numbers, config[heads], entry["shape"][-1])
            stored, blocks = gguf.TENSOR_F32, numbers.tobytes()
            if kind != gguf.TENSOR_F32 and len(entry["shape"]) == 2:
                own = value_kind if value_kind is not None and "v_proj" in source else kind
                blocks, decoded = gguf.encode(own, numbers)
                stored, blocks = (own, blocks) if as_stored else (gguf.TENSOR_F32, decoded.tobytes())
            tensors.append((gguf.decoder_name(source), entry["shape"], stored, blocks))
        pieces = gguf.sentencepiece_pieces((MODEL / "tokenizer.model").read_bytes())
        path = self.folder / name
        gguf.write_gguf(path, gguf.decoder_keys(config, pieces) + list(keys), tensors)
        return path

    def pair(self, swapped):
        """llava-1.5 as two files; 16-bit matrices stay as they are, all else becomes FP32."""
        model = GOLDENS / "llava-1.5"
        config = json.loads((model / "config.json").read_text())
        text, vision = config["text_config"], config["vision_config"]
        n_layers = vision["num_hidden_layers"] - 1
        header, data = read_safetensors(model / "model.safetensors")
        decoder, tower = [], []
        for source, entry in header.items():
            if source == "__metadata__" or "position_ids" in source or f"vision_model.encoder.layers.{n_layers}." in source:
                continue
            stored = data[slice(*entry["data_offsets"])]
            kind = gguf.TENSOR_F16
            numbers = gguf.floats(entry["dtype"], stored)
            if source.startswith("language_model."):
                for part, heads in (("q_proj", "num_attention_heads"), ("k_proj", "num_key_value_heads")):
                    if part in source:
                        numbers = gguf.halves_in_turns(numbers, text[heads], entry["shape"][-1])
                        stored = struct.pack(f"<{len(numbers)}e", *numbers)
            if entry["dtype"] == "F32" or len(entry["shape"]) == 1:
                kind, stored = gguf.TENSOR_F32, numbers.tobytes()
            if source.startswith("language_model."):
                decoder.append((gguf.decoder_name(source[len("language_model."):]), entry["shape"], kind, stored))
            else:
                tower.append((gguf.tower_name(source, swapped), entry["shape"], kind, stored))
        pieces = gguf.sentencepiece_pieces((model / "tokenizer.model").read_bytes())
        gguf.write_gguf(self.folder / "llava.gguf", gguf.decoder_keys(text, pieces), decoder)
        gguf.write_gguf(self.folder / "mmproj-llava.gguf", gguf.tower_keys(vision, n_layers), tower)
        return self.folder / "llava.gguf"

    def trace_picture(self, model, case):
        out = self.folder / "trace.safetensors"
        file = self.folder / "prompt.txt"
        file.write_bytes(case["prompt"].encode())
        images = [part for name in case["images"] for part in ("--image", IMAGES / name)]
        self.galago("trace", "-m", model, *images, "--prompt-file", file, "--raw", "--precision", "fp32",
                    "--exif", "off", "--max-new-tokens", "8", "--out", out)
        traced = read_safetensors(out)
        return {name: values(*traced, name) for name in ("image_embeddings", "logits", "generated_ids")}

    def test_a_pair_gives_the_original_outputs(self):
        original = GOLDENS / "llava-1.5"
        case = json.loads((original / "golden.json").read_text())["cases"][0]
        expected = self.trace_picture(original, case)
        for swapped in (False, True):
            with self.subTest(swapped=swapped):
                found = self.trace_picture(self.pair(swapped), case)
                self.assertEqual(found["generated_ids"], expected["generated_ids"])
                for name in ("image_embeddings", "logits"):
                    bound = 1e-5 * max(map(abs, expected[name]))
                    self.assertEqual(len(found[name]), len(expected[name]))
                    self.assertLessEqual(max(abs(a - b) for a, b in zip(found[name], expected[name])), bound)

    def trace(self, model, prompt, precision="fp32"):
        out = self.folder / "trace.safetensors"
        file = self.folder / "prompt.txt"
        file.write_bytes(prompt.encode())
        self.galago("trace", "-m", model, "--prompt-file", file, "--raw", "--precision", precision, "--kv", "fp32",
                    "--max-new-tokens", "8", "--out", out)
        traced = read_safetensors(out)
        return {name: values(*traced, name) for name in ("input_ids", "logits", "generated_ids")}

    def test_plain_numbers_give_the_original_outputs(self):
        path = self.text_model("plain.gguf", gguf.TENSOR_F32)
        for case in json.loads((MODEL / "golden.json").read_text())["cases"]:
            self.assertEqual(self.trace(path, case["prompt"]), self.trace(MODEL, case["prompt"]), case["name"])

    def test_blocks_give_the_outputs_of_what_they_stand_for(self):
        for kind in (gguf.TENSOR_Q4_0, gguf.TENSOR_Q4_1, gguf.TENSOR_Q5_0, gguf.TENSOR_Q5_1, gguf.TENSOR_Q8_0):
            with self.subTest(kind=kind):
                blocks = self.trace(self.text_model("blocks.gguf", kind), "Hello there")
                plain = self.trace(self.text_model("plain.gguf", kind, as_stored=False), "Hello there")
                bound = 1e-5 * max(map(abs, plain["logits"]))
                self.assertLessEqual(max(abs(a - b) for a, b in zip(blocks["logits"], plain["logits"])), bound)
                self.assertEqual(blocks["generated_ids"], plain["generated_ids"])

    def weights(self, model):
        plan = json.loads(self.galago("plan", "--json", "-m", model, "--context", "32").stdout)
        return next(region["bytes"] for region in plan["regions"] if region["name"] == "weights")

    def test_blocks_stay_packed_in_memory(self):
        whole = self.weights(self.text_model("plain.gguf", gguf.TENSOR_F32))
        for kind, values_in, bits in ((gguf.TENSOR_Q4_0, None, 4.5), (gguf.TENSOR_Q4_1, None, 5), (gguf.TENSOR_Q5_0, None, 8.5),
                                      (gguf.TENSOR_Q5_1, None, 9), (gguf.TENSOR_Q8_0, None, 8.5),
                                      (gguf.TENSOR_Q4_0, gguf.TENSOR_Q8_0, 5.5), (gguf.TENSOR_Q4_1, gguf.TENSOR_Q8_0, 6)):
            with self.subTest(kind=kind, values_in=values_in):
                model = self.text_model("blocks.gguf", kind, value_kind=values_in)
                self.assertLess(self.weights(model), whole * bits / 32 * 1.12)  # rows are filled up to 16 bytes
                packed, plain = self.trace(model, "Hello there", "auto"), self.trace(model, "Hello there")
                bound = 1e-5 * max(map(abs, plain["logits"]))
                self.assertLessEqual(max(abs(a - b) for a, b in zip(packed["logits"], plain["logits"])), bound)
                self.assertEqual(packed["generated_ids"], plain["generated_ids"])

    def test_inspect_accounts_for_every_tensor(self):
        lines = self.galago("inspect", self.text_model("q8.gguf", gguf.TENSOR_Q8_0)).stdout.decode().splitlines()
        self.assertIn("0 unknown", lines[-1])
        self.assertIn("0 missing", lines[-1])
        self.assertTrue(any("blk.1.ffn_up.weight Q8_0 [256, 128] -> decoder.1.mlp.up.weight" in line
                            for line in lines), lines)

    def test_the_chat_template_of_the_metadata_is_followed(self):
        known = (GOLDENS / "chat" / "templates" / "smollm2.jinja").read_text()
        for template, told in ((known, "smollm2"), ("{{ messages }}", "unknown, its template is not a known one")):
            path = self.text_model("chat.gguf", gguf.TENSOR_F32, keys=[("tokenizer.chat_template", gguf.STRING, template)])
            self.assertIn("chat format      " + told, self.galago("inspect", path).stdout.decode().splitlines())
        done = self.galago("chat", "-m", path, "--max-new-tokens", "2", stdin="Hello\n", code=2)
        self.assertIn(b"chat.gguf: this chat_template", done.stderr)

    def test_damaged_files_are_refused(self):
        path = self.text_model("model.gguf", gguf.TENSOR_F32)
        whole = path.read_bytes()
        for cut in (0, 3, 20, 400, 5000, len(whole) // 2, len(whole) - 600):
            path.write_bytes(whole[:cut])
            self.fails(3, "model.gguf", "inspect", path)
        path.write_bytes(whole[:8] + struct.pack("<Q", 1 << 60) + whole[16:])
        self.assertIn("1152921504606846976 tensors", self.fails(3, "model.gguf", "inspect", path))
        path.write_bytes(whole.replace(b"llama.block_count", b"llama.block_kount"))
        self.assertIn("llama.block_count is missing", self.fails(3, "model.gguf", "inspect", path))
        path.write_bytes(whole.replace(gguf.text("llama"), gguf.text("lrama"), 1))
        self.assertIn("the nearest that it knows is llama", self.fails(3, "model.gguf", "inspect", path))


if __name__ == "__main__":
    unittest.main()
