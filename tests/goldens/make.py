"""Makes goldens: a small checkpoint with random weights in a family's published layout, and what transformers computes
from it. README.md here says how each committed folder was made.

    python make.py OUT --like FOLDER [sizes] [--seed N]    a folder like another one (configuration, tokenizer, cases)
    python make.py OUT --like FOLDER --base ../llava-1.5   a PEFT adapter for the base
    python make.py --check FOLDER...                       computes stored goldens again from their files and compares
"""
import argparse
import sys
from pathlib import Path

import torch

from make.checking import check
from make.making import make, make_adapter

SIZES = ("hidden", "heads", "kv-heads", "head-size", "layers", "mlp", "vocab", "vision-hidden", "vision-heads",
         "vision-layers", "vision-mlp", "image", "patch", "max-tiles", "group")


def parsed():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, nargs="?")
    parser.add_argument("--check", type=Path, nargs="+", metavar="FOLDER")
    parser.add_argument("--images", type=Path, default=Path(__file__).parent / "images", help="folder of the pictures")
    parser.add_argument("--like", type=Path, help="folder whose config.json, tokenizer files and cases are taken")
    parser.add_argument("--cases", nargs="*", help="names of the cases to keep; all by default")
    parser.add_argument("--case", action="append", metavar="JSON",
                        help="a case of one's own instead: name, images (a list of names), prompt")
    parser.add_argument("--set", action="append", metavar="PART.KEY=JSON",
                        help="a value of the configuration, say text.sliding_window=5; text is the decoder's part")
    for name in SIZES:
        parser.add_argument(f"--{name}", type=int)
    parser.add_argument("--qk-norm", action="store_true", help="InternViT with normalised queries and keys")
    parser.add_argument("--dtype", choices=["float32", "float16", "bfloat16"])
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1, help="the first one that is tried")
    parser.add_argument("--base", help="the folder, seen from OUT, that an adapter is for")
    parser.add_argument("--rank", type=int)
    parser.add_argument("--old-names", action="store_true", help="names as PEFT wrote them before transformers 4.52")
    return parser.parse_args()


def main():
    options = parsed()
    torch.set_num_threads(1)  # the matrices are small
    root = options.images.parent
    if options.check:
        return 0 if all([check(root, folder) for folder in options.check]) else 1
    if options.out is None or options.like is None:
        raise SystemExit("give OUT and --like FOLDER, or --check FOLDER...")
    values = vars(options)
    if options.base:
        make_adapter(root, options.like, options.out, values)
    else:
        make(root, options.like, options.out, values, values)
    return 0


if __name__ == "__main__":
    sys.exit(main())
