"""Methods in words."""

from __future__ import annotations

import pandas as pd

from frostline.report.statistics.evaluation import MAJORITY_HEAD

NONE = "\N{EN DASH}"
FROM_SCRATCH = "from scratch"
# Shown behind a model's name where rows of the same data set differ in it.
DETAILS = ("feature", "head", "protocol", "train_fraction", "run_seed")


def describe(part: pd.DataFrame) -> dict[str, tuple[str, str]]:
    """Model and distinguishing details of each run of one data set.

    Random weights are always said: "from scratch" where all of the backbone was trained on them.
    """
    runs = part.drop_duplicates("run")
    models = runs[runs["head"] != MAJORITY_HEAD]
    # A head or seed is worth saying only where rows that were frozen alike differ in it.
    kinds = models[list(DETAILS)].map(str).groupby(models["unfreeze"]).nunique()
    out = {}
    for row in runs.to_dict("records"):
        if row["head"] == MAJORITY_HEAD:
            out[row["run"]] = (MAJORITY_HEAD, "")
            continue
        words = [weights_word(row["weights"], row["unfreeze"])]
        varying = [name for name in DETAILS if kinds.loc[row["unfreeze"], name] > 1]
        words += [_detail(name, row[name]) for name in varying]
        model = str(row["backbone"]) or str(row["run"])
        out[row["run"]] = (model, ", ".join(word for word in words if word))
    return _told_apart(out, runs)


def weights_word(weights: object, unfreeze: str) -> str:
    """What to say of weights; nothing of the ordinary ones."""
    text = str(weights or "")
    if text.startswith("random"):
        return FROM_SCRATCH if unfreeze == "all" else "random weights"
    return "" if text in ("", "pretrained") else f"weights {text}"


def freeze_word(unfreeze: str) -> str:
    """The paper's Freeze column: Y, N, or how many last blocks were trained."""
    if unfreeze in ("none", "all", ""):
        return {"none": "Y", "all": "N", "": NONE}[unfreeze]
    return f"last {unfreeze}" if unfreeze.isdigit() else unfreeze


def trained_word(unfreeze: str) -> str:
    """How a run was trained, in words."""
    if unfreeze in ("none", "all", ""):
        return {"none": "frozen", "all": "fine-tuned", "": ""}[unfreeze]
    if not unfreeze.isdigit():
        return f"fine-tuned ({unfreeze})"
    return "last block fine-tuned" if unfreeze == "1" else f"last {unfreeze} blocks fine-tuned"


def _detail(name: str, value: object) -> str:
    if value is None or value == "" or pd.isna(value):  # type: ignore[call-overload]
        return ""
    words = {"train_fraction": "{:.4g} of training", "run_seed": "seed {:.0f}"}
    return words[name].format(value) if name in words else str(value)


def _told_apart(
    labels: dict[str, tuple[str, str]], runs: pd.DataFrame
) -> dict[str, tuple[str, str]]:
    """Rows that would still look alike get their run's name."""
    unfreeze = dict(zip(runs["run"], runs["unfreeze"], strict=True))
    looks = [(*label, unfreeze[run]) for run, label in labels.items()]
    return {
        run: (model, f"{details}, {run}".removeprefix(", "))
        if looks.count((model, details, unfreeze[run])) > 1 else (model, details)
        for run, (model, details) in labels.items()
    }  # fmt: skip
