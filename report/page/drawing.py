"""The figures of a report: drawn once, and kept as files and as markup for the page."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib import metadata
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frostline.cache.atomic import write_text
from frostline.cache.errors import READ_ERRORS
from frostline.cache.stamped import read_json, write_json
from frostline.cache.versions import STAGES
from frostline.report import figures
from frostline.report.depth.curve import Curves
from frostline.report.depth.sentences import depth_sentences
from frostline.report.figures.depth import depth_figure, panels_of
from frostline.report.figures.similarity import similarity_figure
from frostline.report.page import score_figures as scores
from frostline.report.page import training_figures as training
from frostline.report.page.numbers import DatasetNumbers, ReportNumbers
from frostline.report.page.projections import PCA, UMAP
from frostline.report.page.stored import FORMAT, FORMAT_VERSION, digest_of
from frostline.report.page.training_figures import Costs, Swept
from frostline.report.spread import on_all_cores
from frostline.report.statistics.metrics import find_metric
from frostline.report.tables.escape import plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLES = {
    "freezing": "Frozen against fine-tuned",
    "forest": "Forest plot of {words}",
    "pairs": "All pairs of methods, compared by {words}",
    "subgroups": "Subgroups",
    "confusion": "Confusion matrices",
    "roc": "ROC curves",
    "precision-recall": "Precision-recall curves",
    "decision": "Decision curves",
    "reliability": "Calibration",
    "efficiency": "Label efficiency",
    "validation": "Validation scores by strength of the penalty",
    "learning": "Learning curves",
    "cost": "{metric} against cost",
    "embeddings-pca": "Embeddings by PCA",
    "embeddings-umap": "Embeddings by UMAP",
}
# Panels of depth side by side on the page, and inches of one, two and three of them.
MOST_PANELS = 3
PAGE_WIDTHS = (8.0, 8.0, 11.0)
# With two classes they are of the positive one, and their headings name it.
OF_POSITIVE = ("roc", "precision-recall", "decision", "reliability")


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
    numbers: ReportNumbers,
    folder: Path,
    formats: Iterable[str],
    costs: Costs,
    swept: Swept | None = None,
) -> list[tuple[Drawing, list[str]]]:
    """Draw every figure there is something to draw for, and write its files below `folder`.

    What was drawn from the same numbers before is not drawn again.

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
    formats, version = tuple(formats), metadata.version("matplotlib")
    drawn: list[list[tuple[Drawing, list[str]]] | None] = []
    kept, todo = [], []
    for number, part in enumerate(numbers.datasets, 1):
        own = (swept or Swept()).of(part)
        made_from = [
            part.key,
            costs,
            formats,
            version,
            STAGES["figures"],
            *(t.to_csv() for t in own),
        ]
        key, path = digest_of(made_from), folder / "statistics" / f"figures-{number}.json"
        drawn.append(_read(path, key, folder))
        kept.append((path, key))
        if drawn[-1] is None:
            alone = replace(numbers, datasets=[])
            given = (alone, part, number, costs, own), folder, formats
            todo += [partial(_draw_one, kind, *given) for kind in TITLES]
    runs = sum(len(method.runs) for part in numbers.datasets for method in part.methods)
    made = iter(on_all_cores(todo, runs))
    for place, (path, key) in enumerate(kept):
        if drawn[place] is None:
            new = [one for one in islice(made, len(TITLES)) if one is not None]
            _keep(path, key, new)
            drawn[place] = new
    return [one for items in drawn for one in items or ()]


def _draw_one(
    kind: str, given: tuple[Any, ...], folder: Path, formats: Sequence[str]
) -> tuple[Drawing, list[str]] | None:
    """Draw and write the figure of one kind, if there is something to draw for."""
    made = _draw(kind, *given)
    return None if made is None else _write(*made, folder, formats)


def draw_depths(
    found: Sequence[Curves], folder: Path, formats: Iterable[str]
) -> list[tuple[Drawing, list[str]]]:
    """Draw the curves of depth of each data set, as `draw_all` does; `folder` is the report's.

    The files have a panel below the other, as wide as a column, and so has the page where a window
    is narrow; else its panels stand side by side.
    """
    formats, drawn = tuple(formats), []
    names = depth_names(found)
    for number, (curves, name) in enumerate(zip(found, names, strict=True), 1):
        table = curves.table.drop(columns="notes")
        version = metadata.version("matplotlib")
        made_from = [table.to_csv(), str(curves.places), formats, version, STAGES["figures"]]
        if curves.similarity is not None:
            made_from.append(curves.similarity.table.to_csv())
        key = digest_of([*made_from, name, depth_sentences(curves)])
        path = folder / "statistics" / f"figures-depth-{number}.json"
        items = _read(path, key, folder)
        if items is None:
            items = [_write_depth(curves, name, folder, formats)]
            items += _write_similarity(curves, name, folder, formats)
            _keep(path, key, items)
        drawn += items
    return drawn


def depth_names(found: Sequence[Curves]) -> list[str]:
    """Name the files of each data set's picture, letters and digits alone."""
    names: list[str] = []
    for number, curves in enumerate(found, 1):
        own = re.sub(r"[^A-Za-z0-9_.-]+", "-", str(curves.table["dataset"].iloc[0] or ""))[:60]
        own = f"depth-{own.strip('-.') or number}"
        names.append(own if own not in names else f"{own}-{number}")
    return names


