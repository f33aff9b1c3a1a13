"""The same heads on the same embeddings: Frostline, scikit-learn, PyTorch by hand, kaiko-eva.

    pip install 'frostline[bench]'
    python benchmarks/against.py [--quick] [--embeddings FILE.npz] [--epochs 20]

Prints accuracy on the same test rows (heads that start at random: mean and standard deviation of
`--seeds` of them) and how many times as long each takes; times are of the computing, the least of
the repetitions, without imports. FILE.npz is what `frostline cache export` wrote, with the split of
the data set. Without it, embeddings are made up. Three heads:

- logistic regression, the strength of 45 chosen by validation log loss, then fitted to train and
  validation: scikit-learn by a loop over strengths;
- a linear head for each of 13 learning rates, Adam, batch 32, of which validation chooses rate and
  epoch: PyTorch by hand with all heads on every batch, as in DINOv2's linear recipe;
- one linear head, Adam at 1e-3, batch 32, the best epoch on validation: kaiko-eva from files of
  embeddings as it writes them (time of writing left out; in one process, which for embeddings is
  its fastest way, where its default is a process a core: `--eva-workers N`), and PyTorch by hand.

`--quick` takes 1,200 rows, 3 epochs, and every fifth strength for scikit-learn (its time is then
multiplied). kaiko-eva is left out, and said to be, where it is not installed.
"""

from __future__ import annotations

import argparse
import io
import json
import logging
import tempfile
import time
import warnings
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from exported import read_exported
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import PredefinedSplit
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


@dataclass(frozen=True)
class Data:
    """Embeddings [n, dim], class numbers [n], and the part of each row: train, val or test."""

    x: np.ndarray
    y: np.ndarray
    part: np.ndarray

    def rows(self, *parts: str) -> tuple[np.ndarray, np.ndarray]:
        chosen = np.isin(self.part, parts)
        return self.x[chosen], self.y[chosen]

    def fold(self) -> PredefinedSplit:
        """Validation rows among those of train and val."""
        return PredefinedSplit(np.where(self.part[self.part != "test"] == "val", 0, -1))

    @property
    def classes(self) -> int:
        return int(self.y.max()) + 1

    def accuracy(self, predicted: np.ndarray) -> float:
        return float(np.mean(predicted == self.rows("test")[1]))


def read(path: str | None, rows: int | None) -> Data:
    """Embeddings of a file, or made-up ones, with a split."""
    if path is None:
        from solver import made_up

        x, y = made_up(3882, 1280, 3)
        part = np.array(["train"] * 5 + ["val", "test"])[np.arange(len(y)) % 7]
    else:
        known = read_exported(path)
        x, y, part = known.x, known.y, known.part
    chosen = np.random.default_rng(0).permutation(len(x))[:rows]
    return Data(x[chosen], y[chosen], part[chosen])


def logistic_here(data: Data) -> float:
    x, y = data.rows("train", "val")
    return data.accuracy(LogisticProbe(cv=data.fold()).fit(x, y).predict(data.rows("test")[0]))


def logistic_sklearn(data: Data, every: int) -> Arm:
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


def rates_here(data: Data, epochs: int, seed: int) -> float:
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


def rates_by_hand(data: Data, epochs: int, rates: list[float], seed: int) -> float:
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


def _answers(weight: np.ndarray, bias: np.ndarray, data: Data) -> np.ndarray:
    return (data.rows("test")[0] @ weight + bias).argmax(axis=1)


def one_here(data: Data, epochs: int, seed: int) -> float:
    x, y = data.rows("train", "val")
    head = AdamProbe(RATE, epochs=epochs, batch_size=BATCH, cv=data.fold(), random_state=seed)
    return data.accuracy(head.fit(x, y).predict(data.rows("test")[0]))


def write_for_eva(data: Data, folder: Path) -> None:
    """A file an image and a table, as kaiko-eva's own writer makes them."""
    lines = ["origin,embeddings,target,split"]
    for number, (row, label, part) in enumerate(zip(data.x, data.y, data.part, strict=True)):
        torch.save(torch.from_numpy(row.copy()), folder / f"{number}.pt")
        lines.append(f"{number}.png,{number}.pt,{label},{part}")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")


