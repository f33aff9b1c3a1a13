"""Methods, references, checklists and cards say what the records hold, and nothing else."""

from __future__ import annotations

import re
import shutil
import subprocess

import pandas as pd
import pytest

from frostline.extract.backbones.catalog import NAMED
from frostline.extract.backbones.facts.table import published
from frostline.extract.backbones.origins import known_origin
from frostline.probe.heads.registry import HEADS
from frostline.report.manuscript.bibliography import REFERENCES, bibtex, cited
from frostline.report.manuscript.card import model_card
from frostline.report.manuscript.evidence import KEPT_HEADS, REFITTED, evidence_sentences
from frostline.report.manuscript.methods import (
    CITED_SOFTWARE,
    INTERVALS,
    OPTIMIZERS,
    Material,
    image_sentences,
)
from frostline.report.manuscript.methods import methods as sections_of
from frostline.report.manuscript.writing import manuscript, markdown_text
from frostline.report.statistics.evaluation import evaluate
from frostline.report.statistics.intervals.intervals import INTERVALS as METHODS
from frostline.report.tables.data import FLOW, DataAudit

RECORDED = {
    "backbone": "resnet50",
    "weights": "pretrained",
    "head": "logistic",
    "protocol": "standard",
    "feature": "pre_logits",
    "candidates": 45,
    "validation": {"log_loss": 0.4},
    "versions": {"python": "3.11.7", "frostline": "0.1.0", "torch": "2.14.1"},
    "embedding_spec": {
        "pixels": {
            "channels": "rgb",
            "geometry": {
                "resize": "shorter",
                "resize_to": 256,
                "crop": 224,
                "interpolation": "bilinear",
            },
        },
        "normalisation": {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]},
        "weights": "abc123",
    },
}


TUNED = {"unfreeze": ["all"], "head": ["linear"]}
POINTS = {"positive": ["sick"], "metric": ["ppv_at_prevalence"], "prevalence": [0.02]}


def material(run, **meta):
    one = run(n_groups=40)
    one.meta |= RECORDED | meta
    return Material([one], evaluate([one]), tests=pd.DataFrame(columns=["adjustment", "seed_df"]))


def said(found):
    return " ".join(sentence for _, sentences in sections_of(found) for sentence in sentences)


def test_every_work_that_is_cited_is_there():
    texts = [*INTERVALS.values(), *OPTIMIZERS.values(), *CITED_SOFTWARE.values()]
    table = published()
    keys = {*cited(texts), *table.works.values(), *(row.work for row in table.rows if row.work)}
    assert keys <= set(REFERENCES)
    # Whatever interval there is, there is a sentence for it.
    assert set(METHODS) - {"auto"} <= set(INTERVALS)
    for key in REFERENCES:
        assert re.match(r"@\w+\{" + key + ",\n", bibtex([key]))


def test_what_is_recorded_is_said(run):
    text = said(material(run, backbone_origin=known_origin("resnet50")))
    for piece in (
        "until their shorter side had 256 pixels",
        "the central 224 × 224 pixels",
        "pretrained on ImageNet-1k",
        "digest of the weights abc123",
        "Of 45 settings validation log loss chose one",
        "fitted again to training and validation images",
        "torch 2.14.1",
        "PNEUMONIA being the positive one",
    ):
        assert piece in text, piece


@pytest.mark.parametrize(
    ("without", "gone"),
    [
        ({"embedding_spec": None}, "pixels"),
        ({"versions": None}, "Computed with"),
        ({"backbone": "mine", "weights": "pretrained"}, "ImageNet"),
        ({"candidates": 1}, "settings"),
    ],
)
def test_what_is_not_recorded_is_not_said(run, without, gone):
    assert gone not in said(material(run, **without))


def test_pretraining_that_nobody_recorded_is_called_so(run):
    text = said(material(run, backbone="mine"))
    assert "pretrained on data that are not recorded (licence of the weights: not recorded)" in text


def test_networks_of_the_catalogue_have_data_and_licence():
    for name in NAMED:
        found = known_origin(name)
        assert {"network", "pretrained_on", "licence", "source"} <= set(found), name
    assert known_origin("my-own-module") == {}
    assert known_origin("timm:convnext_tiny.in12k_ft_in1k")["pretrained_on"].startswith(
        "ImageNet-12k and then ImageNet-1k"
    )


