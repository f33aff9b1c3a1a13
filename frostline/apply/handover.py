"""What an exported run is handed over with: a script, its geometry as JSON, and its model card."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from frostline.apply.load import LoadedRun
from frostline.cache import InputError
from frostline.cache.atomic import write_text
from frostline.cache.versions import versions
from frostline.report.manuscript.card import NAME as CARD

SCRIPT = "predict.py"
# A script that says this was written by some release, and may be replaced by another's.
MARK = "Written by `frostline export`."
KEYS = (
    *("dataset", "backbone", "feature", "unfreeze", "head", "weights", "weights_digest"),
    *("store_key", "manifest_digest", "classes_declared", "class_order"),
)


def script() -> str:
    """Give the text of `predict.py`, which runs where there is no Frostline."""
    return Path(__file__).with_name("predict_alone.py").read_text(encoding="utf-8")


def check_free(path: Path, *, overwrite: bool = False) -> None:
    """Refuse to replace an ONNX file or what lies beside it.

    Raises
    ------
    InputError
        If one is there and is not to be replaced, or `predict.py` is somebody's own.
    """
    for one in (path, path.with_suffix(".json"), path.with_suffix(".md")):
        if one.exists() and not overwrite:
            raise InputError(f"{one} is there: name another file by --out, or give --overwrite.")
    written = path.with_name(SCRIPT)
    if not written.exists():
        return
    there = written.read_text(encoding="utf-8", errors="replace")
    if MARK not in there:
        raise InputError(
            f"{written} was not written by Frostline, and would be replaced: name another folder "
            f"by --out, such as handover/{path.name}."
        )
    if there != script() and not overwrite:
        raise InputError(
            f"{written} is of another release: name another folder by --out, or give --overwrite."
        )


def write_beside(
    loaded: LoadedRun, path: Path, onnx: Path, temperature: float | None, worst: float
) -> None:
    """Write script, JSON and model card beside an ONNX file.

    Parameters
    ----------
    path, onnx : Path
        What the ONNX file is going to be called, and where it lies now.
    worst : float
        The largest difference to PyTorch's probabilities that was found.
    """
    about = {
        "format": "frostline-export",
        "format_version": 1,
        "run": loaded.run,
        "onnx": {
            "file": path.name,
            "sha256": hashlib.sha256(onnx.read_bytes()).hexdigest(),
            "largest_difference": worst,
        },
        "classes": loaded.classes,
        **images(loaded),
        "temperature": temperature,
        "trained": trained(loaded),
        "versions": {"trained": loaded.about.get("versions"), "exported": versions()},
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_text(path.with_name(SCRIPT), script())
    text = json.dumps(about, indent=2, ensure_ascii=False)
    write_text(path.with_suffix(".json"), f"{text}\n")
    card = loaded.folder / CARD
    if card.is_file():
        write_text(path.with_suffix(".md"), card.read_text(encoding="utf-8"))


def trained(loaded: LoadedRun) -> dict[str, Any]:
    """Say what the run was trained from, with the keys by which it is found again."""
    about = {name: loaded.about.get(name) for name in KEYS}
    of_probe = loaded.about.get("embedding_spec") or {}
    return about | {"weights_digest": about["weights_digest"] or of_probe.get("weights")}


def images(loaded: LoadedRun) -> dict[str, Any]:
    """Say how a file becomes what the network sees."""
    bits = "the window of the geometry" if loaded.geometry.window else "the high byte of 16 bits"
    dicom = bits if loaded.geometry.window else "the file's own window, else all bits stored"
    return {
        "channels": loaded.channels,
        "geometry": {**loaded.geometry.to_spec(), "antialias": True},
        "intensities": {"of more than 8 bits": bits, "DICOM": dicom},
        "order": ["rescale (DICOM)", "8 bits", "channels", "resize", "centre crop"],
        "normalisation": {**loaded.normalisation, "inside": True},
    }
