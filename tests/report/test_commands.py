"""The commands over real files: what a person types, and what comes out."""

from __future__ import annotations

import csv
import io
from contextlib import contextmanager

import pytest
import typer
from typer.testing import CliRunner

from frostline.cache import InputError
from frostline.cli import app
from frostline.commands.reporting import IDLE_IN_COMPARE, IDLE_IN_EVALUATE
from frostline.reference import COMMON
from frostline.report import write_predictions


@pytest.fixture
def files(run, tmp_path):
    paths = []
    for one in (run(skill=3.0, n_groups=60), run(seed=1, skill=0.2, n_groups=60, unfreeze="all")):
        paths.append(str(tmp_path / f"{one.run}.parquet"))
        write_predictions(paths[-1], one.table, one.meta)
    return paths


@pytest.fixture
def several(run, tmp_path):
    """Three methods of two seeds, whose groups have several images of one label, and two splits."""
    paths = []
    for place, (unfreeze, skill) in enumerate((("none", 1.5), ("all", 0.8), ("2", 1.2))):
        for seed in range(2):
            one = run(n=180, n_groups=60, skill=skill, seed=10 * place + seed, unfreeze=unfreeze)
            one.meta["seed"] = seed
            one.table["label"] = one.table.groupby("group_id")["label"].transform("first")
            one.table.loc[one.table["group_id"].str.endswith("7"), "split"] = "val"
            paths.append(str(tmp_path / f"{unfreeze}-{seed}.parquet"))
            write_predictions(paths[-1], one.table, one.meta)
    return paths


def invoke(*words):
    result = CliRunner().invoke(app, list(words), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_compare(files):
    text = invoke("compare", *files, "--margin", "0.02")
    sentence = "On chest, resnet50 (frozen) is better than resnet50 (fine-tuned): accuracy +"
    assert text.startswith(sentence)
    rows = invoke("compare", *files, "--family", "freezing", "--format", "csv").splitlines()
    assert rows[0].startswith("dataset,a,b,metric,estimate_a,")
    assert ",none,1," in rows[1]


def test_evaluate_with_metrics_and_aggregate(files):
    lines = invoke(
        "evaluate",
        files[0],
        "--metric",
        "roc_auc",
        "--metric",
        "f1_per_class",
        "--aggregate",
        "none",
        "--format",
        "csv",
    ).splitlines()
    assert lines[0] == "run,metric,estimate,low,high"
    assert [line.split(",")[1] for line in lines[1:4]] == ["roc_auc", "f1[NORMAL]", "f1[PNEUMONIA]"]


def test_against_the_paper(files):
    text = invoke(
        "evaluate", *files, "--against", "paper", "--replicates", "100", "--format", "markdown"
    )
    assert "| Chest X-ray | ResNet50 | Y | accuracy | " in text
    assert "different test set" in text


def test_mistakes_are_sentences(files):
    for words, message in (
        (["compare", files[0]], "One run alone cannot be compared: give at least two."),
        (
            ["evaluate", files[0], "--metric", "f2"],
            "There is no metric 'f2': choose from accuracy, ",
        ),
    ):
        with pytest.raises(InputError) as caught:
            invoke(*words)
        assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    "words",
    [
        ["evaluate", "--ci", "wald"],
        ["evaluate", "--unit", "slice"],
        ["evaluate", "--aggregate", "median"],
        ["evaluate", "--over", "years"],
        ["evaluate", "--against", "us"],
        ["evaluate", "--format", "xls"],
        ["compare", "--family", "all"],
        ["compare", "--format", "xls"],
    ],
)
def test_closed_lists_are_choices(files, words):
    done = CliRunner().invoke(app, [words[0], *files, *words[1:]])
    assert done.exit_code == 2
    assert f"Invalid value for '{words[1]}'" in done.output


def test_a_plan_on_the_command_line(files):
    text = " ".join(invoke("compare", *files, "--plan").split())
    for words in ("for 1 point ", "for 2 points", "for 5 points", "for 10 points"):
        assert words.split()[1] in text
    assert "Test groups needed so that a true difference" in text
    rows = list(csv.DictReader(io.StringIO(invoke("compare", *files, "--plan", "--format", "csv"))))
    assert [row["difference"] for row in rows[2:]] == ["0.01"] * 2 + ["0.02"] * 2 + ["0.05"] * 2 + [
        "0.1"
    ] * 2
    assert [row["power"] for row in rows] == ["0.8", "0.9"] * 5
    words = ["compare", *files, "--plan", "--margin", "0.04", "--format", "csv"]
    declared = list(csv.DictReader(io.StringIO(invoke(*words))))
    assert [row["difference"] for row in declared[2:]] == ["0.04"] * 2
    needed = float(declared[2]["groups_needed"])
    assert float(rows[4]["groups_needed"]) > needed > float(rows[6]["groups_needed"])


def test_a_terminal_sees_how_far_a_comparison_is(files, monkeypatch):
    told = []

    @contextmanager
    def progress(what, unit):
        yield lambda *step: told.append((what, *step))

    monkeypatch.setattr("frostline.console.progress", progress)
    invoke("compare", *files)
    assert told == [("Comparing", done, 3) for done in (1, 2, 3)]


