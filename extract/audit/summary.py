"""What `index` says of a data set: the splits and the worst findings, in ten lines at most."""

from __future__ import annotations

import pandas as pd

from frostline.cache.errors import printable
from frostline.cache.tables.words import counted
from frostline.extract.audit.audit import Audit

MOST_CLASSES = 5  # that are counted in columns
MOST_FINDINGS = 3


def render_summary(audit: Audit, more: str) -> str:
    """Write the summary.

    Parameters
    ----------
    more : str
        The command that shows the rest.
    """
    counts = audit.counts
    whole = counts[counts["split"] == "all"].iloc[0]
    classes = counts.loc[~counts["label"].isin(["all", "no label"]), "label"].unique()
    lines = [
        f"Data set {audit.dataset}: {counted(whole['images'], 'image')} of "
        f"{counted(whole['groups'], 'group')}, {counted(len(classes), 'class')}",
        _by_split(counts, len(classes)).to_string(index=False),
        *(f"{one.severity}: {one.text}" for one in audit.findings[:MOST_FINDINGS]),
    ]
    left = len(audit.findings) - MOST_FINDINGS
    rest = f"{counted(left, 'finding', 'more')} and all counts" if left > 0 else "all counts"
    none = "" if audit.findings else "No problem was found. "
    return printable("\n".join([*lines, f"{none}`{more}` shows {rest}."]), keep="\n")


def _by_split(counts: pd.DataFrame, classes: int) -> pd.DataFrame:
    """Count images and groups of each split, and the images of its classes if these are few."""
    rows = []
    for split, part in counts[counts["split"] != "all"].groupby("split", sort=False):
        named = part[part["label"] != "all"]
        whole = part[part["label"] == "all"] if (part["label"] == "all").any() else named
        row = {"split": split, "images": whole["images"].sum(), "groups": whole["groups"].sum()}
        shown = named if classes <= MOST_CLASSES else named.iloc[:0]
        rows.append(row | dict(zip(shown["label"], shown["images"], strict=True)))
    table = pd.DataFrame(rows)
    return table.fillna(0).astype({name: int for name in table if name != "split"})
