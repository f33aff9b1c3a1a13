"""What every reader gives, and how readers name files, images and parts."""

from __future__ import annotations

import os.path
import posixpath
import re
import stat
from collections.abc import Collection, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from frostline.cache import InputError
from frostline.cache.workspace import is_url
from frostline.extract.images.decode import IMAGE_SUFFIXES
from frostline.extract.images.opened import remote_errors
from frostline.extract.readers.left_out import LeftOut

# Device and inode: what a folder is, under whatever name; of a URL that name.
Identity = tuple[int, int] | str

HIDDEN = "items hidden by their name"
TABLE_SUFFIXES = (".csv", ".tab", ".tsv", ".txt", ".xlsx", "")
REQUIRED: Any = object()  # an option that must be given


class OtherKindError(InputError):
    """Files, or options, that another kind may fit."""


@dataclass(frozen=True)
class Reading:
    """What a reader found.

    Attributes
    ----------
    table : DataFrame
        `image_id`, `path` (relative to its root, with `/`), `root` (number of the root),
        `frame`, `label`, `group_id`, `split` (the last four may hold None), then
        columns of the user.
    left_out : LeftOut
        What is not in the table, by reason; kept in the manifest.
    notes : dict
        Other facts about the data, kept in the manifest's `notes`.
    """

    table: pd.DataFrame
    left_out: LeftOut = field(default_factory=LeftOut)
    notes: dict[str, Any] = field(default_factory=dict)


def image_id(root: int, path: str, frame: int | None = None, axis: str = "z") -> str:
    """Name an image: relative path, `#z=37` for a slice, `1:` first in a further root.

    `axis` is the letter before the number.

    Raises
    ------
    InputError
        If the path is not valid UTF-8, which a manifest cannot hold.
    """
    try:
        path.encode()
    except UnicodeEncodeError:
        raise InputError(f"The name of {path!r} is not valid UTF-8: rename the file.") from None
    prefix = f"{root}:" if root else ""
    return prefix + path + ("" if frame is None else f"#{axis}={frame}")


def files_under(root: Path, left_out: LeftOut) -> Iterator[Path]:
    """Yield the regular files under a folder, sorted; hidden ones are left out and counted.

    Each real folder is entered once, under its own name: a link to a folder that is entered
    anyway, or was, or that holds the root, is left out and counted. So are links that lead nowhere.
    Pipes, sockets and devices are never opened.
    """
    yield from _walk(root, root, {_identity(root)}, left_out)


def _walk(folder: Path, root: Path, entered: set[Identity], left_out: LeftOut) -> Iterator[Path]:
    with remote_errors(folder) if is_url(folder) else nullcontext():
        inside = sorted(folder.iterdir())
    for path in inside:
        reason = _why_not(path, root, entered)
        if reason is not None:
            left_out.add(reason, path.relative_to(root).as_posix())
        elif path.is_dir():
            entered.add(_identity(path))
            yield from _walk(path, root, entered, left_out)
        else:
            yield path


def _why_not(path: Path, root: Path, entered: set[Identity]) -> str | None:
    """Say why something in a folder is left out; None if it is not."""
    if path.name.startswith(".") or path.name == "__MACOSX":
        return HIDDEN
    try:
        mode = path.stat().st_mode
    except OSError:
        return "links to nothing"
    if stat.S_ISREG(mode):
        return None
    if not stat.S_ISDIR(mode):
        return "items of another kind (pipe, socket, device)"
    return None if _is_new(path, root, entered) else "links to folders under another name"


def _is_new(folder: Path, root: Path, entered: set[Identity]) -> bool:
    if _identity(folder) in entered:
        return False
    real = folder.resolve()
    inside = real.is_relative_to(root.resolve()) or root.resolve().is_relative_to(real)
    return not (folder.is_symlink() and inside)


def _identity(path: Path) -> Identity:
    if is_url(path):
        return str(path)
    found = path.stat()
    return found.st_dev, found.st_ino


