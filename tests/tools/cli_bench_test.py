"""galago bench and plan --shape: outputs that other programs can read, and exit codes that tell disturbed runs."""

import csv
import json
import unittest
import xml.etree.ElementTree as ElementTree

from galago_cli import MODEL, CliTest

QUICK = ("--image-size", "60x40", "--prompt-tokens", "5", "--new-tokens", "2", "--repeats", "2", "--threads", "2")


class Bench(CliTest):
    def bench(self, *arguments, code=0):
        return self.galago("bench", "-m", MODEL, *QUICK, *arguments, code=code)

    def report(self, name="a.json"):
        path = self.folder / name
        self.bench("--max-spread", "100", "--json", path)
        return path

    def test_json_has_plausible_values(self):
        report = json.loads(self.report().read_text())
        [result] = report["results"]
        self.assertEqual(result["prompt_tokens"], 5 + result["image_tokens"])
        for stage in result["stages"]:
            self.assertGreater(stage["seconds"], 0)
            self.assertAlmostEqual(stage["rate"] * stage["seconds"] / stage["items"], 1)
        for region in result["memory"]["regions"]:
            self.assertEqual(region["planned"], region["measured"])
        self.assertGreater(result["memory"]["measured_peak_bytes"], 1 << 20)

    def test_every_combination_of_a_sweep_is_measured(self):
        path = self.folder / "a.csv"
        self.bench("--precision", "fp32,fp16", "--image-size", "30x30", "--max-spread", "100", "--csv", path)
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        seen = {(row["precision"], row["width"]) for row in rows}
        self.assertEqual(seen, {("fp32", "60"), ("fp32", "30"), ("fp16", "60"), ("fp16", "30")})
        self.assertTrue(all(float(row["seconds"]) > 0 for row in rows))

    def test_every_report_names_the_instruction_set(self):
        lines = self.galago("inspect", MODEL).stdout.decode().splitlines()
        [chosen] = [line.split()[-1] for line in lines if line.startswith("instruction set")]
        self.assertIn(chosen, ("portable", "avx2", "avx_vnni", "avx512", "avx512_vnni", "avx512_bf16", "amx"))
        plan = self.galago("plan", "-m", MODEL, "--threads", "2").stdout.decode()
        self.assertIn(f"device cpu ({chosen}, 2 threads)", plan)
        paths = [self.folder / name for name in ("a.json", "a.csv", "a.html")]
        outputs = [part for path in paths for part in ("--" + path.suffix[1:], path)]
        text = self.bench("--max-spread", "100", *outputs).stdout.decode()
        for report in [text, *(path.read_text() for path in paths)]:
            self.assertIn(f"cpu ({chosen}, 2 threads)", report)

    def test_html_is_well_formed_and_needs_nothing_else(self):
        path = self.folder / "a.html"
        self.bench("--precision", "fp32,fp16", "--max-spread", "100", "--html", path)
        text = path.read_text()
        tree = ElementTree.fromstring(text.replace("<!DOCTYPE html>", ""))
        self.assertGreater(len(tree.findall(".//svg/rect")), 20)
        for word in ("http", "<script", "<link", "url("):
            self.assertNotIn(word, text)

    def test_a_disturbed_run_says_so_and_fails(self):
        done = self.bench("--max-spread", "0", code=1)
        self.assertIn(b"disturbed", done.stdout)
        self.assertIn(b"--max-spread", done.stderr)

    def test_a_report_equals_itself(self):
        path = self.report()
        text = self.galago("bench", "--compare", path, path).stdout.decode()
        self.assertNotIn("FASTER", text)
        self.assertNotIn("SLOWER", text)
        self.assertIn("same", text)

    def test_bad_input_is_one_sentence(self):
        broken = self.folder / "broken.json"
        broken.write_text('{"galago": 3')
        self.fails(1, "broken.json", "bench", "--compare", broken, broken)
        self.fails(1, "missing.json", "bench", "--compare", self.folder / "missing.json", broken)
        self.fails(2, "--image-size", "bench", "-m", MODEL, "--image-size", "12by13")
        self.fails(2, "llama-8b", "bench", "--shape", "llama-8b")
        self.fails(3, "nowhere", "bench", "-m", self.folder / "nowhere")
        self.galago("bench", "-m", MODEL, "--precision", "fp12", code=2)
        self.galago("bench", "-m", MODEL, "--shape", "llama-7b", code=2)

    def test_a_shape_is_planned_without_files(self):
        plan = json.loads(self.galago("plan", "--shape", "llama-7b", "--precision", "fp16", "--json").stdout)
        weights = next(region["bytes"] for region in plan["regions"] if region["name"] == "weights")
        self.assertGreater(weights, 2 * 6_738_415_616)
        self.assertLess(weights, 2 * 6_738_415_616 * 1.001)
        self.fails(4, "bytes too few", "plan", "--shape", "llama-7b", "--memory", "100MiB")


if __name__ == "__main__":
    unittest.main()
