"""A head that is loaded is the head that was saved; anything else is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from stamps import rewrite

from frostline.cache import InputError
from frostline.probe import (
    AdamProbe,
    CentroidProbe,
    KNNProbe,
    LogisticProbe,
    MajorityProbe,
    OrdinalProbe,
    load_head,
    save_head,
)
from frostline.probe.heads.storage import read_head

HEADS = [
    LogisticProbe(Cs=[0.1, 1.0], cv=2),
    LogisticProbe(class_weight="balanced"),
    OrdinalProbe(Cs=[0.1, 1.0], cv=2),
    AdamProbe(epochs=3, random_state=0),
    AdamProbe(epochs=3, hidden=5, cv=2, random_state=0),
    KNNProbe(ks=[1, 3], cv=2),
    CentroidProbe(metric="cosine"),
    MajorityProbe(),
]


def fit(head: Any, labels: list[Any]) -> tuple[Any, np.ndarray]:
    X = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
    return head.fit(X, np.array(labels * 20)), X


@pytest.mark.parametrize("head", HEADS, ids=repr)
@pytest.mark.parametrize("labels", [["benign", "Läsion"], [3, 7], [False, True]], ids=str)
def test_loaded_is_saved(tmp_path: Path, head: Any, labels: list[Any]) -> None:
    head, X = fit(head, labels)
    save_head(tmp_path / "run", head, about={"run": "r1"})
    loaded, about = read_head(tmp_path / "run")
    assert about == {"run": "r1"}
    assert type(loaded) is type(head)
    assert loaded.get_params() == head.get_params()
    np.testing.assert_array_equal(loaded.predict_proba(X), head.predict_proba(X))
    np.testing.assert_array_equal(loaded.predict(X), head.predict(X))
    assert loaded.classes_.dtype == head.classes_.dtype
    for name in vars(head):
        if name.endswith("_"):
            assert type(getattr(loaded, name)) is type(getattr(head, name)), name
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        "head.json",
        "head.safetensors",
    ]


def test_the_order_of_an_ordinal_head(tmp_path: Path) -> None:
    X = np.random.default_rng(0).normal(size=(60, 6)).astype(np.float32)
    order = ["low", "medium", "high"]
    head = OrdinalProbe(classes=order).fit(X, np.repeat(order, 20))
    save_head(tmp_path, head)
    loaded = load_head(tmp_path)
    np.testing.assert_array_equal(loaded.predict_proba(X), head.predict_proba(X))
    assert loaded.classes == order
    assert [loaded.classes_[place] for place in loaded.order_] == order


def test_feature_names_and_splitter(tmp_path: Path) -> None:
    head, X = fit(LogisticProbe(cv=[(np.arange(20), np.arange(20, 40))], Cs=[1.0, 2.0]), [0, 1])
    frame = pd.DataFrame(X).add_prefix("f")
    head.fit(frame, np.array([0, 1] * 20))
    save_head(tmp_path, head)
    loaded = load_head(tmp_path)
    np.testing.assert_array_equal(loaded.predict(frame), head.predict(frame))
    assert loaded.cv is None


def refusal(folder: Path) -> str:
    with pytest.raises(InputError) as caught:
        load_head(folder)
    return str(caught.value)


def test_no_head(tmp_path: Path) -> None:
    assert refusal(tmp_path / "x") == (
        f"There is no trained head in {tmp_path / 'x'}: run `frostline probe` first."
    )


def test_files_that_do_not_belong_together(tmp_path: Path) -> None:
    save_head(tmp_path, fit(LogisticProbe(), [0, 1])[0])
    other = tmp_path / "other"
    save_head(other, fit(LogisticProbe(C=3), [0, 1])[0])
    (other / "head.safetensors").rename(tmp_path / "head.safetensors")
    assert refusal(tmp_path) == (
        f"{tmp_path}/head.safetensors is damaged (it is not what was written: its digest differs): "
        f"delete {tmp_path} and run again."
    )


@pytest.mark.parametrize(
    ("change", "start"),
    [
        ({"format": "other"}, "{path} is not a frostline-head file but 'other': delete "),
        ({"format_version": 99}, "{path} has format version 99, this release reads up to 2:"),
        ({"class": "os.system"}, "{path} is damaged (KeyError("),
        ({"params": {"D": 1}}, "{path} is damaged (TypeError("),
    ],
)
def test_strange_heads(tmp_path: Path, change: dict[str, Any], start: str) -> None:
    save_head(tmp_path, fit(LogisticProbe(), [0, 1])[0])
    path = tmp_path / "head.json"
    rewrite(path, lambda content: content.update(change))
    assert refusal(tmp_path).startswith(start.format(path=path))


def test_unfitted_head_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not fitted"):
        save_head(tmp_path, LogisticProbe())
    assert not any(tmp_path.iterdir())
