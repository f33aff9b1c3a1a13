"""Versions of Python and of the libraries that compute results."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

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
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
