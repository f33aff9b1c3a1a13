"""Negative controls: at chance on noise, loud where something leaks."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import StratifiedGroupKFold

from frostline.cache import InputError
from frostline.report.statistics.controls import (
    cross_predict,
    metadata_matrix,
    negative_controls,
    permute_labels,
)

GROUPS = np.repeat(np.arange(60), 4)
TRUTH = (np.arange(60) % 2)[GROUPS]
LABELS = np.where(TRUTH == 1, "ill", "well")


def embeddings(signal):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(240, 6))
    x[:, 0] += signal * TRUTH
    return x


def by_control(frame):
    return frame.set_index("control")


def test_permuted_labels_score_at_chance():
    found = by_control(negative_controls(embeddings(3.0), LABELS, GROUPS, permutations=10))
    row = found.loc["labels permuted by group"]
    assert row["estimate"] == pytest.approx(0.5, abs=0.06)
    assert row["verdict"] == "at chance, as it should be"
    assert found.loc["split by group", "estimate"] > 0.85


def test_a_split_by_image_flatters_patients_that_are_alike():
    """Nothing but the patient can be read: by group chance, by image far above."""
    rng = np.random.default_rng(1)
    patients = rng.normal(size=(60, 100))[GROUPS] + 0.1 * rng.normal(size=(240, 100))
    found = by_control(negative_controls(patients, LABELS, GROUPS, permutations=3))
    assert found.loc["split by group", "estimate"] < 0.65
    assert found.loc["split by image", "estimate"] > 0.8
    assert found.loc["split by image", "verdict"].startswith("a split by image flatters by +")


def test_metadata_that_gives_the_answer_away():
    site = pd.DataFrame({"site": np.where(TRUTH == 1, "north", "south"), "age": np.nan})
    fair = pd.DataFrame({"width": np.random.default_rng(0).normal(size=240)})
    options = {"permutations": 2}
    leak = by_control(negative_controls(embeddings(0), LABELS, GROUPS, metadata=site, **options))
    none = by_control(negative_controls(embeddings(0), LABELS, GROUPS, metadata=fair, **options))
    assert leak.loc["metadata alone", "verdict"].startswith("above chance: ")
    assert none.loc["metadata alone", "verdict"] == "at chance, as it should be"


def test_permuting_keeps_groups_whole():
    shuffled = permute_labels(TRUTH, GROUPS, np.random.default_rng(0))
    assert (shuffled.reshape(60, 4) == shuffled.reshape(60, 4)[:, :1]).all()
    assert shuffled.sum() == TRUTH.sum()
    assert (shuffled != TRUTH).any()


def test_metadata_as_numbers():
    table = pd.DataFrame({"age": [40.0, np.nan, 60.0], "sex": ["f", None, "m"]})
    assert metadata_matrix(table).tolist() == [[40, 0, 0, 1, 0], [50, 1, 1, 0, 0], [60, 0, 0, 0, 1]]
    with pytest.raises(InputError, match=r"^The metadata has no columns: "):
        metadata_matrix(table[[]])


def test_too_few_groups():
    with pytest.raises(InputError, match=r"^The rarest class has 2 groups: controls need "):
        negative_controls(embeddings(0)[:16], LABELS[:16], GROUPS[:16])


def test_every_fold_of_a_control_has_the_shares_of_the_classes(monkeypatch):
    held_out = []
    split = StratifiedGroupKFold.split

    def noted(self, *arguments, **more):
        for train, test in split(self, *arguments, **more):
            held_out.append(test)
            yield train, test

    monkeypatch.setattr(StratifiedGroupKFold, "split", noted)
    groups = np.repeat(np.arange(100), 2)
    truth = (np.arange(100) < 21).astype(int)[groups]
    for seed in range(5):
        cross_predict(np.random.default_rng(seed).normal(size=(200, 2)), truth, groups, seed)
    shares = np.array([truth[rows].mean() for rows in held_out])
    assert len(shares) == 25
    assert ((shares > 0.19) & (shares < 0.26)).all()
