#!/usr/bin/env python3
"""The memory contract at full size, as the operating system sees it: more than ./tools/test has time for.

    tools/memory_check.py --galago build/release/bin/galago [--smollm2 MODEL.gguf]... [--shape llava-1.1b] [--cgroup DIR]

- The process's peak (VmHWM) is never above the plan, and at most 3 % + 16 MiB below it: for the demo model, for text models
  (--smollm2, any GGUF files or directories), each as stored and in every precision, and for known shapes with random weights.
- Budgets from the smallest feasible to an ample one: each run in a process that may not have more private memory than the budget
  and a stated constant (RLIMIT_DATA), and again in a child of the control group that this runs in, or of DIR; where the system lets it
  make none, that is said. No run is killed or fails, and the same precisions give the same text.

Prints one line a run; ends with 1 where a line says BROKEN."""

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DEMO = ROOT / "models" / "demo"
PICTURE = ROOT / "tests" / "goldens" / "images" / "wide.jpg"
MIB = 1 << 20
# Beside the budget a process may have: mappings of the C library and the loader that nobody writes to. In a cgroup also what the
# kernel keeps for the process: page tables, the stack, pages of the files that it reads.
SPARE_BYTES = 8 * MIB
SPARE_IN_CGROUP = 16 * MIB
QUESTION = "Tell me about the sea.\n"
CONTEXT = 64  # holds SmolLM2's system text, the question and an answer of 8 tokens


class Check:
    """One galago, run in different ways; notes whether all promises were kept."""

    def __init__(self, galago, folder):
        self.galago, self.folder, self.kept = galago, folder, True

    def line(self, good, text):
        self.kept = self.kept and good
        print(f"{'ok    ' if good else 'BROKEN'} {text}", flush=True)

    def command(self, model, *options):
        """Answers a question, about a picture where the model sees."""
        # A conversation is planned for its whole context, so that is made as short as the question.
        kind = ("caption", PICTURE) if model == DEMO else ("chat", "--context", str(CONTEXT))
        return [self.galago, kind[0], "-m", str(model), "--max-new-tokens", "8", "--threads", "2", *options, *map(str, kind[1:])]

    def peaks(self, model, *options):
        trace = self.folder / "trace.json"
        subprocess.run(self.command(model, "--memory-trace", trace, *options), input=QUESTION.encode(), check=True,
                       capture_output=True)
        report = json.loads(trace.read_text())
        return report["planned_peak_bytes"], report["process_peak_bytes"]

    def peaks_of_shape(self, shape, *options):
        done = subprocess.run([self.galago, "bench", "--shape", shape, "--repeats", "1", "--warmup", "0", "--new-tokens", "2",
                               "--image-size", "336x336", "--max-spread", "100", "--json", "-", *options], check=True,
                              capture_output=True)
        memory = json.loads(done.stdout)["results"][0]["memory"]
        return memory["planned_peak_bytes"], memory["measured_peak_bytes"]

    def tells_peak(self, name, peaks):
        planned, measured = peaks
        below = planned - measured
        self.line(0 <= below <= 0.03 * planned + 16 * MIB,
                  f"{name}: planned {planned:,}, process {measured:,}, {below / MIB:.1f} MiB below ({100 * below / planned:.1f} %)")


def limit_data(budget):
    """Runs before the program: private writable memory, touched or not, is limited by the system."""
    def limit():
        resource.setrlimit(resource.RLIMIT_STACK, (MIB, MIB))  # and so of every thread
        resource.setrlimit(resource.RLIMIT_DATA, (budget + SPARE_BYTES, budget + SPARE_BYTES))
    return limit


