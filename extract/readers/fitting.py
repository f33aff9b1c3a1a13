"""Which kind fits the files of a folder, and the command that reads them."""

from __future__ import annotations

import os
import re
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from frostline.cache import InputError, Workspace
from frostline.cache.tables.labels import split_name
from frostline.cache.workspace import DEFAULT, VARIABLE, is_url
from frostline.extract.images.decode import IMAGE_SUFFIXES
from frostline.extract.readers.left_out import LeftOut
from frostline.extract.readers.reading import OtherKindError, files_under
from frostline.extract.readers.table_file import TableFile

TABLES = (".csv", ".tsv", ".xlsx", ".parquet")
VOLUMES = (".nii", ".nii.gz")
OWN_TABLES = {
    "HAM10000_metadata.csv": "ham10000",
    "ISIC2018_Task3_Training_GroundTruth.csv": "isic2018",
}
MOST_FILES, MOST_CLASSES = 100_000, 50
# By which words of its name a column is known, and a mask among volumes.
LABEL = re.compile(r"label|class|diagnos|target|grade|outcome|(^|_)(dx|y)($|_)", re.IGNORECASE)
GROUP = re.compile(r"patient|subject|case|lesion|participant|(^|_)(pid|group)", re.IGNORECASE)
MASK = re.compile(r"mask|seg|roi|lesion|annot", re.IGNORECASE)


@dataclass(frozen=True)
class Files:
    """The files under the first root, as paths relative to it, and the table that was named."""

    root: Path
    paths: list[str]
    table: str | None = None

    @classmethod
    def under(cls, place: Path, table: str | None) -> Files:
        """List them, up to a number that says enough; of a file those that lie next to it."""
        root = place if place.is_dir() else place.parent
        if place.is_file() and place.suffix.lower() in TABLES:
            table = table or place.name
        found = islice(files_under(root, LeftOut()), MOST_FILES)
        return cls(root, [path.relative_to(root).as_posix() for path in found], table)

    def ending(self, *suffixes: str) -> list[str]:
        """List those whose names end so."""
        return [path for path in self.paths if path.lower().endswith(suffixes)]

    def tables(self) -> list[str]:
        """List the tables to try: the one that was named, or those here, then those next to here.

        What lies next to the root is named by its path, for it is looked for there first.
        """
        if self.table:
            return [self.table]
        own = sorted(self.ending(*TABLES), key=lambda path: (path.count("/"), path))
        beside = [one for one in sorted(self.root.parent.glob("*")) if one.suffix in TABLES]
        return [*own, *map(str, beside)]


@contextmanager
def naming_the_kind(
    workspace: Workspace,
    name: str,
    roots: Sequence[str | os.PathLike[str]],
    given: tuple[str, Mapping[str, Any]],
) -> Iterator[None]:
    """Name the kind that fits the files, and the command, where they are not read as another.

    Parameters
    ----------
    given
        The kind and the options that are tried.
    """
    try:
        yield
    except OtherKindError as error:
        if not roots or any(is_url(root) or not Path(root).exists() for root in roots):
            raise
        place = Path(roots[0])
        files = Files.under(place, given[1].get("table"))
        found = fitting_words(files)
        if given[0] in OWN_TABLES.values() and found and found[0] not in OWN_TABLES.values():
            raise  # of a set by its name, whose own table is missing
        if found is None or (found[0], len(found[1])) == (given[0], 0):
            raise
        kind, words = found
        folders = [os.path.relpath(files.root)] if place.is_file() else list(map(str, roots))
        places = [word for folder in folders for word in ("--root", folder)]
        if str(workspace.root) != os.environ.get(VARIABLE, DEFAULT):
            words = [*words, "--workspace", str(workspace.root)]
        line = shlex.join(["frostline", "index", name, *places, "--kind", kind, *words])
        fits = (
            "This reads these files" if kind == given[0] else f"These files look like kind {kind}"
        )
        raise InputError(f"{error.args[0]} {fits}{_open(files, words)}: `{line}`.") from None


def _open(files: Files, words: Sequence[str]) -> str:
    """Say what the user has to do before the command works."""
    if "--table" in words and not files.tables():
        return ", once there is a table with a row a patient (columns patient and label)"
    return "; write the right column where COLUMN stands" if "COLUMN" in words else ""


