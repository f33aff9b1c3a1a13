"""Every path through a GPU once, in ten minutes: whether numbers are right, and how fast.

    python benchmarks/gpu.py [--rehearse] [--budget 540] [--only NAME,NAME] [--folder DIR]

Each check prints a line: `ok`, `wrong`, or `-` for what is only measured, and its figures. The last
lines are a Markdown table for docs/benchmarks.md, under the card's name; the exit status is 1 if
anything was wrong. What the budget (seconds) leaves out is said. `--rehearse` runs everything on a
CPU, with tiny networks on tiny images. Weights are random, images are made here.

The limit of an extraction is `bare`: the same network on a batch that stays on the device.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import pandas as pd
import torch
from feeding import make_files

from frostline import stages
from frostline.cache import InputError, Store, Workspace, find_stores
from frostline.doctor.doctor import check_gpus
from frostline.doctor.stores import check_stores
from frostline.extract import forward
from frostline.extract.backbones.backbone import load_backbone
from frostline.extract.index import index_dataset
from frostline.extract.live import LEAST_COSINE
from frostline.finetune.inputs import pixels as feeds
from frostline.finetune.task import Execution
from frostline.finetune.training.epochs import Epoch

PAPER = ("resnet50", "dinov2-s", "dinov2-b", "vgg16", "densenet121", "dinov2-l")
TINY = ("timm:test_resnet", "timm:test_vit")
NORMALISATION = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}
LOW = "bfloat16"
Compute = Callable[[torch.Tensor], list[torch.Tensor]]
# Of losses of one epoch, computed in another order of sums in bfloat16.
LOSS_MARGIN = 0.02


class Line(NamedTuple):
    """What a check found of one thing: `right` is None where it is only measured."""

    right: bool | None
    what: str
    figures: dict[str, float]
    said: str = ""


@dataclass
class Bench:
    """Where everything is, and what it is done with."""

    folder: Path
    rehearse: bool
    lines: list[tuple[str, Line]] = field(default_factory=list)

    @property
    def device(self) -> str:
        return "cpu" if self.rehearse else "cuda"

    @property
    def size(self) -> int:
        return 64 if self.rehearse else 224

    @property
    def backbones(self) -> tuple[str, ...]:
        return TINY if self.rehearse else PAPER

    @property
    def batch(self) -> int:
        return 8 if self.rehearse else 32

    @cached_property
    def workspace(self) -> Workspace:
        """A workspace with the data sets `all` and `small`, which has the first quarter."""
        workspace = Workspace(self.folder / "workspace")
        count, side = (96, 72) if self.rehearse else (8192, 256)
        for name, some in (("all", count), ("small", count // 4)):
            index_dataset(workspace, name, roots=[make_files(self.folder / name, some, side)])
        return workspace

    def network(self, backbone: str) -> stages.Network:
        return stages.Network(backbone, "random", image_size=self.size)

    def machine(self, precision: str = LOW, batch: int | None = None) -> stages.Machine:
        return stages.Machine(self.device, precision, batch)

    def forget(self, *folders: str) -> None:
        for name in folders:
            shutil.rmtree(self.workspace.root / name, ignore_errors=True)

    def wait(self) -> None:
        if self.device == "cuda":
            torch.cuda.synchronize()

    def embeddings(self, dataset: str, backbone: str) -> np.ndarray:
        (folder,) = find_stores(self.workspace.embeddings(dataset, backbone))
        store = Store.open(folder)
        return store.read(store.distinct_rows())

    def train(
        self, backbone: str, precision: str = LOW, unfreeze: str = "all", **changes: Any
    ) -> tuple[np.ndarray, list[Epoch]]:
        """Probabilities of the test images, and the epochs, of a training from nothing."""
        self.forget("models", "predictions", "runs")
        return self.go_on(backbone, precision, unfreeze, **changes)

    def go_on(
        self, backbone: str, precision: str = LOW, unfreeze: str = "all", **changes: Any
    ) -> tuple[np.ndarray, list[Epoch]]:
        """The same, from where an earlier one ended."""
        epochs: list[Epoch] = []
        kept, compiled = changes.pop("boundary", "off"), changes.pop("compile", False)
        run, _ = stages.finetune(
            self.workspace,
            "small",
            self.network(backbone),
            unfreeze=unfreeze,
            machine=self.machine(precision),
            changes={"epochs": 2, "batch_size": self.batch, **changes},
            execution=Execution(boundary=kept, compiled=compiled),
            on_epoch=epochs.append,
        )
        table = pd.read_parquet(self.workspace.predictions(run))
        return table.filter(regex="^prob_").to_numpy(), epochs

    def command(self, *words: str, ranks: int = 0) -> subprocess.CompletedProcess[str]:
        many = ("torch.distributed.run", "--nproc-per-node", str(ranks), "-m") if ranks else ()
        place = ("--workspace", str(self.workspace.root))
        command = [sys.executable, "-m", *many, "frostline", *words, *place]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)


def rate(epochs: list[Epoch]) -> float:
    return max(epoch.images_per_second for epoch in epochs)


def machine(bench: Bench) -> Iterator[Line]:
    """What computes."""
    name = forward.device_name(bench.device)
    yield Line(None, name, {"cores": len(os.sched_getaffinity(0))}, f"torch {torch.__version__}")
    if bench.device == "cuda":
        for check in check_gpus():
            yield Line(check.state == "ok", "doctor", {}, check.found)


def files(bench: Bench) -> Iterator[Line]:
    """Extraction from files, with and without keeping pixels."""
    for keep in (False, True):
        bench.forget("embeddings", "pixels")
        count = _rows(bench, "all")
        start = time.perf_counter()
        chosen = stages.Machine(bench.device, LOW, keep_pixels=keep)
        network = bench.network(bench.backbones[0])
        done = stages.extract(bench.workspace, "all", network, machine=chosen)
        seconds = time.perf_counter() - start
        what = f"{bench.backbones[0]}, pixels {'kept' if keep else 'not kept'}"
        yield Line(done.embedded == count, what, {"images/s": count / seconds})


def _rows(bench: Bench, dataset: str) -> int:
    return len(pd.read_parquet(bench.workspace.manifest(dataset), columns=["image_id"]))


def pixels(bench: Bench) -> Iterator[Line]:
    """Extraction from pixels, of each backbone, against the network alone."""
    count = _rows(bench, "all")
    network = bench.network(bench.backbones[0])  # which decodes the pixels, unless they are there
    stages.extract(bench.workspace, "all", network, machine=bench.machine())
    for backbone in bench.backbones:
        bench.forget("embeddings")
        first: list[float] = []
        timed = partial(_timed, forward.several_forward, first)
        with mock.patch.object(forward, "several_forward", timed):
            network = bench.network(backbone)
            done = stages.extract(bench.workspace, "all", network, machine=bench.machine())
        ours = count / (time.perf_counter() - first[0])
        alone = bare(bench, backbone)
        figures = {"images/s": ours, "bare": alone, "of bare": ours / alone}
        if bench.device == "cuda":
            figures["GiB"] = torch.cuda.max_memory_allocated() / 2**30
            torch.cuda.reset_peak_memory_stats()
        yield Line(done.embedded == count and done.decoded == 0, backbone, figures)


def _timed(
    make: Callable[..., Compute], first: list[float], *given: Any, **options: Any
) -> Compute:
    """Make a forward pass that notes when its first batch is done, computed twice."""
    compute = make(*given, **options)

    def run(images: torch.Tensor) -> list[torch.Tensor]:
        if not first:  # kernels are chosen, memory is found
            compute(images)
            first.append(time.perf_counter())
        return compute(images)

    return run


def bare(bench: Bench, backbone: str) -> float:
    """Images/s of a network on one batch that stays on the device."""
    network = load_backbone(backbone, weights="random", image_size=bench.size)
    size = bench.machine().batch_on(bench.device)
    compute = forward.several_forward(network, [network.feature], NORMALISATION, bench.device, LOW)
    shape = (size, bench.size, bench.size, 3)
    images = torch.randint(0, 256, shape, dtype=torch.uint8, device=bench.device)
    with forward.computing(bench.device, LOW):
        for _ in range(3):
            compute(images)
        bench.wait()
        start, rounds = time.perf_counter(), 3 if bench.rehearse else 30
        for _ in range(rounds):
            compute(images)
        bench.wait()
    return rounds * size / (time.perf_counter() - start)


def agreement(bench: Bench) -> Iterator[Line]:
    """Embeddings of the device against the CPU's in float32, and of small batches."""
    for backbone in bench.backbones[:2]:
        network = bench.network(backbone)
        bench.forget("embeddings")
        reference = stages.Machine("cpu", "float32", 8, engine="torch")
        stages.extract(bench.workspace, "small", network, machine=reference)
        expected = bench.embeddings("small", backbone)
        for precision in ("float32", LOW, "float16"):
            for batch in (8, 256):
                bench.forget("embeddings")
                given = stages.Machine(bench.device, precision, batch, engine="torch")
                stages.extract(bench.workspace, "small", network, machine=given)
                off = 1 - cosine(bench.embeddings("small", backbone), expected).min()
                # A low precision is no order of sums: what it loses is told, and judged loosely.
                most = 1e-6 if precision == "float32" else 10 * (1 - LEAST_COSINE[precision])
                what = f"{backbone}, {precision}, batches of {batch}"
                yield Line(bool(off <= most), what, {"1 - cosine": float(off)})
            for check in check_stores(bench.workspace, 16):
                right = check.state != "problem"
                yield Line(right, f"{backbone}, {precision}, live", {}, check.found)


def cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    a, b = a.astype(float), b.astype(float)
    return (a * b).sum(1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))


def training(bench: Bench) -> Iterator[Line]:
    """Fine-tuning in each precision, again, and after a kill."""
    for backbone in bench.backbones[:2]:
        for precision in ("float32", LOW, "float16"):
            _, epochs = bench.train(backbone, precision)
            finite = bool(np.isfinite(epochs[-1].train_loss))
            yield Line(finite, f"{backbone}, {precision}", {"images/s": rate(epochs)})
        first, _ = bench.train(backbone)
        again, _ = bench.train(backbone)
        apart = float(np.abs(first - again).max())
        yield Line(None, f"{backbone}, again", {"largest difference of probabilities": apart})
    yield killed(bench)


def killed(bench: Bench) -> Line:
    """A training that was killed after its first epoch goes on."""
    backbone = bench.backbones[1]
    whole, _ = bench.train(backbone, epochs=4)
    bench.forget("models", "predictions", "runs")
    code = f"import gpu; b = gpu.Bench(gpu.Path({str(bench.folder)!r}), {bench.rehearse})\n"
    code += "gpu.Bench.workspace = gpu.Workspace(b.folder / 'workspace')\n"
    code += f"b.go_on({backbone!r}, epochs=4)"
    child = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parent)
    end = time.monotonic() + 150
    while child.poll() is None and time.monotonic() < end:
        if list(bench.workspace.root.glob("models/*/checkpoints/latest")):
            break
        time.sleep(0.01)
    child.kill()
    child.wait()
    resumed, epochs = bench.go_on(backbone, epochs=4)
    apart = float(np.abs(whole - resumed).max())
    figures = {"epochs after it": float(len(epochs)), "largest difference": apart}
    return Line(1 <= len(epochs) < 4, f"{backbone}, killed and gone on", figures)


