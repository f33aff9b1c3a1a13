"""Paths of a workspace (docs/format.md, 'Workspace'), and of images wherever they are."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from frostline.cache.errors import InputError
from frostline.cache.stamped import is_whole_parquet

# Where a workspace is unless a folder is given: what this variable says, else here.
VARIABLE, DEFAULT = "FROSTLINE_WORKSPACE", "frostline-workspace"
# File systems allow 255; endings and temporary names need some of them.
LONGEST_NAME = 200
# Devices of Windows, with any ending.
DEVICES = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)


@dataclass(frozen=True)
class Workspace:
    """A folder and the places in it."""

    root: Path

    def manifest(self, dataset: str) -> Path:
        """Return the path of a data set's manifest."""
        return self.root / "manifests" / f"{checked_name(dataset)}.parquet"

    def pixels(self, dataset: str) -> Path:
        """Return the folder of a data set's pixel stores, one sub-folder a key."""
        return self.root / "pixels" / checked_name(dataset)

    def embeddings(self, dataset: str, backbone: str) -> Path:
        """Return the folder of the embedding stores of a backbone, one sub-folder a key."""
        return self.root / "embeddings" / checked_name(dataset) / file_safe(backbone)

    def views(self, dataset: str, backbone: str) -> Path:
        """Return the folder of the stores of augmented views, one sub-folder a key."""
        return self.root / "views" / checked_name(dataset) / file_safe(backbone)

    def boundaries(self, dataset: str, backbone: str) -> Path:
        """Return the folder of the boundary stores of a backbone, one sub-folder a key."""
        return self.root / "boundaries" / checked_name(dataset) / file_safe(backbone)

    def model(self, run: str) -> Path:
        """Return the folder of a run's model."""
        return self.root / "models" / _run_name(run)

    def predictions(self, run: str) -> Path:
        """Return the path of a run's predictions."""
        return self.root / "predictions" / f"{_run_name(run)}.parquet"

    def has_predictions(self, run: str) -> bool:
        """Say whether a run's predictions are there, from first to last byte."""
        return is_whole_parquet(self.predictions(run))

    def report(self, study: str) -> Path:
        """Return the folder of a study's report."""
        return self.root / "reports" / checked_name(study)

    def sweep(self, name: str) -> Path:
        """Return the folder of a sweep's results."""
        return self.root / "sweeps" / checked_name(name)

    def record(self, key: str) -> Path:
        """Return the path of a step's record (docs/format.md, 'Studies')."""
        return self.root / "runs" / f"{key}.json"

    def datasets(self) -> list[str]:
        """List the data sets that have a manifest, sorted by name."""
        return sorted(path.stem for path in (self.root / "manifests").glob("[!.]*.parquet"))


def is_name(name: str) -> bool:
    """Say whether a data set, study or sweep can be called so."""
    return re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]*", name) is not None


def begun_by(run: str, names: Iterable[str]) -> str:
    """Find the run of this name, or the one whose name begins so; "" if none does.

    Raises
    ------
    InputError
        If several begin so.
    """
    found = sorted({name for name in names if run and name.startswith(run)})
    if run in found or len(found) == 1:
        return run if run in found else found[0]
    if found:
        listed = ", ".join(found[:4])
        raise InputError(f"{len(found)} runs begin with {run!r}: name one of them ({listed}).")
    return ""


def checked_name(name: str) -> str:
    """Return `name` if it can name a data set, study or sweep, else raise InputError."""
    _check_length(name)
    if not is_name(name):
        raise InputError(
            f"{name!r} cannot be a name: use letters, digits, '.', '-' and '_', no dot in front."
        )
    return name


def check_new(path: Path) -> None:
    """Refuse a name that not every system could keep, unless it is there already.

    Parameters
    ----------
    path : Path
        A file or folder of a workspace, its name checked by `checked_name` or `file_safe`.

    Raises
    ------
    InputError
        If Windows has a device of this name or drops its last dot, or if it differs from the name
        of another in upper and lower case alone, which Windows and macOS take for one.
    """
    if path.parent.is_dir():
        there = {one.name for one in path.parent.iterdir()}
        if path.name in there:
            return
        for other in there:
            if other.casefold() == path.name.casefold():
                raise InputError(
                    f"'{_bare(path.name)}' cannot be a name: '{_bare(other)}' is there, and "
                    "Windows and macOS take both for one; use that one, or choose a name that "
                    "differs in more than case."
                )
    if DEVICES.fullmatch(path.name) or _bare(path.name).endswith("."):
        raise InputError(
            f"'{_bare(path.name)}' cannot be a name, because Windows can have no file of this "
            "name: choose another."
        )


def _bare(name: str) -> str:
    return name.removesuffix(".parquet")


def file_safe(name: str) -> str:
    """Write a name of a backbone or feature as a file name: other characters as %XX.

    Raises
    ------
    InputError
        If it is too long, is nothing, or would be a hidden file or the folder above ("..").
    """
    _check_front(name)
    safe = re.sub(
        r"[^A-Za-z0-9._-]",
        lambda match: "".join(f"%{byte:02X}" for byte in match[0].encode(errors="replace")),
        name,
    )
    _check_length(safe)
    return safe


def _run_name(run: str) -> str:
    """Return the name of a run if it is that of a file in a folder, whatever else it holds."""
    _check_front(run)
    _check_length(run)
    if re.search(r"[/\\\x00-\x1f\ud800-\udfff]", run):
        raise InputError(f"There is no run {run!r}: a run is named without folders, by text.")
    return run


def _check_front(name: str) -> None:
    if not name or name.startswith("."):
        raise InputError(f"{name!r} cannot be a name: it needs a letter or digit, no dot in front.")


def _check_length(name: str) -> None:
    if len(name.encode(errors="replace")) > LONGEST_NAME:
        raise InputError(
            f"'{name[:20]}…' cannot be a name: it has more than {LONGEST_NAME} bytes as the name "
            "of a file; choose a shorter one."
        )


def is_url(path: object) -> bool:
    """Say whether a path is a URL, such as `s3://bucket/folder`."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", str(path)) is not None


def as_path(path: str | os.PathLike[str]) -> Path:
    """Give the path of a file or folder; that of a URL is read through fsspec.

    Raises
    ------
    InputError
        If universal-pathlib, or the protocol's own package, is not installed, or there is no such
        protocol.
    """
    if not is_url(path):
        return Path(path)
    text = str(path)
    if "::" in text:
        raise InputError(f"{text} is a chain of addresses: give a single one, such as s3://bucket.")
    if text.startswith("file://"):
        return Path(text.removeprefix("file://"))
    try:
        from upath import UPath

        found: Any = UPath(text)
        _ = found.fs
    except ImportError as error:
        raise InputError(
            f"{text} cannot be read without a package ({error}): `pip install 'frostline[s3]'` "
            "brings what s3:// needs, and other protocols have their own."
        ) from error
    except ValueError as error:
        raise InputError(f"{text} cannot be read ({error}): correct the URL.") from error
    return found
