#!/usr/bin/env python3
"""Runs llama.cpp and galago bench in turns, on the same threads, and prints the ratio of every stage and of memory.

Needs a virtual environment with `pip install xllamacpp gguf numpy` (xllamacpp is llama.cpp with Python around it, compiled).
Each run is a process of its own: one request to warm up, one that counts. Text only: prompt and answer of given
lengths, greedy, the end ignored.

    compare_llama_cpp.py --model SmolLM2-135M-Instruct.Q4_1.gguf --threads 2
    compare_llama_cpp.py --random F16,Q8_0,Q4_0 --folder /tmp/models     TinyLlama's shape, random weights (4 GB of disk)
"""

import argparse
import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path

# The nearest of galago's storage types, where it cannot read the file itself and takes the shape in its place.
PRECISION = {"F16": "fp16", "Q8_0": "int8", "Q4_0": "int4"}
SHAPE = "tinyllama-1.1b"
HIDDEN, MLP, LAYERS, HEADS, KV_HEADS, VOCABULARY = 2048, 5632, 22, 32, 4, 32000


def peak_bytes():
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def token_ids(count, vocabulary):
    return [i * 7919 % vocabulary for i in range(count)]


def run_llama_worker(arguments):
    """In a process of its own: prints one JSON line."""
    import xllamacpp

    before = peak_bytes()
    params = xllamacpp.CommonParams()
    params.model.path = arguments.model
    params.n_ctx = arguments.prompt + arguments.new + 64
    params.n_batch = params.n_ubatch = 512
    params.n_parallel = 1
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = arguments.threads
    server = xllamacpp.Server(params)
    request = {"prompt": token_ids(arguments.prompt, arguments.vocabulary), "n_predict": arguments.new,
               "temperature": 0, "cache_prompt": False, "ignore_eos": True}
    server.handle_completions(dict(request))
    timings = server.handle_completions(dict(request))["timings"]
    if timings["prompt_n"] != arguments.prompt or timings["predicted_n"] != arguments.new:
        sys.exit(f"llama.cpp computed {timings['prompt_n']} and {timings['predicted_n']} tokens")
    print("RESULT " + json.dumps({"prefill": timings["prompt_ms"] / 1e3, "decode": timings["predicted_ms"] / 1e3,
                                  "memory": peak_bytes() - before, "version": xllamacpp.__version__}))


def run_llama(arguments, model, vocabulary):
    command = [sys.executable, __file__, "--worker", "--model", model, "--vocabulary", vocabulary,
               "--threads", arguments.threads, "--prompt", arguments.prompt, "--new", arguments.new]
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                          text=True, check=True)
    [line] = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    return json.loads(line.removeprefix("RESULT "))


def run_galago(arguments, what):
    command = [arguments.galago, "bench", *what, "--text-only", "--prompt-tokens", arguments.prompt, "--new-tokens",
               arguments.new, "--threads", arguments.threads, "--repeats", 1, "--json", "-"]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip())
    report = json.loads(done.stdout)
    [result] = report["results"]
    seconds = {stage["name"]: stage["seconds"] for stage in result["stages"]}
    return {"prefill": seconds["prefill"], "decode": seconds["decode"],
            "memory": result["memory"]["measured_peak_bytes"], "version": report["galago"],
            "device": result["machine"]["device"], "cpu": result["machine"]["cpu"]}


