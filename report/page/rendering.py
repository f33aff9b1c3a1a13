"""The page as HTML: what is shown where, given to the template."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from frostline.report.clinical.external_table import external_table
from frostline.report.clinical.operating_table import operating_table
from frostline.report.clinical.subgroups.table import run_labels, subgroup_table, test_sentences
from frostline.report.clinical.tables import benefit_table, calibration_table
from frostline.report.depth.curve import Curves
from frostline.report.depth.overview import depth_table
from frostline.report.depth.sentences import depth_paragraphs, misled_sentences
from frostline.report.page.confusion import confusion_matrices
from frostline.report.page.drawing import TITLES, Drawing, depth_names, similarity_name
from frostline.report.page.mistakes import Images, mistaken_images
from frostline.report.page.numbers import DatasetNumbers, ReportNumbers
from frostline.report.page.overview import overview_sentence, overview_table
from frostline.report.page.provenance import provenance
from frostline.report.page.score_figures import best_of_ways
from frostline.report.statistics.metrics import find_metric
from frostline.report.tables import data
from frostline.report.tables.classes import class_table
from frostline.report.tables.data import DataAudit
from frostline.report.tables.escape import plain, unbroken
from frostline.report.tables.failed import Failed, unfinished_sentence
from frostline.report.tables.freezing import freezing_table
from frostline.report.tables.scores import ON_PAGE, score_table
from frostline.report.tables.table import Table
from frostline.report.tables.writers.html import table_html

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"
# Of more comparisons than this the sentences are folded away.
FEW = 4
# Of so many data sets a table says which method is best, and not a paragraph each.
MANY = 3
# Inches of a figure that is still shown as wide as the others; the page scrolls wider ones.
MOST_WIDE = 6


@dataclass(frozen=True)
class Content:
    """What a page shows besides numbers and figures; the fields are arguments of `write_report`."""

    title: str
    about: Mapping[str, object]
    audits: Mapping[str, DataAudit]
    failed: Sequence[Failed]
    images: Images | None
    depths: Sequence[Curves] = ()
    overlaps: Sequence[str] = ()

    @property
    def top(self) -> list[str]:
        """What has to be known first: runs that are left out or not done yet, and overlaps."""
        said = (str(self.about.get("part", "")), unfinished_sentence(self.failed))
        # Sentences on depth say of their backbones what the others are told here.
        told = {one for curves in self.depths for one in curves.overlaps.values()}
        rest = [sentence for sentence in self.overlaps if sentence not in told]
        return [sentence for sentence in (*said, *rest) if sentence]

    @property
    def shared(self) -> list[str]:
        """What external data sets share with those whose runs are scored on them."""
        return [sentence for audit in self.audits.values() for sentence in audit.shared]


def render_page(numbers: ReportNumbers, drawings: Sequence[Drawing], content: Content) -> str:
    """Write the page; `drawings` are the figures of all data sets."""
    runs = [run for part in numbers.datasets for one in part.methods for run, _ in one.runs]
    pooled = len(runs) > len(numbers.by_method["run"].unique())
    lead, each, best = numbers.answer
    found = dict(zip(depth_names(content.depths), content.depths, strict=True))
    scores = score_table(
        numbers.by_method, marks=numbers.marks, primary=numbers.primary, failed=content.failed
    )
    script = (TEMPLATES / "page.js").read_text(encoding="utf-8")
    return (
        _environment()
        .get_template("page.html.jinja")
        .render(
            title=content.title,
            top=content.top,
            style=_markup((TEMPLATES / "page.css").read_text(encoding="utf-8")),
            script=_markup(script),
            script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
            lead=lead,
            each=each,
            best=best,
            few=FEW,
            many=len(numbers.datasets) >= MANY,
            summary=overview_sentence(numbers),
            overview=_table(overview_table(numbers, content.failed, "scores")),
            depths=_depths(found, drawings),
            depth_table=_table(depth_table(content.depths, list(found))) if found else "",
            metric=find_metric(numbers.primary).words,
            scores=_table(scores),
            all_runs=_table(score_table(numbers.frame)) if pooled else None,
            benefit=_benefit(numbers),
            calibration=_calibration(numbers),
            external=_external(numbers),
            shared=content.shared,
            similarities=_similarities(found, drawings),
            figures=_by_kind([one for one in drawings if one.kind in TITLES]),
            parts=[_part(part, numbers.primary) for part in numbers.datasets],
            operating=_table(operating_table(numbers.operating)) if len(numbers.operating) else "",
            data=_data(content.audits) if content.audits else None,
            wrong=_wrong(numbers, content.images) if content.images else [],
            about=content.about,
            runs=[provenance(run) for run in runs],
        )
    )


def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["plain"] = plain
    environment.filters["sentence"] = lambda text: unbroken(plain(text))
    return environment


def _markup(text: str) -> Any:
    """Pass on text that we made from escaped text, so that it enters the page as it is."""
    from markupsafe import Markup

    return Markup(text)


def _table(table: Table) -> Any:
    return _markup(table_html(table))


def _benefit(numbers: ReportNumbers) -> Any:
    """Give net benefit of every method; of more than two classes the best of each way to train."""
    frames = [
        part.benefit
        if part.positive or not len(part.benefit)
        else part.benefit[part.benefit["run"].isin(best_of_ways(numbers, part)["run"])]
        for part in numbers.datasets
    ]
    frame = pd.concat(frames, ignore_index=True)
    return _table(benefit_table(frame, ON_PAGE)) if len(frame) else None


def _calibration(numbers: ReportNumbers) -> Any:
    frame = pd.concat([part.calibration for part in numbers.datasets], ignore_index=True)
    return _table(calibration_table(frame, ON_PAGE)) if len(frame) else None


def _width(svg: str) -> float:
    """Give the width of a figure in inches."""
    found = re.search(r'\bwidth="([\d.]+)pt"', svg)
    return float(found[1]) / 72 if found else 0.0


def _by_kind(drawings: Sequence[Drawing]) -> dict[str, list[dict[str, object]]]:
    found: dict[str, list[dict[str, object]]] = {kind: [] for kind in TITLES}
    for one in drawings:
        found[one.kind].append(_figure(one, int(one.name.rpartition("-")[2])))
    return found


def _figure(drawing: Drawing, number: int) -> dict[str, object]:
    item = {"heading": drawing.heading, "svg": _markup(drawing.svg), "number": number}
    return {**item, "wide": _width(drawing.svg) > MOST_WIDE}


def _depths(found: Mapping[str, Curves], drawings: Sequence[Drawing]) -> list[dict[str, Any]]:
    """Give of each data set with curves its sentences and its picture.

    Where there are many, only those that say where to read are `shown`, and what validation cannot
    speak for.
    """
    pictures = {one.name: _markup(one.svg) for one in drawings if one.kind == "depth"}
    many = sum(curves.table["backbone"].nunique() for curves in found.values()) > FEW
    blocks = []
    for name, curves in found.items():
        shown, rest = [], []
        for backbone, said in depth_paragraphs(curves).items():
            lead = 1 if many else len(said)
            shown += said[:lead]
            rest += [(backbone, " ".join(said[lead:]))] if said[lead:] else []
        shown += misled_sentences(curves)
        dataset = str(curves.table["dataset"].iloc[0] or "")
        block = {"dataset": dataset, "shown": shown, "rest": rest}
        blocks.append(block | {"id": name, "picture": pictures[name]})
    return blocks


def _similarities(found: Mapping[str, Curves], drawings: Sequence[Drawing]) -> list[dict[str, Any]]:
    """Give the heat map of the depths of each data set, and a sentence on its images."""
    drawn = {one.name: one for one in drawings if one.kind == "similarity"}
    return [
        {
            "figure": _figure(drawn[similarity_name(name)], number),
            "said": [curves.similarity.sentence, *curves.similarity.left_out],
        }
        for number, (name, curves) in enumerate(found.items())
        if curves.similarity is not None
    ]


def _part(part: DatasetNumbers, primary: str) -> dict[str, Any]:
    freezing = freezing_table(part.freezing, primary) if len(part.freezing) else None
    return {
        "dataset": part.name,
        "classes": list(part.class_list),
        "freezing": _table(freezing) if freezing and freezing.rows else None,
        "subgroups": _subgroups(part),
        "matrices": confusion_matrices(part),
        "per_class": _table(class_table(part.class_scores)),
    }


def _subgroups(part: DatasetNumbers) -> dict[str, Any] | None:
    """Give the sentences of the tests and the table of subgroups; None where none are asked for."""
    if not len(part.subgroups):
        return {"said": part.without, "table": ""} if part.without else None
    labels = run_labels(part.subgroups)
    said = [
        f"{labels[run]}: {' '.join(sentences)}"
        for run, sentences in test_sentences(part.subgroups).items()
    ]
    table = subgroup_table(part.subgroups, tests=False)
    return {"said": [*said, *part.without], "table": _table(table)}


def _external(numbers: ReportNumbers) -> list[Any]:
    """Give the tables of internal and external scores: of the primary metric, then the others."""
    if numbers.external.empty:
        return []
    others = [n for n in numbers.external["metric"].unique() if n != numbers.primary]
    return [
        _table(external_table(numbers.external, name, numbers.titles))
        for name in (numbers.primary, *others)
    ]


def _wrong(numbers: ReportNumbers, images: Images) -> list[dict[str, Any]]:
    found = (mistaken_images(part.mistakes, images) for part in numbers.datasets)
    return [one for one in found if one is not None]


def _data(audits: Mapping[str, DataAudit]) -> dict[str, Any]:
    blocks = [
        {
            "dataset": dataset,
            "findings": audit.findings,
            "classes": _table(data.classes_table(dataset, audit, data.MOST_ROWS)),
            "flagged": [
                (caption, _table(table))
                for caption, table in data.flagged_tables(dataset, audit, data.MOST_ROWS)
            ],
        }
        for dataset, audit in audits.items()
    ]
    return {
        "splits": _table(data.splits_table(audits)),
        "blocks": blocks,
        "leaking": [dataset for dataset, audit in audits.items() if audit.leaks],
    }
