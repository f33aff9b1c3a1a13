"""Kind `mri-slices`: axial slices of NIfTI volumes, those that a mask marks or by number."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from frostline.cache import InputError, Manifest
from frostline.extract.images.decode import UnreadableImage
from frostline.extract.images.opened import file_state
from frostline.extract.images.slices import check_rule, pick_slices
from frostline.extract.readers.left_out import LeftOut
from frostline.extract.readers.reading import (
    REQUIRED,
    OtherKindError,
    Reading,
    find_in_roots,
    image_id,
)
from frostline.extract.readers.table_file import TableFile

OPTIONS: dict[str, Any] = {
    "image": REQUIRED,
    "mask": None,
    "slices": None,
    "table": REQUIRED,
    "group_column": REQUIRED,
    "label_column": REQUIRED,
    "min_roi": 30,
    "mask_threshold": 0.0,
    "window": {"percentiles": [0.5, 99.5]},
    "spacing": None,
    "neighbours": False,
}
OF_MASKS = ("min_roi", "mask_threshold")
FAINT = 0.05  # of the maximum of a mask


@dataclass(frozen=True)
class Patient:
    """One patient's files, as (number of the root, path in it), and row of the table."""

    name: str
    label: str
    row: int
    image: tuple[int, str]
    mask: tuple[int, str] | None


def check(options: Mapping[str, Any]) -> None:
    """Check that either a mask or a rule says which slices are taken.

    Raises
    ------
    InputError
        If both do, or none, or the rule is none.
    """
    if options["mask"] is not None and options["slices"] is not None:
        raise InputError(
            "The options mask and slices both say which slices are taken: leave one out."
        )
    if options["mask"] is None and options["slices"] is None:
        raise OtherKindError(
            "Kind mri-slices needs the option mask, or the option slices where there are no masks: "
            "give one of them."
        )
    if not 0 <= options["mask_threshold"] < float("inf"):
        raise InputError(
            f"The option mask_threshold must be 0 or more, not {options['mask_threshold']!r}."
        )
    if options["slices"] is not None:
        check_rule(options["slices"])
        for name in OF_MASKS:
            if options[name] != OPTIONS[name]:
                raise InputError(
                    f"The option {name} is for masks, and slices are taken by the option slices: "
                    "leave one out."
                )


def read(roots: list[Path], options: Mapping[str, Any], previous: Manifest | None) -> Reading:
    """Read the slices whose mask has more than `min_roi` pixels above `mask_threshold`.

    Without `mask`, those that `slices` takes of every volume: see `pick_slices`.
    `image` and `mask` are patterns such as `{patient}/{patient}_flair.nii.gz`:
    `{patient}` is the value of `group_column`, any other name a column of the table.
    Patients without a file of either pattern, with one that cannot be read, or without a slice,
    are left out and counted.
    Volumes are read along the RAS axes, resampled to `spacing` where it is given. A mask on
    another grid than its image is brought onto it (nearest voxel) where both affines are stated in
    the files. Only masks are read here, and only those that are new or changed since `previous`;
    without masks, the headers of the volumes.

    Raises
    ------
    InputError
        For a patient with two labels, a mask on another grid than its image where the affines
        do not say how they lie, where no patient or slice is found, and where no patient's files
        can be read.
    """
    source = TableFile.read(options["table"], roots)
    left_out = LeftOut()
    known = _known_slices(previous, roots, options)
    tables = []
    unreadable: list[UnreadableImage] = []
    for patient in _patients(source, roots, options, left_out):
        try:
            slices = _slices(patient, roots, options, known)
        except UnreadableImage as error:
            unreadable.append(error)
            what = "image" if patient.mask is None else "image or mask"
            left_out.add(f"patients with an unreadable {what}", patient.name, of="patients")
            continue
        if len(slices):
            tables.append(_rows(patient, slices))
        else:
            reason = (
                f"patients without a slice of more than {options['min_roi']} pixels in the mask"
            )
            left_out.add(reason, patient.name, of="patients")
    if unreadable:
        _say_unreadable(unreadable, any_left=bool(tables))
    if not tables and options["mask"] is None:
        raise InputError(
            f"There is no volume ({left_out}, of {len(source)} rows in {source.path}): correct the "
            "pattern."
        )
    if not tables:
        raise InputError(
            f"No slice has more than {options['min_roi']} pixels in its mask ({left_out}, of "
            f"{len(source)} rows in {source.path}): correct the patterns, or lower --min-roi."
        )
    own = pd.concat(tables, ignore_index=True)
    extra = source.extra_columns(
        {"group_id": options["group_column"], "label": options["label_column"]}
    )
    extra = extra.iloc[own.pop("row")].reset_index(drop=True)
    return Reading(pd.concat([own, extra], axis=1), left_out)


def _say_unreadable(errors: Sequence[UnreadableImage], *, any_left: bool) -> None:
    if not any_left:
        raise errors[0]
    more = f", with {len(errors) - 1:,} more" if len(errors) > 1 else ""
    warnings.warn(f"{errors[0]} The patient is left out{more}.", stacklevel=3)


