"""Commands about data: index, audit, and which backbones there are."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from frostline.cache.errors import printable
from frostline.cache.tables.words import counted
from frostline.commands.groups import ClassesOption, grouped
from frostline.commands.options import (
    DEFAULT_WORKSPACE,
    FormatOption,
    Idle,
    WorkspaceOption,
    complete_backbone,
    complete_dataset,
    refuse_idle,
)

if TYPE_CHECKING:
    import pandas as pd

    from frostline.cache import Workspace as Places
    from frostline.extract.audit.audit import Audit
    from frostline.extract.backbones.origins import Known
    from frostline.report.tables.table import Table

_COLUMN = "Column of the table with the {}."
# As in `frostline.extract.readers.kinds`, which help must not import; a test compares them.
Kind = Literal[
    "folder",
    "table",
    "mri-slices",
    "dicom",
    "medmnist",
    "chest-xray",
    "ham10000",
    "isic2018",
    "ichallenge-amd",
]


@dataclass(frozen=True)
class ReadingOptions:
    """How a kind of data is read: each kind has some of these options."""

    table: Annotated[Path | None, typer.Option(help="CSV, TSV or Parquet file.")] = None
    image_column: Annotated[str | None, typer.Option(help=_COLUMN.format("paths"))] = None
    label_column: Annotated[str | None, typer.Option(help=_COLUMN.format("labels"))] = None
    group_column: Annotated[
        str | None, typer.Option(help=_COLUMN.format("patients or lesions"))
    ] = None
    split_column: Annotated[str | None, typer.Option(help=_COLUMN.format("splits"))] = None
    image: Annotated[
        str | None, typer.Option(help="Pattern of paths, such as 'images/{image_id}.jpg'.")
    ] = None
    mask: Annotated[str | None, typer.Option(help="Pattern of paths of tumour masks.")] = None
    min_roi: Annotated[
        int | None, typer.Option(help="Take slices whose mask has more pixels than this.")
    ] = None
    slices: Annotated[
        str | None,
        typer.Option(
            metavar="all|middle:N|every:N", help="Take these axial slices where there is no mask."
        ),
    ] = None
    spacing: Annotated[
        tuple[float, float, float] | None,
        typer.Option(help="Voxel size in mm (x y z) to which volumes are resampled."),
    ] = None
    neighbours: Annotated[
        bool,
        typer.Option(
            "--neighbours", help="2.5-D: the slice below, itself and the one above as channels."
        ),
    ] = False
    keep_val: Annotated[
        bool, typer.Option("--keep-val", help="Keep a validation part that the paper leaves out.")
    ] = False
    follow: Annotated[
        list[str] | None,
        typer.Option(help="Data set whose groups keep their split here; repeated."),
    ] = None
    source: Annotated[
        list[str] | None,
        typer.Option(help="Public set that images come from, such as mimic-cxr; repeated."),
    ] = None
    option: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Another option of the kind; repeated."),
    ] = None

    def options(self, kind: str) -> dict[str, Any]:
        """Give those that are given, by their names.

        Raises
        ------
        InputError
            If `--option` is not NAME=VALUE.
        """
        from frostline.extract.readers.kinds import parse_option

        given = vars(self) | {
            "option": None,
            "table": str(self.table) if self.table else None,
            "spacing": list(self.spacing) if self.spacing else None,
            "neighbours": self.neighbours or None,
            "keep_val": self.keep_val or None,
            "follow": self.follow or None,
            "source": self.source or None,
        }
        given |= dict(parse_option(kind, text) for text in self.option or [])
        return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True)
class SplitOptions:
    """Which images belong together, and the splits that are made."""

    group_pattern: Annotated[
        str | None,
        typer.Option(help="Regular expression that finds the patient in every file name."),
    ] = None
    test_fraction: Annotated[
        float | None,
        typer.Option(help="Fraction of groups for test, if there is none: 0.3, or the paper's."),
    ] = None
    val_fraction: Annotated[
        float, typer.Option(help="Fraction of training groups for validation, where there is none.")
    ] = 0.2
    seed: Annotated[int, typer.Option(help="Seed of the splits that are made.", min=0)] = 0
    resplit: Annotated[
        bool, typer.Option("--resplit", help="Make the splits again; else groups stay.")
    ] = False


@grouped
def index(
    name: Annotated[str, typer.Argument(help="What to call the data set.")],
    root: Annotated[list[str], typer.Option(help="Folder with the images, or a URL; repeated.")],
    kind: Annotated[
        Kind, typer.Option(help="What the data look like: docs/datasets.md describes each kind.")
    ] = "folder",
    *,
    reading: ReadingOptions,
    splits: SplitOptions,
    classes: ClassesOption = None,
    rehash: Annotated[
        bool,
        typer.Option("--rehash", help="Read every file again, whatever its size and time say."),
    ] = False,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Make a data set's manifest, or bring it up to date.

    Example: frostline index photos --root photos --group-pattern 'patient\\d+'
    """
    from frostline.cache import Workspace
    from frostline.cache.tables.class_order import class_names
    from frostline.console import detail, progress, say
    from frostline.extract.audit.audit import audit
    from frostline.extract.audit.summary import render_summary
    from frostline.extract.index import index_dataset
    from frostline.inventory import BACKBONE, same_workspace

    detail(f"Reading {', '.join(root)} as kind {kind}.")
    with progress("Reading the files of", "files", name) as update:
        manifest = index_dataset(
            Workspace(workspace),
            name,
            kind=kind,
            roots=root,
            options=reading.options(kind),
            classes=class_names(classes),
            rehash=rehash,
            progress=update,
            **asdict(splits),
        )
    place = same_workspace(workspace)
    typer.echo(render_summary(audit(manifest), f"frostline audit {name}{place}"))
    if manifest.classes:
        say(f"Declared order of the classes: {', '.join(manifest.classes)}.")
    say(f"Next: frostline extract --dataset {name} --backbone {BACKBONE}{place}")


