"""--packed FILE: the first start writes it, later ones map it, and one that is not sound is told of and not used."""

import os
import re
import subprocess
import unittest

from galago_cli import BINARY, IMAGES, MODEL, CliTest

MIB = 1 << 20
SUMMARY = re.compile(r"memory planned ([\d.]+) MiB .*process peak ([\d.]+) MiB")
SANITIZED = b"__asan" in open(BINARY, "rb").read()


class Packed(CliTest):
    def setUp(self):
        super().setUp()
        self.file = self.folder / "weights.packed"
        self.picture = IMAGES / "wide.jpg"
        self.expected = self.caption(self.picture).stdout

    def packed_caption(self, *arguments, says=None):
        """The caption is the same whatever the file is; what is said of it is one line."""
        done = self.caption("--packed", self.file, "--device", "cpu", *arguments, self.picture)
        self.assertEqual(done.stdout, self.expected)
        warnings = [line for line in done.stderr.decode().splitlines() if "warning" in line]
        if says is None:
            self.assertEqual(warnings, [])
        else:
            self.assertEqual(len(warnings), 1, done.stderr)
            self.assertIn(str(self.file), warnings[0])
            self.assertIn(says, warnings[0])
        return done.stderr.decode()

    def test_is_written_once_and_mapped_then(self):
        self.packed_caption()
        written = (self.file.read_bytes(), self.file.stat().st_mtime_ns)
        self.packed_caption()
        self.assertEqual((self.file.read_bytes(), self.file.stat().st_mtime_ns), written)

    @unittest.skipIf(SANITIZED, "sanitizers take memory of their own")
    def test_takes_what_was_planned_in_either_start(self):
        for start in ("first", "later"):
            with self.subTest(start):
                plan, peak = map(float, SUMMARY.search(self.packed_caption("--threads", "2")).groups())
                self.assertLessEqual(peak, plan + 0.01)
                self.assertGreaterEqual(peak, 0.97 * plan - 16.01)

    def test_a_flipped_bit_is_told_of(self):
        self.packed_caption()
        data = bytearray(self.file.read_bytes())
        data[-5000] ^= 1
        self.file.write_bytes(data)
        self.packed_caption(says="is damaged: a checksum of its weights is wrong; it is written anew")
        self.packed_caption()

    def test_a_file_of_something_else_is_left_alone(self):
        self.file.write_text("notes, not weights; longer than a header is at its least")
        self.packed_caption(says="is no packed file of galago; it is left alone")
        self.assertTrue(self.file.read_text().startswith("notes"))

    def test_a_folder_that_cannot_be_written_is_done_without(self):
        self.file = self.folder / "missing" / "weights.packed"
        self.packed_caption(says="cannot be written: No such file or directory; going on without a packed file")

    def test_a_full_disk_is_done_without(self):
        disk = self.folder / "disk"
        disk.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", os.fspath(disk)]
        if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
            self.skipTest("no small disk can be mounted here")
        self.addCleanup(subprocess.run, ["umount", os.fspath(disk)], check=True)
        self.file = disk / "weights.packed"
        self.packed_caption(says="cannot be written: No space left on device; going on without a packed file")
        self.assertEqual(list(disk.iterdir()), [])

    def test_a_plan_takes_it_and_writes_nothing(self):
        self.galago("plan", "-m", MODEL, "--device", "cpu", "--packed", self.file)
        self.assertFalse(self.file.exists())

    def test_is_for_the_cpu(self):
        self.fails(2, "for models on the CPU alone", "plan", "-m", MODEL, "--packed", self.file, "--device", "cuda-emulated")


if __name__ == "__main__":
    unittest.main()
