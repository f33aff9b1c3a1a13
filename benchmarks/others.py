"""Other programs on given embeddings, each by its own code, for `against.py`.

Each is given the same rows, strengths, rates, batch and epochs, and keeps its defaults otherwise.
What a program reads from files of its own kind is written before the clock starts.
"""

from __future__ import annotations

import importlib
import io
import json
import logging
import time
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from exported import Exported
from sklearn.preprocessing import StandardScaler
from torch import nn

PARTS = ("train", "val", "test")


@dataclass(frozen=True)
class Other:
    """A program on PyPI: its name there, the module that is used, the Python that it needs."""

    package: str
    module: str
    python: str = ""

    @property
    def name(self) -> str:
        """Name and version."""
        return f"{self.package} {version(self.package)}"

    def unusable(self) -> str | None:
        """Import it, so that no clock runs then, or say why it is left out."""
        if find_spec(self.module.partition(".")[0]) is None:
            way = f"pip install {self.package}{self.python}"
            return f"{self.package} is left out because it is not installed: {way}"
        try:
            importlib.import_module(self.module)
        except ImportError as error:
            return f"{self.package} is left out because it does not import here: {error}"
        return None


EVA = Other("kaiko-eva", "eva.core")
THUNDER = Other("thunder-bench", "thunder.tasks.train_eval_probe")
TORCHGEO = Other("torchgeo-bench", "torchgeo_bench", " (Python 3.12 or newer)")
OTHERS = (TORCHGEO, THUNDER, EVA)
NOT_COMPARABLE = {
    "ClinicaDL": "it reads images in BIDS folders, or tensors made of them, not embeddings",
    "STAMP": "it is not on PyPI, where `stamp` is another program",
    "TRIDENT": "it is not on PyPI, where `trident` is another program, and trains no heads",
    "Patho-Bench": "it is not on PyPI, and needs TRIDENT",
}


def logistic_torchgeo(
    data: Exported, strengths: np.ndarray, every: int
) -> tuple[list[float], float]:
    """Logistic regression of torchgeo-bench; seconds for all strengths, of which it tries some."""
    from torchgeo_bench import evaluate_logistic

    start = time.perf_counter()
    scaler = StandardScaler().fit(data.rows("train", "val")[0])
    rows = [
        values
        for x, y in (data.rows(part) for part in PARTS)
        for values in (scaler.transform(x), y.astype(np.int64))
    ]
    tried = strengths[every // 2 :: every]
    fitted = evaluate_logistic(
        *rows,
        list(tried),
        seed=0,
        n_bootstrap=1,
        merge_val=True,
        device="cpu",
        temp_scale=False,
    )
    seconds = time.perf_counter() - start
    return [float(fitted[0])], seconds * (len(strengths) + 1) / (len(tried) + 1)


def write_for_thunder(data: Exported, folder: Path) -> None:
    """Two HDF5 files a part, an entry an image, as THUNDER's own writer makes them."""
    import h5py

    for part in PARTS:
        place = folder / "given" / "given" / part
        place.mkdir(parents=True)
        x, y = data.rows(part)
        with (
            h5py.File(place / "embeddings.h5", "w") as embeddings,
            h5py.File(place / "labels.h5", "w") as labels,
        ):
            for number, (row, label) in enumerate(zip(x, y, strict=True)):
                embeddings.create_dataset(str(number), data=row, dtype="float32")
                labels.create_dataset(str(number), data=int(label), dtype="int64")


def rates_thunder(
    data: Exported, epochs: int, rates: list[float], batch: int, folder: Path, workers: int
) -> float:
    """Linear heads of THUNDER, of which macro F1 on validation chooses; its seed is fixed."""
    import wandb
    from omegaconf import OmegaConf
    from thunder.tasks.train_eval_probe import train_probe

    settings = OmegaConf.create(
        {
            "pretrained_model": {"emb_dim": data.x.shape[1]},
            "dataset": {"nb_classes": data.classes},
            "adaptation": {
                "batch_size": batch,
                "num_workers": workers,
                "lr": rates,
                "weight_decay": [0.0],
                "epochs": epochs,
            },
            "ckpt_saving": {"best_only": True},
        }
    )
    wandb.init(mode="disabled")
    with redirect_stderr(io.StringIO()):  # its bars
        best = train_probe(
            settings,
            None,
            "given",
            "given",
            embedding_pre_loading=True,
            image_pre_loading=False,
            adaptation_type="frozen",
            task_type="linear_probing",
            criterion=nn.CrossEntropyLoss(),
            device="cpu",
            base_data_folder="",
            base_embeddings_folder=str(folder),
            wandb_base_folder="given",
            ckpt_folder=str(folder),
        )
    weights = best["task_specific_model"]
    logits = torch.from_numpy(data.rows("test")[0]) @ weights["linear.weight"].T
    return float(data.accuracy((logits + weights["linear.bias"]).argmax(dim=1).numpy()))


def write_for_eva(data: Exported, folder: Path) -> None:
    """A file an image and a table, as kaiko-eva's own writer makes them."""
    lines = ["origin,embeddings,target,split"]
    for number, (row, label, part) in enumerate(zip(data.x, data.y, data.part, strict=True)):
        torch.save(torch.from_numpy(row.copy()), folder / f"{number}.pt")
        lines.append(f"{number}.png,{number}.pt,{label},{part}")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")


def one_eva(
    data: Exported, epochs: int, rate: float, batch: int, folder: Path, workers: int, seed: int
) -> float:
    """kaiko-eva's own trainer, data and head modules, with its defaults otherwise."""
    from eva.core import Interface, metrics, trainers
    from eva.core.data import dataloaders, datamodules, datasets
    from eva.core.models import modules
    from lightning.pytorch.callbacks import ModelCheckpoint

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    torch.manual_seed(seed)
    parts = {
        name: datasets.EmbeddingsClassificationDataset(str(folder), "manifest.csv", name)
        for name in PARTS
    }
    loaders = {
        name: dataloaders.DataLoader(
            batch_size=batch,
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
        optimizer=lambda parameters: torch.optim.Adam(parameters, lr=rate),
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
