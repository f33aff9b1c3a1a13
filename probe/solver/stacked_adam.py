"""Adam for many heads in one pass over the data: the shuffle belongs to the seed, not to a head.

Heads with the same number of hidden units lie side by side in one matrix, so that a batch is
multiplied once for all of them, and a step of Adam is one pass over one long array. Heads do not
touch each other: each comes out as it would alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim.adam import adam

# Products of a batch with coefficients (images x features x outputs) from which threads share them.
SHARED = 1 << 18

# As `torch.optim.Adam` has them, but for the rate (see `_Stack`).
ADAM: dict[str, Any] = {
    "lr": 1.0,
    "beta1": 0.9,
    "beta2": 0.999,
    "eps": 1e-8,
    "weight_decay": 0.0,
    "fused": True,
    "amsgrad": False,
    "maximize": False,
}


@dataclass(frozen=True)
class HeadRecipe:
    """How one head trains.

    Attributes
    ----------
    lr : float
        Learning rate.
    weight_decay : float
        Added to the gradient as `weight_decay * parameter`, as `torch.optim.Adam` does.
    hidden : int or None
        Units of one hidden layer with ReLU; None is a linear head.
    """

    lr: float
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

    def steps(self, order: Tensor, n_classes: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield the batches of an epoch in which images come in `order`, int64 [n].

        Batches of weight 0 are left out.

        Yields
        ------
        X : float32 [m, p]
            Memory that the next batch takes.
        target : float32 [m, k]
            1 for the class of a row.
        share : float32 [m, 1]
            Weight of a row in the mean over its batch.
        """
        target = torch.nn.functional.one_hot(self.codes[order], n_classes).float()
        weight = self.weight[order, None]
        memory = torch.empty(min(self.size, len(order)), self.X.shape[1])
        parts = (torch.split(value, self.size) for value in (order, target, weight))
        for rows, wanted, share in zip(*parts, strict=True):
            total = share.sum()
            if total > 0:
                X = torch.index_select(self.X, 0, rows, out=memory[: len(rows)])
                yield X, wanted, share / total


Parameters = list[Tensor]
"""Layer by layer: weights [h, inputs, outputs], biases [h, 1, outputs]."""


