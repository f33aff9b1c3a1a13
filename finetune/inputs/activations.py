"""Stored activations: what frozen blocks give, computed once for all epochs and runs.

They lie in a store like embeddings; those that the head sees are the embeddings themselves, in the
same store that `frostline extract` fills.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from frostline.cache import (
    EMBEDDINGS,
    InputError,
    Store,
    StoreWriter,
    Workspace,
    part_files,
    spec_key,
)
from frostline.cache.stores.measured import measure_once
from frostline.cache.stores.values import Values
from frostline.cache.versions import numbered
from frostline.extract.forward import device_name
from frostline.finetune.conditions import Conditions
from frostline.finetune.inputs.boundary import HEAD, Boundary, NoBoundaryError, find_boundary
from frostline.finetune.inputs.pixels import Part, StorePixels, as_input, may_hold, read_ahead
from frostline.finetune.memory import largest_that_fits
from frostline.finetune.model import Classifier
from frostline.finetune.parallel import first_rank_first, least_over_ranks
from frostline.finetune.recipe import Recipe

Progress = Callable[[int, int], None]
WAYS = ("auto", "on", "off")
# What `auto` may write: bytes, and as a share of the free disk.
LIMIT_BYTES = 20_000_000_000
DISK_SHARE = 0.5
# Images that are timed on a CPU, at most: what is faster is so by far. A GPU takes a whole batch.
CPU_IMAGES = 4


@dataclass(frozen=True)
class Images:
    """Images whose activations may be stored, and where.

    Attributes
    ----------
    workspace : Workspace
        Where measurements are noted.
    parts : mapping of str to Part
        All splits, with pixels from a store.
    common : dict
        Of the spec: `pixels`, `normalisation`, `backbone`, `weights`, `feature`, `compute`.
    embeddings, boundaries : Path
        Folders of stores, for what the head sees and for all else.
    provenance : dict
        Versions, device, origin of the weights.
    """

    workspace: Workspace
    parts: Mapping[str, Part]
    common: Mapping[str, Any]
    embeddings: Path
    boundaries: Path
    provenance: Mapping[str, Any]


@dataclass(frozen=True)
class Kept:
    """What is stored of a run's activations, if anything.

    Attributes
    ----------
    boundary : Boundary or None
    parts : dict of str to Part
        The splits whose activations are kept, with these.
    about : dict
        For the metadata of the run: `boundary` (block, key of the store, bytes an image), or None
        and why (`boundary_reason`).
    said : str
        A sentence for people.
    """

    boundary: Boundary | None
    parts: dict[str, Part]
    about: dict[str, Any]
    said: str


def keep_activations(
    way: str,
    model: Classifier,
    blocks: list[str],
    images: Images,
    recipe: Recipe,
    where: Conditions,
    progress: Progress | None = None,
) -> Kept:
    """Compute and store what enters the first block that trains, if that is possible.

    Parameters
    ----------
    way : str
        "auto" (where reading them is faster than computing them), "on" or "off".
    model : Classifier
        On its device; `unfreeze` has marked what trains, and gave `blocks`.

    Raises
    ------
    InputError
        If there is no such way, or it is "on" where activations cannot be kept.
    """
    if way not in WAYS:
        raise InputError(f"--boundary is {', '.join(WAYS[:-1])} or {WAYS[-1]}, not {way!r}.")
    size = int(images.common["pixels"]["geometry"]["crop"])
    together = recipe.micro_batch if recipe.micro_batch not in (0, "auto") else recipe.batch_size
    batch = int(together)
    try:
        _check_recipe(way, recipe, where)
        boundary = find_boundary(model, blocks, size, where)
        store = Activations.of(boundary, images)
        reason = ""
        if way == "auto":
            passes = recipe.epochs * len(recipe.lr)
            reason = store.too_large() or store.too_slow(
                model, where, batch, passes, images.workspace
            )
        # All processes do the same, if one of them must not.
        if not least_over_ranks(int(not reason), torch.device(where.device)):
            raise NoBoundaryError(reason or "another process cannot keep them")
    except NoBoundaryError as error:
        if way == "on":
            raise InputError(f"--boundary on is not possible here: {error}.") from error
        frozen = any(not parameter.requires_grad for parameter in model.parameters())
        said = f"Frozen blocks are computed in every epoch, because {error}." if frozen else ""
        return Kept(None, {}, {"boundary": None, "boundary_reason": str(error)}, said)
    store.fill(model, where, batch, images.provenance, progress)
    about = {"block": boundary.block, "key": store.folder.name, "row_bytes": boundary.row_bytes}
    total = len(Store.open(store.folder)) * boundary.row_bytes / 1e6
    said = (
        f"What enters {boundary.block} is computed once and kept: {total:,.1f} MB, {store.folder}"
    )
    return Kept(boundary, store.feeds(), {"boundary": about}, said)


def _check_recipe(way: str, recipe: Recipe, where: Conditions) -> None:
    if way == "off":
        raise NoBoundaryError("keeping their output is switched off")
    if recipe.augments:
        raise NoBoundaryError("augmentation changes the images in every epoch")
    if where.compiled:
        raise NoBoundaryError("torch.compile takes the network as a whole")
    if way == "auto" and recipe.epochs * len(recipe.lr) == 1:
        raise NoBoundaryError("there is only one epoch")


def boundary_spec(boundary: Boundary, common: Mapping[str, Any]) -> dict[str, Any]:
    """Give everything that changes the activations (docs/format.md, 'Spec and key').

    Parameters
    ----------
    common : mapping
        `pixels`, `normalisation`, `backbone`, `weights`, `feature`, `compute`.
    """
    common = numbered("embeddings", common)
    if boundary.block == HEAD:
        return {**common, "storage": "float32"}
    form = boundary.form
    layout = {"layout": "channels_last"} if form.channels_last else {}
    storage = str(form.dtype).removeprefix("torch.")
    return {**common, "feature": f"block:{boundary.block}", "storage": storage, **layout}


@dataclass(frozen=True)
class Activations:
    """The store of the activations of some images.

    Attributes
    ----------
    folder : Path
    spec : dict
    boundary : Boundary
    parts : dict of str to Part
        The splits that are kept, with pixels.
    """

    folder: Path
    spec: dict[str, Any]
    boundary: Boundary
    parts: dict[str, Part]

    @classmethod
    def of(cls, boundary: Boundary, images: Images) -> Activations:
        """Find their place: among the embeddings if they are such, else among the boundaries."""
        spec = boundary_spec(boundary, images.common)
        if boundary.block == HEAD:
            return cls(images.embeddings / spec_key(spec), spec, boundary, dict(images.parts))
        # Test images are seen once, and run through the whole network then.
        parts = {name: part for name, part in images.parts.items() if name != "test"}
        return cls(images.boundaries / spec_key(spec), spec, boundary, parts)

    def missing(self) -> tuple[Store, np.ndarray]:
        """Find the pixel store, and those of its rows whose activations are not there yet."""
        feeds = [_stored(part) for part in self.parts.values()]
        pixels = feeds[0].store
        rows = np.unique(np.concatenate([feed.rows for feed in feeds]))
        if part_files(self.folder):
            rows = rows[Store.open(self.folder).locate(pixels.keys[rows]) < 0]
        return pixels, rows

    def too_large(self) -> str:
        """Give the reason why the disk should not hold them, as a clause; empty if it may."""
        size = len(self.missing()[1]) * self.boundary.row_bytes
        place = next(path for path in self.folder.parents if path.exists())
        limit = min(LIMIT_BYTES, round(DISK_SHARE * shutil.disk_usage(place).free))
        if size <= limit:
            return ""
        return (
            f"their output would take {size / 1e9:.1f} GB of disk and --boundary auto writes "
            f"{limit / 1e9:.1f} GB"
        )

    def too_slow(
        self, model: Classifier, where: Conditions, batch: int, passes: int, workspace: Workspace
    ) -> str:
        """Give the reason why reading them saves no time, as a clause; empty if it does.

        Parameters
        ----------
        batch : int
            Images that are computed at a time.
        passes : int
            Epochs of all learning rates.
        """
        device = torch.device(where.device)
        if device.type != "cuda":
            batch = min(batch, CPU_IMAGES)
        what = {
            "activations": self.folder.name,
            "batch": batch,
            "device": device_name(where.device),
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
        }
        try:
            found = measure_once(workspace, what, lambda: self.seconds(model, where, batch))
        except torch.OutOfMemoryError:
            return f"the device's memory does not hold {batch} images at a time"
        reading, computing, said = found["reading"], found["computing"], "computing it"
        if may_hold(len(self.parts["train"]) * self.boundary.row_bytes, device):
            # They are read once, and stay on the device.
            computing, said = computing * passes, f"computing it {passes} times"
        if reading < computing:
            return ""
        return (
            f"reading their output takes longer than {said} ({1e6 * reading:,.0f} and "
            f"{1e6 * computing:,.0f} µs an image)"
        )

    @torch.inference_mode()
    def seconds(self, model: Classifier, where: Conditions, batch: int) -> dict[str, float]:
        """Measure, for an image, the seconds to read its activations and to compute them.

        Nothing is stored yet: the pixels of a batch are read in their place, and the time is that
        of as many bytes. All is done twice, and the first time pays for starting; the second time
        the bytes come from the system's memory, as they do in all epochs but the first.
        """
        feed, device = _stored(self.parts["train"]), torch.device(where.device)
        indices = torch.linspace(0, len(feed.rows) - 1, min(batch, len(feed.rows))).long()
        buffer = feed.buffer(len(indices), pinned=device.type == "cuda")
        model.eval()
        found = {}
        for _ in range(2):
            start = _now(device)
            images = feed.batch(indices, buffer).to(device, non_blocking=True)
            arrived = _now(device)
            with where.autocast():
                self.boundary.enter(model, as_input(images, where.normalisation, device))
            share = self.boundary.row_bytes / images[0].nbytes
            found = {
                "reading": share * (arrived - start) / len(indices),
                "computing": (_now(device) - arrived) / len(indices),
            }
        return found

    def fill(
        self,
        model: Classifier,
        conditions: Conditions,
        batch: int,
        provenance: Mapping[str, Any],
        progress: Progress | None = None,
    ) -> None:
        """Compute what is missing, in batches that are all of one size: as many as memory holds."""
        with first_rank_first():
            pixels, rows = self.missing()
            if not len(rows):
                return
            batch = largest_that_fits(lambda size: self._fits(model, conditions, size), batch)
            starts = range(0, len(rows), batch)
            order = [torch.arange(s, s + batch).clamp(max=len(rows) - 1) for s in starts]
            wanted = Part(StorePixels(pixels, rows), torch.zeros(len(rows)), [])
            batches = read_ahead(wanted, order, torch.device(conditions.device))
            model.eval()
            made = Values(f"{self.spec['backbone']}, {self.spec['feature']}")
            with StoreWriter(self.folder, EMBEDDINGS, self.spec, provenance) as writer:
                for start, (_, images) in zip(starts, batches, strict=True):
                    chosen = rows[start : start + batch]
                    values = self._enter(model, images, conditions)
                    writer.append(pixels.keys[chosen], values[: len(chosen)])
                    if self.boundary.block == HEAD:
                        made.add(values[: len(chosen)])
                    if progress is not None:
                        progress(start + len(chosen), len(rows))
            made.warn()

    def _fits(self, model: Classifier, where: Conditions, size: int) -> bool:
        """Try so many images; on a CPU there is nothing to try."""
        if torch.device(where.device).type != "cuda":
            return True
        pixels = _stored(next(iter(self.parts.values()))).store
        images = torch.zeros(size, *pixels.shape, dtype=torch.uint8, device=where.device)
        try:
            with torch.inference_mode(), where.autocast():
                self.boundary.enter(
                    model.eval(), as_input(images, where.normalisation, where.device)
                )
        except torch.OutOfMemoryError:
            return False
        return True

    @torch.inference_mode()
    def _enter(self, model: Classifier, images: torch.Tensor, where: Conditions) -> np.ndarray:
        inputs = as_input(images, where.normalisation, where.device)
        with where.autocast():
            return self.boundary.form.at_rest(self.boundary.enter(model, inputs))

    def feeds(self) -> dict[str, Part]:
        """Give the parts with activations instead of pixels."""
        store = Store.open(self.folder)
        found = {}
        for name, part in self.parts.items():
            pixels = _stored(part)
            rows = store.locate(pixels.store.keys[pixels.rows])
            found[name] = replace(part, pixels=StorePixels(store, rows, self.boundary.form))
        return found


def _stored(part: Part) -> StorePixels:
    assert isinstance(part.pixels, StorePixels)
    return part.pixels


def _now(device: torch.device) -> float:
    """Give the time in seconds, once the device has done what it was asked for."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
