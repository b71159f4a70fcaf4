#!/usr/bin/env python3
"""Registers, shared memory and occupancy of every CUDA kernel, as ptxas reports them. Fails where a kernel that decides
the speed spills registers or uses local memory. Needs nvcc, no GPU. Writes a Markdown table with --out."""

import argparse
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Kernel -> threads of a block (the sources' launch bounds).
THREADS = dict.fromkeys(["gemv_kernel", "attend_many_kernel", "attend_few_kernel", "attend_tensor_kernel",
                         "linear_tensor_kernel", "join_shares_kernel"], 128)
THREADS["choose_kernel"] = 1024
OTHERS = 256
HOT = ["gemv_kernel", "attend_many_kernel", "attend_few_kernel", "attend_tensor_kernel", "linear_tensor_kernel",
       "norm_kernel", "dequantise_kernel", "narrow_kernel"]
ENTRY = re.compile(r"Compiling entry function '(\S+)' for")
FRAME = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
USED = re.compile(r"Used (\d+) registers(?:.*?(\d+) bytes smem)?")
REGISTERS, WARPS, GRANULE = 65536, 64, 256
HEADING = "## Registers and occupancy"


def compile_kernels(arguments):
    source, arch, nvcc = arguments
    with tempfile.NamedTemporaryFile(suffix=".cubin") as out:
        done = subprocess.run([nvcc, "-std=c++17", "-O3", f"-arch=sm_{arch}", "-Xptxas", "-v", "-cubin", "-I", str(ROOT),
                               str(source), "-o", out.name], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{source}: nvcc failed for sm_{arch}:\n{done.stderr}")
    kernels, current = [], None
    for line in done.stderr.splitlines():
        if found := ENTRY.search(line):
            current = {"symbol": found[1], "arch": arch, "source": source.name}
            kernels.append(current)
        elif current and (found := FRAME.search(line)):
            current["stack"], current["spills"] = int(found[1]), int(found[2]) + int(found[3])
        elif current and (found := USED.search(line)):
            current["registers"], current["shared"] = int(found[1]), int(found[2] or 0)
    return kernels


def demangle(kernels):
    names = subprocess.run(["c++filt"], input="\n".join(k["symbol"] for k in kernels), capture_output=True, text=True,
                           check=True).stdout.splitlines()
    for kernel, name in zip(kernels, names):
        name = re.sub(r"galago::kernels::cuda::|\(anonymous namespace\)::|^void ", "", name)
        kernel["name"] = re.sub(r"\([^()]*\)$", "", name)
        kernel["plain"] = re.split(r"[<(]", kernel["name"])[0]


def occupancy(kernel):
    """Share of a processor's warps that can be resident, by registers alone; dynamic shared memory comes on top."""
    warps = THREADS.get(kernel["plain"], OTHERS) // 32
    per_warp = -(-kernel["registers"] * 32 // GRANULE) * GRANULE
    blocks = min(REGISTERS // (per_warp * warps), WARPS // warps)
    return blocks * warps / WARPS


def table(kernels):
    lines = ["| kernel | sm | registers | static shared bytes | stack bytes | spilled bytes | occupancy by registers |",
             "|---|---|---|---|---|---|---|"]
    for k in sorted(kernels, key=lambda k: (k["name"], k["arch"])):
        lines.append(f"| {k['name']} | {k['arch']} | {k['registers']} | {k['shared']} | {k['stack']} | {k['spills']} | "
                     f"{occupancy(k):.0%} |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--arch", nargs="+", default=["80", "90a"])
    parser.add_argument("--nvcc", default="nvcc")
    parser.add_argument("--out", type=Path, help="Markdown file to write")
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    work = [(source, arch, options.nvcc) for source in sorted((ROOT / "kernels/cuda").glob("*.cu")) for arch in options.arch]
    with ThreadPoolExecutor(options.jobs) as pool:
        kernels = [kernel for found in pool.map(compile_kernels, work) for kernel in found]
    demangle(kernels)
    bad = [k for k in kernels if k["plain"] in HOT and (k["stack"] or k["spills"])]
    missing = [name for name in HOT if not any(k["plain"] == name for k in kernels)]
    if options.out:
        # What stands above the table is written by hand.
        above = options.out.read_text(encoding="utf-8").split(HEADING)[0] if options.out.exists() else "# CUDA kernels\n\n"
        options.out.write_text(above + HEADING + "\n\nAs ptxas reports them (tools/cuda_kernels.py). Occupancy counts registers "
                               "only; some kernels take dynamic shared memory besides.\n\n" + table(kernels),
                               encoding="utf-8")
    for k in bad:
        print(f"{k['source']}: {k['name']} for sm_{k['arch']} has {k['stack']} bytes of stack and spills {k['spills']}, "
              "expected none in a hot kernel")
    for name in missing:
        print(f"no kernel is called {name}: bring the list of hot kernels up to date")
    print(f"{len(kernels)} kernels, {len(bad)} with spills or local memory among the hot ones")
    return 1 if bad or missing else 0


if __name__ == "__main__":
    sys.exit(main())
