"""The paper's recipe for 64 heads at once against 64 plain PyTorch loops with a DataLoader.

    python benchmarks/recipe.py [--quick] [--classes 7] [--heads 64] [--embeddings FILE.npz]

Prints how many times as fast: Adam, batch 32, cross-entropy, a validation pass an epoch, both in
float32 on the same rows: made up, or the training part of FILE.npz, which `frostline cache export`
wrote. The plain loop is timed for one head and two epochs (`--quick`: one) and
multiplied; epochs cost the same.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from exported import read_exported
from torch.utils.data import DataLoader, TensorDataset

from frostline.probe.solver.stacked_adam import Batches, HeadRecipe, train_heads


def plain(X: torch.Tensor, y: torch.Tensor, held_out: torch.Tensor, epochs: int) -> None:
    """One linear head as anyone would write it."""
    network = torch.nn.Linear(X.shape[1], int(y.max()) + 1)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-4)
    loader = DataLoader(TensorDataset(X, y), batch_size=32, shuffle=True)
    for _ in range(epochs):
        for batch, codes in loader:
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(network(batch), codes).backward()
            optimiser.step()
        with torch.no_grad():
            network(held_out).argmax(dim=1)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--classes", type=int, default=7)
    parser.add_argument("--heads", type=int, default=64)
    parser.add_argument("--embeddings")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    if options.embeddings:
        values = read_exported(options.embeddings).train()[0]
    else:
        values = rng.normal(size=(4850, 1280)).astype(np.float32)
    values = values[rng.permutation(len(values))[: 2000 if options.quick else 4850]]
    X = torch.from_numpy(values[: len(values) * 4 // 5])
    held_out = torch.from_numpy(values[len(X) :])
    y = torch.from_numpy(rng.integers(0, options.classes, len(X)))
    epochs = 1 if options.quick else 2
    recipes = [HeadRecipe(float(lr)) for lr in np.geomspace(1e-5, 1e-2, options.heads)]
    data = Batches(X, y, torch.ones(len(X)), 32)

    def watch(epoch: int, logits: torch.Tensor) -> np.ndarray:
        logits.argmax(dim=-1)
        return np.ones(len(logits), bool)

    one: list[float] = []
    all_heads: list[float] = []
    for _ in range(3):  # in turn, so that a busy machine is busy for both
        start = time.perf_counter()
        plain(X, y, held_out, epochs)
        one.append(time.perf_counter() - start)
        start = time.perf_counter()
        train_heads(
            data,
            options.classes,
            recipes,
            epochs=epochs,
            seed=0,
            watch=watch,
            validation=held_out,
        )
        all_heads.append(time.perf_counter() - start)
    theirs, ours = float(np.median(one)) * options.heads, float(np.median(all_heads))
    print(
        f"{options.heads} heads on {len(X)} x {X.shape[1]}, {options.classes} classes, "
        f"{epochs} epochs"
    )
    print(f"stacked {ours:.2f} s, {options.heads} plain loops {theirs:.1f} s")
    print(f"ratio {theirs / ours:.1f}")


if __name__ == "__main__":
    main()