def _write_depth(
    curves: Curves, name: str, folder: Path, formats: Sequence[str]
) -> tuple[Drawing, list[str]]:
    dataset = str(curves.table["dataset"].iloc[0] or "")
    heading = f"{dataset}: Score by depth" if dataset else "Score by depth"
    description = plain(f"{heading}. {' '.join(depth_sentences(curves))}")
    shown = (curves.table, curves.places, curves.majority)
    drawing = Drawing("depth", name, heading, description, "")
    drawing, files = _write(drawing, depth_figure(*shown), folder, formats)
    columns = min(len(panels_of(*shown[:2])), MOST_PANELS)
    wide = depth_figure(*shown, columns=columns, width=PAGE_WIDTHS[columns - 1])
    broad = figures.inline_svg(figures.to_svg(wide), f"{name}-broad", description)
    both = f'<div class="broad">{broad}</div><div class="narrow">{drawing.svg}</div>'
    return replace(drawing, svg=both), files


def _write_similarity(
    curves: Curves, name: str, folder: Path, formats: Sequence[str]
) -> list[tuple[Drawing, list[str]]]:
    if curves.similarity is None:
        return []
    heading = (
        f"{curves.dataset}: Similarity of depths" if curves.dataset else "Similarity of depths"
    )
    words = f"Linear CKA of {len(curves.similarity.cka)} embeddings with each other, and RankMe."
    own = similarity_name(name)
    drawing = Drawing("similarity", own, heading, plain(f"{heading}. {words}"), "")
    return [_write(drawing, similarity_figure(curves.similarity), folder, formats)]


def similarity_name(depth: str) -> str:
    """Name the files on similarity as those of depth of the same data set are named."""
    return f"similarity-{depth.removeprefix('depth-')}"


def _draw(
    kind: str,
    numbers: ReportNumbers,
    part: DatasetNumbers,
    number: int,
    costs: Costs,
    swept: Swept,
) -> tuple[Drawing, Figure] | None:
    """Draw one figure of a data set."""
    makers: dict[str, Callable[[], tuple[Figure, str] | None]] = {
        "freezing": lambda: scores.draw_freezing(numbers, part),
        "forest": lambda: scores.draw_forest(numbers, part),
        "pairs": lambda: scores.draw_pairs(part),
        "subgroups": lambda: scores.draw_subgroups(part),
        "confusion": lambda: scores.draw_confusion(part),
        "roc": lambda: scores.draw_curves(part, "roc"),
        "precision-recall": lambda: scores.draw_curves(part, "precision-recall"),
        "decision": lambda: scores.draw_decision(numbers, part),
        "reliability": lambda: scores.draw_reliability(part),
        "efficiency": lambda: training.draw_efficiency(swept.efficiency, numbers.primary),
        "validation": lambda: training.draw_validation(swept.validation),
        "learning": lambda: training.draw_learning(part),
        "cost": lambda: training.draw_cost(numbers, part, costs),
        "embeddings-pca": lambda: training.draw_maps(part, PCA),
        "embeddings-umap": lambda: training.draw_maps(part, UMAP),
    }
    made = makers[kind]()
    if made is None:
        return None
    figure, words = made
    metric = find_metric(numbers.primary)
    title = TITLES[kind].format(metric=metric.title, words=metric.words)
    if part.positive and kind in OF_POSITIVE:
        title += f" (positive: {part.positive})"
    heading = f"{part.name}: {title}" if part.name else title
    description = plain(f"{heading}. {words}")
    return Drawing(kind, f"{kind}-{number}", heading, description, ""), figure


def _write(
    drawing: Drawing, figure: Figure, folder: Path, formats: Sequence[str]
) -> tuple[Drawing, list[str]]:
    """Write the files of a figure; the drawing gets its markup."""
    svg = figures.to_svg(figure)
    files = [f"figures/{drawing.name}.{kind}" for kind in formats]
    for name in files:
        if name.endswith(".svg"):
            write_text(folder / name, svg)
        else:
            figures.save_figure(figure, folder / name)
    if drawing.kind == "confusion":
        # The page has tables of counts instead.
        return drawing, files
    adapt = "embeddings" not in drawing.kind
    markup = figures.inline_svg(svg, drawing.name, drawing.description, adapt=adapt)
    return replace(drawing, svg=markup), files


def _read(path: Path, key: str, folder: Path) -> list[tuple[Drawing, list[str]]] | None:
    """Read the figures that were drawn under this key, unless a file of them is gone."""
    try:
        found = read_json(path, FORMAT, FORMAT_VERSION)
        if (found["format_version"], found["key"]) != (FORMAT_VERSION, key):
            return None
        items = [(Drawing(**one), files) for one, files in found["drawings"]]
        whole = all((folder / name).is_file() for _, files in items for name in files)
    except READ_ERRORS:  # InputError among them
        return None
    return items if whole else None


def _keep(path: Path, key: str, items: Sequence[tuple[Drawing, list[str]]]) -> None:
    drawings = [(asdict(drawing), files) for drawing, files in items]
    write_json(path, FORMAT, FORMAT_VERSION, {"key": key, "drawings": drawings})
