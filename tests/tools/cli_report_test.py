"""What a run tells of itself when asked, and galago plan --pareto: tables, JSON, a page that needs nothing else."""

import json
import re
import resource
import unittest
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from galago_cli import IMAGES, MODEL, CliTest

REGIONS = {"weights", "tower", "kv", "pictures", "activations", "staging"}


class MemoryReports(CliTest):
    def test_are_told_after_every_picture_and_at_the_end(self):
        done = self.caption("--memory-report", IMAGES / "wide.jpg", IMAGES / "tall.png")
        told = done.stderr.decode()
        self.assertEqual(told.count("memory now:"), 2)
        self.assertEqual(len(re.findall(r"^  (?:weights|tower|kv) +\d+ +\d+ +\d+", told, re.MULTILINE)), 3)
        self.assertNotIn(b"memory now", done.stdout)

    def test_over_time_are_json_and_a_page_beside_it(self):
        for given in ("trace.json", "trace.html"):
            with self.subTest(given):
                self.caption("--memory-trace", self.folder / given, IMAGES / "wide.jpg")
                trace = json.loads((self.folder / "trace.json").read_text())
                self.assertEqual([phase["name"] for phase in trace["phases"]], ["load", "encode", "prefill", "decode"])
                for phase in trace["phases"]:
                    self.assertEqual(set(phase["regions"]), REGIONS)
                    for use in phase["regions"].values():
                        self.assertLessEqual(use["used"], use["high_water"])
                        self.assertLessEqual(use["high_water"], use["planned"])
                page = (self.folder / "trace.html").read_text()
                tree = ElementTree.fromstring(page.replace("<!DOCTYPE html>", ""))
                self.assertGreater(len(tree.findall(".//svg/rect")), 20)
                for word in ("http", "<script", "<link", "url("):
                    self.assertNotIn(word, page)
                (self.folder / "trace.json").unlink()
                (self.folder / "trace.html").unlink()

    def test_that_cannot_be_written_are_told(self):
        self.fails(1, "no-such-folder", "caption", "-m", MODEL, "--max-new-tokens", "2", "--memory-trace",
                   self.folder / "no-such-folder" / "a.json", IMAGES / "wide.jpg")

    def test_in_a_conversation(self):
        done = self.galago("chat", "-m", MODEL, "--max-new-tokens", "2", stdin="hello\n/memory\n/quit\n")
        self.assertIn(b"pages of keys and values in use", done.stderr)


class Profiles(CliTest):
    def test_are_a_table_and_json(self):
        path = self.folder / "profile.json"
        done = self.caption("--profile", "--profile-json", path, IMAGES / "wide.jpg")
        self.assertIn(b"attend_pages", done.stderr)
        self.assertIn(b"ceilings:", done.stderr)
        profile = json.loads(path.read_text())
        self.assertEqual([phase["name"] for phase in profile["phases"]], ["pixels", "encode", "prefill", "decode"])
        self.assertAlmostEqual(sum(phase["seconds"] for phase in profile["phases"]), profile["seconds"])
        self.assertGreater(len(profile["ops"]), 10)
        for op in profile["ops"]:
            self.assertGreater(op["seconds"], 0)
            self.assertGreater(op["roofline_fraction"], 0)

    def test_are_part_of_a_benchmark_that_asks_for_them(self):
        path = self.folder / "bench.json"
        done = self.galago("bench", "-m", MODEL, "--image-size", "60x40", "--prompt-tokens", "5", "--new-tokens", "2",
                           "--repeats", "1", "--max-spread", "100", "--profile", "--json", path)
        self.assertIn(b"attend_pages", done.stdout)
        [result] = json.loads(path.read_text())["results"]
        self.assertGreater(len(result["profile"]["ops"]), 10)


def keys_of(json_value):
    """All keys of objects whose keys are words of the schema: those by region are names."""
    if isinstance(json_value, list):
        return set().union(*map(keys_of, json_value), set())
    if not isinstance(json_value, dict):
        return set()
    below = [keys_of(value) for key, value in json_value.items() if key != "regions" or isinstance(value, list)]
    return set(json_value).union(*below)


class Plans(CliTest):
    def test_every_field_is_explained(self):
        page = (Path(__file__).resolve().parent.parent.parent / "docs" / "plan.md").read_text(encoding="utf-8")
        for table in ((), ("--what-if",), ("--pareto",)):
            plan = json.loads(self.galago("plan", "-m", MODEL, "--json", "--memory", "1GiB", *table).stdout)
            for key in keys_of(plan):
                self.assertIn(f"`{key}`", page, table)

    def test_of_seven_billion_weights_takes_less_than_a_second(self):
        # Of the processor: others may be at work on this machine.
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.galago("plan", "--shape", "llava-1.5-7b", "--threads", "1", "--json")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.assertLess(after.ru_utime - before.ru_utime, 1)

    def test_options_that_cannot_be_are_one_sentence(self):
        for code, said, options in ((2, "not a size", ("--memory", "8GB?")), (2, "above 0 and at most 1", ("--kv-limit", "1.5")),
                                    (2, "above 0 and at most 1", ("--kv-limit", "nan")),
                                    (2, "positions for", ("--context", "1000000")),
                                    (2, "--window", ("--window", "0")), (2, "--window", ("--window", "many")),
                                    (2, "--sinks", ("--window", "8", "--sinks=-1")),
                                    (2, "without a window", ("--sinks", "4")),
                                    (4, "bytes too few", ("--memory", "1MiB")),
                                    (4, "this machine has", ("--memory", "1000TiB"))):
            with self.subTest(options):
                self.fails(code, said, "plan", "-m", MODEL, *options)


class Pareto(CliTest):
    def rows(self, *arguments):
        return json.loads(self.galago("plan", "--shape", "smollm2-135m", "--device", "l4", "--pareto", "--json",
                                      *arguments).stdout)

    def test_more_memory_buys_no_worse_choices(self):
        ample = self.rows("--memory", "4GiB")
        # The program's own part, some 15 MiB, differs a little from one start to the next.
        budget = sorted(row["peak_bytes"] for row in ample)[len(ample) // 2] + (1 << 20)
        tight = self.rows("--memory", str(budget))
        self.assertTrue(all(row["peak_bytes"] <= budget for row in tight))
        self.assertLess(len(tight), len(ample))
        # Within the 2 % that count as nothing.
        self.assertLessEqual(min(row["request_seconds"] for row in ample),
                             min(row["request_seconds"] for row in tight) * 1.02)

    def test_is_a_table_for_people(self):
        told = self.galago("plan", "-m", MODEL, "--pareto").stdout.decode()
        self.assertIn("tokens/s", told)
        self.assertIn("tower", told)

    def test_a_budget_that_nothing_fits_in(self):
        self.fails(4, "bytes too few", "plan", "--shape", "smollm2-135m", "--pareto", "--memory", "1MiB")

    def test_contradicts_the_other_table(self):
        self.galago("plan", "-m", MODEL, "--pareto", "--what-if", code=2)


if __name__ == "__main__":
    unittest.main()
