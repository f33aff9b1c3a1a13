"""Versions of what computes results: Python, libraries, and the stages of Frostline itself."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from frostline.cache.errors import InputError

# The number of each stage, raised when the same input gives other numbers than before. It is part
# of keys and run ids (docs/format.md, 'Spec and key'), so that a release that computes otherwise
# makes things again. 1 is not written, so that keys and ids of release 0.1 still hold.
STAGES = {
    "pixels": 1,
    "embeddings": 1,
    "probe": 2,
    "finetune": 1,
    "external": 1,
    "statistics": 20,
    "figures": 15,
}

# What may decide a number somewhere between an image file and a page.
PACKAGES = (
    "frostline",
    "h5py",
    "joblib",
    "matplotlib",
    "nibabel",
    "numpy",
    "onnxruntime",
    "pandas",
    "peft",
    "pillow",
    "pyarrow",
    "pydicom",
    "safetensors",
    "scikit-learn",
    "scipy",
    "timm",
    "torch",
    "torchvision",
    "transformers",
)


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that are installed here.

    Returns
    -------
    dict of str to str
        `python` first, then `PACKAGES` in their order; packages that are not installed are absent.
    """
    return dict(_installed())


@cache
def _installed() -> dict[str, str]:
    """Ask once: each answer is a file that is found, read and parsed."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    # Of the code that runs: an editable install knows the version of the day it was made.
    return found | {"frostline": sys.modules["frostline"].__version__}


def numbered(stage: str, content: Mapping[str, Any]) -> dict[str, Any]:
    """Add the number of a stage to what a key or a run id is made from, as `stage`."""
    number = STAGES[stage]
    return {**content, "stage": number} if number > 1 else dict(content)


def check_stage(stage: str, spec: Mapping[str, Any], what: str) -> None:
    """Raise InputError if a spec that was kept is of another number than this release computes.

    Parameters
    ----------
    what : str
        What was made by it, to begin a sentence.
    """
    made = spec.get("stage", 1)
    if made != STAGES[stage]:
        raise InputError(
            f"{what} was made by a release that computes {stage} by other formulas (number {made} "
            f"there, {STAGES[stage]} here): use that release, or train again with this one."
        )
