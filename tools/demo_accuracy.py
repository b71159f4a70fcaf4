#!/usr/bin/env python3
"""Measures the demo model: what its card promises, by the engine that people run.

    python3 tools/demo_accuracy.py --galago build/release/bin/galago

Needs the packages of models/demo/requirements.txt. Prints a table of bars; the exit code is 1 where one is missed.
`--engine transformers` answers with the reference instead, which tells a bad model from a bad engine.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "models" / "demo"))

import drawing  # noqa: E402  (the generator, found through the line above)
import scenes  # noqa: E402
import texts  # noqa: E402

HELD_OUT_SEED = 2_000_000_000_077  # beyond every seed of training, which are seed * 1,000,003 + step
THING = re.compile(rf"(?:(small|large) )?({'|'.join(scenes.COLORS)}) ({'|'.join(scenes.SHAPES)})")


class Galago:
    """One process per prompt, all its pictures in it."""

    def __init__(self, binary, model, options=("--precision", "fp32")):
        self.command = [str(binary), "caption", "-m", str(model), *options, "--format", "jsonl", "--quiet"]

    def answers(self, prompt, paths, limit):
        command = self.command + ["-p", prompt, "--temperature", "0", "--max-new-tokens", str(limit), *map(str, paths)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            sys.exit(f"galago ended with {done.returncode} on the prompt {prompt!r}:\n{done.stderr}")
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        if [Path(line["file"]).name for line in lines] != [Path(path).name for path in paths]:
            sys.exit(f"galago answered for other files than it was given, on the prompt {prompt!r}")
        return [line["caption"].strip() for line in lines]


class Reference:
    """transformers in FP32, reading the same directory and the same picture files."""

    def __init__(self, model, batch=100):
        import torch
        from transformers import CLIPImageProcessorPil, LlavaForConditionalGeneration, PreTrainedTokenizerFast
        self.torch, self.batch = torch, batch
        self.model = LlavaForConditionalGeneration.from_pretrained(model, dtype=torch.float32).eval()
        self.pictures = CLIPImageProcessorPil.from_pretrained(model)
        self.tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(Path(model) / "tokenizer.json"))
        self.image_token = self.model.config.image_token_index
        self.image_tokens = self.model.config.image_seq_length

    def answers(self, prompt, paths, limit):
        result = []
        for at in range(0, len(paths), self.batch):
            result += self._batch(prompt, paths[at : at + self.batch], limit)
        return result

    def _batch(self, prompt, paths, limit):
        from PIL import Image
        ids = self.tokenizer(f"USER: <image>\n{prompt} ASSISTANT:")["input_ids"]
        where = ids.index(self.image_token)
        ids[where : where + 1] = [self.image_token] * self.image_tokens
        pixels = self.pictures([Image.open(p).convert("RGB") for p in paths], return_tensors="pt")["pixel_values"]
        tokens = self.torch.tensor([ids] * len(paths))
        with self.torch.no_grad():
            out = self.model.generate(input_ids=tokens, attention_mask=self.torch.ones_like(tokens),
                                      pixel_values=pixels, do_sample=False, max_new_tokens=limit)
        return [self.tokenizer.decode(row, skip_special_tokens=True).strip() for row in out[:, len(ids):]]


def question_kind(question):
    if question.startswith("what"):
        return "colour" if "color" in question else "shape"
    about = "colour" if question.rstrip("?").removesuffix(" in the image").removesuffix(" present").endswith("shape") \
        else "shape"
    return f"{'no ' if re.search(r'not|is no ', question) else 'yes'}/{about}"


def easy_vqa(engine, limit):
    """Right answers of the published test set, by kind of question; and the most frequent mistakes."""
    import easy_vqa as published
    paths = published.get_test_image_paths()
    by_question = defaultdict(list)
    for question, answer, image_id in zip(*published.get_test_questions()):
        by_question[question].append((answer, paths[image_id]))
    right, asked, mistakes, n = Counter(), Counter(), Counter(), 0
    for question, pairs in sorted(by_question.items()):
        if limit:
            pairs = pairs[:limit]
        kind = question_kind(question)
        for (answer, _), said in zip(pairs, engine.answers(question, [path for _, path in pairs], 8)):
            asked[kind] += 1
            right[kind] += said == answer
            if said != answer:
                mistakes[f"{kind}: {answer} -> {said}"] += 1
        n += len(pairs)
        print(f"\r{n} questions", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return right, asked, mistakes


def parsed(caption):
    """Things (size, colour, shape) in one order, whichever way round the caption says it, and the relation."""
    things = [match.groups() for match in THING.finditer(caption)]
    relation = next((r for r in scenes.RELATIONS if r in caption), "")
    if relation in ("below", "right of") and len(things) == 2:
        things, relation = things[::-1], scenes.RELATIONS[relation]
    return things, relation


def told_apart(things, true_things):
    """What says which thing comes first: its colour, or its shape where both have one colour. A wrong shape is then
    a mistake of shape alone; the lines "all of it" count every mistake."""
    part = 2 if true_things[0][1] == true_things[1][1] else 1
    return [thing[part] for thing in things]


def held_out(engine, directory, n):
    """Captions of pictures that no training step drew."""
    rng = scenes.seeded(HELD_OUT_SEED)
    drawn = []
    while len(drawn) < n:
        scene = scenes.random_scene(rng)
        image, _ = drawing.draw_scene(scene, rng)
        if texts.caption(scene):
            path = directory / f"held-out-{len(drawn):04}.png"
            image.save(path)
            drawn.append((scene, path))
    said = engine.answers(texts.CAPTION_PROMPTS[0], [path for _, path in drawn], 40)
    right, asked, mistakes = Counter(), Counter(), []
    for (scene, path), caption in zip(drawn, said):
        wanted = texts.caption(scene)
        things, relation = parsed(caption)
        true_things, true_relation = parsed(wanted)
        results = {f"all of it ({scene.kind})": (things, relation) == (true_things, true_relation)
                   if scene.kind == "pair" else caption == wanted}
        if true_things:
            results["shape"] = sorted(t[2] for t in things) == sorted(t[2] for t in true_things)
            results["colour"] = sorted(t[1] for t in things) == sorted(t[1] for t in true_things)
        if true_relation:
            results["relation"] = relation == true_relation and \
                told_apart(things, true_things) == told_apart(true_things, true_things)
            results["all of it (pair, sizes aside)"] = (relation, [t[1:] for t in things]) == \
                (true_relation, [t[1:] for t in true_things])
        for name, good in results.items():
            asked[name] += 1
            right[name] += good
        if not all(results.values()):
            mistakes.append(f"{path.name}: {wanted} -> {caption}")
    return right, asked, mistakes


def agreement(engine, reference, n):
    """How many captions of published test pictures are the same text."""
    import easy_vqa as published
    paths = [path for _, path in sorted(published.get_test_image_paths().items())][:n]
    prompt = texts.CAPTION_PROMPTS[0]
    pairs = list(zip(engine.answers(prompt, paths, 40), reference.answers(prompt, paths, 40)))
    return sum(a == b for a, b in pairs), len(pairs)


def row(name, right, asked, bar=None):
    """Prints one line and says whether its bar is met."""
    share = right / asked if asked else 0.0
    met = bar is None or (asked > 0 and share >= bar)
    verdict = "" if bar is None else f"  bar {100 * bar:5.1f} %  {'met' if met else 'MISSED'}"
    print(f"{name:<34}{right:>6} / {asked:<6}{100 * share:6.2f} %{verdict}")
    return met


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--galago", type=Path, default=ROOT / "build" / "release" / "bin" / "galago")
    parser.add_argument("--model", type=Path, default=ROOT / "models" / "demo")
    parser.add_argument("--engine", choices=("galago", "transformers"), default="galago")
    parser.add_argument("--questions", type=int, default=0, help="per distinct question; 0: all")
    parser.add_argument("--captions", type=int, default=500)
    parser.add_argument("--pictures", type=int, default=200, help="for the agreement with transformers")
    parser.add_argument("--mistakes", type=int, default=0, help="print so many of each kind")
    return parser.parse_args()


def main():
    options = parse_arguments()
    own = options.engine == "galago"
    engine = Galago(options.galago, options.model) if own else Reference(options.model)
    print(f"{options.engine}, {options.model.name} model, FP32, greedy")
    with tempfile.TemporaryDirectory() as directory:
        right, asked, wrong = held_out(engine, Path(directory), options.captions)
    met = [row(f"held-out captions: {name}", right[name], asked[name], 0.9) for name in ("shape", "colour", "relation")]
    for name in sorted(name for name in asked if name.startswith("all")):
        row(f"  {name}", right[name], asked[name])
    print("\n".join(wrong[: options.mistakes]), end="\n" if options.mistakes else "")
    right, asked, mistakes = easy_vqa(engine, options.questions)
    met.append(row("easy-VQA test questions", right.total(), asked.total(), 0.97))
    for kind in sorted(asked):
        row(f"  {kind}", right[kind], asked[kind])
    for mistake, count in mistakes.most_common(options.mistakes):
        print(f"{count:>6}  {mistake}")
    if own:
        met.append(row("same text as transformers", *agreement(engine, Reference(options.model), options.pictures), 1.0))
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
