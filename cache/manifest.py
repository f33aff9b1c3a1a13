"""The table of images: ids, labels, groups, splits (docs/format.md, 'Manifest')."""

from __future__ import annotations

import hashlib
import html
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from frostline.cache.errors import InputError
from frostline.cache.keys import KEY_BYTES, canonical_json
from frostline.cache.stamped import damaged, parquet_parts, write_parquet
from frostline.cache.tables.class_order import ordered
from frostline.cache.tables.labels import check_labels
from frostline.cache.tables.words import counted
from frostline.cache.workspace import Workspace, as_path, is_name, is_url

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT = "frostline-manifest"
FORMAT_VERSION = 2
REMEDY = (
    "put back a copy of it, or delete it and index again, which forgets in which split images that "
    "were added later are"
)
SPLITS = ("train", "val", "test")
COLUMNS = {
    "image_id": "string",
    "path": "string",
    "root": "int16",
    "frame": "Int64",
    "label": "string",
    "group_id": "string",
    "split": "string",
    "file_key": "object",
    "content_key": "object",
    "file_size": "int64",
    "file_mtime_ns": "int64",
    "width": "Int32",
    "height": "Int32",
    "mode": "string",
    "format": "string",
    "pixel_key": "object",
}
# What distinct images are told by, found by and decoded from.
IMAGE_COLUMNS = ("path", "root", "frame", "file_key", "content_key", "mode", "format")
# What says which rows are a shard's, and what is asked of all rows whatever the shard.
SHARD_COLUMNS = ("file_key", "mode", "format")
OPTIONAL = ("pixel_key",)  # which manifests of release 0.1 lack
# Of those, the ones that hold bytes.
KEYS = ("file_key", "content_key", "pixel_key")
# A path that is absolute, or goes up; and, below a URL, what fsspec would take for another address.
# Where this is read on Windows, a backslash separates, too.
OUTSIDE = r"^[/\\]|(^|[/\\])\.\.([/\\]|$)"
ADDRESSED = r"://|::"


@dataclass
class Manifest:
    """One row an image, and how the table was made.

    Attributes
    ----------
    table : pandas.DataFrame
        The columns of `COLUMNS` in that order, then any that the user brought.
    meta : dict
        `dataset`, `kind`, `roots`, `options`, `seed`, `classes`, and further facts, all JSON.
    all_modes : pandas.DataFrame, optional
        Where `table` has the rows of a shard: `mode` and `format` of all rows, each pair once.
    """

    table: pd.DataFrame
    meta: dict[str, Any] = field(default_factory=dict)
    all_modes: pd.DataFrame | None = None

    def __len__(self) -> int:
        return len(self.table)

    def file(self, row: int) -> Path:
        """Return the file of row number `row`."""
        root = self.meta["roots"][self.table["root"].to_numpy()[row]]
        return as_path(f"{root}/{self.table['path'].iat[row]}")

    @property
    def classes(self) -> list[str] | None:
        """The declared order of the classes, the last of two the positive one; else None."""
        return _order_in(self.meta)

    @property
    def sources(self) -> list[str]:
        """Keys of the public sets of images where its images come from, as far as it knows."""
        return _sources_in(self.meta)

    def in_order(self, labels: Iterable[object]) -> list[str]:
        """List the labels that occur, each once, in the order of the classes."""
        names = sorted({str(name) for name in labels if not pd.isna(name)})  # type: ignore[call-overload]
        return ordered(names, self.classes)[0]

    def _repr_html_(self) -> str:
        """Show the number of images of each class in each split."""
        table = self.table.fillna({"label": "(no label)", "split": "(no split)"})
        counts = pd.crosstab(table["label"], table["split"], margins=True, margins_name="all")
        names = self.in_order(self.table["label"])
        counts = counts.loc[[*names, *(name for name in counts.index if name not in names)]]
        groups = self.table["group_id"].nunique()
        name = html.escape(str(self.meta.get("dataset", "")))
        title = f"Data set {name}: {counted(len(self), 'image')} of {counted(groups, 'group')}"
        return f"<p>{title}</p>{counts.to_html(border=0)}"

    def keys(self) -> np.ndarray:
        """Return the content keys, uint8 [n, 16], in the order of the table."""
        return as_keys(self.table["content_key"])

    def images(self, label: str = "label", split: str = "split") -> pd.DataFrame:
        """Return the table with `label` and `split` taken from the columns of these names.

        Raises
        ------
        InputError
            If there is no such column, the labels are none (`check_labels`), or a split is not
            train, val or test.
        """
        table = self.table.copy()
        for name, column in (("label", label), ("split", split)):
            if column not in table or column in KEYS:
                there = ", ".join(known for known in table.columns if known not in KEYS)
                raise InputError(
                    f"Data set {self.meta.get('dataset')!r} has no column {column!r} for the "
                    f"{name}: it has {there}."
                )
            table[name] = table[column].astype("string")
        whose, ids = f"Column {label!r} of {self.meta.get('dataset')}", table["image_id"]
        check_labels(table["label"], lambda row: f"{whose}, {ids.iat[row]}")
        unknown = set(table["split"].dropna()) - set(SPLITS)
        if unknown:
            raise InputError(
                f"Column {split!r} of data set {self.meta.get('dataset')!r} holds "
                f"{sorted(unknown)[0]!r}: a split is one of {', '.join(SPLITS)}."
            )
        return table

    def digest(self, label: str = "label", split: str = "split") -> str:
        """Digest ids, contents, labels, groups and splits, whatever the order of the rows."""
        columns = ["image_id", "label", "group_id", "split", "content_key"]
        table = self.images(label, split)[columns].sort_values("image_id")
        digest = hashlib.blake2b(digest_size=KEY_BYTES)
        for *texts, key in table.itertuples(index=False):
            row = [None if pd.isna(text) else text for text in texts]
            digest.update(canonical_json([*row, key.hex()]).encode())
        return digest.hexdigest()


