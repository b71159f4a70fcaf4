"""A model on several devices: the CPU and two emulated CUDA devices."""

import json
import shutil
import subprocess
import unittest

from galago_cli import BINARY, GOLDENS, IMAGES, CliTest

TEXT = GOLDENS / "text-llama"
PAIR = "cuda-emulated:0,cuda-emulated:1"


def has_emulated_device():
    done = subprocess.run([BINARY, "plan", "--device", "cuda-emulated"], capture_output=True, check=False)
    return b"has no emulated device" not in done.stderr


@unittest.skipUnless(has_emulated_device(), "built without the emulated device")
class Devices(CliTest):
    def plan(self, *arguments):
        return json.loads(self.galago("plan", "-m", TEXT, "--json", *arguments).stdout)

    def test_captions_are_those_of_the_cpu(self):
        alone = self.caption("--precision", "fp32", "--device", "cpu", IMAGES / "wide.jpg").stdout
        for devices in ("cuda-emulated,cpu", "cpu,cuda-emulated:1", PAIR):
            with self.subTest(devices):
                done = self.caption("--precision", "fp32", "--compute", "fp32", "--device", devices,
                                    IMAGES / "wide.jpg")
                self.assertEqual(done.stdout, alone)

    def test_a_plan_tells_what_lies_where(self):
        plan = self.plan("--device", PAIR, "--split", "64MiB,64MiB")
        names = [device["name"] for device in plan["devices"]]
        self.assertEqual(names, PAIR.split(","))
        self.assertEqual([device["layers"] for device in plan["devices"]], [1, 1])
        self.assertEqual([device["share_bytes"] for device in plan["devices"]], [64 << 20, 64 << 20])
        regions = {region["name"]: region["bytes"] for region in plan["regions"]}
        for device in plan["devices"]:
            own = sum(size for name, size in regions.items()
                      if name.startswith(device["name"] + " ") and not name.endswith("staging"))
            self.assertGreaterEqual(own, device["peak_bytes"])  # regions may share memory
        for phase in plan["phases"]:
            self.assertTrue(set(phase["regions"]) <= set(regions))
        self.assertEqual([device["name"] for device in self.plan("--device", "cpu")["devices"]], ["cpu"])

    def test_what_cannot_be_is_one_sentence(self):
        def fails(code, words, *arguments):
            return self.fails(code, words, "plan", "-m", TEXT, *arguments)
        fails(2, "named twice", "--device", "cpu,cpu")
        fails(2, "tpu", "--device", "cpu,tpu")
        fails(2, "1 share was given for 2 devices", "--device", PAIR, "--split", "1GiB")
        fails(2, "2 shares were given for 1 device", "--device", "cpu", "--split", "1GiB,1GiB")
        fails(2, "--split 1GX: not a size", "--device", PAIR, "--split", "1GX,1GiB")
        sentence = fails(4, "cuda-emulated:0", "--device", PAIR, "--split", "4KiB,1GiB")
        self.assertRegex(sentence, r"\d+ too few; 0 layers would fit there")

    def test_streamed_layers_lie_on_their_devices(self):
        whole = self.plan("--device", PAIR)
        plan = self.plan("--device", PAIR, "--stream-layers", "2")
        self.assertEqual(plan["streamed_layers"], 2)
        self.assertEqual([device["layers"] for device in plan["devices"]], [1, 1])
        self.assertNotEqual(plan["regions"], whole["regions"])

    def test_rows_too_wide_for_a_copy_are_refused_by_the_plan(self):
        # Headers alone: an MLP of 2^20 columns, whose rows take more than 1 MiB in int8.
        model = self.folder / "wide"
        model.mkdir()
        mlp = 1 << 20
        config = json.loads((TEXT / "config.json").read_text())
        config["intermediate_size"] = mlp
        (model / "config.json").write_text(json.dumps(config))
        for name in ("tokenizer.json", "tokenizer_config.json", "tokenizer.model"):
            if (TEXT / name).exists():
                shutil.copy(TEXT / name, model)
        weights = (TEXT / "model.safetensors").read_bytes()
        length = int.from_bytes(weights[:8], "little")
        header = json.loads(weights[8:8 + length])
        end = 0
        for name, tensor in header.items():
            if name == "__metadata__":
                continue
            if ".mlp." in name:
                hidden = config["hidden_size"]
                tensor["shape"] = [hidden, mlp] if "down" in name else [mlp, hidden]
            size = {"F32": 4, "F16": 2, "BF16": 2}[tensor["dtype"]]
            for n in tensor["shape"]:
                size *= n
            tensor["data_offsets"] = [end, end + size]
            end += size
        text = json.dumps(header).encode()
        with open(model / "model.safetensors", "wb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            file.truncate(8 + len(text) + end)

        def fails(*arguments):
            return self.fails(2, "mlp.down_proj.weight take 1114112 bytes in int8", "plan", "-m", model,
                              "--context", "64", *arguments)
        for device in ("cuda-emulated", "cpu,cuda-emulated"):
            self.assertIn("at most 1048576", fails("--device", device, "--precision", "int8"))
        for precision, device in (("fp16", "cuda-emulated"), ("int8", "cpu")):
            self.galago("plan", "-m", model, "--context", "64", "--device", device, "--precision", precision)

    def test_memory_reports_name_the_device(self):
        done = self.caption("--device", "cuda-emulated,cpu", "--memory-report", IMAGES / "wide.jpg")
        self.assertIn(b"cuda-emulated:0 weights", done.stderr)
        self.assertIn(b"cpu kv", done.stderr)


if __name__ == "__main__":
    unittest.main()
