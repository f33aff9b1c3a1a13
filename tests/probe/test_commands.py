"""`frostline probe` and `frostline sweep`: what they print; every option acts or is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from frostline.cache import Workspace
from frostline.cli import app
from frostline.probe.choices import HeadName, SelectionMetric
from frostline.probe.heads.registry import HEADS
from frostline.probe.heads.scoring import METRICS
from frostline.report import read_predictions

from .conftest import SPEC, Build

ON = ("-d", "mri", "-b", "tiny")
Printed = pytest.CaptureFixture[str]


def call(place: Workspace, *words: str) -> None:
    app([*words, "--workspace", str(place.root)], standalone_mode=False)


def refusal(place: Workspace, *words: str) -> str:
    with pytest.raises(Exception) as caught:  # noqa: PT011 (a mistake of use is typer's, or ours)
        call(place, *words)
    assert not (place.root / "predictions").exists()
    said: str = getattr(caught.value, "message", str(caught.value))
    return said.removeprefix("Value error, ")  # by which newer releases of typer begin


def test_closed_lists_are_those_of_the_code() -> None:
    assert [name.value for name in HeadName] == list(HEADS)
    assert list(SelectionMetric.__args__) == list(METRICS)  # type: ignore[attr-defined]


def test_probe_prints_the_path_and_says_the_score(build: Build, capsys: Printed) -> None:
    place = build()
    call(place, "probe", *ON, "--head", "centroid")
    printed = capsys.readouterr()
    path = Path(printed.out.strip())
    assert path.parent == place.root / "predictions"
    assert path.name.startswith("mri-tiny-pooled-centroid-paper-s0-")
    assert printed.err == ("accuracy 87.5% [65.3, 96.3] on 12 test groups; majority class 33.3%\n")


def test_a_sweep_by_cross_validation_says_the_mean_of_all_repeats(
    build: Build, capsys: Printed
) -> None:
    place = build()
    call(place, "sweep", *ON, "--head", "centroid", "--cv", "3x2")
    printed = capsys.readouterr()
    mean = re.search(r"centroid +\d+ +[\d.]+ +([\d.]+)", printed.out)
    assert mean is not None
    assert f"centroid: accuracy {float(mean[1]):.1%}" in printed.err
    assert "mean of 6 folds" in printed.err


def test_hyperparameters_seed_protocol_and_feature_act(build: Build, capsys: Printed) -> None:
    place = build()
    build(spec={**SPEC, "feature": "cls"})
    call(
        place,
        "probe",
        *ON,
        "--set",
        "lr=1e-2,1e-3",
        "--epochs",
        "3",
        "--seed",
        "2",
        "--feature",
        "cls",
    )
    meta = read_predictions(Path(capsys.readouterr().out.strip())).meta
    assert meta["head"] == "adam"  # the protocol's
    assert meta["candidates"] == 2
    assert (meta["hyperparameters"]["epochs"], meta["seed"], meta["feature"]) == (3, 2, "cls")
    call(place, "probe", *ON, "--protocol", "standard", "--feature", "cls")
    meta = read_predictions(Path(capsys.readouterr().out.strip())).meta
    assert (meta["head"], meta["protocol"]) == ("logistic", "standard")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            "probe --head centroid --epochs 5",
            "Head 'centroid' has no hyper-parameter 'epochs': there are metric, temperature.",
        ),
        (
            "probe --head majority --set C=1",
            "Head 'majority' has no hyper-parameter 'C': there are none.",
        ),
        (
            "probe --head knn --seed 1",
            "Head 'knn' does not depend on a seed: leave --seed out.",
        ),
        (
            "probe --head adam --epochs 2 --set epochs=3",
            "The hyper-parameter 'epochs' is given twice: give it once.",
        ),
        ("probe --set C", "--set is NAME=VALUE,VALUE, such as C=0.01,1, not 'C'."),
        (
            "probe --head svm",
            "'svm' is not one of 'logistic', 'ordinal', 'adam', 'knn', 'centroid', "
            "'majority', 'attention'.",
        ),
        (
            "sweep --head knn --grid logistic.C=1",
            "--grid logistic.C=1 is for head 'logistic': add --head logistic.",
        ),
        (
            "sweep --grid centroid.C=1",
            "Head 'centroid' has no hyper-parameter 'C': there are metric, temperature.",
        ),
        (
            "sweep --head knn --seed 1",
            "--seed changes nothing of knn: leave it out.",
        ),
        (
            "sweep --head knn --name cells",
            "--name cannot be 'cells', because scores of all sweeps lie there: take another.",
        ),
        (
            "sweep --head knn --draws 5",
            "--draws is for the sizes in --train-groups: name some, or leave it out.",
        ),
        (
            "sweep --head knn --cv 3x1 --split mine",
            "--split does not go with --cv, whose repeats are the seeds and whose folds are all "
            "the images: leave one of them out.",
        ),
        (
            "sweep --train-groups 1.5",
            "--train-groups takes whole numbers from 1, fractions below 1, or all, not 1.5.",
        ),
        (
            "sweep --train-groups ten",
            "--train-groups must be a valid integer or a valid number or 'all', not 'ten'.",
        ),
        (
            "sweep --cv 2x3",
            "--cv is FOLDSxREPEATS with at least 3 folds, such as 5x3, not '2x3'.",
        ),
        ("probe --head logistic --set C=0", "--set C must be greater than 0, not 0."),
        ("probe --head adam --set lr=1e-3,-1", "--set lr must be greater than 0, not -1."),
        (
            "sweep --grid logistic.C=1,0 --grid knn.n_neighbors=0.5",
            "--grid logistic.C must be greater than 0, not 0.",
        ),
        (
            "sweep --jobs 2 --scheduler tcp://127.0.0.1:1",
            "--jobs is for this machine and --scheduler for a cluster: give one.",
        ),
    ],
)
def test_an_option_that_does_not_act_is_refused(build: Build, words: str, sentence: str) -> None:
    command, *options = words.split()
    assert refusal(build(), command, *ON, *options) == sentence


def test_a_file_is_named_by_its_keys_and_what_replaces_them_by_options(
    build: Build, tmp_path: Path
) -> None:
    place, file = build(), tmp_path / "mine.yaml"
    file.write_text("datasets: mri\nbackbones: tiny\nheads: knn\ndraws: 3\n")
    where = f"{file}: draws is for the sizes in train_groups: name some, or leave it out."
    assert refusal(place, "sweep", str(file)) == where
    assert refusal(place, "sweep", str(file), "--draws", "4") == (
        "--draws is for the sizes in train_groups: name some, or leave it out."
    )
    assert refusal(place, "sweep", str(file), "--train-groups", "0") == (
        "--train-groups takes whole numbers from 1, fractions below 1, or all, not 0."
    )
    file.write_text("datasets: mri\nbackbones: tiny\nheads: {logistic: {C: 0}}\n")
    assert refusal(place, "sweep", str(file), "--metric", "accuracy") == (
        f"{file}: Head 'logistic': C must be greater than 0, not 0."
    )


def test_an_unseeded_head_has_one_run_id_whatever_seeds_a_sweep_has(
    build: Build, capsys: Printed
) -> None:
    place = build()
    grids = ("--grid", "knn.n_neighbors=5", "--grid", "adam.epochs=2")
    call(place, "sweep", *ON, "--jobs", "1", "--seed", "1", "--seed", "2", *grids)
    names = sorted(path.name for path in (place.root / "predictions").iterdir())
    assert [name.split("-")[3] + name.split("-")[5] for name in names] == [
        "adams1",
        "adams2",
        "knns0",
    ]
    call(place, "probe", *ON, "--head", "knn", "--set", "n_neighbors=5")
    assert sorted(path.name for path in (place.root / "predictions").iterdir()) == names


def test_sweep_by_options_and_by_file_is_one_set_of_runs(
    build: Build, tmp_path: Path, capsys: Printed
) -> None:
    place = build()
    call(place, "sweep", *ON, "--grid", "knn.n_neighbors=1,5", "--grid", "centroid.metric=cosine")
    printed = capsys.readouterr()
    assert "Best head of every backbone, chosen on validation" in printed.out
    assert printed.err.startswith("mri · tiny · pooled · ")
    runs = set((place.root / "predictions").iterdir())
    file = tmp_path / "mine.yaml"
    file.write_text(
        "datasets: mri\nbackbones: tiny\n"
        "heads: {knn: {n_neighbors: [1, 5]}, centroid: {metric: cosine}}\n"
    )
    call(place, "sweep", str(file), "--name", "named")
    assert (place.root / "sweeps" / "named" / "results.parquet").exists()
    assert set((place.root / "predictions").iterdir()) == runs
    call(place, "probe", *ON, "--head", "knn", "--set", "n_neighbors=1,5")
    assert set((place.root / "predictions").iterdir()) == runs
