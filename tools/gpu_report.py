#!/usr/bin/env python3
"""Puts what tools/gpu-check left in a folder into report.md and report.json there."""

import json
import sys
from pathlib import Path


def load(path):
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() and path.stat().st_size else None


def weights_bytes(result):
    return next((r["planned"] for r in result["memory"]["regions"] if r["name"] == "weights"), 0)


def measurements(folder, ceilings):
    """One row a stage: seconds, rate, and for what the weights' reading bounds, the fraction of copy bandwidth."""
    rows = []
    for path in sorted(folder.glob("bench_*.json")):
        for result in (load(path) or {"results": []})["results"]:
            for stage in result["stages"]:
                row = {"precision": result["precision"], "stage": stage["name"], "seconds": stage["seconds"],
                       "rate": stage["rate"], "unit": stage["unit"]}
                if stage["name"] == "decode" and ceilings and stage["items"]:
                    per_token = stage["seconds"] / stage["items"]
                    row["of_copy_bandwidth"] = weights_bytes(result) / per_token / ceilings["copy_bytes_per_second"]
                rows.append(row)
    return rows


def main():
    folder = Path(sys.argv[1])
    ceilings = load(folder / "ceilings.json")
    report = {"card": (folder / "card.txt").read_text(encoding="utf-8").strip(), "run": load(folder / "run.json"),
              "ceilings": ceilings, "checks": (folder / "results.txt").read_text(encoding="utf-8").splitlines(),
              "measurements": measurements(folder, ceilings)}
    (folder / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    lines = ["# GPU check", "", f"Device: {report['card']} ({report['run']['device']}); built in "
             f"{report['run']['build_seconds']} s.", ""]
    if ceilings:
        lines += [f"Measured in this run: copy {ceilings['copy_bytes_per_second'] / 1e9:.0f} GB/s, FP16 products "
                  f"{ceilings['gemm_flops_per_second'] / 1e12:.0f} TFLOP/s.", ""]
    lines += ["## Checks", ""] + [f"- {check}" for check in report["checks"]] + [""]
    if report["measurements"]:
        lines += ["## LLaVA-1.5-7B, random weights", "",
                  "| precision | stage | seconds | rate | of copy bandwidth |", "|---|---|---|---|---|"]
        for row in report["measurements"]:
            share = f"{row['of_copy_bandwidth']:.0%}" if "of_copy_bandwidth" in row else ""
            lines.append(f"| {row['precision']} | {row['stage']} | {row['seconds']:.4f} | {row['rate']:.1f} {row['unit']}/s "
                         f"| {share} |")
    (folder / "report.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
