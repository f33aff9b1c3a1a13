"""One flipped bit, anywhere in what a study leaves, is found or changes nothing that is read.

`pytest -s tests/frostline/test_flipped_bits.py` prints how many were tried and how many were not
found though another thing was read.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
import pytest
import torch

from frostline.cache import InputError, Store, Workspace, read_manifest
from frostline.cache.stamped import read_json, read_parquet
from frostline.cache.stores import measured
from frostline.extract.backbones.weights.digests import DigestMemory, read_digests
from frostline.extract.backbones.weights.known import read_backbones
from frostline.extract.private import workspace_key
from frostline.finetune.inputs.activations import Activations
from frostline.finetune.saved_model import load_model
from frostline.finetune.training.checkpoint import Checkpoint, Checkpoints
from frostline.probe.heads.storage import read_head
from frostline.probe.sweep import results, validation_scores
from frostline.report import read_predictions, write_predictions
from frostline.report.page import drawing, stored
from frostline.study.records import PLAN
from frostline.study.results import read_answer, reported_runs
from frostline.study.runner import run_study

from .conftest import make_images
from .small_study import study_at

FLIPS = 2000
# So that activations at a boundary are kept, which take less time to read.
RATES = {"reading": 1e-6, "computing": 1e-3}
TRAINED = ("protocols.tuned.unfreeze=1", "protocols.tuned.epochs=2")


def stored_table(path: Path) -> Any:
    """A table of a report; None is made again."""
    _, meta = read_parquet(path, stored.FORMAT, stored.FORMAT_VERSION)
    return stored._read(path, meta["key"])


def stored_figures(path: Path) -> Any:
    key = read_json(path, drawing.FORMAT, drawing.FORMAT_VERSION)["key"]
    return drawing._read(path, key, path.parent.parent)


def store_rows(path: Path) -> Any:
    store = Store.open(path.parent)
    return store.spec, store.provenance, store.read(store.distinct_rows())


def head(path: Path) -> Any:
    found, about = read_head(path.parent)
    return about, {name: value for name, value in vars(found).items() if name.endswith("_")}


def model(path: Path) -> Any:
    found, card = load_model(path.parent)
    return card, {name: value.numpy() for name, value in found.state_dict().items()}


# How each kind of file is read; a new kind of file without a row fails the first test.
READERS: dict[str, Callable[[Path], Any]] = {
    "manifests/*.parquet": lambda path: vars(read_manifest(path)),
    "predictions/*.parquet": lambda path: vars(read_predictions(path)),
    "predictions/*.csv": lambda path: vars(read_predictions(path)),
    "predictions/*.json": lambda path: vars(read_predictions(path.with_suffix(".csv"))),
    "models/*/head.*": head,
    "models/*/model.*": model,
    "models/*/checkpoints/**/*": lambda path: vars(
        Checkpoints(next(p for p in path.parents if p.name == "checkpoints")).load()
    ),
    "runs/*.json": lambda path: read_json(path, "frostline-step", 2),
    "reports/*/plan.json": lambda path: read_json(path, *PLAN),
    "reports/*/provenance.json": lambda path: read_json(path, "frostline-provenance", 3),
    "reports/*/study.json": lambda path: (read_answer(path.parent), reported_runs(path.parent)),
    "reports/*/answer.txt": lambda path: read_answer(path.parent),
    "reports/*/statistics/*.parquet": stored_table,
    "reports/*/statistics/*.json": stored_figures,
    "sweeps/cells/*.parquet": lambda path: read_parquet(
        path, validation_scores.FORMAT, validation_scores.FORMAT_VERSION
    )[0].to_pandas(),
    "sweeps/*/results.parquet": lambda path: (
        results.read_results(path),
        results.read_result_table(path),
    ),
    "pixels/**/*.h5": store_rows,
    "embeddings/**/*.h5": store_rows,
    "boundaries/**/*.h5": store_rows,
    "measured.json": measured._entries,
    "weights.json": lambda path: read_digests(path) or None,
    "backbones.json": lambda path: read_backbones(path) or None,
    "patient-key": lambda path: workspace_key(Workspace(path.parent)),
}
# What a report shows to people, and Frostline never reads.
SHOWN = (
    *("models/*/log.csv", "models/*/README.md", "reports/*/index.html", "reports/*/tables/*"),
    *("reports/*/figures/*", "reports/*/methods.*", "reports/*/references.bib"),
    "reports/*/checklist.md",
)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything that a study leaves, a checkpoint, predictions in CSV and a key of patients."""
    folder: Path = tmp_path_factory.mktemp("left")
    make_images(folder / "images", 48)
    place = Workspace(folder / "ws")
    with mock.patch.object(Activations, "seconds", return_value=RATES):
        assert run_study(place, study_at(folder, *TRAINED)).failed == {}
    run = read_predictions(next((place.root / "predictions").glob("*.parquet")))
    write_predictions(place.root / "predictions" / "as.csv", run.table, run.meta)
    workspace_key(place)
    measured.measure_once(place, {"what": "toy"}, lambda: {"seconds": 0.25})
    DigestMemory(place.root / "weights.json", "random").put("0" * 32)
    tensors = {"w": torch.arange(40.0)}
    optimizer = {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 0.1}]}
    Checkpoints(place.root / "models" / "run" / "checkpoints").save(
        Checkpoint(1, [{"epoch": 1}], tensors, tensors, 1, optimizer, tensors, 4)
    )
    return place.root