class Cgroup:
    """A child of a control group, of version 1 or 2, with a limit on memory. Raises OSError where there can be none."""

    def __init__(self, parent):
        self.folder = parent / f"galago-check-{os.getpid()}"
        self.folder.mkdir()
        limits = [self.folder / name for name in ("memory.max", "memory.limit_in_bytes")]
        self.limit_file = next((file for file in limits if file.exists()), None)
        if self.limit_file is None:
            self.close()
            raise OSError(f"{parent} gives its children no limit on memory")

    def limit(self, budget):
        def enter():
            self.limit_file.write_text(str(budget + SPARE_IN_CGROUP))
            (self.folder / "cgroup.procs").write_text(str(os.getpid()))
        return enter

    def close(self):
        self.folder.rmdir()


def own_cgroups():
    """Where the groups that this process is in lie, of version 1 and 2, as far as they are to be seen."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        roots = ["memory"] if "memory" in controllers.split(",") else ["", "unified"] if not controllers else []
        for root in roots:
            folder = Path("/sys/fs/cgroup") / root / path.lstrip("/")
            if (folder / "cgroup.procs").exists():
                yield folder


def make_cgroup(parents):
    """A child of the first of the groups that may have one; raises OSError."""
    told = "there are no control groups"
    for parent in parents:
        try:
            return Cgroup(parent)
        except OSError as error:
            told = str(error)
    raise OSError(told)


def sweep(check, name, model, steps, limit_of):
    """Budgets from the smallest to an ample one, each in a process limited to it."""
    refused = subprocess.run(check.command(model, "--memory", "1MiB"), input=QUESTION.encode(), capture_output=True, check=False)
    found = re.search(r"needs (\d+)", refused.stderr.decode())
    check.line(refused.returncode == 4 and found is not None, f"{name}: a budget of 1 MiB is refused with exit code "
               f"{refused.returncode}")
    if not found:
        return
    smallest = int(found[1]) + MIB // 4  # the program's own part differs a little from one start to the next
    ample = check.peaks(model)[0] + MIB
    texts = {}
    for step in range(steps):
        budget = smallest + (ample - smallest) * step // (steps - 1)
        done = subprocess.run(check.command(model, "--memory", str(budget)), input=QUESTION.encode(), capture_output=True,
                              check=False, preexec_fn=limit_of(budget))
        told = done.stderr.decode(errors="replace")
        choice = re.search(r"budget [\d.]+ MiB: (.*?); \d+ of", told)
        numbers = re.search(r"decoder .*?, KV \w+", choice[1])[0] if choice else told.strip()
        texts.setdefault(numbers, set()).add(done.stdout)
        good = done.returncode == 0 and choice is not None and len(texts[numbers]) == 1
        check.line(good, f"{name}, budget {budget:,}: exit code {done.returncode}, {choice[1] if choice else told.strip()}")


def check_budgets(check, name, model, options):
    sweep(check, f"{name}, RLIMIT_DATA", model, options.steps, limit_data)
    try:
        group = make_cgroup([options.cgroup] if options.cgroup else own_cgroups())
    except OSError as error:
        print(f"skipped {name}, cgroup: none can be made here ({error})")
        return
    try:
        sweep(check, f"{name}, cgroup", model, options.steps, group.limit)
    finally:
        group.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--galago", type=Path, default=ROOT / "build" / "release" / "bin" / "galago")
    parser.add_argument("--smollm2", type=Path, action="append", default=[])
    parser.add_argument("--shape", action="append", default=[])
    parser.add_argument("--precision", nargs="*", default=["auto", "fp32", "fp16", "int8", "int4"])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--cgroup", type=Path, help="a control group that may be given children; default: this process's own")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        check = Check(options.galago, Path(name))
        for model in [DEMO, *options.smollm2]:
            for precision in options.precision:
                check.tells_peak(f"{model.name}, {precision}", check.peaks(model, "--precision", precision))
        for shape in options.shape:
            for precision in ("fp16", "int4"):
                check.tells_peak(f"shape {shape}, {precision}", check.peaks_of_shape(shape, "--precision", precision))
        for model in [DEMO, *options.smollm2]:
            check_budgets(check, model.name, model, options)
    return 0 if check.kept else 1


if __name__ == "__main__":
    sys.exit(main())