def _patients(
    source: TableFile, roots: list[Path], options: Mapping[str, Any], left_out: LeftOut
) -> Iterator[Patient]:
    names = source.column(options["group_column"], "group")
    labels = source.column(options["label_column"], "label")
    images = source.filled(options["image"], "image", patient=names)
    pattern = options["mask"]
    masks = source.filled(pattern, "mask", patient=names) if pattern else [None] * len(source)
    first: dict[str, int] = {}
    for row, name in enumerate(names):
        earlier = first.setdefault(name, row)
        if labels[earlier] != labels[row]:
            raise InputError(
                f"{source.where(row)}: patient {name} has label {labels[row]!r} here and "
                f"{labels[earlier]!r} in row {earlier + 2}; a patient has one label."
            )
        if earlier != row and (images[earlier], masks[earlier]) == (images[row], masks[row]):
            continue
        if not _is_there(roots, images[row]):
            left_out.add("patients without an image", name, of="patients")
        elif (path := masks[row]) is not None and not _is_there(roots, path):
            left_out.add("patients without a mask", name, of="patients")
        else:
            where = source.where(row)
            image = find_in_roots(roots, images[row], where)
            mask = None if path is None else find_in_roots(roots, path, where)
            yield Patient(name, labels[row], row, image, mask)


def _slices(
    patient: Patient,
    roots: list[Path],
    options: Mapping[str, Any],
    known: Mapping[tuple, pd.DataFrame],
) -> pd.DataFrame:
    """Give `frame` of a patient's slices; `roi_pixels` and the mask's file where there is one."""
    image_path = roots[patient.image[0]] / patient.image[1]
    if patient.mask is None:
        return _by_rule(image_path, options["slices"], options["spacing"])
    mask_path = roots[patient.mask[0]] / patient.mask[1]
    state = (*_state(image_path), *_state(mask_path))
    slices = known.get(state)
    if slices is None:
        how = (options[name] for name in ("min_roi", "spacing", "mask_threshold"))
        slices = marked_slices(image_path, mask_path, *how)
    *_, size, mtime = state
    return slices.assign(mask_path=patient.mask[1], mask_size=size, mask_mtime_ns=mtime)


def _by_rule(path: Path, rule: str, spacing: Sequence[float] | None) -> pd.DataFrame:
    from frostline.extract.images.volumes import slice_count

    return pd.DataFrame({"frame": list(pick_slices(rule, slice_count(path, spacing)))})


def marked_slices(
    image_path: Path,
    mask_path: Path,
    min_roi: int,
    spacing: Sequence[float] | None,
    threshold: float = 0.0,
) -> pd.DataFrame:
    """Find the slices of a volume in which a mask marks more than `min_roi` pixels.

    Parameters
    ----------
    spacing
        Voxel size in mm (x, y, z) to which the volume is resampled, if it is.
    threshold
        What a voxel of the mask must exceed, whatever its sign, to mark.

    Returns
    -------
    pandas.DataFrame
        `frame`, `roi_pixels` and `mask_faint`: the share of the marking voxels that are below 5% of
        the mask's maximum.

    Raises
    ------
    InputError
        If a file cannot be read, or the grids differ and do not say how they lie.
    """
    from frostline.extract.images.volumes import onto_grid, read_grid, read_volume, resample

    mask = read_volume(mask_path)
    strength = np.nan_to_num(np.abs(mask.values), nan=0, posinf=0, neginf=0)
    marked = strength > threshold
    faint = float((strength[marked] < FAINT * strength.max()).mean()) if marked.any() else 0.0
    mask = replace(mask, values=marked)
    grid = read_grid(image_path)
    if not grid.same_as(mask.grid):
        try:
            mask = onto_grid(mask, grid)
        except ValueError as error:
            raise InputError(
                f"The grids of {mask_path} and {image_path} differ, and {error}: resample the "
                "mask to the image."
            ) from None
    if spacing is not None:
        mask = resample(replace(mask, values=mask.values.astype(np.uint8)), spacing, order=0)
    pixels = (mask.values != 0).sum(axis=(0, 1))
    frames = np.flatnonzero(pixels > min_roi)
    return pd.DataFrame({"frame": frames, "roi_pixels": pixels[frames], "mask_faint": faint})


def _rows(patient: Patient, slices: pd.DataFrame) -> pd.DataFrame:
    root, path = patient.image
    return pd.DataFrame(
        {
            "image_id": [image_id(root, path, int(frame)) for frame in slices["frame"]],
            "path": path,
            "root": root,
            "frame": slices["frame"].astype("Int64"),
            "label": patient.label,
            "group_id": patient.name,
            "split": None,
            **slices.drop(columns="frame"),
            "row": patient.row,
        }
    )


def _known_slices(
    previous: Manifest | None, roots: list[Path], options: Mapping[str, Any]
) -> dict[tuple, pd.DataFrame]:
    """Give the slices found earlier, by the state of the files that they were found in."""
    if previous is None or previous.meta.get("kind") != "mri-slices":
        return {}
    earlier = previous.meta["options"]
    if options["mask"] is None or earlier["mask"] is None:
        return {}
    if any(earlier.get(name) != options[name] for name in ("min_roi", "spacing", "mask_threshold")):
        return {}  # release 0.1 knew no threshold
    folders = [previous.meta["roots"][root] for root in previous.table["root"]]
    table = previous.table.assign(
        _image=_joined(folders, previous.table["path"]),
        _mask=_joined(folders, previous.table["mask_path"]),
    )
    state = ["_image", "file_size", "file_mtime_ns", "_mask", "mask_size", "mask_mtime_ns"]
    return {
        key: part[["frame", "roi_pixels", "mask_faint"]].reset_index(drop=True)
        for key, part in table.groupby(state, sort=False)
    }


def _joined(folders: list[str], paths: pd.Series) -> list[str]:
    return [f"{folder}/{path}" for folder, path in zip(folders, paths, strict=True)]


def _state(path: Path) -> tuple[str, int, int]:
    state = file_state(path)
    return str(path), state.size, state.mtime_ns


def _is_there(roots: list[Path], path: str) -> bool:
    return any((root / path).is_file() for root in roots)
