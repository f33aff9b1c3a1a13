"""Images that are in no data set: files, folders, volumes and DICOM, as they are named."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from frostline.cache import InputError
from frostline.cache.locks import own_cores
from frostline.extract.images.decode import (
    DICOM_SUFFIXES,
    IMAGE_SUFFIXES,
    VOLUME_SUFFIXES,
    decode_file,
    has_dicom_prefix,
)
from frostline.extract.images.geometry import Channels, Geometry
from frostline.extract.images.slices import check_rule, pick_slices
from frostline.extract.readers.left_out import LeftOut
from frostline.extract.readers.reading import files_under

MIN_ROI = 30


class NewFile(NamedTuple):
    """A file and the frames to predict: axial slices, frames, or [None] for its only image."""

    path: Path
    frames: list[int | None]

    def names(self) -> list[str]:
        """Give `image_id` of each image: the path as it was named, `#z=37` for a slice or frame."""
        return [f"{self.path}" + ("" if n is None else f"#z={n}") for n in self.frames]


@dataclass(frozen=True)
class Slices:
    """Which slices of volumes to predict; all by default.

    Attributes
    ----------
    first, stop : int or None
        Axial slices from `first` to before `stop`.
    rule : str or None
        Those that `pick_slices` takes, such as `middle:20`; not with a mask.
    mask : Path or None
        Those in which this volume marks more than `min_roi` pixels.
    min_roi : int
    """

    first: int | None = None
    stop: int | None = None
    mask: Path | None = None
    min_roi: int = MIN_ROI
    rule: str | None = None

    def __post_init__(self) -> None:
        if self.rule is not None:
            check_rule(self.rule)
        if self.rule is not None and self.mask is not None:
            raise InputError(
                f"A mask says which slices are taken, and so does {self.rule!r}: leave one out."
            )


@dataclass
class NewImages:
    """Files to be read, in the order in which they were named.

    Attributes
    ----------
    files : list of NewFile
    skipped : list of str
        With `on_error="skip"`, a sentence for each file that could not be read.
    ignored : int
        Files in folders that are no images.
    volumes : int
        How many of the files are volumes.
    """

    on_error: Literal["stop", "skip"] = "stop"
    files: list[NewFile] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    ignored: int = 0
    volumes: int = 0

    def __len__(self) -> int:
        return sum(len(file.frames) for file in self.files)

    def add(self, path: Path, slices: Slices, geometry: Geometry) -> None:
        """Add a file, or all images in a folder and the folders in it.

        Raises
        ------
        InputError
            If there is no such file, it cannot be read (unless it is to be skipped), or a folder
            holds no image.
        """
        if not path.is_dir():
            return self._add_file(path, slices, geometry)
        passed = LeftOut()
        files = list(files_under(path, passed))
        found = [file for file in files if _kind(file) is not None]
        self.ignored += len(files) - len(found) + passed.total()
        if not found:
            raise InputError(f"There is no image in folder {path}: name another.")
        for file in found:
            self._add_file(file, slices, geometry)

    def _add_file(self, path: Path, slices: Slices, geometry: Geometry) -> None:
        try:
            frames = _frames(path, slices, geometry)
        except InputError as error:
            self._failed(error)
            return
        if any(path == file.path for file in self.files):
            raise InputError(f"{path} is named twice: name each file once.")
        self.files.append(NewFile(path, frames))
        self.volumes += _kind(path) == "volume"

    def _failed(self, error: InputError) -> None:
        if self.on_error == "stop":
            raise error
        self.skipped.append(str(error))

    def pixels(
        self, geometry: Geometry, channels: Channels
    ) -> Iterator[tuple[NewFile, list[np.ndarray]]]:
        """Decode each file's images in threads; files that cannot be read are left out.

        Raises
        ------
        InputError
            At the first file that cannot be read, unless it is to be skipped.
        """
        workers = own_cores()
        todo = iter(self.files)

        def decoded(file: NewFile) -> list[np.ndarray]:
            return list(decode_file(file.path, file.frames, geometry, channels))

        with ThreadPoolExecutor(workers, "decode") as pool:
            waiting: deque[tuple[NewFile, Future[list[np.ndarray]]]] = deque(
                (file, pool.submit(decoded, file)) for file in islice(todo, 2 * workers)
            )
            while waiting:
                file, future = waiting.popleft()
                waiting.extend((more, pool.submit(decoded, more)) for more in islice(todo, 1))
                try:
                    yield file, future.result()
                except InputError as error:
                    self._failed(error)


def _kind(path: Path) -> str | None:
    name = path.name.lower()
    for kind, suffixes in (
        ("image", IMAGE_SUFFIXES),
        ("volume", VOLUME_SUFFIXES),
        ("dicom", DICOM_SUFFIXES),
    ):
        if name.endswith(suffixes):
            return kind
    return "dicom" if has_dicom_prefix(path) else None


def _frames(path: Path, slices: Slices, geometry: Geometry) -> list[int | None]:
    if not path.is_file():
        raise InputError(f"There is no file or folder {path}: check the path.")
    kind = _kind(path)
    if kind is None:
        known = ", ".join((*IMAGE_SUFFIXES, *VOLUME_SUFFIXES, *DICOM_SUFFIXES))
        raise InputError(f"{path} is not an image that can be read here: those end in {known}.")
    if kind == "image":
        return [None]
    if kind == "dicom":
        from frostline.extract.images.dicom import frame_count, read_dataset

        count = frame_count(read_dataset(path, pixels=False))
        return [None] if count == 1 else list(range(count))
    return _slices(path, slices, geometry)


def _slices(path: Path, slices: Slices, geometry: Geometry) -> list[int | None]:
    from frostline.extract.images.volumes import slice_count
    from frostline.extract.readers.mri_slices import marked_slices

    found: Sequence[int] = pick_slices(slices.rule or "all", slice_count(path, geometry.spacing))
    if slices.mask is not None:
        marked = marked_slices(path, slices.mask, slices.min_roi, geometry.spacing)
        found = marked["frame"].tolist()
    first, stop = slices.first or 0, slices.stop
    chosen = [z for z in found if z >= first and (stop is None or z < stop)]
    if not chosen:
        raise InputError(
            f"{path} has {slice_count(path, geometry.spacing)} slices, and none of them is asked "
            "for: name others by --slices, or give a smaller --min-roi."
        )
    return list(chosen)