# Label errors are found in predictions, not in the manifest.
IDLE_IN_AUDIT: Idle = {("label_errors", True): ("strict", "controls", "readable")}


@refuse_idle(IDLE_IN_AUDIT)
def audit(
    name: Annotated[str, typer.Argument(help="A data set.", autocompletion=complete_dataset)],
    predictions: Annotated[
        list[Path] | None,
        typer.Argument(help="For --label-errors: predictions, out of fold or held out."),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 1 if something leaks into the test split.")
    ] = False,
    with_images: Annotated[
        Path | None, typer.Option(help="PNG file to write, with the flagged images.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="CSV file to write, with every image of every finding.")
    ] = None,
    controls: Annotated[
        bool,
        typer.Option("--controls", help="Also score permuted labels and the like: at chance?"),
    ] = False,
    readable: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMNS",
            help="Also ask whether these columns can be read from the embeddings: sex,age:60.",
        ),
    ] = None,
    label_errors: Annotated[
        bool,
        typer.Option(
            "--label-errors", help="Find labels that are probably wrong instead, by predictions."
        ),
    ] = False,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Count images and groups; find what leaks across splits, or labels that are probably wrong.

    Example: frostline audit chest --strict
    """
    from frostline.audits import audit_stored
    from frostline.cache import InputError, Workspace
    from frostline.console import say
    from frostline.extract.audit.audit import render_audit
    from frostline.extract.audit.details import details

    if label_errors:
        _audit_labels(name, predictions or [], workspace, out, with_images)
        return
    if predictions:
        raise InputError("Predictions are read for --label-errors: give it too, or leave them out.")
    found, missing = audit_stored(Workspace(workspace), name)
    typer.echo(render_audit(found))
    for sentence in missing:
        say(sentence)
    if out is not None:
        _write_rows(out, details(found), "one for each image of a finding")
    if with_images is not None:
        _write_sheet(with_images, found, Workspace(workspace).manifest(name))
    _ask_embeddings(Workspace(workspace), name, controls, readable)
    if strict:
        _refuse_leaks(found)


def _refuse_leaks(found: Audit) -> None:
    """Count what leaks; exit with 1 if anything leaks into test."""
    from frostline.console import say

    into_test, others = len(found.test_leaks), len(found.leaks) - len(found.test_leaks)
    say(f"Strict: leaks into test: {into_test}; other leaks: {others}.")
    if into_test:
        raise typer.Exit(1)


def _ask_embeddings(workspace: Places, name: str, controls: bool, readable: str | None) -> None:
    """Print negative controls, and what can be read from the embeddings."""
    from frostline.audits import render_controls, render_readable, run_controls, run_readable

    if controls:
        typer.echo("\n" + render_controls(*run_controls(workspace, name)))
    if readable:
        typer.echo("\n" + render_readable(run_readable(workspace, name, readable)))


def _write_sheet(path: Path, found: Audit, manifest: Path) -> None:
    from frostline.cache import read_manifest
    from frostline.console import say
    from frostline.extract.audit.sheet import picture_sheet

    sheet = picture_sheet(found, read_manifest(manifest), path)
    shows = f"{path} shows {sheet}; --out lists all."
    say(shows if sheet.flagged else "No image was flagged by its picture, so there is no sheet.")


def _audit_labels(
    name: str, predictions: list[Path], workspace: Path, out: Path | None, with_images: Path | None
) -> None:
    """Show labels that are probably wrong, and write what is asked for."""
    from frostline.cache import Workspace
    from frostline.console import say, show_table, summary
    from frostline.scoring.label_errors import label_sheet, label_table, suspicious_labels

    found = suspicious_labels(Workspace(workspace), name, predictions)
    if len(found.table):
        show_table(label_table(found))
    for sentence in found.sentences:
        summary(sentence)
    if out is not None:
        _write_rows(out, found.table, "one for each suspicious label")
    if with_images is not None:
        shown = label_sheet(Workspace(workspace), name, found, with_images)
        rest = f"{with_images} shows {shown:,} of {len(found.table):,}, each with its nearest."
        say(rest if shown else "No label is suspicious, so there is no sheet.")


def _write_rows(path: Path, table: pd.DataFrame, which: str) -> None:
    from frostline.cache.atomic import write_text
    from frostline.console import say

    write_text(path, table.to_csv(index=False, lineterminator="\n"))
    say(f"{path} has {counted(len(table), 'row')}, {which}.")


IDLE_IN_BACKBONES: Idle = {
    ("blocks", bool): ("name", "search", "format", "workspace"),
    ("name", bool): ("search",),
}


@refuse_idle(IDLE_IN_BACKBONES)
def backbones(
    name: Annotated[
        str | None,
        typer.Argument(help="Say all of this one.", autocompletion=complete_backbone),
    ] = None,
    search: Annotated[
        str, typer.Option(help="Only those with these words in name, kind, data or licence.")
    ] = "",
    blocks: Annotated[
        str | None,
        typer.Option(
            help="List the blocks of this backbone instead.", autocompletion=complete_backbone
        ),
    ] = None,
    format: FormatOption = "table",
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """List the backbones: source, licence, data, and which weights are at hand.

    Example: frostline backbones --search chest
    """
    from frostline.console import summary
    from frostline.extract.backbones.origins import describe_backbone, list_backbones

    if blocks is not None:
        _print_blocks(blocks)
        return
    if name is not None:
        _print_backbones([describe_backbone(name, workspace)], format, whole=True)
        return
    _print_backbones(list_backbones(workspace, search), format)
    if format == "table":
        summary(
            "Other models go by timm:NAME, torchvision:NAME or, from Hugging Face, hf:ORG/NAME. "
            "`frostline backbones NAME` says all of one."
        )


def _print_backbones(found: Sequence[Known], format: str, *, whole: bool = False) -> None:
    """Print a list, or all that is known of its only one."""
    from frostline.console import show_table
    from frostline.report.tables.formats import render_results
    from frostline.results import backbones_frame

    if format == "table" and whole:
        typer.echo(_all_of(found[0]))
    elif format == "table":
        show_table(_backbone_table(found))
    else:
        frame = backbones_frame(found)
        typer.echo(render_results(frame, format, lambda: _backbone_table(found)), nl=False)


def _backbone_table(found: Sequence[Known]) -> Table:
    from frostline.report.tables.table import Cell, Column, Row, Table

    rows = []
    for one in found:
        data = ", ".join(text.partition(" (")[0] for text in one.images.values())
        numbers = (f"{one.parameters / 1e6:.1f} M" if one.parameters else "", one.dim, one.size)
        cells = (
            Cell(one.name, data or one.pretrained_on),
            Cell(one.licence),
            *(Cell(str(value or "")) for value in numbers),
            Cell(one.weights),
        )
        rows.append(Row(cells, "paper" if one.paper else one.kind))
    names = ("Backbone", "Licence", "Parameters", "Dim", "Pixels", "Weights")
    columns = tuple(Column(one, numbers=one in ("Parameters", "Dim", "Pixels")) for one in names)
    return Table(columns, tuple(rows))


def _all_of(one: Known) -> str:
    """Write all that is known of a backbone, a line a fact."""
    facts = {
        "Backbone": one.name,
        "For": one.kind,
        "Network": one.network,
        "Page": one.url,
        "Also": one.source,
        "Licence": one.licence,
        "Gated": one.gated,
        "Pretrained on": one.pretrained_on,
        "Images": f"{one.size} pixels" if one.size else "",
        "Normalised": one.normalisation,
        "Parameters": f"{one.parameters:,}" if one.parameters else "",
        "Embedding": f"{one.dim} numbers" if one.dim else "",
        "Features": ", ".join(one.features),
        "Package": one.package,
        "Weights": one.weights,
        "Used": one.loads,
    }
    lines = [f"{name:<14} {printable(text)}" for name, text in facts.items() if text]
    wrap = textwrap.TextWrapper(80, subsequent_indent=" " * 15, break_on_hyphens=False)
    wrap.break_long_words = False
    return "\n".join(map(wrap.fill, lines))


def _print_blocks(name: str) -> None:
    from frostline.console import show_table, summary
    from frostline.extract.backbones.depths import backbone_depths
    from frostline.report.tables.table import Column, Row, Table, words

    names = ("Depth", "Block", "Feature", "Blocks behind", "Parameters", "Cost so far")
    rows = [
        words(
            depth.number,
            depth.block,
            depth.feature or "none to read",
            depth.behind,
            f"{depth.parameters:,}",
            f"{depth.cost:.1%}",
        )
        for depth in backbone_depths(name)
    ]
    columns = tuple(Column(one, numbers=one not in ("Block", "Feature")) for one in names)
    show_table(Table(columns, tuple(map(Row, rows))))
    summary(
        "--feature reads one depth, --feature blocks all in one pass; --unfreeze N trains the last "
        "N blocks, those behind a depth. The cost is a share of one forward pass."
    )
