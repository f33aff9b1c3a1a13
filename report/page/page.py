"""The report of a study: one page that opens from disk, its tables and its figures as files."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from frostline.cache.atomic import clear_temporary, write_text
from frostline.report.clinical.external_table import external_table
from frostline.report.clinical.operating_table import operating_table
from frostline.report.clinical.subgroups.table import subgroup_table
from frostline.report.depth.chart import depth_chart
from frostline.report.depth.curve import Curves
from frostline.report.depth.records import depth_json
from frostline.report.depth.sentences import depth_sentences
from frostline.report.figures import FILE_FORMATS
from frostline.report.manuscript.methods import Material
from frostline.report.manuscript.writing import manuscript
from frostline.report.notes import in_words
from frostline.report.overlap import overlap_sentences
from frostline.report.page.computing import compute_numbers
from frostline.report.page.drawing import (
    Drawing,
    depth_names,
    draw_all,
    draw_depths,
    similarity_name,
)
from frostline.report.page.mistakes import Images
from frostline.report.page.numbers import ReportNumbers
from frostline.report.page.overview import overview_sentence, overview_table
from frostline.report.page.projections import Embedded
from frostline.report.page.provenance import versions_text
from frostline.report.page.rendering import FEW, MANY, Content, render_page
from frostline.report.page.training_figures import Swept
from frostline.report.predictions import Predictions
from frostline.report.tables.data import DataAudit, data_markdown
from frostline.report.tables.escape import plain, unbroken
from frostline.report.tables.failed import Failed
from frostline.report.tables.formats import WRITERS
from frostline.report.tables.scores import ON_PAGE, paper_scores, score_table
from frostline.report.tables.writers.records import frame_to_csv, scores_to_csv
from frostline.report.tables.writers.terminal import to_terminal

TERMINAL_WIDTH = 80


def write_report(
    folder: Path | str,
    predictions: Sequence[Predictions | Path | str],
    *,
    title: str,
    primary: str = "accuracy",
    about: Mapping[str, object] | None = None,
    audits: Mapping[str, DataAudit] | None = None,
    embeddings: Mapping[str, Mapping[str, Embedded]] | None = None,
    images: Images | None = None,
    backbones: Mapping[str, Mapping[str, Any]] | None = None,
    swept: Swept | None = None,
    failed: Sequence[Failed] = (),
    depths: Sequence[Curves] = (),
    **options: Any,
) -> dict[str, Path]:
    """Write `index.html`, `answer.txt`, `tables/`, `figures/` and what `manuscript` writes.

    Parameters
    ----------
    folder : Path
        Files of an earlier report are replaced.
    predictions : sequence of Predictions or paths, one a run
    title, primary : str
        Heading of the page, and the metric of its first sentence and of the forest plots.
    about : mapping, optional, what made this report; `part`, on what is left out, stands on top
    audits : mapping of str to DataAudit, optional, what is known of each data set
    embeddings : mapping, optional
        By data set and backbone, to be mapped.
    images : Images, optional, where images come from, and what is near them
    backbones : mapping, optional
        By backbone: `parameters`, `embedding_seconds`, `memory` (bytes), and `Material`'s words.
    swept : Swept, optional, what sweeps found
    failed : sequence of Failed, methods without predictions, and why
    depths : sequence of Curves, one a data set; then page and answer open with it
    **options
        `figure_formats` (by default `FILE_FORMATS`), and those of `compute_numbers`, such as `ci`.

    Returns
    -------
    dict of str to Path
        Every file written for a reader, by its path relative to `folder`.
    """
    clear_temporary(Path(folder), below=True)  # of processes that were killed
    folder, formats = Path(folder), tuple(options.pop("figure_formats", FILE_FORMATS))
    numbers = compute_numbers(
        folder / "statistics", predictions, primary=primary, embeddings=embeddings, **options
    )
    drawn = draw_depths(depths, folder, formats)
    drawn += draw_all(numbers, folder, formats, backbones or {}, swept)
    about = {**(about or {}), "versions of this report": versions_text()}
    runs = [run for part in numbers.datasets for one in part.methods for run, _ in one.runs]
    overlaps = overlap_sentences(run.meta for run in runs)
    content = Content(title, about, audits or {}, failed, images, depths, overlaps)
    texts = manuscript(_material(numbers, content, backbones or {}))
    texts |= _texts(numbers, [drawing for drawing, _ in drawn], content)
    for name, text in texts.items():
        write_text(folder / name, text)
    return {name: folder / name for name in (*(n for _, files in drawn for n in files), *texts)}


def _texts(numbers: ReportNumbers, drawings: Sequence[Drawing], content: Content) -> dict[str, str]:
    """Write every file of text; the page last: while it is there, so is all that it names."""
    texts = _tables(numbers, content.failed) | {"answer.txt": _answer(numbers, content)}
    if content.depths:
        table = pd.concat([curves.table for curves in content.depths], ignore_index=True)
        texts["tables/depth.csv"] = in_words(table).to_csv(index=False, lineterminator="\n")
        texts["tables/depth.json"] = depth_json(content.depths)
        for name, curves in zip(depth_names(content.depths), content.depths, strict=True):
            if curves.similarity is not None:
                own = frame_to_csv(curves.similarity.table)
                texts[f"tables/{similarity_name(name)}.csv"] = own
    if content.audits:
        texts["tables/data.md"] = data_markdown(content.audits)
    return texts | {"index.html": render_page(numbers, drawings, content)}


def _material(
    numbers: ReportNumbers, content: Content, backbones: Mapping[str, Mapping[str, Any]]
) -> Material:
    runs = [run for part in numbers.datasets for one in part.methods for run, _ in one.runs]
    tested = [table for part in numbers.datasets for table in (part.pairs, part.freezing)]
    tested += [curves.differences for curves in content.depths]
    tests = pd.concat([table.reindex(columns=["adjustment", "seed_df"]) for table in tested])
    given = numbers.primary, tests, content.audits, backbones, bool(content.depths)
    evidence = {
        name: pd.concat([getattr(part, name) for part in numbers.datasets], ignore_index=True)
        for name in ("operating", "benefit", "calibration", "subgroups")
    }
    return Material(runs, numbers.frame, *given, {**evidence, "external": numbers.external})


def _tables(numbers: ReportNumbers, failed: Sequence[Failed]) -> dict[str, str]:
    """Write each table in each format: every run as numbers, every method as it is shown."""
    shown: dict[str, Any] = {"marks": numbers.marks, "primary": numbers.primary, "failed": failed}
    scores = score_table(numbers.by_method, freeze=True, elsewhere=ON_PAGE, **shown)
    paper = paper_scores(numbers.by_method, **shown)
    texts = {"tables/runs.csv": scores_to_csv(numbers.frame)}
    for suffix, write in WRITERS.items():
        texts[f"tables/scores.{suffix}"] = write(scores)
        texts[f"tables/paper.{suffix}"] = write(paper)
    texts["tables/classes.csv"] = frame_to_csv(
        pd.concat([part.class_scores for part in numbers.datasets])
    )
    for name in ("benefit", "calibration"):
        found = [getattr(part, name) for part in numbers.datasets if len(getattr(part, name))]
        if found:
            texts[f"tables/{name}.csv"] = frame_to_csv(pd.concat(found, ignore_index=True))
    if len(numbers.operating):
        points = operating_table(numbers.operating, ON_PAGE)
        texts |= {f"tables/operating.{suffix}": write(points) for suffix, write in WRITERS.items()}
        texts["tables/operating.csv"] = frame_to_csv(numbers.operating)
    subgroups = [part.subgroups for part in numbers.datasets if len(part.subgroups)]
    if subgroups:
        frame = pd.concat(subgroups, ignore_index=True)
        table = subgroup_table(frame, ON_PAGE)
        kinds = {kind: WRITERS[kind](table) for kind in ("md", "tex", "html")}
        kinds["csv"] = frame_to_csv(frame)
        texts |= {f"tables/subgroups.{kind}": text for kind, text in kinds.items()}
    freezing = [part.freezing for part in numbers.datasets if len(part.freezing)]
    if freezing:
        texts["tables/freezing.csv"] = frame_to_csv(pd.concat(freezing, ignore_index=True))
    if len(numbers.external):
        table = external_table(numbers.external, numbers.primary, numbers.titles)
        for suffix, write in WRITERS.items():
            texts[f"tables/external.{suffix}"] = write(table)
        texts["tables/external.csv"] = frame_to_csv(numbers.external)
    return texts


def _answer(numbers: ReportNumbers, content: Content) -> str:
    """Write the answer and the table of scores for a terminal."""
    leaking = [name for name, audit in content.audits.items() if audit.leaks]
    leaks = f"The data may leak ({', '.join(leaking)}): see the page before trusting a score."
    lines = ["", *([_filled(leaks)] if leaking else [])]
    for sentence in content.top:
        lines += [_filled(sentence), ""]
    for curves in content.depths:
        dataset = str(curves.table["dataset"].iloc[0] or "")
        lines += [f"{plain(dataset)}:"] if dataset and len(content.depths) > 1 else []
        lines += map(_filled, depth_sentences(curves))
        lines += ["", depth_chart(curves, TERMINAL_WIDTH), ""]
    lead, each, best = numbers.answer
    # Sentences on depth say of each pair what those on freezing do.
    few = each if len(each) <= FEW and not content.depths else []
    lines += map(_filled, [*lead, *few])
    shown: dict[str, Any] = {"failed": content.failed, "elsewhere": ON_PAGE}
    if len(numbers.datasets) < MANY:
        lines += [*map(_filled, best), ""] if best else []
    else:
        overview = to_terminal(overview_table(numbers, content.failed), TERMINAL_WIDTH)
        lines += [_filled(overview_sentence(numbers)), "", overview]
    table = score_table(numbers.by_method, marks=numbers.marks, primary=numbers.primary, **shown)
    lines.append(to_terminal(table, TERMINAL_WIDTH))
    for sentence in content.shared:
        lines.append(_filled(sentence))
    if len(numbers.external):
        outside = external_table(numbers.external, numbers.primary, numbers.titles)
        lines += ["", to_terminal(outside, TERMINAL_WIDTH)]
    return "\n".join(lines)


def _filled(text: str) -> str:
    """Break a sentence into lines, but no interval."""
    wrap = textwrap.TextWrapper(TERMINAL_WIDTH, break_on_hyphens=False)
    return wrap.fill(unbroken(plain(text))).replace("\N{NO-BREAK SPACE}", " ")