def fitting_words(files: Files) -> tuple[str, list[str]] | None:
    """Find the kind of the files, and the words of the options that read them.

    None where no kind is seen.
    """
    names = {path.rpartition("/")[2] for path in files.paths}
    for table, kind in OWN_TABLES.items():
        if table in names:
            return kind, []
    if volumes := files.ending(*VOLUMES):
        return "mri-slices", _of_volumes(volumes, _table(files))
    if files.ending(".dcm"):
        return "dicom", []
    images = files.ending(*IMAGE_SUFFIXES)
    in_classes = len({path.split("/")[0] for path in images if "/" in path}) > 1
    if images and (found := _table(files)):
        inside = files.table or found[0] in files.paths
        # What lies next to the images may be of anything.
        if inside or (not in_classes and _image_column(images, found[1])[0]):
            return "table", _of_images(images, *found)
    if archives := files.ending(".npz"):
        return "medmnist", ["--option", f"data={archives[0]}"]
    return ("folder", []) if in_classes else None


def _table(files: Files) -> tuple[str, TableFile] | None:
    for table in files.tables():
        try:
            return table, TableFile.read(table, [files.root])
        except InputError:
            continue
    return None


def _of_images(images: list[str], name: str, source: TableFile) -> list[str]:
    """Say which columns of a table name images, labels, patients and splits."""
    table = source.table
    column, pattern = _image_column(images, source)
    words = ["--table", name]
    if pattern:
        words += ["--image", pattern]
    else:
        words += ["--image-column", column or "COLUMN"]
    rest = [one for one in table.columns if one != column]
    label = _label_column(source, rest)
    words += ["--label-column", label or "COLUMN"]
    rest = [one for one in rest if one != label]
    for option, fits in (("--group-column", _is_group), ("--split-column", _is_split)):
        found = next((one for one in rest if fits(source, one)), None)
        words += [option, found] if found else []
    return words


def _image_column(images: list[str], source: TableFile) -> tuple[str | None, str]:
    """Find the column that names images, and the pattern that makes paths of it, if one must."""
    paths, places = set(images), {path.rpartition("/")[2]: path for path in images}
    stems = {name.rpartition(".")[0]: path for name, path in places.items()}
    for column in source.table.columns:
        values = source.table[column].dropna().head(100)
        if values.empty:
            continue
        if values.isin(paths).all():
            return column, ""
        for known in (places, stems):
            if values.isin(list(known)).all():
                patterns = {known[one].replace(one, f"{{{column}}}") for one in values}
                if len(patterns) == 1:
                    return column, patterns.pop()
    return None, ""


def _label_column(source: TableFile, columns: Sequence[str]) -> str | None:
    """Find the column of labels: by its name, else the one with the fewest values."""
    counts = {one: source.table[one].nunique() for one in columns if not _is_split(source, one)}
    few = [one for one, n in counts.items() if 2 <= n <= min(MOST_CLASSES, len(source) / 2)]
    named = [one for one in few if LABEL.search(one)]
    texts = [one for one in few if not _is_number(str(source.table[one].dropna().iat[0]))]
    return next(iter([*named, *sorted(texts or few, key=lambda one: counts[one])]), None)


def _is_number(text: str) -> bool:
    return re.fullmatch(r"-?\d+(\.\d+)?", text) is not None


def _is_group(source: TableFile, column: str) -> bool:
    return GROUP.search(column) is not None and bool(source.table[column].notna().all())


def _is_split(source: TableFile, column: str) -> bool:
    values = source.table[column].dropna().unique()
    return len(values) > 0 and all(split_name(one) for one in values)


def _of_volumes(volumes: list[str], found: tuple[str, TableFile] | None) -> list[str]:
    """Say what of a table and of paths names volumes, masks, patients and labels."""
    name, group, label, ids = "labels.csv", "patient", "label", list[str]()
    if found is not None:
        name, source = found
        group, ids = _patient_column(volumes, source)
        rest = [one for one in source.table.columns if one != group]
        label = _label_column(source, rest) or "COLUMN"
    patterns = Counter(
        path.replace(one, "{patient}") for one in ids for path in volumes if one in path
    )
    images = [one for one, _ in patterns.most_common() if not MASK.search(one)]
    masks = [one for one, _ in patterns.most_common() if MASK.search(one)]
    ending = ".nii.gz" if volumes[0].lower().endswith(".gz") else ".nii"
    words = ["--table", name, "--group-column", group, "--label-column", label]
    words += ["--image", images[0] if images else f"{{patient}}{ending}"]
    return words + (["--mask", masks[0]] if masks else ["--slices", "middle:5"])


def _patient_column(volumes: list[str], source: TableFile) -> tuple[str, list[str]]:
    """Find the column whose values stand in the paths of the volumes."""
    for column in source.table.columns:
        values = list(source.table[column].dropna().unique()[:200])
        there = [one for one in values if len(one) > 1 and any(one in path for path in volumes)]
        if there and 2 * len(there) >= len(values):
            return column, there
    return "COLUMN", []
