#!/usr/bin/env python3
"""Puts what tools/gpu-check left in a folder into report.md and report.json there."""

import json
import sys
from pathlib import Path

# What is asked for, as fractions of what the card measured in the same run: (precision, stage) -> (ceiling, fraction).
BARS = {("fp16", "decode"): ("copy", 0.80), ("int8", "decode"): ("copy", 0.70), ("int4", "decode"): ("copy", 0.60),
        ("fp16", "prefill"): ("gemm", 0.60), ("fp16", "encode"): ("gemm", 0.45)}
# Arithmetic of LLaVA-1.5's tower (CLIP ViT-L/14-336, 23 of its 24 layers) for one tile.
TILE_FLOPS = 23 * (577 * 24 * 1024 * 1024 + 4 * 577 * 577 * 1024) + 2 * 576 * 588 * 1024
# Of a Llama 7B decoder: products of a token, and attention of two tokens to one another.
TOKEN_FLOPS = 2 * 32 * (4 * 4096 * 4096 + 3 * 4096 * 11008)
PAIR_FLOPS = 4 * 32 * 4096


def load(path):
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def region(result, name):
    return next((r["planned"] for r in result["memory"]["regions"] if r["name"] == name), 0)


def work_of(result, stage):
    """(flops, bytes) that the stage cannot do without: a token of decoding reads the decoder's weights and half the
    keys and values of the whole context at least."""
    n = result["prompt_tokens"]
    if stage["name"] == "decode":
        return 0, stage["items"] * (region(result, "weights") + region(result, "kv") / 2)
    if stage["name"] == "prefill":
        return n * TOKEN_FLOPS + PAIR_FLOPS * n * (n + 1) / 2, 0
    if stage["name"] == "encode":
        return result["tiles"] * TILE_FLOPS, 0
    return 0, 0


def measurements(folder, ceilings):
    rows = []
    for path in sorted(folder.glob("bench_*.json")):
        for result in (load(path) or {"results": []})["results"]:
            for stage in result["stages"]:
                row = {"precision": path.stem[len("bench_"):], "stage": stage["name"], "seconds": stage["seconds"],
                       "rate": stage["rate"], "unit": stage["unit"]}
                flops, size = work_of(result, stage)
                if ceilings and stage["seconds"] > 0 and flops:
                    row["of_gemm_peak"] = flops / stage["seconds"] / ceilings["gemm_flops_per_second"]
                if ceilings and stage["seconds"] > 0 and size:
                    row["of_copy_bandwidth"] = size / stage["seconds"] / ceilings["copy_bytes_per_second"]
                bar = BARS.get((row["precision"], row["stage"]))
                share = row.get("of_copy_bandwidth" if bar and bar[0] == "copy" else "of_gemm_peak")
                if bar and share is not None:
                    row["bar"], row["met"] = bar[1], share >= bar[1]
                rows.append(row)
    return rows


def memory_use(folder):
    """What the driver says that a benchmark took beside what was planned for the device, in bytes."""
    plan = load(folder / "plan.json") or {"regions": []}
    driver = next((r["bytes"] for r in plan["regions"] if r["name"] == "driver"), 0)
    rows = []
    for path in sorted(folder.glob("bench_*.json")):
        precision = path.stem[len("bench_"):]
        samples = folder / f"memory_{precision}.txt"
        used = [int(line) for line in samples.read_text(encoding="utf-8").split() if line.isdigit()] if samples.exists() else []
        for result in (load(path) or {"results": []})["results"]:
            planned = sum(r["planned"] for r in result["memory"]["regions"] if r["name"] != "staging") + driver
            if used:
                rows.append({"precision": precision, "planned": planned, "measured": (max(used) - used[0]) << 20})
    return rows


def kernel_rates(folder, ceilings):
    rates = load(folder / "kernel_rates.json") or []
    for rate in rates:
        if ceilings and rate["seconds"] > 0:
            rate["of_copy_bandwidth"] = rate["bytes"] / rate["seconds"] / ceilings["copy_bytes_per_second"]
            rate["of_gemm_peak"] = rate["flops"] / rate["seconds"] / ceilings["gemm_flops_per_second"]
    return rates


def percent(row, key):
    return f"{row[key]:.0%}" if key in row else ""


def table(header, rows):
    return ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)] + \
        ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows] + [""]


def to_markdown(report):
    run, ceilings = report["run"], report["ceilings"]
    lines = ["# GPU check", "", f"Device: {report['card']} ({run['device']}); built in {run['build_seconds']} s.", ""]
    if ceilings:
        lines += [f"Measured in this run: copy {ceilings['copy_bytes_per_second'] / 1e9:.0f} GB/s, FP16 products "
                  f"{ceilings['gemm_flops_per_second'] / 1e12:.0f} TFLOP/s.", ""]
    lines += ["## Checks", ""] + [f"- {check}" for check in report["checks"]] + [""]
    if report["measurements"]:
        lines += ["## LLaVA-1.6-7B, five tiles, random weights", ""]
        lines += table(["precision", "stage", "seconds", "rate", "of copy bandwidth", "of GEMM peak", "bar"],
                       [(r["precision"], r["stage"], f"{r['seconds']:.4f}", f"{r['rate']:.1f} {r['unit']}/s",
                         percent(r, "of_copy_bandwidth"), percent(r, "of_gemm_peak"),
                         f"{r['bar']:.0%} {'met' if r['met'] else 'missed'}" if "bar" in r else "")
                        for r in report["measurements"]])
    if report["memory"]:
        lines += ["## Device memory", ""]
        lines += table(["precision", "planned bytes", "the driver's account", "of plan"],
                       [(r["precision"], r["planned"], r["measured"], f"{r['measured'] / r['planned']:.1%}")
                        for r in report["memory"]])
    if report["kernels"]:
        note = "" if ceilings else " (tiny shapes on the emulated device: no measurement)"
        lines += [f"## Kernels{note}", ""]
        lines += table(["kernel", "microseconds", "of copy bandwidth", "of GEMM peak"],
                       [(r["name"], f"{r['seconds'] * 1e6:.1f}", percent(r, "of_copy_bandwidth"), percent(r, "of_gemm_peak"))
                        for r in report["kernels"]])
    return "\n".join(lines) + "\n"


def main():
    folder = Path(sys.argv[1])
    ceilings = load(folder / "ceilings.json")
    report = {"card": (folder / "card.txt").read_text(encoding="utf-8").strip(), "run": load(folder / "run.json"),
              "ceilings": ceilings, "checks": (folder / "results.txt").read_text(encoding="utf-8").splitlines(),
              "measurements": measurements(folder, ceilings), "memory": memory_use(folder),
              "kernels": kernel_rates(folder, ceilings)}
    (folder / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    text = to_markdown(report)
    (folder / "report.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