def files_of(workspace: Path, pattern: str) -> list[Path]:
    return sorted(p for p in workspace.glob(pattern) if p.is_file() and "lock" not in p.name)


@pytest.fixture(scope="module")
def right(workspace: Path) -> dict[Path, Any]:
    """What every file says before anything happens to it."""
    kinds = READERS.items()
    return {path: read(path) for pattern, read in kinds for path in files_of(workspace, pattern)}


def test_every_kind_of_file_is_among_them(workspace: Path) -> None:
    known = {path for pattern in (*READERS, *SHOWN) for path in files_of(workspace, pattern)}
    locks = set(workspace.rglob("*lock"))
    assert {path for path in workspace.rglob("*") if path.is_file()} - known == locks
    assert [pattern for pattern in READERS if not files_of(workspace, pattern)] == []


def test_no_flipped_bit_is_silent(workspace: Path, right: dict[Path, Any]) -> None:
    rng = np.random.default_rng(0)
    tried, silent = 0, []
    for pattern, read in READERS.items():
        files = files_of(workspace, pattern)
        for _ in range(-(-FLIPS // len(READERS))):
            path = files[rng.integers(len(files))]
            whole = path.read_bytes()
            place, bit = int(rng.integers(len(whole))), int(rng.integers(8))
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :])
            tried += 1
            if not (found(read, path) or same(read(path), right[path])):
                silent.append((path.relative_to(workspace), place, bit))
            path.write_bytes(whole)
    print(f"\n{tried:,} flips tried, {len(silent)} silent")
    assert (tried >= FLIPS, silent) == (True, [])


MALFORMED: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "half": lambda whole: whole[: len(whole) // 2],
    "all but a byte": lambda whole: whole[:-1],
    "one byte more": lambda whole: whole + b"x",
    "zeros": lambda whole: bytes(len(whole)),
    "noise": lambda whole: np.random.default_rng(0).bytes(len(whole)),
    "a list": lambda _: b"[]",
    "nested": lambda _: b"[" * 100_000,
    "nested objects": lambda _: b'{"a":' * 100_000,
    "another format": lambda _: b'{"format": "other", "format_version": 1}',
}


@pytest.mark.parametrize("how", MALFORMED)
def test_malformed_files_are_one_sentence(
    workspace: Path, right: dict[Path, Any], how: str
) -> None:
    for pattern, read in READERS.items():
        if (pattern, how) == ("predictions/*.json", "another format"):
            continue  # a file next to a table of anyone's, which has nothing to do with it
        path = files_of(workspace, pattern)[0]
        whole = path.read_bytes()
        path.write_bytes(MALFORMED[how](whole))
        try:
            assert found(read, path) or same(read(path), right[path]), path
        finally:
            path.write_bytes(whole)


def found(read: Callable[[Path], Any], path: Path) -> bool:
    """Whether the damage is a sentence, or the file is ignored and made again."""
    try:
        return read(path) is None
    except InputError as error:
        return str(error).endswith(".")


def same(one: Any, other: Any) -> bool:
    """Whether two things that were read are equal, whatever they are made of."""
    if isinstance(one, pd.DataFrame):
        return isinstance(other, pd.DataFrame) and one.equals(other)
    if isinstance(one, np.ndarray | torch.Tensor):
        return np.array_equal(np.asarray(one), np.asarray(other), equal_nan=one.dtype.kind == "f")
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def test_the_test_sees_what_it_looks_for(workspace: Path) -> None:
    (path,) = files_of(workspace, "manifests/*.parquet")
    right = vars(read_manifest(path))
    other = vars(read_manifest(path))
    assert same(right, other)
    other["table"].loc[0, "split"] = "other"
    assert not same(right, other)
