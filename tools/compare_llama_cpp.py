#!/usr/bin/env python3
"""Runs llama.cpp and galago bench in turns on the same GGUF files, with the same threads, and prints the ratio of every
stage, end to end, and of peak memory.

Needs a virtual environment with `pip install llama-cpp-python gguf numpy pillow`; the first is compiled as it is installed, with all of the
machine's instructions unless CMAKE_ARGS says otherwise. Each run is a process of its own, with one request that counts (llama.cpp has had a short
one before, which brings its mapped file into memory): prompt, picture and answer of given lengths, greedy, the end ignored. A line whose ratios vary by more than --max-spread shows no ratio, and the program ends
with exit code 1. On a machine that others use, one thread each and --time cpu (processor time) disturb each other least.

    compare_llama_cpp.py --model SmolLM2-135M-Instruct.Q4_1.gguf --threads 2
    compare_llama_cpp.py --random 1.1b --kinds F16,Q8_0,Q4_0 --folder /tmp/models      random weights (4 GB of disk)
    compare_llama_cpp.py --random 1.1b --kinds Q4_0 --picture 672x672 --tiled --folder /tmp/models      LLaVA-1.6's shape
"""

import argparse
import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

WORKER = Path(__file__).with_name("llama_cpp_worker.py")
STAGES = ("encode", "prefill", "decode", "whole")


def last_json(text):
    [line] = [line for line in text.splitlines() if line.startswith("RESULT ")]
    return json.loads(line.removeprefix("RESULT "))


def run_llama(arguments, files, workload):
    command = [sys.executable, WORKER, "--model", files[0], "--threads", arguments.threads, "--new", arguments.new]
    if len(files) > 1:
        command += ["--mmproj", files[1], "--picture", workload["picture"]]
    command += ["--prompt", workload["text"]]
    with tempfile.TemporaryFile("w+") as log:
        done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, stderr=log, text=True, check=False)
        if done.returncode != 0:
            log.seek(0)
            raise RuntimeError("llama.cpp: " + log.read()[-2000:])
    return last_json(done.stdout)


def run_galago(arguments, files, workload):
    command = [arguments.galago, "bench", "-m", files[0], "--prompt-tokens", workload["text"], "--new-tokens",
               arguments.new, "--threads", arguments.threads, "--compute", arguments.compute, "--warmup", 0, "--repeats", 1,
               "--json", "-"]
    if len(files) > 1:
        command += ["--mmproj", files[1], "--image-size", workload["picture"]]
    else:
        command.append("--text-only")
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError("galago: " + done.stderr.strip())
    report = json.loads(done.stdout)
    [result] = report["results"]
    # llama.cpp tells no seconds of its own for these three: they belong to seeing the picture.
    names = {"decode picture": "encode", "resize": "encode", "project": "encode", "answer": "whole", "caption": "whole"}
    times = {"wall": dict.fromkeys(STAGES, 0.0), "cpu": dict.fromkeys(STAGES, 0.0)}
    for stage in result["stages"]:
        if stage["name"] != "load":
            times["wall"][names.get(stage["name"], stage["name"])] += stage["seconds"]
            times["cpu"][names.get(stage["name"], stage["name"])] += stage["cpu_seconds"]
    return {**times, "memory": result["memory"]["measured_peak_bytes"], "version": report["galago"],
            "prompt": result["prompt_tokens"], "device": result["machine"]["device"],
            "read": result["machine"]["read_bytes_per_second"]}


def quartiles(values):
    if len(values) < 2:
        return values[0], values[0]
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, high


class Table:
    """Lines of medians, and of the ratio of neighbouring runs with its quartiles."""

    def __init__(self, max_spread):
        self.max_spread, self.disturbed = max_spread, False
        self.lines = ["| | galago | llama.cpp | ratio | quartiles |", "|---|---|---|---|---|"]

    def add(self, name, galago, llama):
        ratios = [theirs / ours for ours, theirs in zip(galago, llama)]
        low, high = quartiles(ratios)
        ratio = statistics.median(ratios)
        told = f"{ratio:.2f}"
        if (high - low) / ratio > self.max_spread:
            self.disturbed, told = True, "disturbed"
        self.lines.append(f"| {name} | {statistics.median(galago):.4g} | {statistics.median(llama):.4g} | {told} | "
                          f"{low:.2f} to {high:.2f} |")


