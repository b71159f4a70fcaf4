"""Muon for the matrices of the blocks, AdamW for the rest.

Muon (https://kellerjordan.github.io/posts/muon) steps along the momentum with its singular values made equal. On
this model it needs about half of AdamW's steps, which is what makes training on two CPU cores bearable.
"""

import torch


def orthogonalised(matrices, steps=5):
    """[n, rows, columns]: quintic Newton-Schulz iteration, its coefficients chosen for a steep start."""
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(steps):
        square = x @ x.mT
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """Matrices of one shape are stepped together, as one batch."""

    def __init__(self, matrices, lr, momentum=0.95, weight_decay=0.01):
        shapes = {}
        for matrix in matrices:
            shapes.setdefault(tuple(matrix.shape), []).append(matrix)
        super().__init__([{"params": group} for group in shapes.values()],
                         {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            if not params:
                continue
            for p in params:
                if "momentum" not in self.state[p]:
                    self.state[p]["momentum"] = torch.zeros_like(p)
            buffers = [self.state[p]["momentum"] for p in params]
            grads = [p.grad for p in params]
            torch._foreach_lerp_(buffers, grads, 1 - group["momentum"])
            ahead = torch.stack(torch._foreach_lerp(grads, buffers, group["momentum"]))
            rows, columns = params[0].shape
            update = orthogonalised(ahead) * max(1.0, rows / columns) ** 0.5
            torch._foreach_mul_(params, 1 - group["lr"] * group["weight_decay"])
            torch._foreach_add_(params, list(update.unbind()), alpha=-group["lr"])


def optimizers_of(model, heads, matrix_rate=0.02, other_rate=3e-3):
    """The blocks' matrices go to Muon; embeddings, norms, biases and all heads to AdamW."""
    named = list(model.named_parameters())
    matrices = [p for name, p in named if p.ndim == 2 and ("layers." in name or "projector" in name)]
    taken = {id(p) for p in matrices}
    rest = [p for _, p in named if id(p) not in taken] + list(heads.parameters())
    return [Muon(matrices, matrix_rate), torch.optim.AdamW(rest, lr=other_rate, betas=(0.9, 0.98), weight_decay=0.01)]
