"""Pictures, prompts and options that cannot be used: one sentence, the exit code of the contract, the rest delivered."""

import json
import struct
import unittest
import zlib

from galago_cli import GOLDENS, IMAGES, MODEL, CliTest


def png_header(width, height):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b""))


class BadPictures(CliTest):
    def refuses(self, path, *options):
        return self.fails(1, path.name, "caption", "-m", MODEL, "--max-new-tokens", "2", path, *options)

    def written(self, name, data):
        path = self.folder / name
        path.write_bytes(data)
        return path

    def test_missing_file(self):
        self.refuses(self.folder / "missing.png")

    def test_dangling_link(self):
        path = self.folder / "dangling.png"
        path.symlink_to("nowhere")
        self.refuses(path)

    def test_text_named_jpg(self):
        self.refuses(self.written("text.jpg", b"not a picture\n"))

    def test_empty_file(self):
        self.refuses(self.written("empty.png", b""))

    def test_truncated_pictures(self):
        for name in ("square.png", "wide.jpg"):
            data = (IMAGES / name).read_bytes()
            self.refuses(self.written(name, data[:len(data) // 2]))

    def test_huge_picture_is_refused_by_its_header(self):
        data = png_header(60_000, 60_000)
        self.assertLessEqual(len(data), 100)
        self.refuses(self.written("huge.png", data))

    def test_pixel_limit_can_be_set(self):
        self.refuses(IMAGES / "square.png", "--max-pixels", "100")

    def test_empty_folder(self):
        path = self.folder / "nothing"
        path.mkdir()
        self.refuses(path)

    def test_good_files_are_delivered_beside_bad_ones(self):
        bad = self.written("text.jpg", b"not a picture")
        done = self.caption("--format", "jsonl", IMAGES / "gray.png", bad, IMAGES / "wide.jpg", code=1)
        records = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual(["error" in record for record in records], [False, True, False])
        self.assertIn(b"text.jpg", done.stderr)


class BadPrompts(CliTest):
    def test_prompt_longer_than_the_context(self):
        done = self.galago("chat", "-m", MODEL, "--context", "64", stdin="many words " * 200 + "\nhi\n", code=1)
        self.assertIn(b"64", done.stderr)

    def test_planned_prompt_longer_than_the_context(self):
        done = self.galago("caption", "-m", MODEL, "--context", "8", IMAGES / "wide.jpg", code=1)
        self.assertIn(b"8", done.stderr)
        self.assertNotIn(b"mistake in galago", done.stderr)


class BadOptions(CliTest):
    def test_sizes_of_memory(self):
        for size in ("8GB?", "GiB", "-1GiB", "1e400TiB", "1..5GiB", "0"):
            self.assertIn("8GiB", self.fails(2, "--memory", "plan", "-m", MODEL, f"--memory={size}"))

    def test_command_lines_that_cannot_be_are_told_in_one_sentence(self):
        for command, name in (([], "subcommand"), (["captoin", "a.png"], "captoin"), (["caption"], "inputs"),
                              (["caption", "a.png", "--frob"], "--frob"), (["plan", "--shape"], "--shape"),
                              (["plan", "--threads", "x"], "--threads")):
            with self.subTest(command):
                self.assertIn("--help", self.fails(2, name, *command))

    def test_memory_too_small(self):
        self.fails(4, "1000", "plan", "-m", MODEL, "--memory", "1000")

    def test_usage(self):
        for arguments in (["caption"], ["nonsense"], [], ["plan", "--precision", "int3"], ["plan", "--device", "tpu"],
                          ["caption", IMAGES, "--resume"], ["caption", IMAGES, "--overwrite"]):
            self.galago(*arguments, code=2)

    def test_version_and_help(self):
        self.assertTrue(self.galago("--version").stdout.startswith(b"galago "))
        self.assertIn(b"--resume", self.galago("caption", "--help").stdout)

    def test_tokenize_names_a_missing_file(self):
        self.fails(1, "missing.txt", "tokenize", "-m", GOLDENS / "text-llama", "--file", self.folder / "missing.txt")


if __name__ == "__main__":
    unittest.main()