def as_keys(column: pd.Series) -> np.ndarray:
    """Convert a column of 16-byte strings to uint8 [n, 16]."""
    return np.frombuffer(b"".join(column), dtype=np.uint8).reshape(-1, KEY_BYTES)


def shard_of(file_keys: np.ndarray, count: int) -> np.ndarray:
    """Say to which of `count` shards each file belongs: its key as a number, modulo `count`.

    Parameters
    ----------
    file_keys : numpy.ndarray, uint8 [n, 16]
    count : int
        Less than 2**32.

    Returns
    -------
    numpy.ndarray, uint64 [n]
    """
    halves = np.ascontiguousarray(file_keys, np.uint8).view(">u8").astype(np.uint64)
    high, low = halves[:, 0] % count, halves[:, 1] % count
    return np.asarray((high * (2**64 % count) + low) % count, np.uint64)


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Check and write a manifest, whole or not at all.

    Raises
    ------
    InputError
        If an image_id occurs twice, or a path leaves its root.
    """
    import pyarrow as pa

    table = _typed(manifest.table, list(COLUMNS))
    _check(table, str(path), manifest.meta.get("roots", []))
    schema = pa.Schema.from_pandas(table, preserve_index=False)
    for name in KEYS:
        schema = schema.set(schema.get_field_index(name), pa.field(name, pa.binary(KEY_BYTES)))
    arrow = pa.Table.from_pandas(table, schema, preserve_index=False)
    write_parquet(path, arrow, FORMAT, FORMAT_VERSION, manifest.meta)


def read_manifest(
    path: Path, columns: Sequence[str] | None = None, shard: tuple[int, int] | None = None
) -> Manifest:
    """Read and check a manifest, or what is needed of it.

    Parameters
    ----------
    columns : sequence of str, optional
        The columns of `COLUMNS` to read, instead of all and the user's own.
    shard : (int, int), optional
        `(i, n)`: the rows of this share of the files alone, by `shard_of`. The others are read and
        forgotten some thousand at a time.

    Raises
    ------
    InputError
        If there is none, it is damaged or something else, or a newer release wrote it.
    """
    import pyarrow as pa

    if not path.exists():
        raise InputError(
            f"There is no data set {path.stem!r} in workspace {path.parent.parent}: "
            f"make it with `frostline index {path.stem} --root DIR`."
        )
    needed = {*(COLUMNS if columns is None else columns), *(SHARD_COLUMNS if shard else ())}
    wanted = [name for name in COLUMNS if name in needed]
    chosen = None if columns is None else wanted
    with parquet_parts(path, FORMAT, FORMAT_VERSION, chosen, remedy=REMEDY) as (meta, schema, rows):
        if lacking := [name for name in wanted if name not in (*schema.names, *OPTIONAL)]:
            raise damaged(path, f"it has no column {lacking[0]!r}", REMEDY)
        modes: set[tuple[str | None, str | None]] = set()
        mine = rows if shard is None else _of_shard(rows, shard, modes)
        table = pa.concat_tables([schema.empty_table(), *mine]).to_pandas()
        manifest = Manifest(_typed(table, wanted), meta)
        if shard is not None:
            pairs = pd.DataFrame(list(modes), columns=["mode", "format"], dtype="string")
            manifest.all_modes = pairs
    _check(manifest.table, str(path), meta.get("roots", []))
    return manifest


def _of_shard(
    rows: Iterable[pa.Table], shard: tuple[int, int], modes: set[tuple[str | None, str | None]]
) -> Iterator[pa.Table]:
    """Yield the rows of a shard, and collect mode and format of all."""
    number, count = shard
    for part in rows:
        pairs = part.group_by(["mode", "format"]).aggregate([]).to_pylist()
        modes.update((pair["mode"], pair["format"]) for pair in pairs)
        yield part.filter(shard_of(as_keys(part["file_key"].to_pandas()), count) == number)


def declared_classes(workspace: Workspace, dataset: object) -> list[str] | None:
    """Read the declared order of a data set's classes; None without one, or without a manifest.

    The order stands in no run id, so that declaring it later trains nothing again: whoever shows
    classes asks here.
    """
    meta = _metadata(workspace, dataset)
    return None if meta is None else _order_in(meta)


def declared_sources(workspace: Workspace, dataset: object) -> list[str] | None:
    """Read where a data set's images come from (`Manifest.sources`); None without a manifest.

    Like the order of classes it stands in no run id.
    """
    meta = _metadata(workspace, dataset)
    return None if meta is None else _sources_in(meta)


def _metadata(workspace: Workspace, dataset: object) -> dict[str, Any] | None:
    """Read the metadata of a data set's manifest alone; None where it has none."""
    if not isinstance(dataset, str) or not is_name(dataset):
        return None
    path = workspace.manifest(dataset)
    if not path.is_file():
        return None
    with parquet_parts(path, FORMAT, FORMAT_VERSION, [], remedy=REMEDY) as (meta, *_):
        return meta