def train_heads(
    data: Batches,
    n_classes: int,
    recipes: Sequence[HeadRecipe],
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
        For every recipe, its layers `[W, b]` or `[W, b, W, b]`, W being [inputs, outputs]:
        those `watch` kept last, or the last ones.
    """
    with _threads_for(data.size * data.X.shape[1] * n_classes * len(recipes)):
        return _train_heads(data, n_classes, recipes, epochs, seed, watch, validation)


def _train_heads(
    data: Batches,
    n_classes: int,
    recipes: Sequence[HeadRecipe],
    epochs: int,
    seed: int,
    watch: Callable[[int, Tensor], NDArray[np.bool_]] | None,
    validation: Tensor | None,
) -> list[list[NDArray[np.float32]]]:
    widths = list(dict.fromkeys(recipe.hidden for recipe in recipes))
    members = [[i for i, r in enumerate(recipes) if r.hidden == width] for width in widths]
    stacks = [
        _Stack(data.X.shape[1], n_classes, [recipes[i] for i in own], seed) for own in members
    ]
    kept = [[layer.clone() for layer in stack.parameters] for stack in stacks]
    for epoch, order in zip(range(1, epochs + 1), shuffles(len(data.X), seed), strict=False):
        for batch in data.steps(order, n_classes):
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


@contextmanager
def _threads_for(products: int) -> Iterator[None]:
    """Let one thread do steps of so few products that others would only be waited for."""
    before = torch.get_num_threads()
    torch.set_num_threads(1 if products < SHARED else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def shuffles(count: int, seed: int) -> Iterator[Tensor]:
    """Yield the order of `count` images in each epoch: int64 [count]."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        yield torch.randperm(count, generator=generator)


def first_layers(sizes: Sequence[int], seed: int) -> Parameters:
    """Draw weights [inputs, outputs] and biases [1, outputs] of layers between `sizes`.

    They are distributed as those of `torch.nn.Linear`.
    """
    generator = torch.Generator().manual_seed(seed)
    layers = []
    for fan_in, fan_out in pairwise(sizes):
        bound = 1 / math.sqrt(fan_in)
        for rows in (fan_in, 1):
            layers.append(torch.rand(rows, fan_out, generator=generator) * 2 * bound - bound)
    return layers


class _Stack:
    """Heads of one shape, and the optimiser that moves all of them.

    All heads read the same batch, so that their first layers are one matrix [inputs, heads *
    outputs] and one product. What Adam moves is each head's parameters over its learning rate:
    Adam's step does not depend on the size of the gradient, so that with rate 1 for all of them
    PyTorch's fused optimiser takes one pass over memory, which heads with rates of their own
    would not let it.
    """

    def __init__(self, inputs: int, classes: int, recipes: Sequence[HeadRecipe], seed: int) -> None:
        self.heads, hidden = len(recipes), recipes[0].hidden
        sizes = [inputs, classes] if hidden is None else [inputs, hidden, classes]
        lr = torch.tensor([recipe.lr for recipe in recipes])
        decay = torch.tensor([recipe.weight_decay for recipe in recipes])
        # The same start for every head: the seed decides it. Heads come second in the first layer.
        self.rates, self.decays, self.values = [], [], []
        for number, one in enumerate(first_layers(sizes, seed)):
            shape = (1, -1, 1) if number < 2 else (-1, 1, 1)
            self.rates.append(lr.view(shape))
            self.decays.append((decay * lr).view(shape))
            self.values.append(
                (one.unsqueeze(1 if number < 2 else 0) / lr.view(shape)).contiguous()
            )
        self.decaying = bool(decay.any())
        self.gradients = [torch.zeros_like(value) for value in self.values]
        self.moments = [[torch.zeros_like(value) for value in self.values] for _ in range(2)]
        self.counts = [torch.zeros(()) for _ in self.values]
        # A rate for every output of the first layer: short inner loops are slow.
        self.flat_rates = lr.repeat_interleave(sizes[1])

    @property
    def parameters(self) -> Parameters:
        """Copies of the parameters, with the head first."""
        layers = [value * rate for value, rate in zip(self.values, self.rates, strict=True)]
        return [layer.permute(1, 0, 2) for layer in layers[:2]] + layers[2:]

    def forward(self, X: Tensor) -> list[Tensor]:
        """Output of every layer [h, n, outputs], the last being logits."""
        W, b = (value.flatten(1) for value in self.values[:2])
        flat = torch.addmm(b, X, W).mul_(self.flat_rates)
        outputs = [flat.view(len(X), self.heads, -1).permute(1, 0, 2)]
        if len(self.values) == 4:
            outputs[0].clamp_(min=0)
            second = torch.baddbmm(self.values[3], outputs[0], self.values[2])
            outputs.append(second.mul_(self.rates[2]))
        return outputs

    def step(self, X: Tensor, target: Tensor, share: Tensor) -> None:
        """One step of Adam on the weighted mean of the cross-entropy (see `Batches.steps`)."""
        outputs = self.forward(X)
        error = _softmax(outputs[-1]).sub_(target).mul_(share)
        if len(outputs) == 2:
            torch.bmm(outputs[0].transpose(1, 2), error, out=self.gradients[2])
            torch.sum(error, dim=1, keepdim=True, out=self.gradients[3])
            error = torch.bmm(error, self.values[2].transpose(1, 2)).mul_(self.rates[2])
            error *= outputs[0] > 0
        flat = error.transpose(0, 1).reshape(len(X), -1)
        torch.mm(X.T, flat, out=self.gradients[0].view(X.shape[1], -1))
        torch.sum(flat, dim=0, keepdim=True, out=self.gradients[1].view(1, -1))
        if self.decaying:
            for value, gradient, decay in zip(
                self.values, self.gradients, self.decays, strict=True
            ):
                gradient.addcmul_(value, decay)
        # The function of PyTorch's optimiser: the class about it takes longer than a small step.
        means, squares = self.moments
        adam(self.values, self.gradients, means, squares, [], self.counts, **ADAM)


def _softmax(logits: Tensor) -> Tensor:
    """Do what torch.softmax does over the last dimension, which is slow where that is short."""
    grown = (logits - logits.amax(dim=-1, keepdim=True)).exp_()
    return grown.div_(grown.sum(dim=-1, keepdim=True))
