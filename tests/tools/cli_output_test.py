"""Output of caption: its forms, resuming, full disks, odd names, closed pipes; and the plan."""

import csv
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import time
import unittest

from galago_cli import BINARY, IMAGES, MODEL, CliTest


class Output(CliTest):
    def setUp(self):
        super().setUp()
        self.pictures = self.folder / "pictures"
        (self.pictures / "below").mkdir(parents=True)
        for name in ("b.png", "a.png", "below/c.PNG"):
            shutil.copy(IMAGES / "gray.png", self.pictures / name)
        (self.pictures / "notes.txt").write_text("not a picture")
        self.out = self.folder / "out"

    def records(self):
        return [json.loads(line) for line in self.out.read_text().splitlines()]

    def test_one_picture_gives_its_caption_and_several_are_named(self):
        one = self.caption(self.pictures / "a.png").stdout.decode()
        self.assertNotIn("a.png", one)
        lines = self.caption(self.pictures).stdout.decode().splitlines()
        self.assertEqual([line.split(": ")[0] for line in lines],
                         [str(self.pictures / name) for name in ("a.png", "b.png", "below/c.PNG")])

    def test_a_terminal_gets_the_same_lines(self):
        ours, theirs = pty.openpty()
        self.addCleanup(os.close, ours)
        with os.fdopen(theirs, "wb") as terminal:
            code = subprocess.run([BINARY, "caption", "-m", MODEL, "--max-new-tokens", "4", self.pictures],
                                  stdout=terminal, stderr=subprocess.PIPE, timeout=300, check=False).returncode
            self.assertEqual(code, 0)
            shown = os.read(ours, 1 << 16)
        self.assertEqual(shown.replace(b"\r\n", b"\n"), self.caption(self.pictures).stdout)

    def test_long_work_shows_its_progress_on_a_terminal_and_wipes_it(self):
        ours, theirs = pty.openpty()
        self.addCleanup(os.close, ours)
        with os.fdopen(theirs, "wb") as terminal:
            done = subprocess.run([BINARY, "caption", "-m", MODEL, "--max-new-tokens", "4", self.pictures],
                                  stdout=subprocess.PIPE, stderr=terminal, timeout=300, check=False)
            self.assertEqual(done.returncode, 0)
            shown = os.read(ours, 1 << 16).decode()
        for n in range(4):
            self.assertRegex(shown, rf"\[=* *\] {n}/3")
        self.assertRegex(shown, r"3/3[^\r]*\r\x1b\[K3 pictures")
        self.assertNotIn(b"\x1b", done.stdout)

    def caption_with_failing_device(self, device, code):
        """The second of three pictures' work meets a kernel that fails (needs the emulated device)."""
        environment = {**os.environ, "GALAGO_AUTO_IS_EMULATED": "1", "GALAGO_SIMT_FAILURES": "launch 200"}
        done = subprocess.run([BINARY, "caption", "-m", MODEL, "--max-new-tokens", "4", "--device", device,
                               "--format", "jsonl", "-o", self.out, self.pictures],
                              env=environment, capture_output=True, timeout=300, check=False)
        self.assertEqual(done.returncode, code, done.stderr.decode())
        return done.stderr.decode(), self.records()

    def test_a_device_that_fails_fails_its_picture_and_the_cpu_goes_on_where_it_may(self):
        messages, records = self.caption_with_failing_device("auto", 1)
        self.assertIn("going on with the CPU", messages)
        failed = [record for record in records if "error" in record]
        self.assertEqual(len(records), 3)
        self.assertEqual(len(failed), 1)
        self.assertIn("failed in the work up to", failed[0]["error"])
        messages, records = self.caption_with_failing_device("cuda-emulated", 1)
        self.assertIn("pictures were not begun", messages)
        self.assertIn("error", records[-1])
        self.assertLess(len(records), 3)

    def test_jsonl_has_the_promised_fields(self):
        self.caption(self.pictures, "--format", "jsonl", "-o", self.out)
        self.assertEqual(len(self.records()), 3)
        for record in self.records():
            self.assertLessEqual({"file", "caption", "tokens", "seconds", "prompt_tokens"}, record.keys())

    def test_odd_names_survive(self):
        for name in (b'new\nline "quoted".png', b"\xff\xfe.png", "é, ü.png".encode()):
            shutil.copy(IMAGES / "gray.png", os.fsencode(self.pictures / "below") + b"/" + name)
        for form in ("jsonl", "csv"):
            out = self.folder / form
            first = self.caption(self.pictures / "below", "--format", form, "-o", out)
            self.assertNotIn(b"before", first.stderr)
            again = self.caption(self.pictures / "below", "--format", form, "-o", out, "--resume")
            self.assertIn(b"4 done before", again.stderr)
        with open(self.folder / "csv", newline="", encoding="utf-8", errors="surrogateescape") as file:
            self.assertEqual(len(list(csv.reader(file))), 5)

    def test_resume_after_a_kill(self):
        for form, count in (("jsonl", 3), ("csv", 4)):
            self.caption(self.pictures, "--format", form, "-o", self.out)
            whole = self.out.read_text()
            lines = whole.splitlines(keepends=True)
            self.out.write_text("".join(lines[:-1]) + lines[-1][:10])
            done = self.caption(self.pictures, "--format", form, "-o", self.out, "--resume")
            self.assertIn(b"2 done before", done.stderr)
            self.assertEqual(len(self.out.read_text().splitlines()), count)
            self.out.unlink()

    def test_resume_tries_failures_again(self):
        bad = self.pictures / "b.png"
        bad.write_text("text")
        self.caption(self.pictures, "--format", "jsonl", "-o", self.out, code=1)
        shutil.copy(IMAGES / "gray.png", bad)
        self.caption(self.pictures, "--format", "jsonl", "-o", self.out, "--resume")
        self.assertEqual(["error" in record for record in self.records()], [False] * 3)

    def test_resume_leaves_a_foreign_file_alone(self):
        self.out.write_text("my diary\nmore\n")
        self.caption(self.pictures, "--format", "jsonl", "-o", self.out, "--resume", code=2)
        self.assertEqual(self.out.read_text(), "my diary\nmore\n")

    def test_sidecars(self):
        self.caption(self.pictures, "--format", "sidecar")
        sidecar = self.pictures / "below" / "c.txt"
        caption = sidecar.read_text()
        sidecar.write_text("mine")
        self.caption(self.pictures, "--format", "sidecar", code=1)
        self.assertIn(b"3 done before", self.caption(self.pictures, "--format", "sidecar", "--resume").stderr)
        self.assertEqual(sidecar.read_text(), "mine")
        self.caption(self.pictures, "--format", "sidecar", "--overwrite")
        self.assertEqual(sidecar.read_text(), caption)

    def test_full_disk(self):
        self.fails(1, "/dev/full", "caption", "-m", MODEL, "--max-new-tokens", "2", "--format", "jsonl", "-o",
                   "/dev/full", self.pictures)

    def test_closed_pipe_is_quiet(self):
        read, write = os.pipe()
        os.close(read)
        with os.fdopen(write, "wb") as pipe:
            done = subprocess.run([BINARY, "inspect", MODEL], stdout=pipe, stderr=subprocess.PIPE, check=False)
        self.assertEqual(done.stderr, b"")

    def test_interrupt_finishes_the_picture_in_work(self):
        for i in range(400):
            shutil.copy(IMAGES / "gray.png", self.pictures / f"more{i}.png")
        for arguments in ((), ("--batch", "3"), ("--tower", "staged", "--encode-batch", "4", "--batch", "2")):
            with self.subTest(arguments):
                self.interrupt(arguments)

    def interrupt(self, arguments):
        self.out.unlink(missing_ok=True)
        with subprocess.Popen([BINARY, "caption", "-m", MODEL, "--max-new-tokens", "64", "--format", "jsonl", "-o",
                               self.out, *arguments, self.pictures], stderr=subprocess.PIPE) as process:
            while process.poll() is None and not (self.out.exists() and self.out.read_bytes()):
                time.sleep(0.01)
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130)
        records = self.records()
        self.assertTrue(records)
        self.assertTrue(all("caption" in record for record in records))
        self.assertEqual(len({record["file"] for record in records}), len(records))

    def test_pictures_of_an_unknown_kind_are_told(self):
        (self.pictures / "d.webp").write_bytes(b"RIFF\0\0\0\0WEBP")
        done = self.caption(self.pictures, "--format", "jsonl", code=1)
        self.assertEqual(["error" in json.loads(line) for line in done.stdout.splitlines()],
                         [False, False, False, True])
        self.assertIn(b"d.webp", done.stderr)

    def test_chat_through_a_pipe(self):
        done = self.galago("chat", "-m", MODEL, "--max-new-tokens", "4", IMAGES / "gray.png",
                           stdin="What is it?\n/reset\n/image nowhere.png\nHello\n/quit\nunread\n", code=1)
        self.assertIn(b"nowhere.png", done.stderr)
        self.assertGreaterEqual(done.stdout.count(b"\n"), 2)


class Plan(CliTest):
    def test_json(self):
        plan = json.loads(self.galago("plan", "-m", MODEL, "--json").stdout)
        # Regions that are never needed at once share memory.
        self.assertEqual(plan["peak_bytes"], max(phase["peak_bytes"] for phase in plan["phases"]))
        self.assertLessEqual(plan["peak_bytes"], sum(region["bytes"] for region in plan["regions"]))

    def test_memory_used_is_memory_planned_in_every_region(self):
        plan = json.loads(self.galago("plan", "-m", MODEL, "--json").stdout)
        done = self.galago("caption", "-m", MODEL, "--log-level", "info", IMAGES / "wide.jpg")
        told = re.findall(r"memory (\w+): planned (\d+), used (\d+) bytes", done.stderr.decode())
        for name, planned, used in told:
            self.assertEqual(planned, used, name)
        self.assertEqual({name: int(planned) for name, planned, _ in told},
                         {region["name"]: region["bytes"] for region in plan["regions"]
                          if region["name"] not in ("runtime", "decoding")})  # not the arena's


if __name__ == "__main__":
    unittest.main()
