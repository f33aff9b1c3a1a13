"""A user's own scikit-learn classifier where a head's name could stand."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from frostline.cache import InputError
from frostline.probe import load_head, probe_head
from frostline.report import evaluate, read_predictions

from .conftest import Build, embeddings

SWEEPS = Path(__file__).parents[2] / "docs" / "sweeps.md"


def test_the_documents_example(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = build()
    block = re.search(r"test_own_estimator.py -->\n```python\n(.*?)```", SWEEPS.read_text(), re.S)
    assert block
    (tmp_path / "frostline-workspace").symlink_to(place.root)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(block[1].replace('"chest"', '"mri"').replace('"effnet-lite0"', '"tiny"'), names)
    result = read_predictions(place.predictions(names["run"]))
    assert names["new"]
    assert result.run.startswith("mri-tiny-pooled-RandomForestClassifier-paper-s1-")
    assert result.meta["head"] == "RandomForestClassifier"
    assert result.meta["hyperparameters"]["n_estimators"] == 50
    again = {"head": RandomForestClassifier(n_estimators=50, min_samples_leaf=3), "seed": 1}
    assert probe_head(place, "mri", "tiny", **again) == (names["run"], False)
    other = {**again, "head": RandomForestClassifier(n_estimators=51, min_samples_leaf=3)}
    assert probe_head(place, "mri", "tiny", **other)[0] != names["run"]


def test_it_answers_as_it_does_alone(build: Build, table: pd.DataFrame) -> None:
    X = embeddings(pd.factorize(table["label"])[0])
    place = build(X=X)
    own = make_pipeline(StandardScaler(), LogisticRegression(C=0.1))
    run, _ = probe_head(place, "mri", "tiny", head=own)
    assert not hasattr(own, "classes_")
    result = read_predictions(place.predictions(run)).table
    y, split = table["label"].to_numpy(), table["split"].to_numpy()
    for part, trained in (("val", ["train"]), ("test", ["train", "val"])):
        rows = np.isin(split, trained)
        alone = own.fit(X[rows], y[rows]).predict_proba(X[split == part])
        written = result[result["split"] == part].filter(like="prob_").to_numpy()
        np.testing.assert_allclose(written, alone, rtol=1e-5)


def test_an_open_random_state_gets_the_seed(build: Build) -> None:
    place = build()
    found = []
    for own, seed in (
        (RandomForestClassifier(5), 3),
        (RandomForestClassifier(5, random_state=3), 0),
        (RandomForestClassifier(5), 4),
    ):
        run, _ = probe_head(place, "mri", "tiny", head=make_pipeline(own), seed=seed)
        found.append(read_predictions(place.predictions(run)).table)
    pd.testing.assert_frame_equal(found[0], found[1])
    assert not found[0].equals(found[2])


def test_without_probabilities_labels_are_predicted(build: Build, table: pd.DataFrame) -> None:
    X = embeddings(pd.factorize(table["label"])[0])
    place = build(X=X)
    run, _ = probe_head(place, "mri", "tiny", head=LinearSVC(random_state=0))
    result = read_predictions(place.predictions(run))
    assert not [name for name in result.table if name.startswith("prob_")]
    fitted, test = (table["split"].isin(parts) for parts in (["train", "val"], ["test"]))
    alone = LinearSVC(random_state=0).fit(X[fitted], table["label"][fitted]).predict(X[test])
    assert list(result.table.loc[result.table["split"] == "test", "prediction"]) == list(alone)
    assert set(result.meta["validation"]) == {"accuracy"}
    scores = evaluate([place.predictions(run)])
    assert "accuracy" in set(scores["metric"])
    assert "log_loss" not in set(scores["metric"])


def refusal(place: Any, head: Any, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        probe_head(place, "mri", "tiny", head=head, **options)
    return str(caught.value)


def test_what_cannot_be_a_head(build: Build) -> None:
    place = build()
    assert refusal(place, Ridge()) == (
        "Ridge() is no classifier of scikit-learn: a head is one, or the name of one of "
        "Frostline's heads."
    )
    assert refusal(place, RandomForestClassifier) == (
        "A head is an estimator, not its class: give RandomForestClassifier(), with its parameters."
    )
    assert refusal(place, LinearSVC(), hyperparameters={"C": 1}) == (
        "LinearSVC has its parameters already: set them there, and leave hyperparameters out."
    )

    class Distance:
        def __call__(self, a: Any, b: Any) -> float:
            return 0.0

    sentence = refusal(place, KNeighborsClassifier(metric=Distance()))
    assert sentence.startswith("Parameter 'metric' of KNeighborsClassifier is <")
    assert sentence.endswith("so that its run could not be found again: give the class a __repr__.")
    assert not (place.root / "predictions").exists()


def test_its_head_is_not_stored_which_is_said(build: Build) -> None:
    place = build()
    run, _ = probe_head(place, "mri", "tiny", head=LogisticRegression())
    assert [path.name for path in place.model(run).iterdir()] == ["README.md", "head.json"]
    with pytest.raises(InputError) as caught:
        load_head(place.model(run))
    assert str(caught.value) == (
        f"The head in {place.model(run)} was your own estimator "
        "(sklearn.linear_model._logistic.LogisticRegression), which is not stored, for nothing "
        "that Frostline reads is unpickled: fit it again in Python."
    )
