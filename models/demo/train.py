#!/usr/bin/env python3
"""Trains the demo model: captions first, questions when captions are right, then saves it where it stands.

    python3 models/demo/train.py --steps 3000 --phase-two 900

Seeded and resumable: a run that was stopped goes on from its last checkpoint in --work.
"""

import argparse
import copy
import math
import time
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerFast

import checkpoint
import vocabulary
from data import IGNORED, Stream

HERE = Path(__file__).resolve().parent


def attention_mask(batch, n_shared):
    """[pictures, 1, tokens, tokens]: all see the picture and what stands before it; a text sees only itself besides."""
    n_texts = batch.segment.shape[1]
    total = n_shared + n_texts
    causal = torch.ones(total, total, dtype=torch.bool, device=batch.segment.device).tril()
    same = batch.segment[:, :, None] == batch.segment[:, None, :]
    mask = causal.expand(len(batch.segment), total, total).clone()
    mask[:, n_shared:, n_shared:] &= same
    return mask[:, None]


def loss_of(model, batch, before):
    """Mean cross entropy of the answers. Each picture is encoded once and shared by its texts."""
    n = len(batch.pixels)
    embed = model.get_input_embeddings()
    features = model.model.vision_tower(batch.pixels, output_hidden_states=True).hidden_states[-2][:, 1:]
    images = model.model.multi_modal_projector(features)
    shared = torch.cat([embed(before).expand(n, -1, -1), images], 1)
    embeds = torch.cat([shared, embed(batch.ids)], 1)
    n_shared = shared.shape[1]
    positions = torch.cat([torch.arange(n_shared, device=embeds.device).expand(n, -1), batch.positions], 1)
    mask = attention_mask(batch, n_shared)
    hidden = model.model.language_model(inputs_embeds=embeds, attention_mask=mask, position_ids=positions,
                                        use_cache=False).last_hidden_state[:, n_shared:]
    answered = batch.labels != IGNORED
    logits = model.lm_head(hidden[answered])
    return torch.nn.functional.cross_entropy(logits, batch.labels[answered])


def learning_rate(step, steps, peak):
    warm = min(1.0, (step + 1) / 100)
    return peak * warm * (0.03 + 0.97 * 0.5 * (1 + math.cos(math.pi * step / steps)))


class Average:
    """Exponential moving average of the weights: what is saved and measured."""

    def __init__(self, model, decay=0.995):
        self.decay = decay
        self.state = {k: v.detach().clone() for k, v in model.state_dict().items()}

    def update(self, model, step):
        decay = min(self.decay, (step + 1) / (step + 10))
        with torch.no_grad():
            for key, value in model.state_dict().items():
                self.state[key].lerp_(value, 1 - decay)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--phase-two", type=int, default=900, help="the step from which questions are asked")
    parser.add_argument("--pictures", type=int, default=96, help="per step")
    parser.add_argument("--peak", type=float, default=1.5e-3, help="learning rate after the warm-up")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--work", type=Path, default=HERE / "work", help="where the run's checkpoints are kept")
    parser.add_argument("--out", type=Path, default=HERE)
    parser.add_argument("--minutes", type=float, default=0, help="save and stop after so long, to go on later")
    return parser.parse_args()


def save_progress(path, step, model, optimizer, average):
    saved = {"step": step, "model": model.state_dict(), "optimizer": optimizer.state_dict(), "average": average.state}
    torch.save(saved, path.with_suffix(".part"))
    path.with_suffix(".part").replace(path)


def main():
    options = parse_arguments()
    torch.manual_seed(options.seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    for directory in (options.work, options.out):
        directory.mkdir(parents=True, exist_ok=True)
    vocabulary.write(options.out)
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(options.out / "tokenizer.json"))

    model = checkpoint.new_model().to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.peak, betas=(0.9, 0.98), weight_decay=0.02)
    average, first = Average(model), 0
    progress = options.work / "progress.pt"
    if progress.exists():
        saved = torch.load(progress, map_location=device, weights_only=True)
        first = saved["step"]
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        average.state = copy.deepcopy(saved["average"])
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters on {device}, from step {first}", flush=True)

    stream = Stream(tokenizer, options.seed, first, options.phase_two, options.pictures)
    before = torch.tensor([stream.encoder.before], device=device)
    batches = iter(torch.utils.data.DataLoader(stream, batch_size=None, num_workers=1, prefetch_factor=4))
    started, recent = time.time(), []
    for step in range(first, options.steps):
        batch = next(batches)
        for name, value in vars(batch).items():
            setattr(batch, name, value.to(device))
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, options.steps, options.peak)
        loss = loss_of(model, batch, before)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        average.update(model, step)
        recent.append(loss.item())
        done = step + 1
        late = options.minutes and time.time() - started > 60 * options.minutes
        if done % 20 == 0:
            pace = (time.time() - started) / (done - first)
            print(f"step {done}/{options.steps}  loss {sum(recent[-20:]) / len(recent[-20:]):.4f}  {pace:.2f} s/step  "
                  f"{(options.steps - done) * pace / 60:.0f} min left", flush=True)
        if done % 100 == 0 or done == options.steps or late:
            save_progress(progress, done, model, optimizer, average)
            checkpoint.save(average.state, options.out)
        if late:
            return


if __name__ == "__main__":
    main()
