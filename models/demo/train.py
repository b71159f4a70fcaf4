#!/usr/bin/env python3
"""Trains the demo model: to name what a patch shows, then to write captions, then to answer questions as well.

    python3 models/demo/train.py

Seeded and resumable: a run that was stopped goes on from its last checkpoint in --work. The learning rate is level
and falls to nothing over the last part, so a run can also be resumed with other --steps.
"""

import argparse
import time
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerFast

import checkpoint
import vocabulary
from data import Stream
from losses import PatchHeads, answer_loss, check_sharing, tower_features
from optimizer import optimizers_of

HERE = Path(__file__).resolve().parent


def rate_factor(step, steps, fall):
    """Warm-up, level, and a straight fall over the last `fall` steps."""
    return min(1.0, (step + 1) / 60, max(0.0, (steps - step) / fall))


class Average:
    """Exponential moving average of the weights: what is saved and measured."""

    def __init__(self, model, decay=0.99):
        self.decay = decay
        self.state = {k: v.detach().clone() for k, v in model.state_dict().items()}

    def update(self, model, step):
        keys = list(self.state)
        now = model.state_dict()
        torch._foreach_lerp_([self.state[k] for k in keys], [now[k] for k in keys],
                             1 - min(self.decay, (step + 1) / (step + 10)))


class Run:
    """The model, its optimizers and its average, at a step."""

    def __init__(self, options, device):
        torch.manual_seed(options.seed)
        self.path, self.out, self.device, self.step = options.work / "progress.pt", options.out, device, 0
        self.model = checkpoint.new_model().to(device).train()
        self.heads = PatchHeads(checkpoint.VISION["hidden_size"]).to(device)
        self.optimizers = optimizers_of(self.model, self.heads)
        self.rates = [optimizer.param_groups[0]["lr"] for optimizer in self.optimizers]
        self.average = Average(self.model)
        if self.path.exists():
            self.load()

    def load(self):
        saved = torch.load(self.path, map_location=self.device, weights_only=True)
        self.step, self.average.state = saved["step"], saved["average"]
        self.model.load_state_dict(saved["model"])
        self.heads.load_state_dict(saved["heads"])
        for optimizer, state in zip(self.optimizers, saved["optimizers"]):
            optimizer.load_state_dict(state)

    def save(self):
        part = self.path.with_suffix(".part")
        torch.save({"step": self.step, "model": self.model.state_dict(), "heads": self.heads.state_dict(),
                    "optimizers": [o.state_dict() for o in self.optimizers], "average": self.average.state}, part)
        part.replace(self.path)
        checkpoint.save(self.average.state, self.out)

    def advance(self, batch, before, factor, talks):
        """One step. Gives the patches' losses and the answers'."""
        features = tower_features(self.model, batch.pixels)
        seen = self.heads.loss(features, batch)
        said = answer_loss(self.model, features, batch, before) if talks else torch.zeros(())
        (said + (0.15 if talks else 1.0) * sum(seen)).backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer, rate in zip(self.optimizers, self.rates):
            for group in optimizer.param_groups:
                group["lr"] = rate * factor
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.heads.zero_grad(set_to_none=True)
        self.average.update(self.model, self.step)
        self.step += 1
        return [loss.item() for loss in seen] + [said.item()]


def to_device(batch, device):
    return type(batch)(**{name: value.to(device) for name, value in vars(batch).items()})


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=4700)
    parser.add_argument("--fall", type=int, default=2000, help="the last steps, over which the learning rate falls")
    parser.add_argument("--captions-from", type=int, default=400)
    parser.add_argument("--questions-from", type=int, default=850)
    parser.add_argument("--pictures", type=int, default=32, help="per step")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--work", type=Path, default=HERE / "work", help="where the run's checkpoints are kept")
    parser.add_argument("--out", type=Path, default=HERE)
    return parser.parse_args()


def report(run, options, recent, started, first):
    pace = (time.time() - started) / (run.step - first)
    means = [sum(column) / len(recent) for column in zip(*recent)]
    names = ("what", "colour", "size", "role", "count", "answers")
    print(f"step {run.step}/{options.steps}  " + "  ".join(f"{n} {m:.3f}" for n, m in zip(names, means)) +
          f"  {pace:.2f} s/step  {(options.steps - run.step) * pace / 60:.0f} min left", flush=True)


def main():
    options = parse_arguments()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    for directory in (options.work, options.out):
        directory.mkdir(parents=True, exist_ok=True)
    vocabulary.write(options.out)
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(options.out / "tokenizer.json"))
    run = Run(options, device)
    print(f"{sum(p.numel() for p in run.model.parameters()):,} parameters on {device}, from step {run.step}", flush=True)

    phases = (options.captions_from, options.questions_from)
    stream = Stream(tokenizer, options.seed, run.step, phases, options.pictures)
    before = torch.tensor([stream.encoder.before], device=device)
    check_sharing(run.model, to_device(stream.sample(2), device), before, vocabulary.N_PIECES)
    batches = iter(torch.utils.data.DataLoader(stream, batch_size=None, num_workers=1, prefetch_factor=4))
    started, first, recent = time.time(), run.step, []
    while run.step < options.steps:
        batch = to_device(next(batches), device)
        factor = rate_factor(run.step, options.steps, options.fall)
        recent.append(run.advance(batch, before, factor, run.step >= options.captions_from))
        if run.step % 20 == 0:
            report(run, options, recent, started, first)
            recent = []
        if run.step % 100 == 0 or run.step == options.steps:
            run.save()


if __name__ == "__main__":
    main()