def feeding(bench: Bench) -> Iterator[Line]:
    """Pixels held on the device, streamed, and in parts of a batch: the same losses."""
    backbone, part = bench.backbones[1], bench.batch // 2 + 1
    losses = {}
    for name, share, micro_batch in (
        ("held", feeds.HELD_SHARE, bench.batch),
        ("streamed", 0.0, bench.batch),
        ("streamed in parts", 0.0, part),
        ("held in parts", feeds.HELD_SHARE, part),
    ):
        with mock.patch.object(feeds, "HELD_SHARE", share):
            _, epochs = bench.train(backbone, micro_batch=micro_batch)
        losses[name] = epochs[0].train_loss
        right = abs(losses[name] - losses["held"]) < LOSS_MARGIN
        yield Line(right, name, {"images/s": rate(epochs), "loss": losses[name]})


def boundary(bench: Bench) -> Iterator[Line]:
    """What frozen blocks give, computed and kept: the same losses."""
    for backbone, unfreeze in zip(bench.backbones, ("1", "none"), strict=False):
        found = {}
        for how in ("off", "on"):
            _, epochs = bench.train(backbone, unfreeze=unfreeze, boundary=how)
            found[how] = epochs[0].train_loss
            right = abs(found[how] - found["off"]) < LOSS_MARGIN
            what = f"{backbone}, unfreeze {unfreeze}, boundary {how}"
            yield Line(right, what, {"images/s": rate(epochs), "loss": found[how]})


def options(bench: Bench) -> Iterator[Line]:
    """Augmentation, averaging, clipping, and `--compile`."""
    for changes in (
        {"augmentation": ["random_crop", "horizontal_flip", "vertical_flip"]},
        {"augmentation": ["random_resized_crop"]},
        {"augmentation": ["color_jitter", "rand_augment"]},
        {"ema": 0.99, "class_weights": "balanced", "clip_grad_norm": 1.0, "label_smoothing": 0.1},
        {"optimizer": "adamw", "layer_decay": 0.75},
        {"compile": True},
    ):
        _, epochs = bench.train(bench.backbones[0], **changes)
        finite = bool(np.isfinite(epochs[-1].train_loss))
        what = ", ".join(f"{name} {value}" for name, value in changes.items())
        yield Line(finite, what, {"images/s": rate(epochs)})


def waits(bench: Bench) -> Iterator[Line]:
    """How often a training step waits for the device."""
    from torch.profiler import ProfilerActivity, profile

    kinds = [ProfilerActivity.CPU]
    kinds += [ProfilerActivity.CUDA] if bench.device == "cuda" else []
    steps = _rows(bench, "small") * 0.7 / bench.batch
    for backbone in bench.backbones[:2]:
        bench.train(backbone, epochs=1)
        with profile(activities=kinds) as seen:
            bench.train(backbone, epochs=1)
        counts = {one.key: one.count for one in seen.key_averages()}
        figures = {
            name: counts.get(key, 0) / steps
            for name, key in (
                ("waits a step", "cudaStreamSynchronize"),
                ("copies", "cudaMemcpyAsync"),
                ("kernels", "cudaLaunchKernel"),
            )
        }
        yield Line(None, backbone, figures, "of about so many steps, validation among them")


