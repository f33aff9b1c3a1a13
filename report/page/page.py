"""The report of a study: one page that opens from disk, its tables and its figures as files."""

from __future__ import annotations

import base64
import hashlib
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from frostline.cache.atomic import write_text
from frostline.report.figures import FILE_FORMATS
from frostline.report.page import sections
from frostline.report.page.drawings import TITLES, Drawing, Swept, draw_all
from frostline.report.page.maps import Embedded
from frostline.report.page.numbers import Evidence, gather
from frostline.report.predictions import Predictions
from frostline.report.statistics.metrics import find_metric
from frostline.report.tables import data as data_section
from frostline.report.tables import formats as tables
from frostline.report.tables.escape import plain
from frostline.report.tables.failed import Failed, with_failed
from frostline.report.tables.layout import Grid, make_grid

TEMPLATES = Path(__file__).parent / "templates"
WIDTH = 80
# Of more comparisons than this the sentences are folded away.
FEW = 4


def write_report(
    folder: Path | str,
    predictions: Sequence[Predictions | Path | str],
    *,
    title: str,
    primary: str = "accuracy",
    about: Mapping[str, object] | None = None,
    audits: Mapping[str, data_section.DataAudit] | None = None,
    embeddings: Mapping[str, Mapping[str, Embedded]] | None = None,
    images: sections.Images | None = None,
    costs: Mapping[str, Mapping[str, float]] | None = None,
    swept: Swept | None = None,
    failed: Sequence[Failed] = (),
    figure_formats: Iterable[str] = FILE_FORMATS,
    **options: Any,
) -> dict[str, Path]:
    """Write `index.html`, `answer.txt`, `tables/` and `figures/`, each file atomically.

    Statistics are remembered in `statistics/`: what the same runs gave is read the next time.

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
    embeddings : mapping, optional
        By data set and backbone, to be mapped.
    images : callable, optional
        Gives images (uint8 `[h, w]` or `[h, w, 3]`, by id) of a data set and ids; with it the page
        shows those that were most confidently wrong.
    costs : mapping, optional
        By backbone: `parameters`, `embedding_seconds`, `memory` (bytes).
    swept : Swept, optional
        What sweeps found: label efficiency, and validation scores by strength.
    failed : sequence of Failed
        Methods without predictions; the tables name them and say why.
    **options
        `split`, `ci`, `replicates`, `unit`, `seed`, `metrics`, `aggregate`, `stratified`, as in
        `evaluate`.

    Returns
    -------
    dict of str to Path
        Every file written for a reader, by its path relative to `folder`.
    """
    folder = Path(folder)
    evidence = gather(folder / "statistics", predictions, primary=primary, embeddings=embeddings,
                      **options)  # fmt: skip
    drawn = draw_all(evidence, folder, figure_formats, costs or {}, swept)
    written = {name: folder / name for _, files in drawn for name in files}
    grid = with_failed(
        make_grid(evidence.by_method, marks=evidence.marks, primary=evidence.primary), failed
    )
    texts = _tables(evidence, grid, failed) | {"answer.txt": _answer(evidence, grid)}
    if audits:
        texts["tables/data.md"] = data_section.to_markdown(audits)
    # The page last: while it is there, so is all that it names.
    texts["index.html"] = _page(
        evidence, [drawing for drawing, _ in drawn],
        grid=grid,
        title=title,
        about={**(about or {}), "versions of this report": sections.versions_text()},
        data=data_section.make_section(audits) if audits else None,
        wrong=sections.wrong_images(evidence, images) if images else None,
    )  # fmt: skip
    for name, text in texts.items():
        write_text(folder / name, text)
        written[name] = folder / name
    return written


def _tables(evidence: Evidence, wide: Grid, failed: Sequence[Failed]) -> dict[str, str]:
    """Each table in each format: every run as numbers, every method as it is shown."""
    paper = with_failed(
        tables.paper_grid(evidence.by_method, marks=evidence.marks, primary=evidence.primary),
        failed,
    )
    suffixes = {"markdown": "md", "latex": "tex", "html": "html", "csv": "csv"}
    texts = {"tables/runs.csv": tables.to_csv(evidence.frame)}
    for format, suffix in suffixes.items():
        texts[f"tables/scores.{suffix}"] = tables.WRITERS[format](wide)
        texts[f"tables/paper.{suffix}"] = tables.WRITERS[format](paper)
    classes = pd.concat([sections.class_table(part) for part in evidence.datasets])
    texts["tables/classes.csv"] = classes.to_csv(index=False, lineterminator="\n")
    freezing = sections.freezing_table(evidence)
    if len(freezing):
        texts["tables/freezing.csv"] = freezing.to_csv(index=False, lineterminator="\n")
    return texts


def _answer(evidence: Evidence, grid: Grid) -> str:
    """The answer and the table, for a terminal of 80 columns."""
    wrap = textwrap.TextWrapper(WIDTH, break_on_hyphens=False)
    lead, each, best = _sentences(evidence)
    shown = [*lead, *(each if len(each) <= FEW else []), *best]
    sentences = [wrap.fill(plain(text)) for text in shown]
    return "\n".join(["", *sentences, "", tables.grid_to_terminal(grid, WIDTH)])


def _sentences(evidence: Evidence) -> tuple[list[str], list[str], list[str]]:
    """The sentence that sums up, one for each comparison, and those of the best."""
    compared = sum(len(part.freezing) for part in evidence.datasets)
    summed = int(compared > 2)
    said = evidence.sentences
    return said[:summed], said[summed : summed + compared], said[summed + compared :]


def _page(evidence: Evidence, drawings: Sequence[Drawing], **words: object) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["plain"] = plain
    environment.tests["short"] = data_section.is_short
    script = (TEMPLATES / "page.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    shown: dict[str, list[dict[str, object]]] = {kind: [] for kind in TITLES}
    for one in drawings:
        # Made by us from escaped text, so it enters the page as markup.
        number = int(one.name.rpartition("-")[2])
        item = {"heading": one.heading, "svg": Markup(one.svg), "number": number}
        shown[one.kind].append(item)
    lead, each, best = _sentences(evidence)
    runs = [run for part in evidence.datasets for method in part.methods for run, _ in method.runs]
    return environment.get_template("page.html.jinja").render(
        style=Markup((TEMPLATES / "page.css").read_text(encoding="utf-8")),
        script=Markup(script), script_digest=digest,
        lead=lead, each=each, best=best, few=FEW,
        metric=find_metric(evidence.primary).title.lower(),
        all_runs=make_grid(evidence.frame) if len(runs) > len(evidence.by_method["run"].unique())
        else None,
        figures=shown,
        parts=[_part(part, evidence.primary) for part in evidence.datasets],
        runs=[sections.provenance(run) for run in runs],
        **words,
    )  # fmt: skip


def _part(part: Any, primary: str) -> dict[str, Any]:
    return {
        "dataset": part.name, "classes": list(part.class_list),
        "freezing": sections.freezing_rows(part, primary),
        "matrices": sections.matrices(part), "per_class": sections.class_rows(part),
    }  # fmt: skip