def one_eva(data: Data, epochs: int, folder: Path, workers: int, seed: int) -> float:
    """kaiko-eva's own trainer, data and head modules, with its defaults otherwise."""
    from eva.core import Interface, metrics, trainers
    from eva.core.data import dataloaders, datamodules, datasets
    from eva.core.models import modules
    from lightning.pytorch.callbacks import ModelCheckpoint

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    torch.manual_seed(seed)
    parts = {
        name: datasets.EmbeddingsClassificationDataset(str(folder), "manifest.csv", name)
        for name in ("train", "val", "test")
    }
    loaders = {
        name: dataloaders.DataLoader(
            batch_size=BATCH,
            shuffle=name == "train",
            num_workers=workers,
            persistent_workers=workers > 0,
            prefetch_factor=2 if workers else None,
        )
        for name in parts
    }
    scores = metrics.MulticlassClassificationMetrics(data.classes, average="micro")
    best = ModelCheckpoint(monitor="val/MulticlassAccuracy", mode="max")
    trainer = trainers.Trainer(
        default_root_dir=str(folder / "logs"),
        max_epochs=epochs,
        accelerator="cpu",
        callbacks=[best],
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    model = modules.HeadModule(
        head=nn.Linear(data.x.shape[1], data.classes),
        criterion=nn.CrossEntropyLoss(),
        optimizer=lambda parameters: torch.optim.Adam(parameters, lr=RATE),
        metrics=metrics.structs.MetricsSchema(common=scores),
    )
    everything = datamodules.DataModule(
        datamodules.schemas.DatasetsSchema(**parts),
        datamodules.schemas.DataloadersSchema(**loaders),
    )
    with redirect_stdout(io.StringIO()):  # its tables of scores
        Interface().fit(trainer, model, everything)
    found = max((folder / "logs").rglob("results.json"), key=lambda path: path.stat().st_mtime_ns)
    (run,) = json.loads(found.read_text())["metrics"]["test"]
    return float(run["test/MulticlassAccuracy"]["mean"])


def timed(function: Callable[[int], float], runs: int) -> Arm:
    """What a function of a seed returns for several seeds, and its seconds: the least of them."""
    seconds, values = [], []
    for seed in range(runs):
        start = time.perf_counter()
        values.append(function(seed))
        seconds.append(time.perf_counter() - start)
    return values, min(seconds)


def show(title: str, arms: dict[str, Arm]) -> None:
    """Print accuracies, seconds, and how many times as long as Frostline each took."""
    print(title)
    _, (_, ours) = next(iter(arms.items()))
    for name, (accuracies, seconds) in arms.items():
        spread = f" ± {100 * np.std(accuracies, ddof=1):.1f}" if len(set(accuracies)) > 1 else ""
        accuracy = f"{100 * np.mean(accuracies):5.1f}%{spread:6}"
        ratio = f"{seconds / ours:8.1f} x" if name != "Frostline" else ""
        print(f"  {name:16} accuracy {accuracy}  {seconds:8.2f} s{ratio}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--embeddings")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--eva-workers", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    data = read(options.embeddings, 1200 if options.quick else None)
    epochs = 3 if options.quick else options.epochs
    sizes = ", ".join(f"{(data.part == part).sum()} {part}" for part in ("train", "val", "test"))
    print(f"{data.x.shape[1]} numbers an image, {data.classes} classes, {sizes}, {epochs} epochs")
    show(
        "logistic regression, one of 45 strengths",
        {
            "Frostline": timed(lambda seed: logistic_here(data), 3),
            "scikit-learn": logistic_sklearn(data, 5 if options.quick else 1),
        },
    )
    show(
        f"linear heads at {len(RATES)} learning rates",
        {
            "Frostline": timed(lambda seed: rates_here(data, epochs, seed), options.seeds),
            "PyTorch by hand": timed(
                lambda seed: rates_by_hand(data, epochs, RATES, seed), options.seeds
            ),
        },
    )
    arms = {
        "Frostline": timed(lambda seed: one_here(data, epochs, seed), options.seeds),
        "PyTorch by hand": timed(
            lambda seed: rates_by_hand(data, epochs, [RATE], seed), options.seeds
        ),
    }
    if find_spec("eva") is None:
        print("kaiko-eva is left out, as it is not installed: pip install kaiko-eva")
    else:
        with tempfile.TemporaryDirectory() as folder:
            write_for_eva(data, Path(folder))
            arms["kaiko-eva"] = timed(
                lambda seed: one_eva(data, epochs, Path(folder), options.eva_workers, seed),
                options.seeds,
            )
    show("one linear head", arms)


if __name__ == "__main__":
    main()
