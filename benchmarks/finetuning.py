"""Fine-tuning: how fast it is fed, and what frozen blocks save.

    python benchmarks/finetuning.py [--quick] [--images DIR] [--backbone resnet50] [--device cuda]

Five measurements, each beside its baseline in the same run, with random weights:

1. feed: training steps fed by the pixel store, over steps on one synthetic batch that stays on the
   device; same network, precision and batch.
2. files: an epoch that decodes and resizes files in a DataLoader with one worker a core and trains
   in a plain loop in float32, over an epoch of ours on the same images.
3. memory: peak of a training step for each number of unfrozen blocks, and its share of `all`'s. On
   a GPU what was allocated; on a CPU what autograd keeps, gradients and the optimiser's state.
4. boundary: seconds an epoch for each number of unfrozen blocks, computing the frozen ones and from
   their kept output; and what keeping took.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from frostline.cache import PIXELS, Store, StoreWriter, spec_key
from frostline.extract.backbones.backbone import load_backbone
from frostline.extract.backbones.blocks import blocks
from frostline.extract.images.decode import IMAGE_SUFFIXES, decode
from frostline.extract.images.geometry import Geometry
from frostline.finetune.conditions import Conditions
from frostline.finetune.inputs.activations import Activations, Images
from frostline.finetune.inputs.batches import Place, epoch_order
from frostline.finetune.inputs.boundary import NoBoundaryError, find_boundary, running_from
from frostline.finetune.inputs.pixels import Part, StorePixels, held, read_ahead
from frostline.finetune.model import Classifier
from frostline.finetune.recipe import Recipe
from frostline.finetune.training.step import Stepper
from frostline.finetune.unfreeze import set_modes, unfreeze

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CLASSES = 2


class Setup:
    """What all measurements share."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self.name, self.batch = options.backbone, options.batch
        self.size = options.image_size
        self.device = torch.device(options.device)
        self.where = Conditions(MEAN, STD, options.device, options.precision)
        self.recipe = Recipe(batch_size=options.batch)
        self.files = find_files(options.images, options.count, folder)
        self.geometry = Geometry("shorter", round(self.size * 256 / 224), self.size)
        self.folder = folder
        self.part = self.fill()

    def fill(self) -> Part:
        """Decode the files into a pixel store."""
        spec = {"geometry": self.geometry.to_spec(), "channels": "rgb"}
        place = self.folder / "pixels" / spec_key(spec)
        keys = np.random.default_rng(0).integers(0, 256, (len(self.files), 16), np.uint8)
        with StoreWriter(place, PIXELS, spec, {}) as writer:
            for key, path in zip(keys, self.files, strict=True):
                writer.append(key[None], decode(path, None, self.geometry, "rgb")[None])
        store = Store.open(place)
        labels = torch.arange(len(keys)) % CLASSES
        return Part(StorePixels(store, store.locate(keys)), labels, [str(p) for p in self.files])

    def model(self, how: str) -> tuple[Classifier, list[str]]:
        """A network with random weights of which so much trains."""
        backbone = load_backbone(self.name, weights="random", image_size=self.size)
        model = Classifier(backbone, CLASSES, 0)
        names = unfreeze(model, how)
        return model.to(self.device).to(memory_format=torch.channels_last), names

    def depths(self) -> list[str]:
        """none, 1, 2, … all."""
        backbone = load_backbone(self.name, weights="random", image_size=self.size)
        return ["none", *map(str, range(1, len(blocks(backbone.model)))), "all"]

    def wait(self) -> None:
        """Until the device has done what it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def find_files(images: Path | None, count: int, folder: Path) -> list[Path]:
    """Image files of a folder, or made ones of 512 x 400 pixels."""
    if images is not None:
        found = [
            path for path in sorted(images.rglob("*")) if path.suffix.lower() in IMAGE_SUFFIXES
        ]
        return found[:count]
    rng = np.random.default_rng(0)
    made = []
    for number in range(count):
        coarse = rng.integers(0, 256, (20, 16, 3), np.uint8)
        made.append(folder / f"{number}.jpg")
        Image.fromarray(coarse).resize((512, 400)).save(made[-1])
    return made


def epoch(
    setup: Setup, model: Classifier, part: Part, *, compiled: bool = False
) -> Callable[[int], int]:
    """A function that trains the epoch of a number, and gives how many images it had."""
    part = held(part, setup.device)
    stepper = Stepper(model, part, setup.recipe, replace(setup.where, compiled=compiled))
    stepper.start()

    def run(number: int) -> int:
        set_modes(model)
        order = epoch_order(len(part), setup.recipe, 0, number)
        for place, (indices, pixels) in enumerate(read_ahead(part, order, setup.device)):
            stepper.step(Place(0, number, place), indices, pixels, 1e-4)
        setup.wait()
        return len(part)

    return run


def best_of(repeats: int, run: Callable[[int], Any], first: int = 1) -> float:
    """Seconds of the fastest of some runs."""
    seconds = []
    for number in range(first, first + repeats):
        start = time.perf_counter()
        run(number)
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def measure_feed(setup: Setup, repeats: int) -> None:
    """Steps from the store and steps on one batch, in turns."""
    model, _ = setup.model("all")
    fed = epoch(setup, model, setup.part)
    stepper = Stepper(model, setup.part, setup.recipe, setup.where)
    indices = torch.arange(min(setup.batch, len(setup.part)))
    pixels = setup.part.pixels.batch(indices).to(setup.device)
    steps = len(setup.part) // len(indices)

    def synthetic(number: int) -> None:
        set_modes(model)
        for place in range(steps):
            stepper.step(Place(0, number, place), indices, pixels, 1e-4)
        setup.wait()

    fed(1), synthetic(1)
    images = steps * len(indices)
    rates = []
    for turn in range(repeats):
        rates.append(
            (len(setup.part) / best_of(1, fed, turn + 2), images / best_of(1, synthetic, turn + 2))
        )
    store, device = (max(rate) for rate in zip(*rates, strict=True))
    print(f"feed: store {store:.1f} images/s, one batch on the device {device:.1f} images/s")
    print(f"feed ratio {store / device:.3f}")


class Files(Dataset[tuple[Tensor, int]]):
    """Images decoded and resized each time, as is usual."""

    def __init__(self, setup: Setup) -> None:
        from torchvision.transforms import v2

        self.files = setup.files
        self.transform = v2.Compose(
            [
                v2.PILToTensor(),
                v2.Resize(setup.geometry.resize_to, antialias=True),
                v2.CenterCrop(setup.size),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize(MEAN, STD),
            ]
        )

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, number: int) -> tuple[Tensor, int]:
        with Image.open(self.files[number]) as image:
            return self.transform(image.convert("RGB")), number % CLASSES


def measure_files(setup: Setup, repeats: int) -> None:
    """An epoch of the usual loop over files, and one of ours."""
    model, _ = setup.model("all")
    model = model.to(memory_format=torch.contiguous_format)
    optimizer = torch.optim.Adam(model.parameters(), 1e-4)
    workers = os.cpu_count() or 1
    loader = DataLoader(Files(setup), setup.batch, shuffle=True, num_workers=workers)

    def usual(number: int) -> None:
        model.train()
        for images, labels in loader:
            optimizer.zero_grad()
            logits = model(images.to(setup.device))
            functional.cross_entropy(logits, labels.to(setup.device)).backward()
            optimizer.step()
        setup.wait()

    theirs = best_of(repeats, usual)
    ours_model, _ = setup.model("all")
    run = epoch(setup, ours_model, setup.part)
    run(1)
    ours = best_of(repeats, run, 2)
    print(f"files: usual loop {theirs:.2f} s an epoch ({workers} workers), ours {ours:.2f} s")
    print(f"files ratio {theirs / ours:.2f}")


def measure_memory(setup: Setup) -> None:
    """Peak memory of a step for every number of unfrozen blocks."""
    sizes = {}
    for how in setup.depths():
        model, _ = setup.model(how)
        sizes[how] = peak(setup, model)
        del model
    for how, size in sizes.items():
        print(f"memory: unfreeze {how:>4} {size / 1e6:9.1f} MB, {size / sizes['all']:.3f} of all")


def peak(setup: Setup, model: Classifier) -> int:
    """Bytes: allocated on a GPU; kept for the backward pass, gradients and Adam's on a CPU."""
    stepper = Stepper(model, setup.part, setup.recipe, setup.where)
    indices = torch.arange(min(setup.batch, len(setup.part)))
    pixels = setup.part.pixels.batch(indices)
    set_modes(model)
    if setup.device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(setup.device)
        for number in range(2):  # the optimiser's state is made in the first step
            stepper.step(Place(0, 1, number), indices, pixels, 1e-4)
        return torch.cuda.max_memory_allocated(setup.device)
    storages: dict[int, Any] = {}

    def pack(value: Tensor) -> Tensor:
        if not isinstance(value, nn.Parameter):
            storages.setdefault(value.untyped_storage().data_ptr(), value)
        return value

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
        stepper.step(Place(0, 1, 0), indices, pixels, 1e-4)
    activations = sum(value.untyped_storage().nbytes() for value in storages.values())
    state = stepper.optimizer.state.values()
    moments = sum(value.nbytes for one in state for value in one.values())
    return activations + moments + sum(p.grad.nbytes for p in trained(model) if p.grad is not None)