def write_random_model(path, kind):
    """A LLaMA of TinyLlama's shape; the vocabulary's words are numbers."""
    import gguf
    import numpy as np

    random = np.random.default_rng(1)
    quantization = getattr(gguf.GGMLQuantizationType, kind)
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_block_count(LAYERS)
    writer.add_context_length(2048)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(MLP)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(HIDDEN // HEADS)
    writer.add_vocab_size(VOCABULARY)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(["<unk>", "<s>", "</s>"] + [f"w{i}" for i in range(3, VOCABULARY)])
    writer.add_token_scores([0.0] * VOCABULARY)
    writer.add_token_types([2, 3, 3] + [1] * (VOCABULARY - 3))

    def add(name, *shape):
        values = random.standard_normal(shape, dtype=np.float32) / np.sqrt(shape[-1], dtype=np.float32)
        if len(shape) == 1:
            return writer.add_tensor(name, np.ones(shape, np.float32))
        if kind == "F16":
            return writer.add_tensor(name, values.astype(np.float16))
        return writer.add_tensor(name, gguf.quantize(values, quantization), raw_dtype=quantization)

    add("token_embd.weight", VOCABULARY, HIDDEN)
    for i in range(LAYERS):
        kv = HIDDEN // HEADS * KV_HEADS
        for name, *shape in (("attn_norm", HIDDEN), ("attn_q", HIDDEN, HIDDEN), ("attn_k", kv, HIDDEN),
                             ("attn_v", kv, HIDDEN), ("attn_output", HIDDEN, HIDDEN), ("ffn_norm", HIDDEN),
                             ("ffn_gate", MLP, HIDDEN), ("ffn_up", MLP, HIDDEN), ("ffn_down", HIDDEN, MLP)):
            add(f"blk.{i}.{name}.weight", *shape)
    add("output_norm.weight", HIDDEN)
    add("output.weight", VOCABULARY, HIDDEN)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def vocabulary_of(model):
    import gguf

    return len(gguf.GGUFReader(model).fields["tokenizer.ggml.tokens"].data)


def quartiles(values):
    if len(values) < 2:
        return values[0], values[0]
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, high


def row(name, galago, llama):
    """One line of the table: medians, and the ratio of neighbouring runs with its quartiles."""
    ratios = [theirs / ours for ours, theirs in zip(galago, llama)]
    low, high = quartiles(ratios)
    return f"| {name} | {statistics.median(galago):.4g} | {statistics.median(llama):.4g} | " \
           f"{statistics.median(ratios):.2f} | {low:.2f} to {high:.2f} |"


def compare(arguments, title, model, ways):
    """Alternates the two engines; `ways` are galago's arguments, the first that it accepts is taken."""
    vocabulary = vocabulary_of(model)
    for way in ways:
        try:
            run_galago(arguments, way)
            break
        except RuntimeError as error:
            refusal = error
    else:
        return f"## {title}\n\ngalago did not run it: {refusal}\n"
    galago, llama = [], []
    for _ in range(arguments.runs):
        galago.append(run_galago(arguments, way))
        llama.append(run_llama(arguments, model, vocabulary))
    count = {"prefill": arguments.prompt, "decode": arguments.new}
    lines = [f"## {title}", "",
             f"galago {galago[0]['version']} ({' '.join(map(str, way))}; {galago[0]['device']}) and llama.cpp of xllamacpp "
             f"{llama[0]['version']}, {arguments.runs} runs each in turns; prompt of {arguments.prompt} tokens, "
             f"{arguments.new} new ones. Ratios above 1: galago is faster, or needs less.", "",
             "| | galago | llama.cpp | ratio | quartiles |", "|---|---|---|---|---|"]
    for stage in ("prefill", "decode"):
        ours, theirs = ([run[stage] / count[stage] * 1e3 for run in runs] for runs in (galago, llama))
        lines.append(row(f"{stage}, ms a token", ours, theirs))
    ours, theirs = ([run["prefill"] + run["decode"] for run in runs] for runs in (galago, llama))
    lines.append(row("both, s", ours, theirs))
    ours, theirs = ([run["memory"] / 2**20 for run in runs] for runs in (galago, llama))
    lines.append(row("peak memory, MiB", ours, theirs))
    return "\n".join(lines) + "\n"


def run_all(arguments):
    cpu = next((line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                if line.startswith("model name")), platform.processor())
    load = os.getloadavg()[0]
    if load > arguments.max_load:
        # Threads that wait for each other suffer most from strangers: ratios of a busy machine are wrong by factors.
        sys.exit(f"the machine's load is {load:.1f}: wait until it is below {arguments.max_load:g}, or raise --max-load")
    yield f"# galago beside llama.cpp\n\n{cpu}, {arguments.threads} threads of {os.cpu_count()} cores; load of the machine " \
          f"before the first run {load:.1f}. Memory: peak of the process, of llama.cpp's less what Python held before.\n"
    if arguments.model:
        yield compare(arguments, Path(arguments.model).name, arguments.model, [["-m", arguments.model]])
    for kind in filter(None, arguments.random.split(",")):
        model = arguments.folder / f"random-{SHAPE}-{kind}.gguf"
        write_random_model(model, kind)
        with contextlib.ExitStack() as stack:
            stack.callback(model.unlink)
            yield compare(arguments, f"{SHAPE}, {kind}, random weights", model,
                          [["-m", model], ["--shape", SHAPE, "--precision", PRECISION[kind]]])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--galago", default="build/release/bin/galago", help="the program")
    parser.add_argument("--model", help="a GGUF file that both read")
    parser.add_argument("--random", default="", help="types of random models to write: F16, Q8_0, Q4_0")
    parser.add_argument("--folder", type=Path, default=Path("."), help="where they go, and are deleted from")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--new", type=int, default=32)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--max-load", type=float, default=0.5, help="refuse to begin on a busier machine")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--vocabulary", type=int, default=0, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        return run_llama_worker(arguments)
    if unknown := set(filter(None, arguments.random.split(","))) - set(PRECISION):
        parser.error(f"--random {', '.join(sorted(unknown))}: expected F16, Q8_0 or Q4_0")
    if not arguments.model and not arguments.random:
        parser.error("name a --model or --random types")
    for text in run_all(arguments):
        print(text, flush=True)


if __name__ == "__main__":
    main()