def check_classes(table: pd.DataFrame, roots: Sequence[Path]) -> None:
    """Refuse class folders that are one: nothing can be learned from a single class.

    Raises
    ------
    InputError
        Naming the one folder, and what to do.
    """
    labels = table["label"].dropna().unique()
    if len(labels) == 1:
        raise OtherKindError(
            f"All {len(table):,} images under {', '.join(map(str, roots))} are of one class, "
            f"{labels[0]!r}: give the folder that holds one folder for each class, or say where "
            "labels are with --kind table, or with --option label_folder=last where classes lie "
            "deeper."
        )


class Listing:
    """The files under the roots by name, for data sets that are spread over folders."""

    def __init__(self, roots: list[Path]) -> None:
        self.roots = roots
        self.left_out = LeftOut()
        self._files: dict[str, list[tuple[int, str]]] = {}
        self._images: dict[str, list[tuple[int, str]]] = {}
        for number, root in enumerate(roots):
            for path in files_under(root, self.left_out):
                file = number, path.relative_to(root).as_posix()
                self._files.setdefault(path.name, []).append(file)
                if path.suffix.lower() in IMAGE_SUFFIXES:
                    self._images.setdefault(path.stem, []).append(file)
                elif path.suffix.lower() not in TABLE_SUFFIXES:
                    self.left_out.add_suffix(file[1])

    def images(self) -> list[tuple[int, str]]:
        """List all images, as number of the root and path in it."""
        return sorted(file for files in self._images.values() for file in files)

    def leave_out(self, taken: Collection[tuple[int, str]], reason: str) -> None:
        """Count the images that are not taken."""
        for file in self.images():
            if file not in taken:
                self.left_out.add(reason, file[1], of="images")

    def image(self, name: str, where: str) -> tuple[int, str]:
        """Find an image by its name, with or without suffix, in whatever folder.

        Raises
        ------
        InputError
            If there is none, or several. `where` says who names it.
        """
        found = self._images.get(name, self._files.get(name, []))
        if not found:
            places = " or ".join(map(str, self.roots))
            raise InputError(f"{where}: there is no image {name} under {places}.")
        if len(found) > 1:
            first, second = (self.roots[root] / path for root, path in found[:2])
            raise InputError(f"{where}: image {name} is there twice, as {first} and {second}.")
        return found[0]

    def find(self, *names: str) -> Path | None:
        """Find the first of these files that is there, in whatever folder."""
        for name in names:
            for root, path in self._files.get(name, []):
                return self.roots[root] / path
        return None


def _relative(root: Path, path: str) -> str:
    """Give a path as it is from a root on, whether it lies in there or not."""
    if not is_url(root):
        return os.path.relpath(os.path.normpath(root / path), root)
    start = f"{root}/"
    relative = posixpath.normpath(path.removeprefix(start))
    # What is absolute, or what fsspec would take for another address, is in no root.
    return ".." if re.search(r"^/|:/|::", relative) else relative


def find_in_roots(roots: list[Path], path: str, where: str) -> tuple[int, str]:
    """Find a file of a table: the number of its root, and its path relative to that.

    Raises
    ------
    InputError
        If it is in no root, or outside of them all. `where` says who names the file.
    """
    # A table that was written on Windows has backslashes, which are letters elsewhere.
    for name in dict.fromkeys((path, path.replace("\\", "/"))):
        for number, root in enumerate(roots):
            relative = _relative(root, name)
            inside = relative != "." and relative.split(os.sep)[0] != ".."
            if inside and (root / relative).is_file():
                return number, relative.replace(os.sep, "/")
    places = " or ".join(str(root) for root in roots)
    absolute_or_leaving = os.path.isabs(path) or ".." in Path(path).parts
    if absolute_or_leaving and not is_url(roots[0]) and (roots[0] / path).exists():
        raise InputError(f"{where}: {path} lies outside of {places}; give a root that contains it.")
    raise InputError(f"{where}: there is no file {path} under {places}.")
