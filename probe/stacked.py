"""Adam for many heads in one pass over the data: the shuffle belongs to the seed, not to a head.

Heads with the same number of hidden units lie side by side in one matrix, so that a batch is
multiplied once for all of them, and a step of Adam is a few passes over one long array. Heads do
not touch each other: each comes out as it would alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
"""Adam's constants, as in the paper by Kingma and Ba (2015) and in torch.optim."""


@dataclass(frozen=True)
class Recipe:
    """How one head trains.

    Attributes
    ----------
    lr : float
        Learning rate.
    weight_decay : float
        Added to the gradient as ``weight_decay * parameter``, as `torch.optim.Adam` does.
    hidden : int or None
        Units of one hidden layer with ReLU; None is a linear head.
    """

    lr: float = 1e-4
    weight_decay: float = 0.0
    hidden: int | None = None


@dataclass(frozen=True)
class Batches:
    """Training rows, and the order in which a seed shows them.

    Attributes
    ----------
    X : float32 [n, p]
    codes : int64 [n]
    weight : float32 [n]
    size : int
        Images a step; the last batch of an epoch may be shorter.
    """

    X: Tensor
    codes: Tensor
    weight: Tensor
    size: int


Parameters = list[Tensor]
"""Layer by layer: weights [h, inputs, outputs], biases [h, 1, outputs]."""


def train_heads(
    data: Batches,
    n_classes: int,
    recipes: Sequence[Recipe],
    *,
    epochs: int,
    seed: int,
    watch: Callable[[int, Tensor], NDArray[np.bool_]] | None = None,
    validation: Tensor | None = None,
) -> list[list[NDArray[np.float32]]]:
    """Train one head a recipe.

    Parameters
    ----------
    data, n_classes, recipes, epochs, seed
        What to train on, and how.
    watch : callable, optional
        After every epoch gets its number (from 1) and the logits [h, n, k] of `validation`, and
        says of which heads the parameters now are to be kept.
    validation : float32 [n, p], optional

    Returns
    -------
    list of list of arrays
        For every recipe, its layers ``[W, b]`` or ``[W, b, W, b]``, W being [inputs, outputs]:
        those `watch` kept last, or the last ones.
    """
    widths = list(dict.fromkeys(recipe.hidden for recipe in recipes))
    members = [[i for i, r in enumerate(recipes) if r.hidden == width] for width in widths]
    stacks = [
        _Stack(data.X.shape[1], n_classes, [recipes[i] for i in own], seed) for own in members
    ]
    kept = [[layer.clone() for layer in stack.parameters] for stack in stacks]
    order = torch.Generator().manual_seed(seed)
    for epoch in range(1, epochs + 1):
        shuffled = torch.randperm(len(data.X), generator=order)
        for rows in torch.split(shuffled, data.size):
            batch = data.X[rows], data.codes[rows], data.weight[rows]
            for stack in stacks:
                stack.step(*batch)
        if watch is None or validation is None:
            continue
        logits = torch.empty(len(recipes), len(validation), n_classes)
        for stack, own in zip(stacks, members, strict=True):
            logits[own] = stack.forward(validation)[-1]
        better = torch.from_numpy(watch(epoch, logits))
        for stack, own, best in zip(stacks, members, kept, strict=True):
            for mine, layer in zip(best, stack.parameters, strict=True):
                mine[better[own]] = layer[better[own]]
    final = kept if watch is not None else [stack.parameters for stack in stacks]
    layers: list[list[NDArray[np.float32]]] = [[] for _ in recipes]
    for own, parameters in zip(members, final, strict=True):
        for place, head in enumerate(own):
            layers[head] = [layer[place].squeeze(0).numpy().copy() for layer in parameters]
    return layers


class _Stack:
    """Heads of one shape, their parameters in one flat array, and Adam's moments beside it."""

    def __init__(self, inputs: int, classes: int, recipes: Sequence[Recipe], seed: int) -> None:
        heads, hidden = len(recipes), recipes[0].hidden
        sizes = [inputs, classes] if hidden is None else [inputs, hidden, classes]
        start = torch.Generator().manual_seed(seed)
        # torch.nn.Linear's own start, and the same for every head: the seed decides it.
        self.shapes: list[tuple[int, ...]] = []
        values = []
        for fan_in, fan_out in pairwise(sizes):
            bound = 1 / math.sqrt(fan_in)
            for rows in (fan_in, 1):
                one = torch.rand(rows, fan_out, generator=start) * 2 * bound - bound
                self.shapes.append((heads, rows, fan_out))
                values.append(one.expand(heads, -1, -1).reshape(heads, -1))
        self.flat = torch.cat(values, dim=1).contiguous()
        self.gradient, self.first, self.second = (torch.zeros_like(self.flat) for _ in range(3))
        self.parameters = self._views(self.flat)
        self.gradients = self._views(self.gradient)
        self.lr = torch.tensor([[r.lr] for r in recipes], dtype=torch.float32)
        self.decay = torch.tensor([[r.weight_decay] for r in recipes], dtype=torch.float32)
        self.decays = bool(self.decay.any())
        self.steps = 0

    def _views(self, flat: Tensor) -> Parameters:
        sizes = [math.prod(shape[1:]) for shape in self.shapes]
        parts = torch.split(flat, sizes, dim=1)
        return [part.view(shape) for part, shape in zip(parts, self.shapes, strict=True)]

    def forward(self, X: Tensor) -> list[Tensor]:
        """Output of every layer [h, n, outputs], the last being logits."""
        outputs: list[Tensor] = []
        value = X.expand(len(self.flat), -1, -1)
        for W, b in zip(self.parameters[::2], self.parameters[1::2], strict=True):
            if outputs:
                value = outputs[-1].clamp_(min=0)
            outputs.append(torch.baddbmm(b, value, W))
        return outputs

    def step(self, X: Tensor, codes: Tensor, weight: Tensor) -> None:
        """One step of Adam on the weighted mean of the cross-entropy."""
        total = weight.sum()
        if total <= 0:
            return
        outputs = self.forward(X)
        error = outputs[-1].softmax(dim=-1)
        error[:, torch.arange(len(codes)), codes] -= 1
        error *= (weight / total)[:, None]
        if len(outputs) == 2:
            torch.bmm(outputs[0].transpose(1, 2), error, out=self.gradients[2])
            torch.sum(error, dim=1, keepdim=True, out=self.gradients[3])
            error = torch.bmm(error, self.parameters[2].transpose(1, 2))
            error *= outputs[0] > 0
        shared = X.T.expand(len(self.flat), -1, -1)
        self.gradients[0].copy_(torch.bmm(shared, error))
        torch.sum(error, dim=1, keepdim=True, out=self.gradients[1])
        self._adam()

    def _adam(self) -> None:
        self.steps += 1
        if self.decays:
            self.gradient.addcmul_(self.flat, self.decay)
        self.first.lerp_(self.gradient, 1 - BETA1)
        self.second.mul_(BETA2).addcmul_(self.gradient, self.gradient, value=1 - BETA2)
        # Bias corrections moved onto the rate and epsilon, so that no moment is copied for them.
        correction = math.sqrt(1 - BETA2**self.steps)
        rate = self.lr * (correction / (1 - BETA1**self.steps))
        scale = self.second.sqrt().add_(EPSILON * correction)
        self.flat.sub_(torch.div(self.first, scale, out=scale).mul_(rate))
