"""The memory contract as the operating system sees it: what was planned bounds what the process takes."""

import json
import re
import resource
import subprocess
import unittest

from galago_cli import BINARY, GOLDENS, IMAGES, MODEL, CliTest, bmp

MIB = 1 << 20
SAMPLES = GOLDENS.parent.parent / "models" / "demo" / "samples"
# Beside the budget a process may have: mappings of the C library and the loader that nobody writes to.
SPARE_BYTES = 8 * MIB
SUMMARY = re.compile(r"memory planned ([\d.]+) (\w+) .*process peak ([\d.]+) (\w+)")
UNITS = {"KiB": 1 << 10, "MiB": MIB, "GiB": 1 << 30}
SANITIZED = b"__asan" in open(BINARY, "rb").read()


def limited(budget):
    """Runs before the program: data (private writable memory, touched or not) is limited by the system."""
    def limit():
        resource.setrlimit(resource.RLIMIT_STACK, (MIB, MIB))  # and so of every thread
        resource.setrlimit(resource.RLIMIT_DATA, (budget + SPARE_BYTES, budget + SPARE_BYTES))
    return limit


@unittest.skipIf(SANITIZED, "sanitizers take memory of their own")
class Contract(CliTest):
    def peak_and_plan(self, *arguments):
        done = self.galago("caption", "--max-new-tokens", "6", "--threads", "2", *arguments)
        found = SUMMARY.search(done.stderr.decode())
        self.assertIsNotNone(found, done.stderr)
        plan, plan_unit, peak, peak_unit = found.groups()
        return float(peak) * UNITS[peak_unit], float(plan) * UNITS[plan_unit]

    def keeps_contract(self, *arguments):
        peak, plan = self.peak_and_plan(*arguments)
        rounding = 0.01 * MIB
        self.assertLessEqual(peak, plan + rounding, arguments)
        self.assertGreaterEqual(peak, 0.97 * plan - 16 * MIB - rounding, arguments)

    def test_of_every_kind_of_picture(self):
        for picture in sorted(IMAGES.iterdir()):
            if picture.suffix in (".jpg", ".png"):
                with self.subTest(picture.name):
                    self.keeps_contract("-m", MODEL, picture)

    def test_of_the_demo_model(self):
        self.keeps_contract(IMAGES / "wide.jpg")

    def test_of_a_large_picture(self):
        picture = self.folder / "large.bmp"
        picture.write_bytes(bmp(4000, 3000, bytes(range(250)) * (4000 * 3000 * 3 // 250)))
        peak, plan = self.peak_and_plan("-m", MODEL, picture)
        self.assertLessEqual(peak, plan + 0.01 * MIB)

    def test_the_next_picture_is_decoded_ahead_where_there_is_room(self):
        pictures = [self.folder / "a.bmp", self.folder / "b.bmp"]
        for shade, picture in enumerate(pictures):
            picture.write_bytes(bmp(2000, 1500, bytes(range(shade, 250 + shade)) * (2000 * 1500 * 3 // 250)))
        least = 2000 * 1500 * (3 + 7)  # of one: the file, and its pixels with and without a fourth channel
        _, one = self.peak_and_plan("-m", MODEL, pictures[0])
        peak, two = self.peak_and_plan("-m", MODEL, *pictures)
        self.assertLessEqual(peak, two + 0.01 * MIB)
        self.assertGreaterEqual(two, one + least - 0.02 * MIB)
        for budget, plan in ((two + MIB, two), (two - MIB, one)):
            peak, planned = self.peak_and_plan("-m", MODEL, "--memory", str(int(budget)), *pictures)
            self.assertLessEqual(peak, planned + 0.01 * MIB)
            self.assertAlmostEqual(planned, plan, delta=0.5 * MIB)  # nothing else was given up for it

    def test_with_staged_tower_and_streamed_layers(self):
        self.keeps_contract("-m", GOLDENS / "internvl2-llama", "--tower", "staged", "--stream-layers", "2",
                            IMAGES / "wide.jpg")

    def test_of_folders_in_rounds_and_batches(self):
        self.keeps_contract("--tower", "staged", "--encode-batch", "3", "--batch", "2", SAMPLES)
        self.keeps_contract("--batch", "5", SAMPLES)


class Folders(CliTest):
    """However a folder is worked through, its captions are the same."""

    def captions(self, *arguments, code=0):
        done = self.galago("caption", "--max-new-tokens", "6", "--threads", "2", "--precision", "fp32", *arguments, code=code)
        return sorted(done.stdout.decode().splitlines())

    def test_in_rounds_and_batches(self):
        expected = self.captions(SAMPLES)
        self.assertGreater(len(expected), 3)
        for arguments in (("--batch", "3"), ("--tower", "staged"), ("--tower", "staged", "--encode-batch", "1"),
                          ("--tower", "staged", "--encode-batch", "4", "--batch", "2"),
                          ("--batch", "4", "--context", "300", "--kv-tokens", "320")):
            self.assertEqual(self.captions(SAMPLES, *arguments), expected, arguments)

    def test_a_picture_that_cannot_be_read_costs_no_other(self):
        expected = self.captions(SAMPLES)
        bad = self.folder / "bad.jpg"
        bad.write_bytes(b"no picture")
        for arguments in (("--batch", "3"), ("--tower", "staged", "--encode-batch", "4")):
            self.assertEqual(self.captions(bad, SAMPLES, bad, *arguments, code=1), expected)

    def test_in_a_tight_budget_are_encoded_several_at_once(self):
        told = self.fails(4, "after 8 pictures", "plan", "--shape", "llava-1.5-7b", "--memory", "1MiB", "--encode-batch", "8")
        self.assertIn("bytes too few", told)


@unittest.skipIf(SANITIZED, "sanitizers take memory of their own")
class Budgets(CliTest):
    model = GOLDENS.parent.parent / "models" / "demo"
    steps = 20

    def plan(self, *arguments):
        done = self.galago("plan", "-m", self.model, "--max-new-tokens", "6", "--threads", "2", "--json", *arguments)
        return json.loads(done.stdout)

    def caption(self, budget):
        done = subprocess.run(
            [BINARY, "caption", "-m", self.model, "--max-new-tokens", "6", "--threads", "2", "--memory", str(budget),
             IMAGES / "wide.jpg"], capture_output=True, timeout=300, check=False, preexec_fn=limited(budget))
        return done.returncode, done.stdout, done.stderr.decode()

    def test_from_the_smallest_to_an_ample_one(self):
        sentence = self.fails(4, "bytes too few", "caption", "-m", self.model, "--max-new-tokens", "6", "--threads",
                              "2", "--memory", "1MiB", IMAGES / "wide.jpg")
        # The program's own part differs a little from one start to the next.
        spread = MIB // 4
        smallest = int(re.search(r"needs (\d+)", sentence)[1]) + spread
        ample = self.plan()["peak_bytes"] + MIB
        texts, codes = {}, []
        for step in range(self.steps):
            budget = smallest + (ample - smallest) * step // (self.steps - 1)
            code, text, told = self.caption(budget)
            self.assertEqual(code, 0, (budget, told))
            numbers = re.search(r"decoder (.*?), context", told)[1]
            texts.setdefault(numbers, set()).add(text)
            codes.append(numbers)
        self.assertGreater(len(texts), 1, "the sweep met one precision only")
        for numbers, found in texts.items():
            self.assertEqual(len(found), 1, numbers)
        self.assertEqual(codes[-1], "as stored, tower as stored, KV fp16")

    def test_the_choice_and_the_ladder_are_told(self):
        ample = self.plan()["peak_bytes"]
        told = self.galago("plan", "-m", self.model, "--memory", str(ample + 4 * MIB), "--explain").stdout.decode()
        self.assertIn("budget", told)
        states = [line[2:10].strip() for line in told.splitlines() if ", context " in line and "budget" not in line]
        self.assertEqual(states[0], "chosen")
        self.assertGreater(len(states), 3)
        self.assertEqual(set(states[1:]), {"fits"})
        ladder = self.plan("--memory", str(ample - MIB // 4))["ladder"]
        self.assertGreater(len(ladder), 1)
        self.assertFalse(ladder[0]["fits"])
        self.assertEqual([rung["fits"] for rung in ladder], [rung["peak_bytes"] <= ample - MIB // 4 for rung in ladder])
        self.assertTrue(any(rung["fits"] for rung in ladder))

    def test_a_later_picture_in_a_chat_is_planned_for_or_refused_with_the_numbers(self):
        picture = self.folder / "later.bmp"
        picture.write_bytes(bmp(1000, 800, bytes(1000 * 800 * 3)))
        lines = f"/image {picture}\nWhat is it?\n"
        arguments = ("chat", "-m", self.model, "--max-new-tokens", "2", "--context", "512")
        self.galago(*arguments, stdin=lines)
        refused = self.galago(*arguments, "--picture-memory", "1MiB", stdin=lines, code=1).stderr.decode()
        self.assertRegex(refused, r"later.bmp: takes \d+ bytes .* of the 1048576 that were planned")
        self.galago(*arguments, "--picture-memory", re.search(r"--picture-memory (\d+)", refused)[1], stdin=lines)

    def test_a_chat_goes_on_beyond_its_pages_with_a_window(self):
        lines = "".join(f"And then what about number {i}?\n" for i in range(12))
        chat = ("chat", "-m", MODEL, "--max-new-tokens", "16")
        refused = self.galago(*chat, "--context", "128", stdin=lines, code=1).stderr.decode()
        self.assertIn("the context of 128", refused)
        window = ("--window", "40", "--sinks", "5")
        plans = [json.loads(self.galago("plan", "-m", MODEL, "--json", *window, "--context", n).stdout)
                 for n in ("700", "2000")]
        for plan in plans:
            self.assertEqual((plan["window"], plan["sinks"]), (40, 5))
            # Of sinks, and of the window and a chunk wherever they begin.
            self.assertEqual(plan["pages"], 1 + 1 + -(-(40 + plan["prefill_chunk"] - 2) // 16))
        done = self.galago(*chat, *window, "--memory-report", stdin=lines).stderr.decode()
        planned, used = re.search(r"\n  kv +(\d+) +(\d+) ", done).groups()
        self.assertEqual(planned, used, done)

    def test_memory_that_others_took_is_refused_in_one_sentence(self):
        """Less than the plan needs is to be had: whoever notices says so, and the exit code is 4."""
        peak, codes = self.plan()["peak_bytes"], set()
        for part in (1, 4, 6, 7, 8, 10):
            done = subprocess.run(
                [BINARY, "caption", "-m", self.model, "--max-new-tokens", "6", "--threads", "1", IMAGES / "wide.jpg"],
                capture_output=True, timeout=300, check=False, preexec_fn=limited(peak * part // 10 - SPARE_BYTES))
            told = [line for line in done.stderr.decode().splitlines() if "error" in line]
            self.assertIn(done.returncode, (0, 4), (part, done.stderr))
            self.assertEqual(len(told), 1 if done.returncode else 0, (part, done.stderr))
            codes.add(done.returncode)
        self.assertIn(4, codes)

    def test_threads_that_there_is_no_memory_for(self):
        def limit():
            resource.setrlimit(resource.RLIMIT_STACK, (256 * MIB, 256 * MIB))  # and so of every thread
            resource.setrlimit(resource.RLIMIT_DATA, (1024 * MIB, 1024 * MIB))
        done = subprocess.run([BINARY, "caption", "-m", self.model, "--threads", "16", IMAGES / "wide.jpg"], capture_output=True,
                              timeout=300, check=False, preexec_fn=limit)
        self.assertEqual(done.returncode, 4, done.stderr)
        self.assertIn(b"cannot start 16 threads", done.stderr)

    def test_a_budget_above_the_machine(self):
        self.fails(4, "this machine has", "plan", "-m", self.model, "--memory", "1000TiB")


if __name__ == "__main__":
    unittest.main()