def trained(model: nn.Module) -> Iterator[nn.Parameter]:
    """Parameters that train."""
    return (parameter for parameter in model.parameters() if parameter.requires_grad)


def measure_boundary(setup: Setup, repeats: int) -> None:
    """An epoch for every number of unfrozen blocks, with and without the boundary cache."""
    for how in setup.depths():
        model, names = setup.model(how)
        run = epoch(setup, model, setup.part)
        run(1)
        whole = best_of(repeats, run, 2)
        try:
            boundary = find_boundary(model, names, setup.size, setup.where)
        except NoBoundaryError as error:
            print(f"boundary: unfreeze {how:>4} {whole:.2f} s an epoch; none, as {error}")
            continue
        stored = setup.part.pixels
        assert isinstance(stored, StorePixels)
        common = {"pixels": stored.store.spec, "backbone": setup.name, "feature": how}
        images = Images({"train": setup.part}, common, setup.folder / "e", setup.folder / "b", {})
        kept = Activations.of(boundary, images)
        start = time.perf_counter()
        kept.fill(model, setup.where, setup.batch, {})
        filling = time.perf_counter() - start
        part = kept.feeds()["train"]
        with running_from(model, boundary):
            run = epoch(setup, model, part)
            run(1)
            rest = best_of(repeats, run, 2)
        print(
            f"boundary: unfreeze {how:>4} {whole:.2f} s an epoch, {rest:.2f} s from what enters "
            f"{boundary.block}, {whole / rest:.2f} times as fast; keeping it took {filling:.2f} s "
            f"and {boundary.row_bytes / 1e3:.0f} kB an image"
        )


