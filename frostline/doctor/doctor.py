"""The doctor's checks of the machine, of packages, and all others in their order."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from frostline.cache import Workspace
from frostline.cache.locks import system_memory
from frostline.doctor.check import Check
from frostline.doctor.stores import check_stores
from frostline.doctor.weights import check_weights

# What each optional package is for; those for work on Frostline itself are left out.
EXTRAS = {
    "demo": "real weights of effnet-lite0, for the demo",
    "dask": "sweeps on a Dask cluster",
    "dicom": "DICOM files",
    "hub": "models of Hugging Face, as hf:ORG/NAME",
    "labels": "labels that are probably wrong: `frostline audit --label-errors`",
    "lora": "adapters: `frostline finetune --unfreeze lora`",
    "maps": "maps of embeddings by UMAP",
    "medmnist": "the data sets of MedMNIST",
    "mlflow": "runs in MLflow: `--track mlflow`",
    "onnx": "extraction by ONNX Runtime, faster on a CPU, and `frostline export`",
    "openvino": "extraction by OpenVINO, the fastest on a CPU",
    "s3": "images in buckets, as s3://BUCKET/FOLDER",
    "tensorboard": "runs in TensorBoard: `--track tensorboard`",
    "wandb": "runs in Weights & Biases: `--track wandb`",
    "xlsx": "tables as .xlsx",
}
WRITTEN = 64 << 20  # bytes of the test of the disk
LOW_MEMORY = 4 << 30
LOW_DISK = 10 << 30


def run_doctor(workspace: Workspace, sample: int) -> Iterator[Check]:
    """Yield every check, one after the other, each as soon as it is done.

    Parameters
    ----------
    sample : int
        Images of every embedding store that are embedded again and compared; 0 for none.
    """
    yield from check_installation()
    yield from check_gpus()
    yield check_memory()
    yield check_disk(workspace.root)
    yield from check_weights()
    yield from check_extras()
    if sample:
        yield from check_stores(workspace, sample)


def check_installation() -> Iterator[Check]:
    """Check versions, and required packages that are missing or too old."""
    yield Check(
        "versions",
        "ok",
        f"frostline {version('frostline')}, Python {platform.python_version()}, "
        f"torch {version('torch')}, torchvision {version('torchvision')}, timm {version('timm')}",
    )
    for need, found in _unmet(""):
        yield Check("versions", "problem", f"{need} is needed: {found}", f"pip install '{need}'")


def check_gpus() -> Iterator[Check]:
    """Check each GPU, its memory, and whether it computes in the precision that would be chosen."""
    import torch

    if torch.cuda.is_available():
        yield from (_check_gpu(number) for number in range(torch.cuda.device_count()))
    elif Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi"):
        yield Check(
            "gpu",
            "problem",
            f"there is an NVIDIA driver, and torch {torch.__version__} cannot use it",
            "install a torch built for the driver's CUDA version (https://pytorch.org), or a newer "
            "driver",
        )
    else:
        yield Check(
            "gpu",
            "note",
            "none: the CPU computes, in float32",
            "nothing for frozen runs; fine-tune large backbones where there is a GPU",
        )


def _check_gpu(number: int) -> Check:
    import torch

    from frostline.stages import Machine

    device = f"cuda:{number}"
    try:
        free, total = torch.cuda.mem_get_info(number)
        _, precision = Machine(device).resolve()
        square = torch.ones(256, 256, device=device, dtype=getattr(torch, precision))
        if (square @ square).sum().item() != 256**3:
            raise RuntimeError("it multiplies wrongly")
    except (RuntimeError, AssertionError) as error:  # the latter: torch has no CUDA at all
        sentence = str(error).strip().splitlines()[0]
        do = "update driver and torch, or use --device cpu"
        return Check("gpu", "problem", f"{device} does not compute: {sentence}", do)
    return Check(
        "gpu",
        "ok",
        f"{device}: {torch.cuda.get_device_name(number)}, {_gib(total)}, {_gib(free)} free; "
        f"computes in {precision} (and float32)",
    )


def check_memory() -> Check:
    """Check total and free memory; the limit of a container counts."""
    total, free = system_memory()
    if total is None:
        found = f"this system does not say; {os.cpu_count()} cores"
        return Check("memory", "note", found, "look in the system's own monitor")
    limit = _number_in(Path("/sys/fs/cgroup/memory.max"))
    total = min(total, limit or total)
    left = "" if free is None else f", {_gib(min(free, total))} free"
    found = f"{_gib(total)}{left}; {os.cpu_count()} cores"
    if total < LOW_MEMORY:
        return Check("memory", "note", found, "take a small --batch and few --workers")
    return Check("memory", "ok", found)


def check_disk(folder: Path) -> Check:
    """Write a file, flush it to disk, and delete it, where the workspace is or would be."""
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    try:
        with tempfile.TemporaryFile(dir=place) as file:
            block = os.urandom(1 << 20)
            start = time.perf_counter()
            for _ in range(WRITTEN >> 20):
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
            rate = WRITTEN / (time.perf_counter() - start) / 1e6
        free = shutil.disk_usage(place).free
    except OSError as error:
        do = "choose another --workspace, or free some space"
        return Check("disk", "problem", f"{place} cannot be written: {error.strerror}", do)
    found = f"{rate:.0f} MB/s written and flushed, {free / 1e9:.0f} GB free, in {place}"
    if free < LOW_DISK:
        return Check("disk", "note", found, "an image of 224 × 224 pixels takes 150 kB: make room")
    return Check("disk", "ok", found)


def check_extras() -> Iterator[Check]:
    """Check optional packages, each by the name of its extra."""
    for extra, purpose in EXTRAS.items():
        unmet = _unmet(extra)
        if not unmet:
            yield Check(extra, "ok", f"installed: {purpose}")
            continue
        wrong = [found for _, found in unmet if found != "not installed"]
        yield Check(
            extra,
            "problem" if wrong else "note",
            f"{', '.join(wrong) if wrong else 'not installed'}: {purpose}",
            f"pip install 'frostline[{extra}]'",
        )


def _unmet(extra: str) -> list[tuple[str, str]]:
    """List the unmet requirements of an extra, or of Frostline itself, and what is there."""
    from packaging.requirements import Requirement

    unmet = []
    for text in requires("frostline") or []:
        need = Requirement(text)
        if not (need.marker.evaluate({"extra": extra}) if need.marker else not extra):
            continue
        wanted = f"{need.name}{need.specifier}"
        try:
            found = version(need.name)
        except PackageNotFoundError:
            unmet.append((wanted, "not installed"))
            continue
        if not need.specifier.contains(found, prereleases=True):
            unmet.append((wanted, f"{need.name} {found} is there, {wanted} is needed"))
    return unmet


def _number_in(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # no such limit, or "max"
        return None


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"
