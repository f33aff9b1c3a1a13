"""Read files of embeddings that other tools made: ids and vectors, and which columns they are."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError  # of numpy, over a header that is cut off
from zipfile import BadZipFile

import numpy as np
import pandas as pd

from frostline.cache.errors import READ_ERRORS, InputError
from frostline.cache.tables.limits import check_zip

ABOUT = ("image_id", "label", "group_id", "split", "true_label", "target", "prediction")
FORMATS = (
    "give an .npz with image_id and X, or a Parquet or CSV file with image_id and columns e0, e1, …"
)
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


def vectors_of_npz(path: Path) -> Vectors:
    """Read `image_id` [n] and `X` [n, dim] of an `.npz` file.

    Raises
    ------
    InputError
        If it cannot be read, or these are not ids and finite numbers.
    """
    with _readable(path):
        check_zip(path)
        with np.load(path, allow_pickle=False) as file:
            lacking = [name for name in ("image_id", "X") if name not in file.files]
            if lacking:
                has = ", ".join(file.files) or "nothing"
                raise InputError(f"{path} has no array {lacking[0]}, but {has}: {FORMATS}.")
            ids, X = (_array(path, file, name) for name in ("image_id", "X"))
            ids = ids.astype(str)
    if ids.ndim != 1 or X.ndim != 2:
        raise _shapes(path, ids.shape, X.shape)
    names = tuple(f"X[:, {place}]" for place in range(X.shape[1]))
    return _checked(path, Vectors(pd.Series(ids), _floats(path, X), names, "array X"))


def _array(path: Path, file: np.lib.npyio.NpzFile, name: str) -> np.ndarray:
    try:
        return np.asarray(file[name])
    except ValueError as error:
        if "pickle" not in str(error):
            raise
        raise InputError(
            f"The array {name} of {path} holds Python objects, which are not read: save "
            f"{'text' if name == 'image_id' else 'numbers'}, as by "
            f"{name}.astype({'str' if name == 'image_id' else 'np.float32'})."
        ) from None


def vectors_of_table(path: Path, frame: pd.DataFrame) -> Vectors:
    """Take the vectors of a table with `image_id`.

    It has a column `embedding` of lists, or one numbered family of columns: e0, e1, …; f1, f2, …;
    0, 1, …. Other columns are left out, whatever they hold.

    Raises
    ------
    InputError
        If which columns are meant is not clear, or they do not hold finite numbers.
    """
    if "image_id" not in frame:
        has = ", ".join(map(repr, frame.columns[:5]))
        raise InputError(f"{path} has no column 'image_id', but {has}: {FORMATS}.")
    if frame["image_id"].isna().any():
        row = int(np.flatnonzero(frame["image_id"].isna())[0])
        raise InputError(f"{path}, row {row + 1}: there is no image_id; write one or remove it.")
    ids = frame["image_id"].astype(str)
    columns = [str(name) for name in frame.columns]
    if "embedding" in columns:
        used, taken = ["embedding"], "column embedding"
        values = _stacked(path, ids, frame["embedding"])
        names = tuple(f"embedding[{place}]" for place in range(values.shape[1]))
    else:
        names = _family(path, [name for name in columns if name not in ABOUT])
        used = [*names]
        taken = f"columns {names[0]}…{names[-1]}" if len(names) > 1 else f"column {names[0]}"
        values = _columns(path, frame, used)
    left_out = tuple(name for name in columns if name not in ("image_id", *used))
    return _checked(path, Vectors(ids, _floats(path, values), names, taken, left_out))


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
