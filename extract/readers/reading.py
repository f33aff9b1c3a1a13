"""What every reader gives, and how readers name files, images and parts."""

from __future__ import annotations

import os.path
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from frostline.cache import InputError
from frostline.extract.images.decode import IMAGE_SUFFIXES

REQUIRED: Any = object()  # an option that must be given


@dataclass(frozen=True)
class Reading:
    """What a reader found.

    Attributes
    ----------
    table : DataFrame
        `image_id`, `path` (relative to its root, with `/`), `root` (number of the root),
        `frame`, `label`, `group_id`, `split` (the last four may hold None), then
        columns of the user.
    notes : dict
        What was left out and how often, kept in the manifest's `notes`.
    """

    table: pd.DataFrame
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


def files_under(folder: Path, ignored: Counter[str]) -> Iterator[Path]:
    """Yield the files under a folder, sorted; hidden ones are left out and counted."""
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.name == "__MACOSX":
            ignored["hidden"] += 1
        elif path.is_dir():
            yield from files_under(path, ignored)
        else:
            yield path


class Listing:
    """The files under the roots by name, for data sets that are spread over folders."""

    def __init__(self, roots: list[Path]) -> None:
        self.roots = roots
        self.ignored: Counter[str] = Counter()
        self._files: dict[str, list[tuple[int, str]]] = {}
        self._images: dict[str, list[tuple[int, str]]] = {}
        for number, root in enumerate(roots):
            for path in files_under(root, self.ignored):
                file = number, path.relative_to(root).as_posix()
                self._files.setdefault(path.name, []).append(file)
                if path.suffix.lower() in IMAGE_SUFFIXES:
                    self._images.setdefault(path.stem, []).append(file)

    def images(self) -> list[tuple[int, str]]:
        """List all images, as number of the root and path in it."""
        return sorted(file for files in self._images.values() for file in files)

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


def find_in_roots(roots: list[Path], path: str, where: str) -> tuple[int, str]:
    """Find a file of a table: the number of its root, and its path relative to that.

    Raises
    ------
    InputError
        If it is in no root, or outside of them all. `where` says who names the file.
    """
    for number, root in enumerate(roots):
        relative = os.path.relpath(os.path.normpath(root / path), root)
        inside = relative != "." and relative.split(os.sep)[0] != ".."
        if inside and (root / relative).is_file():
            return number, relative.replace(os.sep, "/")
    places = " or ".join(str(root) for root in roots)
    absolute_or_leaving = os.path.isabs(path) or ".." in Path(path).parts
    if absolute_or_leaving and (roots[0] / path).exists():
        raise InputError(f"{where}: {path} lies outside of {places}; give a root that contains it.")
    raise InputError(f"{where}: there is no file {path} under {places}.")
