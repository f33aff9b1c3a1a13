"""The rows of reporting checklists that a study's records answer, each with where.

CLAIM: Tejani et al. 2024, Radiology: Artificial Intelligence 6(4):e240300 (items 1 to 44).
TRIPOD+AI: Collins et al. 2024, BMJ 385:e078378 (items 1 to 27). What an item is about is said in
our words. Rows that nobody but the authors can answer are left out, and counted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from frostline.report.manuscript.methods import Material, methods
from frostline.report.statistics.names import METHOD_COLUMNS
from frostline.report.tables.data import FLOW
from frostline.report.tables.table import Row, Table, columns, words
from frostline.report.tables.writers.markdown import to_markdown

GUIDELINES = {"CLAIM": 44, "TRIPOD+AI": 27}
CAPTION = "Items of CLAIM (2024) and TRIPOD+AI that this study's records answer"


@dataclass(frozen=True)
class Item:
    """One item that can be answered.

    Attributes
    ----------
    guideline, number, topic : str
    where : str
        The file, and the place in it.
    known : callable
        Whether a study has the answer.
    """

    guideline: str
    number: str
    topic: str
    where: str
    known: Callable[[Material], bool]


def _section(name: str) -> Callable[[Material], bool]:
    return lambda material: any(heading == name for heading, _ in methods(material))


def _audited(material: Material) -> bool:
    return bool(material.audits)


def _flow(material: Material) -> bool:
    return any(len(audit.flagged.get(FLOW, ())) for audit in material.audits.values())


def _several_seeds(material: Material) -> bool:
    """Whether one method has several: of methods with a seed each nothing is seen of seeds."""
    seeds: dict[tuple[str, ...], set[object]] = {}
    for meta in material.metas:
        method = tuple(str(meta.get(name)) for name in METHOD_COLUMNS)
        seeds.setdefault(method, set()).add(meta["seed"])
    return any(len(found) > 1 for found in seeds.values())


def _shown(name: str) -> Callable[[Material], bool]:
    return lambda material: bool(len(material.evidence.get(name, ())))


def _saved(material: Material) -> bool:
    """Say whether a model was kept: not of cross-validations, nor of parts of the training set."""
    return any(
        meta["backbone"] and not meta.get("cv") and meta.get("draw") is None
        for meta in material.metas
    )


def _always(material: Material) -> bool:
    return True


ITEMS = (
    Item("CLAIM", "9", "preprocessing of images", "methods.md, Images", _section("Images")),
    Item("CLAIM", "19", "how partitions were made", "methods.md, Data", _audited),
    Item("CLAIM", "20", "level at which they are disjoint", "methods.md, Data", _audited),
    Item("CLAIM", "22", "the model", "methods.md, Networks and Training", _section("Networks")),
    Item("CLAIM", "23", "software and versions", "methods.md, Software", _section("Software")),
    Item("CLAIM", "24", "first values of parameters", "methods.md, Networks", _section("Networks")),
    Item("CLAIM", "25", "training", "methods.md, Training", _section("Training")),
    Item("CLAIM", "26", "choice of the final model", "methods.md, Training", _section("Training")),
    Item("CLAIM", "28", "metrics", "methods.md, Statistics", _always),
    Item("CLAIM", "29", "uncertainty and significance", "methods.md, Statistics", _always),
    Item("CLAIM", "30", "robustness over seeds", "index.html, All runs", _several_seeds),
    Item("CLAIM", "30", "robustness over subgroups", "tables/subgroups.md", _shown("subgroups")),
    Item("CLAIM", "32", "evaluation on internal data", "tables/scores.md", _always),
    Item("CLAIM", "33", "testing on external data", "tables/external.md", _shown("external")),
    Item("CLAIM", "35", "cases in and out", "tables/data.md and index.html, Data", _flow),
    Item("CLAIM", "36", "cases of each partition by class", "tables/data.md", _audited),
    Item("CLAIM", "37", "performance, with its uncertainty", "tables/scores.md", _always),
    Item("CLAIM", "38", "precision of the estimates", "tables/scores.md", _always),
    Item("CLAIM", "39", "errors", "index.html, Confusion matrices; tables/classes.csv", _always),
    Item("TRIPOD+AI", "7", "preparation of data", "methods.md, Images", _section("Images")),
    Item("TRIPOD+AI", "12a", "how data were used", "methods.md, Data", _audited),
    Item(
        "TRIPOD+AI", "12c", "kind of model and tuning", "methods.md, Training", _section("Training")
    ),
    Item("TRIPOD+AI", "12e", "measures of performance", "methods.md, Statistics", _always),
    Item("TRIPOD+AI", "12f", "recalibration", "methods.md", _shown("calibration")),
    Item("TRIPOD+AI", "14", "fairness", "tables/subgroups.md", _shown("subgroups")),
    Item("TRIPOD+AI", "15", "classes and thresholds", "tables/operating.md", _shown("operating")),
    Item(
        "TRIPOD+AI", "16", "development against evaluation data", "index.html", _shown("external")
    ),
    Item("TRIPOD+AI", "18f", "code, its versions", "methods.md, Software", _section("Software")),
    Item("TRIPOD+AI", "20a", "flow of participants", "index.html, Data", _flow),
    Item("TRIPOD+AI", "20b", "participants of each part", "tables/data.md", _audited),
    Item("TRIPOD+AI", "21", "numbers in each analysis", "tables/data.md", _audited),
    Item("TRIPOD+AI", "22", "the model itself", "models/<run>/README.md", _saved),
    Item("TRIPOD+AI", "23a", "performance with intervals", "tables/scores.md", _always),
    Item(
        "TRIPOD+AI", "23a", "performance in subgroups", "tables/subgroups.md", _shown("subgroups")
    ),
    Item("TRIPOD+AI", "23b", "between data sets", "tables/external.md", _shown("external")),
    Item(
        "TRIPOD+AI",
        "24",
        "results of recalibration",
        "tables/calibration.csv",
        _shown("calibration"),
    ),
)


def checklist(material: Material) -> str:
    """Write the rows that are answered as a Markdown table, and say how many are left to write."""
    rows = [item for item in ITEMS if item.known(material)]
    cells = [Row(words(one.guideline, one.number, one.topic, one.where)) for one in rows]
    headings = columns(("Guideline", "Item", "About", "Where"), left=4)
    table = to_markdown(Table(headings, tuple(cells), caption=CAPTION))
    left = [
        f"{guideline}: {count - len({_whole(r.number) for r in rows if r.guideline == guideline})} "
        f"of {count}"
        for guideline, count in GUIDELINES.items()
    ]
    return f"{table}\nItems that no record answers, or not alone: {', '.join(left)}.\n"


def _whole(number: str) -> str:
    return number.rstrip("abcdefgh")
