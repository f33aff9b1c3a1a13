"""The report of a study: one page that opens from disk, its tables and its figures as files."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from frostline.report import data_section, tables
from frostline.report.answers import answer
from frostline.report.atomic import write_text
from frostline.report.escape import plain
from frostline.report.evaluation import MAJORITY_HEAD, Scored, score, tabulate
from frostline.report.figures import (
    FILE_FORMATS,
    confusion_figure,
    forest_figure,
    inline_svg,
    save_figure,
)
from frostline.report.layout import describe, make_grid, percent, trained_word
from frostline.report.metrics import find_metric
from frostline.report.predictions import META_KEYS, Predictions

TEMPLATES = Path(__file__).parent / "templates"
VERSIONED = ("frostline", "numpy", "pandas", "matplotlib")


def write_report(
    folder: Path | str,
    predictions: Sequence[Predictions | Path | str],
    *,
    title: str,
    primary: str = "accuracy",
    about: Mapping[str, object] | None = None,
    audits: Mapping[str, data_section.DataAudit] | None = None,
    figure_formats: Iterable[str] = FILE_FORMATS,
    **options: Any,
) -> dict[str, Path]:
    """Write `index.html`, `tables/` and `figures/` into `folder`, each file atomically.

    Parameters
    ----------
    folder : Path
        Made if it is not there; files of an earlier report are replaced.
    predictions : sequence of Predictions or paths
        One a run.
    title : str
        Heading of the page.
    primary : str
        The metric of the first sentence and of the forest plots.
    about : mapping, optional
        What made this report (study, command, …), shown under "How this was made".
    audits : mapping of str to DataAudit, optional
        What is known of each data set, shown under "The data" and in `tables/data.md`.
    **options
        `split`, `ci`, `replicates`, `unit`, `seed`, `metrics`, `aggregate`, `stratified`, as in
        `evaluate`.

    Returns
    -------
    dict of str to Path
        Every file written, by its path relative to `folder`.
    """
    folder = Path(folder)
    chosen = {name: options.pop(name) for name in ("split", "unit", "aggregate") if name in options}
    scored = score(predictions, **chosen)
    frame, rows = tabulate(scored, **options)
    primary = primary if primary in set(frame["metric"]) else str(frame["metric"].iloc[0])
    texts = {
        "tables/scores.csv": tables.to_csv(frame),
        "tables/scores.md": tables.to_markdown(frame),
        "tables/scores.tex": tables.to_latex(frame),
        "tables/paper.md": tables.paper_table(frame, "markdown"),
        "tables/paper.tex": tables.paper_table(frame, "latex"),
    }
    if audits:
        texts["tables/data.md"] = data_section.to_markdown(audits)
    forests = _forests(frame, primary)
    matrices = _matrices(frame, rows)
    for item in (*forests, *matrices):
        for kind in figure_formats:
            path = folder / "figures" / f"{item['name']}.{kind}"
            save_figure(item["figure"], path)
            item.setdefault("files", []).append(path)
    # The page last: while it is there, so is all that it names.
    texts["index.html"] = _page(
        frame, rows, forests, matrices,
        title=title,
        sentences=answer(frame, primary, rows),
        about={**(about or {}), "versions of this report": _versions()},
        data=data_section.make_section(audits) if audits else None,
    )  # fmt: skip
    paths = {}
    for name, text in texts.items():
        write_text(folder / name, text)
        paths[name] = folder / name
    figures = [path for item in (*forests, *matrices) for path in item.get("files", [])]
    return paths | {path.relative_to(folder).as_posix(): path for path in figures}


def _page(
    frame: pd.DataFrame,
    rows: Sequence[Scored],
    forests: Sequence[dict[str, Any]],
    matrices: Sequence[dict[str, Any]],
    **words: object,
) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["plain"] = plain
    environment.tests["short"] = data_section.is_short
    for item in (*forests, *matrices):
        # Made by us from escaped text, so it enters the page as markup.
        item["svg"] = Markup(inline_svg(item["figure"], item["name"], item["description"]))
    return environment.get_template("page.html.jinja").render(
        grid=make_grid(frame),
        forests=forests,
        matrices=matrices,
        runs=[_provenance(run) for run, _ in rows if run.meta["head"] != MAJORITY_HEAD],
        **words,
    )


def _forests(frame: pd.DataFrame, primary: str) -> list[dict[str, Any]]:
    out = []
    for number, dataset in enumerate(frame["dataset"].unique(), 1):
        part = frame[(frame["dataset"] == dataset) & (frame["metric"] == primary)]
        lines = [
            f"{' '.join(words for words in describe(part)[row['run']] if words)} "
            f"{trained_word(row['unfreeze'])} {percent(row['estimate'])}"
            for row in part.to_dict("records")
        ]
        title = f"{find_metric(primary).title} of each run"
        out.append({
            "name": f"forest-{number}", "figure": forest_figure(frame, dataset, primary),
            "heading": f"{dataset}: {title.lower()}" if dataset else title,
            "description": plain(f"{title} in percent: {'; '.join(lines)}."),
        })  # fmt: skip
    return out


def _matrices(frame: pd.DataFrame, rows: Sequence[Scored]) -> list[dict[str, Any]]:
    out: list[dict[str, Any]] = []
    labels: dict[str, tuple[str, str]] = {}
    for dataset in frame["dataset"].unique():
        labels |= describe(frame[frame["dataset"] == dataset])
    for run, sample in rows:
        if run.meta["head"] == MAJORITY_HEAD:
            continue
        model, details = labels[run.run]
        way = trained_word(str(run.meta["unfreeze"] or ""))
        words = ", ".join(word for word in (way, details) if word)
        heading = f"{model}, {words}" if words else model
        right = [
            f"{name}: {int(np.diag(sample.confusion)[i])} of {int(total)} right"
            for i, (name, total) in enumerate(
                zip(sample.classes, sample.confusion.sum(axis=1), strict=True)
            )
        ]
        out.append({
            "name": f"confusion-{len(out) + 1}", "classes": len(sample.classes),
            "dataset": str(run.meta["dataset"] or ""),
            "heading": heading, "figure": confusion_figure(sample.confusion, sample.classes),
            "description": plain(f"Confusion matrix of {heading}. {'; '.join(right)}."),
        })  # fmt: skip
    return out


def _provenance(run: Predictions) -> dict[str, Any]:
    """What the metadata says, without what is not known; nested values as text."""
    facts = {}
    for name in META_KEYS:
        value = run.meta[name]
        if value is None or name == "run":
            continue
        facts[name.replace("_", " ")] = _as_text(value)
    return {"run": run.run, "facts": facts, "notes": run.notes}


def _as_text(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_as_text(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_as_text, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _versions() -> str:
    names = [f"python {platform.python_version()}"]
    for name in VERSIONED:
        try:
            names.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            names.append(f"{name} (not installed as a package)")
    return ", ".join(names)
