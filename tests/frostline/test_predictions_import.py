"""Predictions that another tool made, for images of a data set: a run like any other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import frostline
from frostline.cache import InputError
from frostline.cli import app
from frostline.report import read_predictions, write_report
from frostline.report.notes import texts

from .conftest import make_images

SUBMISSION = {"image_id": "image", "prob_sick": "SICK", "prob_well": "WELL"}


@pytest.fixture
def ws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> frostline.Workspace:
    monkeypatch.chdir(tmp_path)
    make_images(Path("images"), 24)
    ws = frostline.Workspace()
    ws.index("mine", "images", group_pattern="(patient[0-9]+)")
    submission().to_csv("submission.csv", index=False)
    return ws


def submission() -> pd.DataFrame:
    """As challenges take it: the image's name without its ending, and a column for each class."""
    names = sorted(path.stem for path in Path("images").rglob("*.png"))
    sick = np.random.default_rng(0).random(len(names)).round(3)
    return pd.DataFrame({"image": names, "SICK": sick, "WELL": (1 - sick).round(3)})


def command(*words: object) -> Any:
    return CliRunner().invoke(app, list(map(str, words)))


def test_a_submission_becomes_a_run(ws: frostline.Workspace) -> None:
    columns = ",".join(f"{new}={theirs}" for new, theirs in SUBMISSION.items())
    given = ("submission.csv", "-d", "mine", "--name", "theirs", "--columns", columns)
    done = command("predictions", "import", *given)
    assert done.exit_code == 0, done.output
    assert "Imported 24 predictions; skipped 0 rows of no image of the data set; images " in (
        done.stderr
    )
    assert "Images were found by file names without their endings." in done.stderr
    assert "majority class" in done.stderr  # with the score, as of a run that was trained
    run = read_predictions(done.stdout.strip())
    manifest = ws.index("mine", "images", group_pattern="(patient[0-9]+)")
    truth = manifest.table.set_index("image_id").loc[run.table["image_id"]]
    for name in ("label", "group_id", "split"):
        assert run.table[name].tolist() == truth[name].tolist()
    asked = submission().set_index("image")
    stems = [Path(one).stem for one in run.table["image_id"]]
    assert run.table["prob_sick"].tolist() == asked.loc[stems, "SICK"].tolist()
    greater = asked.loc[stems, "SICK"] > asked.loc[stems, "WELL"]
    assert run.table["prediction"].tolist() == ["sick" if one else "well" for one in greater]
    again = ws.import_predictions("mine", "theirs", submission(), columns=SUBMISSION)
    assert again.path.samefile(done.stdout.strip())
    other = ws.import_predictions("mine", "others", submission(), columns=SUBMISSION)
    assert other.id != again.id


def test_classes_are_found_whatever_their_case(ws: frostline.Workspace) -> None:
    """As AKIEC of a submission is akiec of the metadata; confidences need not sum to 1."""
    theirs = submission().assign(WELL=lambda t: t["WELL"] + 0.5)
    theirs.to_csv("scores.csv", index=False)
    given = ("scores.csv", "-d", "mine", "--name", "s", "--columns", "image_id=image,prediction=*")
    done = command("predictions", "import", *given)
    assert "Classes were found whatever their case: SICK is sick, WELL is well." in done.stderr
    run = read_predictions(done.stdout.strip())
    assert set(run.table["prediction"]) == {"sick", "well"}
    by_name = {"image_id": "image", "prob": "*"}
    one = ws.import_predictions("mine", "one", submission(), columns=by_name)
    other = ws.import_predictions("mine", "one", submission(), columns=SUBMISSION)
    assert one.id == other.id
    both = submission().rename(columns={"SICK": "Well"})
    with pytest.raises(
        InputError, match="there are probabilities of Well, WELL, and none of 'sick'"
    ):
        ws.import_predictions("mine", "both", both, columns=by_name)


def test_it_is_compared_with_runs_of_ones_own(ws: frostline.Workspace) -> None:
    ws.extract("mine", "timm:test_vit", weights="random", image_size=32)
    own = ws.probe("mine", "timm:test_vit", "centroid")
    theirs = ws.import_predictions("mine", "theirs", "submission.csv", columns=SUBMISSION)
    found = frostline.compare([own, theirs], replicates=200)
    assert found["n_units"].tolist() == own.scores(metrics=["accuracy"])["n_units"].unique()
    scores = frostline.evaluate([own, theirs], metrics=["accuracy"], replicates=100)
    assert scores["backbone"].tolist()[:2] == ["timm:test_vit", "theirs"]
    assert len(scores) == 3  # one majority row for both
    # The same predictions as of the run itself score the same.
    copy = ws.import_predictions("mine", "copy", own.predictions.table)
    assert frostline.compare([own, copy], replicates=200)["difference"].tolist() == [0]
    assert [note for note in texts(copy.predictions.notes) if "images" in note] == []