def _sources_in(meta: dict[str, Any]) -> list[str]:
    found = meta.get("sources")
    return [str(key) for key in found] if isinstance(found, list) else []


def _order_in(meta: dict[str, Any]) -> list[str] | None:
    """Give the class names of a manifest's metadata; what is no list of names declares nothing."""
    names = meta.get("classes")
    is_list = isinstance(names, list) and all(isinstance(name, str) for name in names)
    return names if is_list and names else None


def _typed(table: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Order the columns, these of `COLUMNS` first, and give each its type."""
    table = table.assign(**{name: None for name in OPTIONAL if name in names and name not in table})
    extra = [name for name in table.columns if name not in COLUMNS]
    types = {name: COLUMNS[name] for name in names}
    return table[[*names, *extra]].astype(types).reset_index(drop=True)


def _check(table: pd.DataFrame, where: str, roots: Sequence[str]) -> None:
    """Check that no id of these rows is there twice, and that their paths stay in their roots."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if "image_id" in table and not table["image_id"].is_unique:
        twice = table["image_id"][table["image_id"].duplicated()]
        raise InputError(f"Image id {twice.iat[0]!r} occurs twice in {where}: ids must be unique.")
    if "path" in table:
        paths = pa.array(table["path"]).cast(pa.large_string())
        pattern = f"{OUTSIDE}|{ADDRESSED}" if any(map(is_url, roots)) else OUTSIDE
        leaves = pc.match_substring_regex(paths, pattern)
        outside = table["path"][pc.fill_null(leaves, True).to_numpy(zero_copy_only=False)]
        if len(outside):
            path = outside.iat[0]
            raise InputError(f"Path {path!r} in {where} leaves its root: paths must stay inside.")
