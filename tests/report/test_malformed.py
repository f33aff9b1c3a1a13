"""Cut, empty, nested and mangled files of every kind that is read: a sentence, no traceback."""

from __future__ import annotations

import json
import random
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from frostline.cache import InputError
from frostline.cache.imports import read_vectors
from frostline.report import evaluate, read_predictions, write_predictions, write_report

TIMES = 40
TOKENS = (b"\0", b'"', b",", b";", b"\n", b"\xff\xfe", b"[[[[", b"NaN", b"-1e999", b"\xed\xa0\x80")


def scored(path: Path) -> None:
    evaluate([read_predictions(path)], metrics=["accuracy"], replicates=100)


READERS: dict[str, Callable[[Path], object]] = {
    "ours.parquet": scored,
    "ours.csv": scored,
    "ours.json": lambda path: scored(path.with_suffix(".csv")),
    "theirs.parquet": scored,
    "theirs.csv": scored,
    "vectors.npz": read_vectors,
    "vectors.parquet": read_vectors,
    "vectors.csv": read_vectors,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, run) -> Path:
    """One whole file of each kind."""
    place = tmp_path_factory.mktemp("whole")
    one = run(n=20)
    for suffix in ("parquet", "csv"):
        write_predictions(place / f"ours.{suffix}", one.table, one.meta)
    one.table.to_parquet(place / "theirs.parquet")
    one.table.to_csv(place / "theirs.csv", index=False)
    ids, X = one.table["image_id"], np.random.default_rng(0).normal(size=(20, 3))
    np.savez(place / "vectors.npz", image_id=ids.to_numpy(str), X=X)
    pd.DataFrame({"image_id": ids, "embedding": list(X)}).to_parquet(place / "vectors.parquet")
    pd.DataFrame(X).add_prefix("e").assign(image_id=ids).to_csv(place / "vectors.csv")
    return place


def mangled(data: bytes, rng: random.Random) -> bytes:
    """Cut bytes off, cut some out, change, repeat or put in some."""
    place, end = rng.randrange(len(data)), rng.randrange(len(data))
    return rng.choice(
        [
            data[:place],
            data[:place] + data[place + rng.randrange(1, 40) :],
            data[:place] + bytes([data[place] ^ (1 << rng.randrange(8))]) + data[place + 1 :],
            data[:place] + rng.randbytes(4) + data[place + 4 :],
            data[:place] + data[:end] + data[place:],
            data[:place] + rng.choice(TOKENS) + data[place:],
        ]
    )


def sentence_or_result(read: Callable[[Path], object], path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            read(path)
        except InputError as error:
            text = str(error)
            assert text.endswith("."), text
            assert "\n" not in text, text


@pytest.mark.parametrize("name", READERS)
def test_mangled_files_are_read_or_refused(folder: Path, tmp_path: Path, name: str) -> None:
    rng = random.Random(name)
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    data = (folder / name).read_bytes()
    for _ in range(TIMES):
        (tmp_path / name).write_bytes(mangled(data, rng))
        sentence_or_result(READERS[name], tmp_path / name)
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(InputError, match=rf"{name}"):
        READERS[name](tmp_path / name)


@pytest.mark.parametrize("depth", [100, 900, 980, 1_000, 200_000])
def test_json_of_any_depth_is_refused(folder: Path, tmp_path: Path, depth: int) -> None:
    (tmp_path / "ours.csv").write_bytes((folder / "ours.csv").read_bytes())
    nested = "[" * depth + "]" * depth
    for text in (
        nested,
        '{"a":' * depth,
        f'{{"format": "frostline-predictions", "format_version": 2, "classes": {nested}}}',
    ):
        (tmp_path / "ours.json").write_text(text)
        with pytest.raises(InputError, match=r"ours.json is damaged"):
            read_predictions(tmp_path / "ours.csv")


def test_damaged_results_of_a_report_are_computed_again(tmp_path: Path, run) -> None:
    runs = [run(seed=1), run(seed=2, unfreeze="all")]
    made = {"title": "t", "replicates": 100, "figure_formats": ["svg"]}
    write_report(tmp_path, runs, **made)
    page = (tmp_path / "index.html").read_bytes()
    kept = sorted((tmp_path / "statistics").iterdir())
    assert {path.suffix for path in kept} == {".parquet", ".json"}
    old = {"format": "frostline-statistics", "format_version": 1}
    damages = (b"", b"[" * 10_000, json.dumps(old).encode())
    for place, path in enumerate(kept):
        path.write_bytes(damages[place % len(damages)])
    (tmp_path / "statistics" / "figures-1.json").write_text(json.dumps(old))
    write_report(tmp_path, runs, **made)
    assert (tmp_path / "index.html").read_bytes() == page