def compare(arguments, title, files, workload):
    """(text, whether all ratios are to be trusted); alternates the two engines."""
    galago, llama = [], []
    for _ in range(arguments.runs):
        galago.append(run_galago(arguments, files, workload))
        llama.append(run_llama(arguments, files, workload))
    table = Table(arguments.max_spread)

    def times(runs, stage, divisor=lambda run: 1):
        return [run[arguments.time][stage] * 1e3 / divisor(run) for run in runs]

    if len(files) > 1:
        table.add("see the picture, ms", times(galago, "encode"), times(llama, "encode"))
    table.add("prefill, ms a token", times(galago, "prefill", lambda run: run["prompt"]),
              times(llama, "prefill", lambda run: run["prompt"]))
    table.add("decode, ms a token", times(galago, "decode", lambda run: arguments.new),
              times(llama, "decode", lambda run: arguments.new - 1))
    table.add("all, ms", times(galago, "whole"), times(llama, "whole"))
    table.add("peak memory, MiB", *([run["memory"] / 2**20 for run in runs] for runs in (galago, llama)))
    prompts = f"{galago[0]['prompt']} tokens of prompt (llama.cpp: {llama[0]['prompt']})"
    about = f"galago {galago[0]['version']} ({galago[0]['device']}, which reads " \
            f"{statistics.median([run['read'] for run in galago]) / 1e9:.1f} GB/s) and llama.cpp of llama-cpp-python " \
            f"{llama[0]['version']} ({llama[0]['features']}), {arguments.runs} runs each in turns; {prompts}, " \
            f"{arguments.new} new ones." + (" galago with --compute fp32." if arguments.compute == "fp32" else "")
    return "\n".join([f"## {title}", "", about, "", *table.lines, ""]), not table.disturbed


def random_models(arguments, stack):
    """(title, files) of each kind; deleted when the stack unwinds."""
    import random_gguf

    shape = random_gguf.DECODERS[arguments.random]
    mmproj = arguments.folder / f"mmproj-{arguments.random}.gguf"
    if arguments.picture:
        stack.callback(mmproj.unlink, missing_ok=True)
        random_gguf.write_mmproj(mmproj, random_gguf.Tower(), shape.hidden, arguments.tiled)
    for kind in arguments.kinds.split(","):
        model = arguments.folder / f"random-{arguments.random}-{kind}.gguf"
        with contextlib.ExitStack() as one:
            one.callback(model.unlink, missing_ok=True)
            random_gguf.write_decoder(model, shape, kind)
            tower = f" behind LLaVA-1.{'6' if arguments.tiled else '5'}'s tower in F16" if arguments.picture else ""
            yield f"LLaMA of {arguments.random}, {kind}{tower}, random weights", \
                [model, mmproj] if arguments.picture else [model]


def run_all(arguments):
    """Prints every comparison; whether all are to be trusted."""
    cpu = next((line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                if line.startswith("model name")), platform.processor())
    load = os.getloadavg()[0]
    if load > arguments.max_load:
        # Threads that wait for each other suffer most from strangers: ratios of a busy machine are wrong by factors.
        sys.exit(f"the machine's load is {load:.1f}: wait until it is below {arguments.max_load:g}, or raise --max-load")
    what = "Processor time of all threads" if arguments.time == "cpu" else "Time on the wall"
    print(f"# galago beside llama.cpp\n\n{cpu}, {arguments.threads} threads of {os.cpu_count()} cores; load of the machine "
          f"before the first run {load:.1f}. {what}. Ratios above 1: galago is faster, or needs less. Memory: peak of the "
          "process, of llama.cpp's less what Python held before.\n", flush=True)
    workload = {"text": arguments.prompt, "picture": arguments.picture}
    trusted = True
    with contextlib.ExitStack() as stack:
        models = [(Path(arguments.model).name, [arguments.model, *filter(None, [arguments.mmproj])])] if arguments.model else \
            random_models(arguments, stack)
        for title, files in models:
            text, good = compare(arguments, title, files, workload)
            print(text, flush=True)
            trusted = trusted and good
    return trusted


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--galago", default="build/release/bin/galago", help="the program")
    parser.add_argument("--model", help="a GGUF file that both read")
    parser.add_argument("--mmproj", help="its tower")
    parser.add_argument("--random", choices=("1.1b", "6.7b"), help="write a model with random weights")
    parser.add_argument("--kinds", default="F16,Q8_0,Q4_0", help="its types: F16, Q8_0, Q4_0")
    parser.add_argument("--picture", metavar="WxH", help="show a picture of this size first")
    parser.add_argument("--tiled", action="store_true", help="random models: LLaVA-1.6's tiles, not LLaVA-1.5's one")
    parser.add_argument("--folder", type=Path, default=Path("."), help="where random models go, and are deleted from")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--compute", choices=("auto", "fp32"), default="auto", help="galago's products; llama.cpp's are its own")
    parser.add_argument("--prompt", type=int, default=576, help="tokens beside the picture's")
    parser.add_argument("--new", type=int, default=32)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--time", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--max-spread", type=float, default=0.15, help="of a ratio: distance of its quartiles / median")
    parser.add_argument("--max-load", type=float, default=0.5, help="refuse to begin on a busier machine")
    arguments = parser.parse_args()
    if not arguments.model and not arguments.random:
        parser.error("name a --model or --random shape")
    if arguments.model and bool(arguments.mmproj) != bool(arguments.picture):
        parser.error("--mmproj and --picture go together")
    if arguments.new < 2:
        parser.error("--new must be 2 at least: the first token comes with the prompt")
    return arguments


if __name__ == "__main__":
    sys.exit(0 if run_all(parse()) else 1)