@pytest.mark.parametrize(
    ("change", "columns", "sentence"),
    [
        (
            lambda t: t.assign(image="x" + t["image"]),
            SUBMISSION,
            "No image_id of s.csv is in data set 'mine': the file says 'xpatient000_0', for "
            "instance, and the data set 'sick/patient001_2.png'.",
        ),
        (
            lambda t: t.rename(columns={"SICK": "ill"}),
            {"image_id": "image", "prob": "*"},
            "s.csv: there are probabilities of ill, well, and none of 'sick', a label of data set "
            "'mine'; name its column by columns prob_sick=COLUMN.",
        ),
        (
            lambda t: t,
            {"prob": "*"},
            "s.csv: no column image_id, and which images these are is not clear; map it by "
            "columns.",
        ),
        (
            lambda t: t.assign(answer="ill"),
            {"image_id": "image", "prediction": "answer"},
            "s.csv: the prediction 'ill' is no label of data set 'mine' (sick, well); write both "
            "alike.",
        ),
        (
            lambda t: t.assign(answer="sick", truth=["sick"] * 23 + ["well"]),
            {"image_id": "image", "prediction": "answer", "label": "truth"},
            "s.csv: the label of 'well/patient000_0.png' is 'sick' there and 'well' in data set "
            "'mine', and 12 more differ; write both alike, or import the table without its labels.",
        ),
        (
            lambda t: pd.concat([t, t.iloc[:1]]),
            SUBMISSION,
            "s.csv, row 25 (line 26): image_id 'patient000_0' occurs twice; keep one row an image.",
        ),
        (
            lambda t: t.drop(columns="WELL"),
            SUBMISSION,
            "s.csv: no column 'WELL', which columns names for prob_well; it has image, SICK: "
            "correct columns.",
        ),
    ],
)
def test_mistakes_end_in_a_sentence(
    ws: frostline.Workspace, change: Any, columns: dict[str, str], sentence: str
) -> None:
    change(submission()).to_csv("s.csv", index=False)
    with pytest.raises(InputError) as caught:
        ws.import_predictions("mine", "theirs", "s.csv", columns=columns)
    assert str(caught.value) == sentence
    assert not Path("frostline-workspace/predictions").exists()
    pairs = ",".join(f"{new}={theirs}" for new, theirs in columns.items())
    given = ("s.csv", "-d", "mine", "--name", "theirs", "--columns", pairs)
    assert isinstance(command("predictions", "import", *given).exception, InputError)


def test_what_frostline_wrote_is_given_as_it_is(ws: frostline.Workspace) -> None:
    run = ws.import_predictions("mine", "theirs", "submission.csv", columns=SUBMISSION)
    with pytest.raises(InputError, match="was written by Frostline: give it to `frostline evalua"):
        ws.import_predictions("mine", "again", run.path)
    with pytest.raises(InputError, match="columns is for tables of others"):
        frostline.evaluate(run, columns={"label": "truth"})


def test_embeddings_of_another_tool_are_a_store(ws: frostline.Workspace) -> None:
    names, X = submission()["image"].to_numpy(str), np.random.default_rng(0).normal(size=(24, 3))
    np.savez("theirs.npz", files=names, features=X)
    columns = {"image_id": "files", "embedding": "features"}
    store = ws.import_embeddings("mine", "theirs", "theirs.npz", columns=columns)
    assert store.arrays("test")[0].shape[1] == 3
    table = store.frame()
    place = {Path(image).stem: image for image in table.index}
    mine = table.loc[[place[name] for name in names], ["e0", "e1", "e2"]]
    np.testing.assert_allclose(mine.to_numpy(), X, rtol=1e-6)
    np.savez("theirs.npz", files=names, features=X, others=2 * X)
    first, other = (  # of one file
        ws.import_embeddings("mine", "both", "theirs.npz", columns={**columns, "embedding": array})
        for array in ("features", "others")
    )
    np.testing.assert_allclose(2 * first.arrays("test")[0], other.arrays("test")[0], rtol=1e-6)
    done = command(
        *("cache", "import", "theirs.npz", "-d", "mine", "-b", "both"),
        *("--columns", "image_id=files,embedding=features"),
    )
    assert "Imported 0 embeddings" in done.stdout
    assert "Taken: array features, 3 features. Images were found by file names" in done.stdout


def test_imported_runs_say_that_they_were_made_elsewhere(ws: frostline.Workspace) -> None:
    run = ws.import_predictions("mine", "theirs", submission(), columns=SUBMISSION)
    for given in (run.path, run.id):
        for name in ("predict", "export"):
            told = command(name, *(["images"] if name == "predict" else []), "--run", given)
            assert "was imported: only the tool that made these predictions" in str(told.exception)
    write_report("report", [run.path], title="Theirs", replicates=20)
    methods = Path("report/methods.md").read_text(encoding="utf-8")
    assert "theirs: its predictions were made elsewhere and imported" in methods
    assert "weights: None" not in methods
    assert "How images were prepared for theirs is not recorded." in methods
