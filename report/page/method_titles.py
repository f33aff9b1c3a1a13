"""What each method is called on a page, and the panel and style in which it is drawn."""

from __future__ import annotations

from collections import Counter

import pandas as pd

from frostline.report.figures.style import way_of
from frostline.report.statistics.evaluation import MAJORITY_HEAD
from frostline.report.statistics.names import (
    FROM_SCRATCH,
    describe,
    freeze_word,
    trained_word,
    weights_word,
)


def method_titles(by_method: pd.DataFrame) -> pd.DataFrame:
    """Name each method of a data set.

    Returns
    -------
    DataFrame
        A row for each method, by its first run's name: `run`, `title`, `short` (the same in fewer
        words), `panel` (of figures where ways of training share one), `way` (of training).
    """
    rows = []
    runs = by_method[by_method["head"] != MAJORITY_HEAD].drop_duplicates("run")
    labels = describe(by_method)
    ways = {row["run"]: way_of(row["unfreeze"]) for row in runs.to_dict("records")}
    alike = Counter((labels[run][0], way) for run, way in ways.items())
    for row in runs.to_dict("records"):
        run, word = row["run"], trained_word(row["unfreeze"])
        model, details = labels[run]
        # As short as can be: a panel is as wide as a word or three.
        partly = freeze_word(row["unfreeze"]) if ways[run] != word else ""
        scratch = weights_word(row["weights"], row["unfreeze"]) == FROM_SCRATCH
        panel = [model, *([partly, details] if alike[model, ways[run]] > 1 else [])]
        short = [model, "" if scratch else partly or word, details]
        named = (", ".join(filter(None, words)) for words in ([model, word, details], short, panel))
        rows.append((run, *named, ways[run]))
    return pd.DataFrame(rows, columns=["run", "title", "short", "panel", "way"])