@pytest.mark.parametrize("kind", ["svg", "pdf", "png"])
def test_a_figure_on_the_command_line(several, tmp_path, kind):
    path = tmp_path / f"pairs.{kind}"
    assert f"Drew 3 pairs in {path}." in invoke("compare", *several, "--figure", str(path))
    start = {"svg": b"<?xml", "pdf": b"%PDF", "png": b"\x89PNG"}[kind]
    assert path.read_bytes().startswith(start)


def test_a_figure_that_cannot_be_drawn(several, run, tmp_path):
    with pytest.raises(InputError) as caught:
        invoke("compare", *several, "--figure", "pairs.jpg")
    assert str(caught.value) == (
        "--figure must end in .svg or .png or .pdf, not as in 'pairs.jpg'."
    )
    skin = []
    for seed in range(2):
        one = run(seed=seed, dataset="skin")
        skin.append(str(tmp_path / f"skin-{seed}.parquet"))
        write_predictions(skin[-1], one.table, one.meta)
    with pytest.raises(InputError) as caught:
        invoke("compare", *several, *skin, "--figure", str(tmp_path / "pairs.svg"))
    assert str(caught.value) == (
        "--figure shows one data set, and these runs are of chest, skin: give the runs of one."
    )


VALUES = {
    "ci": "bca",
    "replicates": "150",
    "seed": "3",
    "stratified": None,
    "against": "paper",
    "split": "all",
    "unit": "image",
    "family": "freezing",
    "margin": "0.4",
    "intersection": None,
    "metric": "f1_macro",
    "aggregate": "vote",
    "over": "seeds",
    "format": "markdown",
    "ranks": None,
    "plan": None,
    "figure": "pairs.svg",
    "classes": "PNEUMONIA,NORMAL",
    "positive": "NORMAL",
    "columns": "label=label",
}
# Modes that a function of their value names: a value of each, and what else it needs.
CALLED = {
    "threshold": "0.5",
    "net_benefit": "0.2",
    "calibration": None,
    "by": "sex",
    "discordance": "0.2",
}
# What tests of their own try: tests/report/clinical, test_planning, test_columns, test_options.
ELSEWHERE = {*CALLED, "prevalence", "groups", "columns"}


# An option that is a mode itself, in which this mode does not act.
MODES_APART = [("over", [("ci", kind)]) for kind in ("percentile", "jackknife-t", "replicate-mean")]


def option(name, value=None):
    return [f"--{name}", *([] if value is None else [value])]


@pytest.mark.parametrize(
    ("command", "idle"), [("evaluate", IDLE_IN_EVALUATE), ("compare", IDLE_IN_COMPARE)]
)
def test_an_option_that_does_not_act_is_refused(files, command, idle):
    for (mode, value), names in idle.items():
        shown = CALLED[mode] if callable(value) else None if value is True else value
        mode = option(mode.replace("_", "-"), shown)
        for name in names:
            words = [command, *files, *mode, *option(name, VALUES[name])]
            with pytest.raises(InputError) as caught:
                invoke(*words)
            said = " ".join(mode)
            assert str(caught.value) == (
                f"`--{name}` does not act with `{said}`: leave one of them out."
            )


def acting(command, mode):
    """The options of a command that are not refused in a mode, and the mode's own words."""
    idle = {"evaluate": IDLE_IN_EVALUATE, "compare": IDLE_IN_COMPARE}[command]
    refused = {
        name for (key, value), names in idle.items() if (key, value) in mode for name in names
    }
    taken = {name for name, _ in mode}
    (found,) = [one for one in typer.main.get_command(app).commands.values() if one.name == command]
    names = {one.name for one in found.params} - {"predictions", *COMMON, *ELSEWHERE}
    # The figure of `evaluate` is of subgroups, which its own tests draw.
    names -= {"figure"} if command == "evaluate" else set()
    assert names <= set(VALUES), "an option without a value to try"
    return sorted(names - refused - taken)


@pytest.mark.parametrize(
    ("command", "mode"),
    [
        ("evaluate", [("ci", "percentile")]),
        ("evaluate", [("ci", "jackknife-t")]),
        ("evaluate", [("ci", "replicate-mean")]),
        ("evaluate", [("over", "seeds")]),
        ("compare", []),
        ("compare", [("ranks", True)]),
    ],
)
def test_every_other_option_acts(several, command, mode, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # With one seed each, swaps are drawn.
    words = [command, *(several if mode else several[::2])]
    for name, value in mode:
        words += option(name, None if value is True else value)
    before, ranks = invoke(*words), ("ranks", True) in mode
    for name in acting(command, mode):
        if (name, mode) in MODES_APART:
            with pytest.raises(InputError, match=" does not act with "):
                invoke(*words, *option(name, VALUES[name]))
        # On runs with different images: test_different_test_sets. The order of classes changes
        # ranks by ordinal metrics (test_class_order), the positive class those that are of it
        # (test_comparison_tables).
        elif name != "intersection" and not (name in ("classes", "positive") and ranks):
            assert invoke(*words, *option(name, VALUES[name])) != before, name
