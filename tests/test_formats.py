"""Files of every kind that release 0.1 wrote are read for ever (tests/formats/release-0.1)."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from frostline.cache import EmbeddingStore, Workspace
from frostline.cache.stamped import read_json, read_parquet

OLD = Path(__file__).parent / "formats" / "release-0.1"
WORKSPACE = Workspace(OLD)
HEADS = sorted(OLD.glob("models/*/head.json"))

# Kinds of files that carry a stamp, and what is known of them.
STAMPED = {
    "manifests/set.parquet": ("frostline-manifest", 1, "dataset"),
    "measured.json": ("frostline-measured", 1, "entries"),
    "models/*/head.json": ("frostline-head", 1, "class"),
    "models/*/model.json": ("frostline-model", 1, "classes"),
    "models/run/checkpoints/*/state.json": ("frostline-checkpoint", 2, "epoch"),
    "predictions/as.json": ("frostline-predictions", 1, "run"),
    "predictions/*.parquet": ("frostline-predictions", 1, "run"),
    "reports/small/plan.json": ("frostline-plan", 1, "steps"),
    "reports/small/provenance.json": ("frostline-provenance", 1, "versions"),
    "reports/small/statistics/*.parquet": ("frostline-statistics", 1, "key"),
    "reports/small/study.json": ("frostline-study", 1, "key"),
    "runs/*.json": ("frostline-step", 1, "state"),
    "sweeps/cells/*.parquet": ("frostline-sweep-cell", 1, "store_key"),
    "sweeps/*/results.parquet": ("frostline-sweep", 1, "sweep"),
    "weights.json": ("frostline-digests", 1, "entries"),
}


@pytest.mark.parametrize("pattern", STAMPED)
def test_every_kind_of_stamped_file_is_read(pattern: str) -> None:
    format, version, fact = STAMPED[pattern]
    paths = sorted(OLD.glob(pattern))
    assert paths
    for path in paths:
        if path.suffix == ".json":
            content = read_json(path, format, version + 1)
        else:
            table, content = read_parquet(path, format, version + 1)
            assert table.num_rows
        assert (content["format_version"], fact in content) == (version, True)


def test_no_stamped_file_is_forgotten() -> None:
    known = {path for pattern in STAMPED for path in OLD.glob(pattern)}
    assert {*OLD.rglob("*.json"), *OLD.rglob("*.parquet")} == known


def test_embeddings_are_read_with_their_manifest() -> None:
    X, y, groups = EmbeddingStore.open(WORKSPACE, "set", "timm:test_vit").arrays()
    assert (X.shape[0], sorted(set(y)), len(set(groups))) == (24, ["a", "b"], 12)


def test_predictions_are_read_alike_from_parquet_and_csv() -> None:
    from frostline.report import read_predictions

    other = read_predictions(OLD / "predictions" / "as.csv")
    run = read_predictions(WORKSPACE.predictions(other.run))
    assert run.meta == other.meta
    columns = ["image_id", "group_id", "split", "label", "prediction"]
    assert run.table[columns].astype(str).equals(other.table[columns].astype(str))
    for name in run.classes:
        np.testing.assert_allclose(run.table[f"prob_{name}"], other.table[f"prob_{name}"])


@pytest.mark.parametrize("path", HEADS, ids=lambda path: path.parent.name)
def test_heads_are_read_and_predict_what_they_predicted(path: Path) -> None:
    from frostline.probe import load_head
    from frostline.report import read_predictions

    head = load_head(path.parent)
    frame = EmbeddingStore.open(WORKSPACE, "set", "timm:test_vit").frame()
    table = read_predictions(WORKSPACE.predictions(path.parent.name)).table.set_index("image_id")
    test = table[table["split"] == "test"]
    X = frame.loc[test.index].filter(regex="^e[0-9]").to_numpy()
    np.testing.assert_allclose(head.predict_proba(X), test[["prob_a", "prob_b"]], atol=1e-6)


def test_a_checkpoint_is_read() -> None:
    from frostline.finetune.training.checkpoint import Checkpoints

    found = Checkpoints(OLD / "models" / "run" / "checkpoints").load()
    assert found is not None
    assert (found.epoch, found.micro_batch, found.history[0]["train_loss"]) == (1, 4, 0.5)
    assert found.weights["w"].tolist() == [[1, 1], [1, 1]]


def test_the_card_of_a_fine_tuned_model_is_read() -> None:
    from frostline.finetune import read_card

    (path,) = OLD.glob("models/*/model.json")
    card = read_card(path.parent)
    assert (card["backbone"], card["classes"]) == ("timm:test_vit", ["a", "b"])


def test_a_manifest_of_then_is_written_as_one_of_now(tmp_path: Path) -> None:
    from frostline.cache import read_manifest, write_manifest

    old = read_manifest(WORKSPACE.manifest("set"))
    path = Path(shutil.copy(WORKSPACE.manifest("set"), tmp_path / "set.parquet"))
    write_manifest(path, old)
    new = read_manifest(path)
    assert new.meta == old.meta | {"format_version": 2}
    assert new.digest() == old.digest()
    pd.testing.assert_frame_equal(new.table, old.table)
