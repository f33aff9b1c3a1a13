"""What a Methods section says of clinical evidence: only of tables that the report has."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from frostline.report.statistics.names import OUT_OF_FOLD

RULES = {
    "youden": "by Youden's index [@youden1950]",
    "sensitivity": "for a sensitivity of {value}",
    "specificity": "for a specificity of {value}",
    "cost": "for a missed positive that costs {value} false calls",
}


# Heads that are kept as they were on validation; all others are fitted again.
KEPT_HEADS = ("adam",)
REFITTED = (
    "Validation images were answered by each head as fitted to training images alone; what was "
    "chosen there is applied to the head that was then fitted to both."
)


def head_kind(head: str) -> str:
    """Give the head's own name of what tables call it: `adam` of `adam (patient mean)`."""
    return head.split(" (")[0]


def evidence_sentences(tables: Mapping[str, pd.DataFrame]) -> list[str]:
    """Say how the tables of clinical evidence were made; nothing of those that are empty.

    Parameters
    ----------
    tables : mapping
        By name: `operating`, `benefit`, `calibration`, `subgroups`, `external`, as the functions of
        `frostline.report.clinical` give them.
    """
    found = []
    for name, sentence in (
        ("operating", _operating),
        ("benefit", _benefit),
        ("calibration", _calibration),
        ("subgroups", _subgroups),
        ("external", _external),
    ):
        table = tables.get(name)
        if table is not None and len(table):
            found.append(sentence(table))
    return found + ([REFITTED] if any(map(_is_refitted, _chosen(tables))) else [])


def _chosen(tables: Mapping[str, pd.DataFrame]) -> list[pd.DataFrame]:
    """Give the rows of what was chosen on a validation part: thresholds and temperatures."""
    points, scaled = tables.get("operating"), tables.get("calibration")
    found = []
    if points is not None and len(points):
        found.append(points[points["rule"].astype(str).str.partition("=")[0].isin(RULES)])
    if scaled is not None and len(scaled):
        found.append(scaled[scaled["when"].eq("after") & scaled["estimate"].notna()])
    return [rows[rows["split"] != OUT_OF_FOLD] for rows in found]


def _is_refitted(rows: pd.DataFrame) -> bool:
    """Say whether some rows are of heads that are fitted again after validation."""
    return bool((rows["unfreeze"].eq("none") & ~rows["head"].map(head_kind).isin(KEPT_HEADS)).any())


def _operating(table: pd.DataFrame) -> str:
    found = []
    for rule, rows in table.groupby("rule", sort=False):
        name, _, value = str(rule).partition("=")
        if name not in RULES:
            found.append(f"The threshold {rule} was fixed beforehand; its intervals hold it.")
            continue
        on = _fitted_on(rows)
        found.append(
            f"Thresholds were chosen on {on} {RULES[name].format(value=value)}, with one interval "
            "that holds the threshold and one that repeats its choice."
        )
    classes = " or ".join(map(str, table["positive"].unique()))
    found.append(f"Positive is {classes}.")
    stated = table.loc[table["metric"].eq("ppv_at_prevalence"), "prevalence"].unique()
    if len(stated):
        at = ", ".join(f"{share:.3g}" for share in stated)
        found.append(f"Predictive values were also computed at a prevalence of {at}.")
    return " ".join(found)


def _fitted_on(table: pd.DataFrame) -> str:
    """Name the rows that something was chosen on: of a cross-validation there is no validation."""
    folds = table["split"].eq(OUT_OF_FOLD)
    words = {"validation": not folds.all(), "predictions of the other folds": folds.any()}
    return " or ".join(word for word, there in words.items() if there)


def _benefit(table: pd.DataFrame) -> str:
    thresholds = ", ".join(f"{value:g}" for value in sorted(table["threshold"].unique()))
    return f"Net benefit was computed at the thresholds {thresholds} [@vickers2006]."


def _calibration(table: pd.DataFrame) -> str:
    scaled = table[table["when"].eq("after") & table["estimate"].notna()]
    after = ""
    if len(scaled):
        after = f" before and after temperature scaling fitted on {_fitted_on(scaled)} [@guo2017]"
    return f"Calibration was assessed by slope, intercept and debiased error{after}."


def _subgroups(table: pd.DataFrame) -> str:
    columns = ", ".join(name for name in map(str, table["column"].dropna().unique()) if name)
    tested = table.loc[table["p"].notna(), "column"].astype(str).unique()
    found = f"Scores of subgroups by {columns} were computed"
    if not len(tested):
        return f"{found}; they were not compared."
    return (
        f"{found}; those by {', '.join(tested)} were compared by one test for each column, of "
        "jackknife pseudo-values, adjusted by Holm's method [@holm1979]."
    )


def _external(table: pd.DataFrame) -> str:
    names = ", ".join(map(str, table["dataset"].unique()))
    return (
        f"{names}: scored by the same models without training, patients and images that both data "
        "sets have being left out; intervals of differences add the squared distances of both "
        "[@newcombe1998]."
    )
