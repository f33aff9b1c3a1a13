"""The same heads on the same embeddings: Frostline, scikit-learn, PyTorch by hand, and others.

    pip install 'frostline[bench]'
    python benchmarks/against.py [--quick] [--embeddings FILE.npz] [--epochs 20]

Prints one table: accuracy on the same test rows (heads that start at random: mean and standard
deviation of `--seeds` of them), seconds, and how many times as long as Frostline each takes; times
are of the computing, the least of the repetitions, without imports. FILE.npz is what
`frostline cache export` wrote, with the split of the data set. Without it, embeddings are made up.
Three heads:

- logistic regression, the strength of 45 chosen by validation log loss, then fitted to train and
  validation: scikit-learn by a loop over strengths; torchgeo-bench, which chooses by accuracy;
- a linear head for each of 13 learning rates, Adam, batch 32, of which validation chooses rate and
  epoch: PyTorch by hand with all heads on every batch, as in DINOv2's linear recipe; THUNDER, which
  chooses by macro F1, always from the same seed;
- one linear head, Adam at 1e-3, batch 32, the best epoch on validation: PyTorch by hand; kaiko-eva.

kaiko-eva and THUNDER read files of embeddings as they write them themselves (time of writing left
out), in one process, which for embeddings is their fastest way; `--workers N` starts N more.
`--quick` takes 1,200 rows, 3 epochs, and every fifth strength for scikit-learn and torchgeo-bench
(their times are then multiplied). Programs that are not installed are left out and named; so are
those of docs/compare.md that no installation could compare here.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from exported import Exported, read_exported
from others import (
    EVA,
    NOT_COMPARABLE,
    OTHERS,
    THUNDER,
    TORCHGEO,
    logistic_torchgeo,
    one_eva,
    rates_thunder,
    write_for_eva,
    write_for_thunder,
)
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from frostline.probe import AdamProbe, LogisticProbe
from frostline.probe.solver.stacked_adam import Batches, HeadRecipe, train_heads

STRENGTHS = np.logspace(-6, 2, 45)
RATES = [float(rate) for rate in np.geomspace(1e-5, 1e-1, 13)]
BATCH, RATE = 32, 1e-3
Arm = tuple[list[float], float]
"""Accuracies, one a seed, and seconds."""


def read(path: str | None, rows: int | None) -> Exported:
    """Embeddings of a file, or made-up ones, with a split."""
    if path is None:
        from solver import made_up

        x, y = made_up(3882, 1280, 3)
        part = np.array(["train"] * 5 + ["val", "test"])[np.arange(len(y)) % 7]
    else:
        known = read_exported(path)
        x, y, part = known.x, known.y, known.part
    chosen = np.random.default_rng(0).permutation(len(x))[:rows]
    return Exported(x[chosen], y[chosen], part[chosen])


def logistic_here(data: Exported) -> float:
    x, y = data.rows("train", "val")
    return data.accuracy(LogisticProbe(cv=data.fold()).fit(x, y).predict(data.rows("test")[0]))


def logistic_sklearn(data: Exported, every: int) -> Arm:
    """Accuracy, and seconds for all strengths."""
    start = time.perf_counter()
    scaler = StandardScaler().fit(data.rows("train", "val")[0])
    train, val, both, test = (
        scaler.transform(data.rows(*parts)[0])
        for parts in (("train",), ("val",), ("train", "val"), ("test",))
    )
    losses = {}
    loop = time.perf_counter()
    for strength in STRENGTHS[every // 2 :: every]:
        head = LogisticRegression(C=strength, max_iter=10_000).fit(train, data.rows("train")[1])
        losses[strength] = log_loss(
            data.rows("val")[1], head.predict_proba(val), labels=range(data.classes)
        )
    skipped = (time.perf_counter() - loop) * (len(STRENGTHS) / len(losses) - 1)
    best = min(losses, key=lambda strength: losses[strength])
    final = LogisticRegression(C=best, max_iter=10_000).fit(both, data.rows("train", "val")[1])
    return [data.accuracy(final.predict(test))], time.perf_counter() - start + skipped


def rates_here(data: Exported, epochs: int, seed: int) -> float:
    (x, y), (val, codes) = data.rows("train"), data.rows("val")
    best = np.full(len(RATES), -1.0)

    def watch(epoch: int, logits: torch.Tensor) -> np.ndarray:
        scores = (logits.argmax(dim=-1).numpy() == codes).mean(axis=-1)
        better = scores > best
        best[better] = scores[better]
        return better

    batches = Batches(torch.from_numpy(x), torch.from_numpy(y), torch.ones(len(x)), BATCH)
    heads = train_heads(
        batches,
        data.classes,
        [HeadRecipe(rate) for rate in RATES],
        epochs=epochs,
        seed=seed,
        watch=watch,
        validation=torch.from_numpy(val),
    )
    weight, bias = heads[int(best.argmax())]
    return data.accuracy(_answers(weight, bias, data))


def rates_by_hand(data: Exported, epochs: int, rates: list[float], seed: int) -> float:
    """All heads on every batch, one optimiser with a group a head."""
    torch.manual_seed(seed)
    (x, y), (val, codes) = data.rows("train"), data.rows("val")
    heads = nn.ModuleList(nn.Linear(x.shape[1], data.classes) for _ in rates)
    groups = zip(heads, rates, strict=True)
    optimiser = torch.optim.Adam([{"params": h.parameters(), "lr": rate} for h, rate in groups])
    rows = TensorDataset(torch.from_numpy(x), torch.from_numpy(y))
    best, kept = -1.0, heads[0].state_dict()
    for _ in range(epochs):
        for batch, labels in DataLoader(rows, batch_size=BATCH, shuffle=True):
            optimiser.zero_grad()
            torch.stack([cross_entropy(head(batch), labels) for head in heads]).sum().backward()
            optimiser.step()
        for head in heads:
            with torch.no_grad():
                found = head(torch.from_numpy(val)).argmax(dim=1).numpy()
            if np.mean(found == codes) > best:
                best = float(np.mean(found == codes))
                kept = {name: value.clone() for name, value in head.state_dict().items()}
    return data.accuracy(_answers(kept["weight"].T.numpy(), kept["bias"].numpy(), data))


def _answers(weight: np.ndarray, bias: np.ndarray, data: Exported) -> np.ndarray:
    return (data.rows("test")[0] @ weight + bias).argmax(axis=1)


def one_here(data: Exported, epochs: int, seed: int) -> float:
    x, y = data.rows("train", "val")
    head = AdamProbe(RATE, epochs=epochs, batch_size=BATCH, cv=data.fold(), random_state=seed)
    return data.accuracy(head.fit(x, y).predict(data.rows("test")[0]))


def timed(function: Callable[[int], float], runs: int) -> Arm:
    """What a function of a seed returns for several seeds, and its seconds: the least of them."""
    seconds, values = [], []
    for seed in range(runs):
        start = time.perf_counter()
        values.append(function(seed))
        seconds.append(time.perf_counter() - start)
    return values, min(seconds)


def show(head: str, arms: dict[str, Callable[[], Arm]]) -> None:
    """Measure each way to a head and print a row; the first is the baseline of the others."""
    baseline = None
    for name, measure in arms.items():
        accuracies, seconds = measure()
        baseline = baseline or seconds
        spread = f" ± {100 * np.std(accuracies, ddof=1):.1f}" if len(set(accuracies)) > 1 else ""
        ratio = f"{seconds / baseline:.1f}" if seconds != baseline else "1"
        accuracy = f"{100 * np.mean(accuracies):.1f}%{spread}"
        print(f"| {head} | {name} | {accuracy} | {seconds:.2f} | {ratio} |", flush=True)
        head = ""


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--embeddings")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=3)
    return parser.parse_args()


def main() -> None:
    """Measure and print."""
    options = arguments()
    warnings.simplefilter("ignore")
    data = read(options.embeddings, 1200 if options.quick else None)
    epochs, every = (3, 5) if options.quick else (options.epochs, 1)
    sizes = ", ".join(f"{(data.part == part).sum()} {part}" for part in ("train", "val", "test"))
    print(f"{data.x.shape[1]} numbers an image, {data.classes} classes, {sizes}, {epochs} epochs\n")
    left_out = {other: other.unusable() for other in OTHERS}
    print("| head | by | accuracy | seconds | times Frostline |\n|---|---|---:|---:|---:|")

    def seeds(function: Callable[[int], float]) -> Callable[[], Arm]:
        return lambda: timed(function, options.seeds)

    logistic = {
        "Frostline": lambda: timed(lambda seed: logistic_here(data), 3),
        "scikit-learn": lambda: logistic_sklearn(data, every),
    }
    if not left_out[TORCHGEO]:
        logistic[TORCHGEO.name] = lambda: logistic_torchgeo(data, STRENGTHS, every)
    show(f"logistic regression, one of {len(STRENGTHS)} strengths", logistic)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        rates = {
            "Frostline": seeds(lambda seed: rates_here(data, epochs, seed)),
            "PyTorch by hand": seeds(lambda seed: rates_by_hand(data, epochs, RATES, seed)),
        }
        if not left_out[THUNDER]:
            write_for_thunder(data, place)
            rates[THUNDER.name] = lambda: timed(
                lambda seed: rates_thunder(data, epochs, RATES, BATCH, place, options.workers), 1
            )
        show(f"linear heads at {len(RATES)} learning rates", rates)
        one = {
            "Frostline": seeds(lambda seed: one_here(data, epochs, seed)),
            "PyTorch by hand": seeds(lambda seed: rates_by_hand(data, epochs, [RATE], seed)),
        }
        if not left_out[EVA]:
            write_for_eva(data, place)
            one[EVA.name] = seeds(
                lambda seed: one_eva(data, epochs, RATE, BATCH, place, options.workers, seed)
            )
        show("one linear head", one)
    print()
    for reason in [reason for reason in left_out.values() if reason]:
        print(reason)
    for name, reason in NOT_COMPARABLE.items():
        print(f"{name} is left out: {reason}.")


if __name__ == "__main__":
    main()