def memory(bench: Bench) -> Iterator[Line]:
    """What does not fit is said in a sentence, or found to fit in parts."""
    if bench.device != "cuda":
        return
    big = bench.backbones[-1]
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(0.12)
    try:
        for what, work in (
            ("extract", lambda: _extract_in(bench, 4096)),
            ("fine-tune", lambda: bench.train(big, epochs=1, batch_size=512)),
            (
                "fine-tune, micro_batch auto",
                lambda: bench.train(big, epochs=1, batch_size=512, micro_batch="auto"),
            ),
        ):
            try:
                work()
                yield Line(True, what, {}, "fits")
            except InputError as error:
                yield Line(what == "fine-tune", what, {}, str(error))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
        torch.cuda.empty_cache()


def _extract_in(bench: Bench, batch: int) -> None:
    bench.forget("embeddings")
    network = bench.network(bench.backbones[-1])
    stages.extract(bench.workspace, "small", network, machine=bench.machine("float32", batch))


def commands(bench: Bench) -> Iterator[Line]:
    """The command line, by two processes on one card too."""
    network = ("-b", bench.backbones[1], "--weights", "random", "--image-size", str(bench.size))
    bench.forget("embeddings", "models", "predictions", "runs")
    for what, ranks, words in (
        ("extract by two processes", 2, ("extract", "-d", "small", *network)),
        ("extract, done", 0, ("extract", "-d", "small", *network)),
        ("finetune by one process", 1, ("finetune", "-d", "small", *network, "--epochs", "1")),
    ):
        start = time.perf_counter()
        done = bench.command(*words, ranks=ranks)
        seconds = {"seconds": time.perf_counter() - start}
        said = "" if done.returncode == 0 else done.stderr.strip()[-300:]
        yield Line(done.returncode == 0, what, seconds, said)


def study(bench: Bench) -> Iterator[Line]:
    """A study, and its dry run."""
    path = bench.folder / "study.yaml"
    path.write_text(
        f"""name: card
datasets:
  small: {{root: {bench.folder / "small"}}}
backbones:
  - {{name: '{bench.backbones[0]}', weights: random}}
protocols:
  read: {{recipe: paper, unfreeze: none, image_size: {bench.size}, epochs: 2}}
  train: {{recipe: paper, unfreeze: all, image_size: {bench.size}, epochs: 2}}
"""
    )
    for what in ("--dry-run", ""):
        start = time.perf_counter()
        done = bench.command("run", str(path), *filter(None, [what]))
        seconds = {"seconds": time.perf_counter() - start}
        said = "" if done.returncode == 0 else done.stderr.strip()[-300:]
        yield Line(done.returncode == 0, f"run {what}".strip(), seconds, said)


CHECKS = (
    machine,
    files,
    pixels,
    agreement,
    training,
    feeding,
    boundary,
    memory,
    options,
    waits,
    commands,
    study,
)


def figure(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def main() -> None:
    """Check, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rehearse", action="store_true")
    parser.add_argument("--budget", type=float, default=540)
    parser.add_argument("--only", default="")
    parser.add_argument("--folder", type=Path, help="Where to write 1 GB for a while.")
    given = parser.parse_args()
    if not given.rehearse and not torch.cuda.is_available():
        raise SystemExit("There is no GPU here: use --rehearse.")
    start, only, wrong = time.monotonic(), given.only.split(",") if given.only else [], False
    rows = []
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        bench = Bench(Path(folder), given.rehearse)
        for check in CHECKS:
            if only and check.__name__ not in only:
                continue
            if time.monotonic() - start > given.budget - 60:
                print(f"-     {check.__name__}: left out, the budget is spent")
                continue
            for line in check(bench):
                wrong |= line.right is False
                state = {True: "ok", False: "wrong", None: "-"}[line.right]
                figures = ", ".join(f"{n} {figure(v)}" for n, v in line.figures.items())
                after = time.monotonic() - start
                told = "; ".join(filter(None, [figures, line.said]))
                print(
                    f"{after:5.0f} s  {state:5} {check.__name__}: {line.what}: {told}", flush=True
                )
                rows.append(f"| {check.__name__} | {line.what} | {state} | {figures} |")
    print("\n| check | of | | figures |\n|---|---|---|---|", *rows, sep="\n")
    sys.exit(int(wrong))


if __name__ == "__main__":
    main()