def test_leaks_and_splits_are_said(run):
    counts = {"images_train": 10, "groups_train": 5, "images_val": 0, "images_test": 4}
    audit = DataAudit(
        pd.DataFrame([counts | {"groups_val": 0, "groups_test": 2}]),
        pd.DataFrame(),
        [("leak", "3 images are in two splits."), ("note", "Nothing else.")],
        {FLOW: pd.DataFrame({"step": ["read"]})},
        origin="The splits came with the data.",
    )
    found = material(run)
    dataset = str(found.metas[0]["dataset"])
    found = Material(found.runs, found.scores, audits={dataset: audit})
    text = said(found)
    assert "Training 10 images of 5 groups and test 4 images of 2 groups." in text
    assert "An audit found a leak: 3 images are in two splits." in text
    assert "Nothing else" not in text
    rows = manuscript(found)["checklist.md"]
    assert "| CLAIM | 35 |" in rows
    assert "| CLAIM | 33 |" not in rows  # no other hospital


def test_of_an_external_data_set_what_was_scored_is_said_and_no_split(run):
    """Its manifest has splits, which nothing looked at."""
    counts = {"images_test": 40, "groups_test": 20}
    audit = DataAudit(
        pd.DataFrame([counts]),
        pd.DataFrame(),
        [],
        {},
        origin="Drawn by group.",
        shared=["36 images were scored."],
    )
    found = material(run, trained_on="here")
    dataset = str(found.metas[0]["dataset"])
    text = said(Material(found.runs, found.scores, audits={dataset: audit}))
    assert "36 images were scored." in text
    assert "Drawn by group" not in text
    assert "40 images" not in text


def test_a_stranger_cannot_write_into_the_text(run):
    """Names are other people's: no markup, no citation, no command of LaTeX comes of them."""
    found = material(run, backbone="a*b_[@evil]\\input{x}%$", dataset="d & <b>")
    files = manuscript(found)
    assert "\\input{x}" not in files["methods.tex"]
    assert r"d \& \textless{}b\textgreater{}" in files["methods.tex"]
    assert "a\\*b" in files["methods.md"]
    assert "<b>" not in files["methods.md"]
    assert markdown_text("one [@efron1993; @tukey1958], two.") == (
        "one [@efron1993; @tukey1958], two."
    )


def test_the_flow_of_cases_goes_by_the_name_that_the_audit_gives_it():
    from frostline.extract.audit.flow import FLOW as OF_AUDIT

    assert FLOW == OF_AUDIT


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
def test_latex_takes_it(run, tmp_path):
    for name, text in manuscript(material(run, dataset="a_b & 50%")).items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "all.tex").write_text(
        "\\documentclass{article}\\usepackage[T1]{fontenc}\\usepackage{textcomp}\n"
        "\\begin{document}\\input{methods.tex}\n"
        "\\bibliographystyle{plain}\\bibliography{references}\\end{document}\n",
        encoding="utf-8",
    )
    command = ["pdflatex", "-draftmode", "-halt-on-error", "-interaction=batchmode", "all.tex"]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True).returncode == 0


def test_a_card_has_the_scores_that_evaluate_gives(run):
    one = material(run).runs[0]
    card = model_card(one)
    row = evaluate([one], metrics=["accuracy"]).iloc[0]
    shown = f"{row['estimate']:.1%}".removesuffix("%")
    bounds = f"[{row['low']:.1%}, {row['high']:.1%}]".replace("%", "")
    assert f"{shown} {bounds}" in card
    assert "[@" not in card
    assert "is no medical device" in card


def test_a_card_without_test_images_says_so(run):
    one = material(run).runs[0]
    one.table["split"] = "val"
    assert "None: " in model_card(one)


def test_a_threshold_that_was_fixed_is_not_said_to_be_chosen():
    fixed, chosen, folds = (
        evidence_sentences(
            {"operating": pd.DataFrame({"rule": [rule], "split": [split], **TUNED, **POINTS})}
        )[0]
        for rule, split in (
            ("0.5", "test"),
            ("sensitivity=0.95", "test"),
            ("youden", "out of fold"),
        )
    )
    assert "0.5 was fixed beforehand" in fixed
    assert "chosen" not in fixed
    assert "repeats" not in fixed
    assert "chosen on validation for a sensitivity of 0.95" in chosen
    assert "Positive is sick." in chosen
    assert "Predictive values were also computed at a prevalence of 0.02." in chosen
    assert "other folds" in folds
    assert "validation" not in folds