def measure_compiled(setup: Setup, repeats: int) -> None:
    """Epochs through torch.compile and without, the whole network training."""
    runs = {
        one: epoch(setup, setup.model("all")[0], setup.part, compiled=one) for one in (False, True)
    }
    start = best_of(1, runs[True])
    best_of(1, runs[False])
    turns = [[best_of(1, run, number) for run in runs.values()] for number in range(2, 2 + repeats)]
    plain, through = np.median(turns, axis=0)
    saved = plain - through
    paid = f"after {(start - through) / saved:.0f} epochs" if saved > 0 else "never"
    print(
        f"compile: {plain:.2f} s an epoch, {through:.2f} s compiled, {plain / through:.2f} times "
        f"as fast; the first one took {start:.1f} s: paid {paid}"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="Few images of 96 pixels, once.")
    parser.add_argument("--images", type=Path, help="A folder of images; made ones if not given.")
    parser.add_argument("--backbone", default="effnet-lite0")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precision", help="bfloat16 on a GPU, float32 on a CPU if not given.")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--count", type=int, help="Images; 2048 on a GPU, 256 on a CPU.")
    parser.add_argument("--image-size", type=int)
    parser.add_argument("--only", choices=["feed", "files", "memory", "boundary", "compile"])
    options = parser.parse_args()
    on_gpu = options.device.startswith("cuda")
    options.precision = options.precision or ("bfloat16" if on_gpu else "float32")
    options.count = options.count or (2048 if on_gpu else 256) // (4 if options.quick else 1)
    options.image_size = options.image_size or (96 if options.quick else 224)
    repeats = 1 if options.quick else 3
    with tempfile.TemporaryDirectory() as temporary:
        setup = Setup(options, Path(temporary))
        print(
            f"{options.backbone}, {len(setup.files)} images of {setup.size} pixels, batch "
            f"{setup.batch}, {options.precision} on {options.device}"
        )
        for name, measure in (
            ("feed", lambda: measure_feed(setup, repeats)),
            ("files", lambda: measure_files(setup, repeats)),
            ("memory", lambda: measure_memory(setup)),
            ("boundary", lambda: measure_boundary(setup, repeats)),
            ("compile", lambda: measure_compiled(setup, repeats)),
        ):
            if options.only in (None, name):
                measure()


if __name__ == "__main__":
    main()
