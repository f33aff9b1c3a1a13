"""Which figures a report has: each with its name, heading, and what it shows in words."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from frostline.cache.atomic import write_text
from frostline.report import figures
from frostline.report.figures.sweeps import efficiency_figure, heat_map_figure
from frostline.report.page.maps import PCA
from frostline.report.page.numbers import Evidence, OfDataset
from frostline.report.page.sections import pair_names, signed_interval
from frostline.report.page.stored import FORMAT, FORMAT_VERSION, digest_of
from frostline.report.statistics.metrics import find_metric
from frostline.report.statistics.names import FROM_SCRATCH, describe, trained_word, weights_word
from frostline.report.tables.escape import plain
from frostline.report.tables.layout import percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Raised whenever a figure is drawn differently.
VERSION = 5
Costs = Mapping[str, Mapping[str, float]]
TITLES = {
    "freezing": "What freezing changed",
    "forest": "{metric} of each method",
    "confusion": "Confusion matrices",
    "roc": "ROC curves",
    "precision-recall": "Precision and recall",
    "decision": "Decision curves",
    "reliability": "Reliability",
    "efficiency": "Label efficiency",
    "validation": "Strength of logistic heads, on validation",
    "learning": "Learning curves",
    "cost": "{metric} against cost",
    "embeddings-pca": "Embeddings by PCA",
    "embeddings-umap": "Embeddings by UMAP",
}


class Swept(NamedTuple):
    """What sweeps found, as plain tables.

    Attributes
    ----------
    efficiency : DataFrame
        Scores of heads trained on fewer groups: columns `dataset`, `line`, `groups`, `draw`,
        `metric`, `score`.
    validation : DataFrame
        Of logistic heads, one row a candidate: columns `dataset`, `backbone`, `C`, `metric` (the
        one that selected, one a data set) and `score`.
    """

    efficiency: pd.DataFrame = pd.DataFrame(columns=["dataset"])
    validation: pd.DataFrame = pd.DataFrame(columns=["dataset", "C"])

    def of(self, part: OfDataset) -> Swept:
        """Rows of one data set."""
        return Swept(*(table[table["dataset"] == part.name] for table in self))


@dataclass(frozen=True)
class Drawing:
    """One figure of a data set.

    `kind` is its place in the page, `name` that of its files and `svg` its markup for the page.
    """

    kind: str
    name: str
    heading: str
    description: str
    svg: str


def draw_all(
    evidence: Evidence,
    folder: Path,
    formats: Iterable[str],
    costs: Costs,
    swept: Swept | None = None,
) -> list[tuple[Drawing, list[str]]]:
    """Draw every figure there is something to draw for, and write its files below `folder`.

    What was drawn from the same evidence before is not drawn again.

    Parameters
    ----------
    costs : mapping
        By backbone: `parameters`, `embedding_seconds`, `memory`, as far as they are known.
    swept : Swept, optional
        What sweeps found.

    Returns
    -------
    list of (Drawing, list of str)
        Each with its files, relative to `folder`.
    """
    formats = tuple(formats)
    version = metadata.version("matplotlib")
    swept = swept or Swept()
    return [
        item
        for number, part in enumerate(evidence.datasets, 1)
        for item in _drawn(
            folder, number, formats, digest_of([part.key, costs, formats, version, VERSION,
                                        *(table.to_csv() for table in swept.of(part))]),
            lambda: _of_dataset(evidence, part, number, costs, swept.of(part)),  # noqa: B023
        )
    ]  # fmt: skip


def _drawn(
    folder: Path,
    number: int,
    formats: Sequence[str],
    key: str,
    draw: Callable[[], Iterator[tuple[Drawing, Figure]]],
) -> list[tuple[Drawing, list[str]]]:
    """The figures of a data set, read if they were drawn under this key and all files are there."""
    path = folder / "statistics" / f"figures-{number}.json"
    if path.is_file():
        found = json.loads(path.read_text(encoding="utf-8"))
        items = [(Drawing(**one), files) for one, files in found["drawings"]]
        if found["key"] == key and all((folder / f).is_file() for _, fs in items for f in fs):
            return items
    items = []
    for drawing, figure in draw():
        svg = figures.to_svg(figure)
        files = [f"figures/{drawing.name}.{kind}" for kind in formats]
        for name in files:
            if name.endswith(".svg"):
                write_text(folder / name, svg)
            else:
                figures.save_figure(figure, folder / name)
        # The page has tables of counts instead.
        markup = "" if drawing.kind == "confusion" else figures.inline_svg(
            svg, drawing.name, drawing.description, adapt="embeddings" not in drawing.kind
        )  # fmt: skip
        items.append((replace(drawing, svg=markup), files))
    kept = {"format": FORMAT, "format_version": FORMAT_VERSION, "key": key,
            "drawings": [(asdict(drawing), files) for drawing, files in items]}  # fmt: skip
    write_text(path, json.dumps(kept))
    return items


def _of_dataset(
    evidence: Evidence, part: OfDataset, number: int, costs: Costs, swept: Swept
) -> Iterator[tuple[Drawing, Figure]]:
    metric = find_metric(evidence.primary).title

    def drawing(kind: str, figure: Figure, words: str) -> tuple[Drawing, Figure]:
        title = TITLES[kind].format(metric=metric)
        heading = f"{part.name}: {title[:1].lower()}{title[1:]}" if part.name else title
        heading = f"{part.name}: {title}" if part.name and title[:3] == "ROC" else heading
        said = plain(f"{heading}. {words}")
        return Drawing(kind, f"{kind}-{number}", heading, said, ""), figure

    makers: dict[str, Callable[[], tuple[Figure, str] | None]] = {
        "freezing": lambda: _freezing(part, evidence.primary),
        "forest": lambda: _forest(evidence, part),
        "confusion": lambda: _confusion(part),
        "roc": lambda: _curves(part, "roc"),
        "precision-recall": lambda: _curves(part, "precision-recall"),
        "decision": lambda: _decision(evidence, part),
        "reliability": lambda: _reliability(part),
        "efficiency": lambda: _efficiency(swept.efficiency, evidence.primary),
        "validation": lambda: _validation(swept.validation),
        "learning": lambda: _learning(part),
        "cost": lambda: _cost(evidence, part, costs),
        "embeddings-pca": lambda: _maps(part, PCA),
        "embeddings-umap": lambda: _maps(part, "UMAP"),
    }
    for kind, make in makers.items():
        made = make()
        if made is not None:
            yield drawing(kind, *made)


def _freezing(part: OfDataset, metric: str) -> tuple[Figure, str] | None:
    rows = part.freezing
    rows = rows[rows["difference"].notna()] if len(rows) else rows
    if not len(rows):
        return None
    rows = rows.assign(name=pair_names(rows)).sort_values("difference", ascending=False)
    words = [
        f"{row['name']} {100 * row['difference']:+.1f} points"
        f"{signed_interval(row)}, {row['verdict']}"
        for row in rows.to_dict("records")
    ]
    said = f"Frozen minus fine-tuned: {'; '.join(words)}."
    return figures.difference_figure(rows, metric), said


def _forest(evidence: Evidence, part: OfDataset) -> tuple[Figure, str]:
    frame = evidence.by_method[evidence.by_method["dataset"] == part.name]
    rows = frame[frame["metric"] == evidence.primary]
    labels = describe(frame)
    words = [
        f"{' '.join(filter(None, labels[row['run']]))} {trained_word(row['unfreeze'])} "
        f"{percent(row['estimate'])}"
        for row in rows.to_dict("records")
    ]
    figure = figures.forest_figure(frame, part.name, evidence.primary)
    return figure, f"In percent: {'; '.join(words)}."


def _confusion(part: OfDataset) -> tuple[Figure, str]:
    titles = dict(zip(part.names["run"], part.names["title"], strict=True))
    matrices = {titles[method.name]: method.confusion for method in part.methods}
    return figures.confusion_panels(matrices, part.class_list), "One matrix a method."


def _curves(part: OfDataset, kind: str) -> tuple[Figure, str] | None:
    curves = part.curves[part.curves["kind"] == kind]
    if not len(curves):
        return None
    areas = [
        f"{row['title']} {np.trapezoid(line['y'], line['x']):.3f}"
        for row in part.names.to_dict("records")
        if len(line := curves[curves["run"] == row["run"]])
    ]
    figure = figures.curve_figure(curves.merge(part.names, on="run"), kind)
    return figure, f"Area under each: {'; '.join(areas)}."


def _decision(evidence: Evidence, part: OfDataset) -> tuple[Figure, str] | None:
    """With two classes a panel a backbone; with more a panel a class, of the best of each way."""
    curves = part.curves[part.curves["kind"].isin(["net-benefit", "act-on-all"])]
    if not len(curves):
        return None
    rows = curves.merge(part.names, on="run")
    if len(part.class_list) == 2:
        ways = {way: way for way in dict.fromkeys(rows["way"])}
        figure = figures.decision_figure(rows.assign(line=rows["way"]), ways)
        return figure, f"Net benefit of acting on {part.class_list[1]}, by threshold."
    frame = evidence.by_method
    scores = frame[frame["metric"] == evidence.primary].set_index("run")["estimate"]
    best = part.names.assign(score=part.names["run"].map(scores)).sort_values("score")
    best = best.drop_duplicates("way", keep="last")
    rows = rows[rows["run"].isin(best["run"])]
    lines = {row["panel"] + ", " + row["way"]: row["way"] for row in best.to_dict("records")}
    rows = rows.assign(line=rows["panel"] + ", " + rows["way"], panel=rows["label"])
    words = (
        f"Net benefit by threshold, a panel a class, of the best of each way: {'; '.join(lines)}."
    )
    return figures.decision_figure(rows, lines), words


def _reliability(part: OfDataset) -> tuple[Figure, str] | None:
    if not len(part.reliability):
        return None
    rows = part.reliability.merge(part.names, on="run")
    inside = rows["frequency"].between(rows["bar_low"], rows["bar_high"])
    shares = inside.groupby([rows["title"]], sort=False).agg(["sum", "size"])
    words = [f"{name} {row['sum']} of {row['size']}" for name, row in shares.iterrows()]
    return figures.reliability_figure(rows), f"Bins within their bars: {'; '.join(words)}."


def _efficiency(lines: pd.DataFrame, primary: str) -> tuple[Figure, str] | None:
    if not len(lines):
        return None
    there = set(lines["metric"])
    metric = primary if primary in there else str(lines["metric"].iloc[0])
    sizes = lines["groups"].astype(int)
    words = f"{find_metric(metric).title} from {sizes.min():,} to {sizes.max():,} training groups."
    return efficiency_figure(lines, metric), words


def _validation(scores: pd.DataFrame) -> tuple[Figure, str] | None:
    if scores["C"].nunique() < 2:
        return None
    metric = str(scores["metric"].iloc[0])
    title = find_metric(metric).title
    words = f"{title} on validation of {scores['backbone'].nunique()} backbones by strength C."
    return heat_map_figure(scores, "backbone", "C", metric), words


def _learning(part: OfDataset) -> tuple[Figure, str] | None:
    titles = dict(zip(part.names["run"], part.names["short"], strict=True))
    tables = []
    for method in part.methods:
        for run, _ in method.runs:
            if run.meta.get("history"):
                table = pd.DataFrame(run.meta["history"]).reindex(
                    columns=["epoch", "train_loss", "val_loss"]
                )
                best = run.meta.get("best_epoch")
                best = np.nan if best is None else float(best)
                title = titles[method.name]
                tables.append(table.assign(panel=title, run=run.run, best=best))
    if not tables:
        return None
    words = f"Training and validation loss of {len(tables)} runs, by epoch."
    return figures.learning_figure(pd.concat(tables, ignore_index=True)), words


def _cost(evidence: Evidence, part: OfDataset, costs: Costs) -> tuple[Figure, str] | None:
    frame = evidence.by_method[evidence.by_method["metric"] == evidence.primary]
    scores = frame.set_index("run")["estimate"]
    names = part.names.set_index("run")
    rows: list[dict[str, Any]] = []
    for method in part.methods:
        known: dict[str, float] = dict(costs.get(str(method.meta["backbone"]), {}))
        seconds = [run.meta["seconds"] for run, _ in method.runs if run.meta["seconds"]]
        known |= {k: method.meta[k] for k in figures.COSTS if method.meta.get(k)}
        known |= {"seconds": float(np.mean(seconds))} if seconds else {}
        unfreeze, weights = (str(method.meta[name] or "") for name in ("unfreeze", "weights"))
        scratch = weights_word(weights, unfreeze) == FROM_SCRATCH
        rows += [
            {"cost": cost, "value": float(value), "estimate": scores[method.name],
             "name": str(method.meta["backbone"] or names.loc[method.name, "panel"]),
             "unfreeze": unfreeze,
             "way": FROM_SCRATCH if scratch else names.loc[method.name, "way"]}
            for cost, value in known.items() if value and cost in figures.COSTS
        ]  # fmt: skip
    if not rows:
        return None
    table = pd.DataFrame(rows)
    kinds = [figures.COSTS[cost].lower() for cost in dict.fromkeys(table["cost"])]
    return figures.cost_figure(table, evidence.primary), f"Against {', '.join(kinds)}."


def _maps(part: OfDataset, way: str) -> tuple[Figure, str] | None:
    if not len(part.maps) or not (part.maps["way"] == way).any():
        return None
    points = part.maps[part.maps["way"] == way]
    words = f"{len(points) // points['backbone'].nunique():,} images, coloured by class and group."
    return figures.map_figure(points.rename(columns={"backbone": "panel"}), part.class_list), words