def test_scaling_is_said_only_where_there_was_a_temperature():
    rows = {"split": ["val", "test"], "when": ["after", "before"], "estimate": [1.1, 0.9]}
    rows |= {name: 2 * value for name, value in TUNED.items()}
    (scaled,) = evidence_sentences({"calibration": pd.DataFrame(rows)})
    assert "temperature scaling fitted on validation" in scaled
    rows["estimate"] = [float("nan"), 0.9]
    (plain,) = evidence_sentences({"calibration": pd.DataFrame(rows)})
    assert "temperature" not in plain


def test_the_checklist_points_only_to_what_is_there(run):
    found = material(run, versions=None)
    assert "Software" not in manuscript(found)["checklist.md"]
    # Two methods with a seed each say nothing of seeds; one method with two does.
    one, other = (
        material(run, seed=seed, head=head).runs[0] for seed, head in ((0, "knn"), (1, "adam"))
    )
    seeds = "robustness over seeds"
    assert seeds not in manuscript(Material([one, other], found.scores))["checklist.md"]
    other.meta["head"] = "knn"
    assert seeds in manuscript(Material([one, other], found.scores))["checklist.md"]


def test_what_is_chosen_before_a_head_is_fitted_again_is_said_to_be():
    """It is not so of a fixed threshold, of folds, of a head that is kept, and of a network."""
    kept = {name for name, head in HEADS.items() if not head.refits}
    assert kept == set(KEPT_HEADS)
    row = {"rule": "youden", "split": "test", "unfreeze": "none", "head": "logistic"}
    row |= {name: value for name, (value,) in POINTS.items()}
    for change, said in (
        ({}, True),
        ({"rule": "0.5"}, False),
        ({"split": "out of fold"}, False),
        ({"head": "adam"}, False),
        ({"unfreeze": "all", "head": "linear"}, False),
    ):
        found = evidence_sentences({"operating": pd.DataFrame([row | change])})
        assert (REFITTED in found) is said, change


def test_subgroups_that_were_not_tested_are_not_said_to_be_compared():
    rows = pd.DataFrame({"column": ["", "sex", "site"], "p": [float("nan"), 0.2, float("nan")]})
    (both,) = evidence_sentences({"subgroups": rows})
    assert "by sex, site were computed; those by sex were compared" in both
    (none,) = evidence_sentences({"subgroups": rows.assign(p=float("nan"))})
    assert none.endswith("they were not compared.")


def test_trainings_by_other_recipes_are_told_apart(run):
    given = {"unfreeze": "all", "head": "linear"}
    recipes = [{"epochs": epochs, "optimizer": "adam", "lr": 1e-4} for epochs in (5, 9)]
    runs = [material(run, **given, hyperparameters=one).runs[0] for one in recipes]
    text = said(Material(runs, evaluate(runs[:1])))
    assert "for 5 epochs" in text
    assert "for 9 epochs" in text


def test_seeds_alone_are_not_said_to_be_tested_by_flips(run):
    for seed_df, flips in (([3.0], False), ([3.0, float("nan")], True), ([float("nan")], True)):
        tests = pd.DataFrame({"adjustment": "none", "seed_df": seed_df})
        found = material(run)
        assert ("flipping" in said(Material(found.runs, found.scores, tests=tests))) is flips


def test_no_card_is_pointed_to_where_no_model_was_kept(run):
    found = material(run)
    assert "| TRIPOD+AI | 22 |" in manuscript(found)["checklist.md"]
    folds = material(run, cv={"folds": 5, "repeat": 0})
    assert "| TRIPOD+AI | 22 |" not in manuscript(folds)["checklist.md"]


def test_how_slices_of_volumes_were_read() -> None:
    window = {"percentiles": [1.0, 99.0], "znormalization": [-3.0, 3.0], "nonzero": True}
    geometry = {"window": window, "spacing": [1.0, 1.0, 3.5], "neighbours": True}
    assert image_sentences({"pixels": {"geometry": geometry}}) == [
        "Intensities were windowed: percentiles 1.0 to 99.0, standard deviations from the mean "
        "-3.0 to 3.0, of the voxels that are not 0.",
        "Volumes were resampled to voxels of 1 × 1 × 3.5 mm.",
        "Each slice was one of three channels, with the slices below and above it.",
    ]
