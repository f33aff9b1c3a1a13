"""Read files of embeddings that other tools made: ids and vectors, and which columns they are."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError  # of numpy, over a header that is cut off
from zipfile import BadZipFile

import numpy as np
import pandas as pd

from frostline.cache.errors import READ_ERRORS, InputError
from frostline.cache.tables.columns import check_names
from frostline.cache.tables.limits import check_zip

ABOUT = ("image_id", "label", "group_id", "split", "true_label", "target", "prediction")
FORMATS = (
    "give an .npz with image_id and X, or a Parquet or CSV file with image_id and columns e0, e1, …"
)
TARGETS, STAR = ("image_id", "embedding"), "*"  # of `--columns`
UNNAMED = "Unnamed: "  # what a column without a name is called, such as pandas' index


@dataclass(frozen=True)
class Vectors:
    """Vectors of a file.

    Attributes
    ----------
    ids : Series of str [n]
    values : float16 or float32 [n, dim]
    names : tuple of str
        What the columns are called, dim of them.
    taken : str
        The same in words, for the output.
    left_out : tuple of str
        Columns of the file that are no part of the vectors.
    """

    ids: pd.Series
    values: np.ndarray
    names: tuple[str, ...]
    taken: str
    left_out: tuple[str, ...] = ()


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except (*READ_ERRORS, MemoryError, BadZipFile, SyntaxError, TokenError) as error:
        raise InputError(f"{path} cannot be read as {path.suffix}: make it again.") from error


def check_embedding_columns(columns: Mapping[str, str]) -> None:
    """Refuse a mapping that can be of no file of embeddings.

    Raises
    ------
    InputError
        If it names something else than `image_id` and `embedding`, or has stars that say nothing.
    """
    check_names(columns)
    for name, theirs in columns.items():
        if name not in TARGETS:
            raise InputError(
                f"--columns names {name!r}, which is no column of embeddings: choose from "
                f"{' and '.join(TARGETS)}."
            )
        if STAR in theirs.removesuffix(STAR if name == "embedding" else ""):
            raise InputError(
                f"--columns {name}={theirs} has a star where none can be: in embedding=f* it "
                "stands, last, for the numbers of columns."
            )


def vectors_of_npz(path: Path, columns: Mapping[str, str] | None = None) -> Vectors:
    """Read `image_id` [n] and `X` [n, dim] of an `.npz` file, or what `columns` names for them.

    Raises
    ------
    InputError
        If it cannot be read, or these are not ids and finite numbers.
    """
    named = {"image_id": "image_id", "embedding": "X", **(columns or {})}
    id_name, name = named["image_id"], named["embedding"]
    with _readable(path):
        check_zip(path)
        with np.load(path, allow_pickle=False) as file:
            lacking = [one for one in (id_name, name) if one not in file.files]
            if lacking:
                has = ", ".join(file.files) or "nothing"
                raise InputError(f"{path} has no array {lacking[0]}, but {has}: {FORMATS}.")
            ids = _array(path, file, id_name, "text").astype(str)
            X = _array(path, file, name, "numbers")
    if ids.ndim != 1 or X.ndim != 2:
        raise _shapes(path, ids.shape, X.shape)
    names = tuple(f"{name}[:, {place}]" for place in range(X.shape[1]))
    return _checked(path, Vectors(pd.Series(ids), _floats(path, X), names, f"array {name}"))


def _array(path: Path, file: np.lib.npyio.NpzFile, name: str, kind: str) -> np.ndarray:
    try:
        return np.asarray(file[name])
    except ValueError as error:
        if "pickle" not in str(error):
            raise
        raise InputError(
            f"The array {name} of {path} holds Python objects, which are not read: save "
            f"{kind}, as by {name}.astype({'str' if kind == 'text' else 'np.float32'})."
        ) from None


def vectors_of_table(
    path: Path, frame: pd.DataFrame, columns: Mapping[str, str] | None = None
) -> Vectors:
    """Take the vectors of a table with `image_id`.

    It has a column `embedding` of lists, or one numbered family of columns: e0, e1, …; f1, f2, …;
    0, 1, …. Other columns are left out, whatever they hold. `columns` names these where the file
    calls them otherwise, `{"image_id": "file", "embedding": "feature_*"}`, a star being the number.

    Raises
    ------
    InputError
        If which columns are meant is not clear, or they do not hold finite numbers.
    """
    frame, family = _mapped(path, frame, columns or {})
    if "image_id" not in frame:
        has = ", ".join(map(repr, frame.columns[:5]))
        raise InputError(f"{path} has no column 'image_id', but {has}: {FORMATS}.")
    if frame["image_id"].isna().any():
        row = int(np.flatnonzero(frame["image_id"].isna())[0])
        raise InputError(f"{path}, row {row + 1}: there is no image_id; write one or remove it.")
    ids = frame["image_id"].astype(str)
    there = [str(name) for name in frame.columns]
    if "embedding" in there and family is None:
        used, taken = ["embedding"], "column embedding"
        values = _stacked(path, ids, frame["embedding"])
        names = tuple(f"embedding[{place}]" for place in range(values.shape[1]))
    else:
        family = family or [name for name in there if name not in ABOUT]
        names = _family(path, family)
        used = [*names]
        taken = f"columns {names[0]}…{names[-1]}" if len(names) > 1 else f"column {names[0]}"
        values = _columns(path, frame, used)
    left_out = tuple(name for name in there if name not in ("image_id", *used))
    return _checked(path, Vectors(ids, _floats(path, values), names, taken, left_out))


def _mapped(
    path: Path, frame: pd.DataFrame, columns: Mapping[str, str]
) -> tuple[pd.DataFrame, list[str] | None]:
    """Call columns as they are called here, and list those that a star stands for, if there is one.

    What already has such a name makes room.
    """
    family = None
    for name in (name for name in TARGETS if name in columns):
        theirs, names = columns[name], list(map(str, frame.columns))
        numbered = re.compile(re.escape(theirs.removesuffix(STAR)) + "[0-9]{1,9}")
        starred = theirs.endswith(STAR)
        found = [one for one in names if (numbered.fullmatch(one) if starred else one == theirs)]
        if not found:
            has = ", ".join(map(repr, names[:5]))
            raise InputError(
                f"{path} has no column {'like ' if starred else ''}{theirs}, which --columns names "
                f"for {name}, but {has}: correct --columns."
            )
        if starred:
            family = found
        elif name != theirs:
            frame = frame.drop(columns=name, errors="ignore").rename(columns={theirs: name})
    return frame, family


def _columns(path: Path, frame: pd.DataFrame, names: list[str]) -> np.ndarray:
    for name in names:
        if not pd.api.types.is_numeric_dtype(frame[name]):
            raise InputError(f"Column {name!r} of {path} is not of numbers alone: correct it.")
    return frame[names].to_numpy()


def _stacked(path: Path, ids: pd.Series, lists: pd.Series) -> np.ndarray:
    sizes = lists.map(lambda one: len(one) if hasattr(one, "__len__") else 0)
    odd = sizes[(sizes != sizes.iloc[:1].max()) | (sizes == 0)].index
    if len(odd):
        raise InputError(
            f"The embedding of image {ids[odd[0]]!r} in {path} is not as long as the others, or "
            "empty: give every image as many numbers."
        )
    with _readable(path):
        return np.stack(lists.to_list()) if len(lists) else np.zeros((0, 0))


def _family(path: Path, columns: Sequence[str]) -> tuple[str, ...]:
    """Give the columns that are one name and a number, in the order of their numbers."""
    families: dict[str, dict[int, str]] = {}
    for name in columns:
        found = re.fullmatch(r"(.*?)([0-9]{1,9})", name)
        if found and not name.startswith(UNNAMED):
            families.setdefault(found[1], {})[int(found[2])] = name
    ranked = sorted(families.values(), key=len, reverse=True)
    if not ranked:
        has = ", ".join(map(repr, columns[:5])) or "none"
        raise InputError(
            f"{path} has no numbered columns, but {has}: call those of the embeddings e0, e1, …."
        )
    if len(ranked) > 1 and (len(ranked[1]) > 1 or len(ranked[0]) == 1):
        raise InputError(
            f"{path} has several families of numbered columns, {_ends(ranked[0])} and "
            f"{_ends(ranked[1])}: keep those of the embeddings alone."
        )
    numbers = sorted(ranked[0])
    first = min(numbers[0], 1)  # families begin with 0 or 1
    gap = next((n for place, n in enumerate(numbers) if n != first + place), None)
    if gap is not None:
        raise InputError(
            f"{path} has columns {_ends(ranked[0])}, and the one before {ranked[0][gap]!r} is not "
            "there: a part of the embeddings is missing."
        )
    return tuple(ranked[0][number] for number in numbers)


def _ends(family: dict[int, str]) -> str:
    return f"{family[min(family)]}…{family[max(family)]}"


def _floats(path: Path, values: np.ndarray) -> np.ndarray:
    if values.dtype.kind not in "fiub":
        raise InputError(
            f"The embeddings of {path} are not numbers, but {values.dtype}: {FORMATS}."
        )
    with np.errstate(over="ignore"):  # too great for float32 is said as infinity
        kept = values if values.dtype in (np.float16, np.float32) else values.astype(np.float32)
    return np.ascontiguousarray(kept)


def _shapes(path: Path, ids: tuple[int, ...], values: tuple[int, ...]) -> InputError:
    return InputError(
        f"{path} holds {ids[0] if ids else 1} image ids and embeddings of shape {values}: there "
        "must be one vector an image."
    )


def _checked(path: Path, vectors: Vectors) -> Vectors:
    ids, values = vectors.ids, vectors.values
    if len(values) != len(ids) or not values.size:
        raise _shapes(path, (len(ids),), values.shape)
    if ids.duplicated().any():
        raise InputError(
            f"Image id {ids[ids.duplicated()].iloc[0]!r} occurs twice in {path}: keep one row."
        )
    bad = ~np.isfinite(values).all(axis=1)
    if bad.any():
        raise InputError(
            f"The embedding of image {ids[bad].iloc[0]!r} in {path} holds NaN or infinity (float32 "
            "ends at 3e38): leave such images out."
        )
    return vectors
