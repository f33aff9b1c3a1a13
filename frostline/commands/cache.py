"""Commands about the stores: cache ls, verify, compact, gc, export, import, similarity."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from frostline.cache.tables.words import counted
from frostline.commands.groups import check_figure
from frostline.commands.options import (
    DEFAULT_WORKSPACE,
    BackboneOption,
    DatasetOption,
    LabelOption,
    SplitOption,
    WorkspaceOption,
    complete_dataset,
    with_verbosity,
)
from frostline.console import summary

if TYPE_CHECKING:
    from frostline.report.similarity import Similarity
    from frostline.report.tables.table import Cell

cache_app = typer.Typer(help="Look after the stores.", no_args_is_help=True, rich_markup_mode=None)

DatasetsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--dataset",
        "-d",
        help="Only stores of this data set; repeated.",
        autocompletion=complete_dataset,
    ),
]
KeyOption = Annotated[
    str | None, typer.Option(help="First digits of the store's key, where there are several.")
]


@cache_app.command()
@with_verbosity
def ls(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """List the stores: data set, backbone, how many images they have, size, age, settings.

    Example: frostline cache ls --json
    """
    from frostline.cache import Workspace
    from frostline.cache.listing import describe_store, workspace_stores

    place = Workspace(workspace)
    rows = [describe_store(place, folder) for folder in workspace_stores(place)]
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
    elif rows:
        _print_stores(rows)
    else:
        summary(f"There is no store in {workspace} yet.")


def _print_stores(rows: list[dict[str, Any]]) -> None:
    from frostline.console import show_table
    from frostline.report.tables.table import Column, Row, Table

    names = ("Data set", "Backbone", "Rows", "Size", "Age", "Parts", "Key", "Spec")
    # Keys are copied from here: a column of numbers is never broken.
    whole = ("Rows", "Size", "Age", "Parts", "Key")
    columns = tuple(Column(name, numbers=name in whole) for name in names)
    show_table(Table(columns, tuple(Row(_store_cells(row)) for row in rows)))


def _store_cells(row: dict[str, Any]) -> tuple[Cell, ...]:
    from frostline.cache.listing import short_spec
    from frostline.report.tables.table import words

    damaged = "damaged" in row
    of = "?" if row.get("wanted") is None else row["wanted"]
    return words(
        row["dataset"],
        row["backbone"] or "(pixels)",
        "damaged" if damaged else f"{row['rows'] if of == '?' else row['needed']} of {of}",
        f"{row['bytes'] / 1e6:.1f} MB",
        _age(row["age_seconds"]),
        row["parts"],
        row["key"][:12],
        "run `frostline cache verify`" if damaged else short_spec(row["spec"]),
    )


def _age(seconds: float) -> str:
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


@cache_app.command()
@with_verbosity
def verify(
    repair: Annotated[
        bool,
        typer.Option(
            "--repair", help="Rename damaged parts to damaged-….h5; with --images, drop wrong rows."
        ),
    ] = False,
    images: Annotated[
        bool,
        typer.Option("--images", help="Decode every image again too, and compare it with its row."),
    ] = False,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Check every digest of every part; with --images also that rows are of the right images.

    Example: frostline cache verify --images --repair
    """
    from frostline.cache import Workspace
    from frostline.cache.listing import workspace_stores
    from frostline.cache.stamped import NewerFormatError
    from frostline.cache.stores.verify import verify_store

    folders = workspace_stores(Workspace(workspace))
    damaged = [error for folder in folders for error in verify_store(folder, repair=repair)]
    for error in damaged:
        typer.echo(str(error), err=True)
    newer = sum(isinstance(error, NewerFormatError) for error in damaged)
    if repair and damaged:
        summary(
            f"Set {counted(len(damaged) - newer, 'part')} aside: run `frostline extract` to "
            "compute their rows again."
        )
    else:
        summary(
            f"Checked {counted(len(folders), 'store')}: {counted(len(damaged), 'part', 'damaged')}."
        )
    wrong = _verify_images(workspace, repair) if images else 0
    if newer or ((damaged or wrong) and not repair):
        raise typer.Exit(1)


def _verify_images(workspace: Path, repair: bool) -> int:
    """Compare stores with their images, drop the wrong rows if asked to, and give their number."""
    from frostline.cache import Workspace
    from frostline.cache.listing import workspace_stores
    from frostline.cache.stores.verify import drop_rows
    from frostline.console import progress
    from frostline.doctor.images import check_images, runs_of

    place = Workspace(workspace)
    with progress("Decoding images again") as update:
        checks = list(check_images(place, workspace_stores(place), update))
    for check in checks:
        for sentence in [check.sentence(workspace), *check.unchecked]:
            if sentence:
                typer.echo(sentence, err=True)
        if repair and check.wrong:
            drop_rows(check.folder, check.wrong.keys())
    wrong = sum(len(check.wrong) for check in checks)
    compared = f"Compared {counted(sum(check.rows for check in checks), 'row')} with their images: "
    dropped = ", and dropped: run `frostline extract` to compute them again" if repair else ""
    summary(f"{compared}{wrong} wrong{dropped if wrong else ''}.")
    for run in runs_of(place, checks):
        summary(f"Run {run} learned from them: delete {place.predictions(run)} to repeat it.")
    return wrong


@cache_app.command()
@with_verbosity
def compact(dataset: DatasetsOption = None, workspace: WorkspaceOption = DEFAULT_WORKSPACE) -> None:
    """Merge the parts of each store into one; others may read and write meanwhile.

    Example: frostline cache compact --dataset chest
    """
    from frostline.cache.stores.compact import compact_store

    for folder in _chosen(workspace, dataset):
        parts, _ = compact_store(folder)
        if parts > 1:
            summary(f"{folder.relative_to(workspace)}: {parts} parts became 1.")


@cache_app.command()
@with_verbosity
def gc(
    yes: Annotated[
        bool, typer.Option("--yes", help="Delete it; otherwise it is only shown.")
    ] = False,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Show what no manifest needs, and delete it with --yes.

    That is rows of images that are no longer in their data set, parts that were set aside, and
    files that dead processes left. A data set without a readable manifest is left alone.

    Example: frostline cache gc --yes
    """
    from frostline.cache import Workspace
    from frostline.cache.garbage import delete_garbage, find_garbage

    place = Workspace(workspace)
    plan = find_garbage(place)
    for one in plan.garbage:
        where = one.folder.relative_to(workspace)
        rows = f"{one.rows} of {one.of} rows, " if one.of else ""
        files = counted(len(one.files), "file")
        done = " deleted" if yes else ""
        typer.echo(f"{where}: {rows}{files}, about {one.bytes / 1e6:.1f} MB{done}.")
        if yes:
            delete_garbage(place, one)
    for sentence in plan.refused:
        typer.echo(sentence, err=True)
    if not plan.garbage:
        summary("There is nothing to delete.")
    elif not yes:
        summary("Nothing was deleted yet: --yes deletes this.")
    if plan.refused:
        raise typer.Exit(1)


@cache_app.command()
@with_verbosity
def export(
    dataset: DatasetOption,
    backbone: BackboneOption,
    output: Annotated[Path, typer.Argument(help="File to write.")],
    to: Annotated[
        Literal["npz", "parquet", "csv", "h5"] | None,
        typer.Option(help="Format; that of the file's name if not given."),
    ] = None,
    key: KeyOption = None,
    label: LabelOption = "label",
    split: SplitOption = "split",
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Write embeddings of images as they are, with ids, labels, groups and splits, for other tools.

    Example: frostline cache export -d chest -b effnet-lite0 chest.parquet
    """
    from frostline.cache import EmbeddingStore, Workspace
    from frostline.cache.export import export_embeddings

    store = EmbeddingStore.open(Workspace(workspace), dataset, backbone, key)
    count = export_embeddings(
        store, output, to or output.suffix.removeprefix("."), label=label, split=split
    )
    summary(f"Wrote {counted(count, 'embedding')} to {output}.")


@cache_app.command(name="import")
@with_verbosity
def import_(
    file: Annotated[Path, typer.Argument(help=".npz, .parquet or .csv with image_id and numbers.")],
    dataset: DatasetOption,
    backbone: Annotated[str, typer.Option("--backbone", "-b", help="A name for what made them.")],
    spec: Annotated[
        Path | None, typer.Option(help="JSON file with facts about how they were made.")
    ] = None,
    columns: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NEW=THEIRS",
            help="What the file calls image_id and embedding, image_id=file,embedding=f* (a star "
            "is a number), or one each time.",
        ),
    ] = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Import embeddings that another tool made, for the images of a data set.

    Example: frostline cache import theirs.npz -d chest -b their-model --spec theirs.json
    """
    from frostline.cache import Workspace
    from frostline.cache.imports import IMPORTED, import_embeddings
    from frostline.cache.tables.columns import parse_columns
    from frostline.extract.backbones.origins import known_origin

    given = _read_spec(spec) if spec is not None else {}
    origin = known_origin(backbone, IMPORTED, workspace)
    named = parse_columns(columns)
    place = Workspace(workspace)
    done = import_embeddings(place, dataset, backbone, file, given, origin, columns=named)
    summary(str(done))


@cache_app.command()
@with_verbosity
def similarity(
    dataset: DatasetOption,
    backbone: Annotated[
        list[str] | None,
        typer.Option("--backbone", "-b", help="Only those of this backbone; repeated."),
    ] = None,
    most_images: Annotated[
        int, typer.Option(help="Images that are drawn where there are more.")
    ] = 2_000,
    seed: Annotated[int, typer.Option(help="Draws them.")] = 0,
    style: Annotated[
        Literal["table", "csv"], typer.Option("--format", help="How it is printed.")
    ] = "table",
    figure: Annotated[
        Path | None, typer.Option(help="Draw the heat map here: .png, .pdf or .svg.")
    ] = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Say how alike embeddings are (linear CKA), and their rank (RankMe); no label is used.

    Of all backbones and depths of a data set that were extracted, on the same images.

    Example: frostline cache similarity -d chest -b effnet-lite0 -b dinov2-s --figure cka.png
    """
    from frostline.cache import Workspace
    from frostline.console import say
    from frostline.scoring.similarity import dataset_similarity

    check_figure(figure)
    found = dataset_similarity(
        Workspace(workspace), dataset, backbone or (), most_images=most_images, seed=seed
    )
    for sentence in found.left_out:
        say(sentence)
    if style == "csv":
        typer.echo(found.table.to_csv(index=False, lineterminator="\n"), nl=False)
    else:
        _print_similarity(found)
    say(found.sentence)
    if figure is not None:
        from frostline.report.figures import save_figure
        from frostline.report.figures.similarity import similarity_figure

        save_figure(similarity_figure(found), figure)
        say(f"Drew the heat map in {figure}.")


def _print_similarity(found: Similarity) -> None:
    """Print a row for each, numbered, and a column for the CKA with each number."""
    from frostline.console import show_table
    from frostline.report.tables.table import Column, Row, Table, words

    head = ("", "Embeddings", "RankMe", "Dim")
    columns = [Column(name, numbers=name in head[2:]) for name in head]
    columns += [Column(str(number), numbers=True) for number in range(1, len(found.cka) + 1)]
    rows = [
        Row(words(str(i), row[0], f"{row[1]:.1f}", str(row[2]), *(f"{one:.2f}" for one in row[3:])))
        for i, row in enumerate(found.table.itertuples(index=False), 1)
    ]
    show_table(Table(tuple(columns), tuple(rows), (), "RankMe, and linear CKA of every two"))


def _read_spec(path: Path) -> dict[str, Any]:
    from frostline.cache import InputError
    from frostline.cache.errors import READ_ERRORS

    def refuse(constant: str) -> None:
        raise InputError(f"--spec {path} holds {constant}, which JSON cannot say: write null.")

    try:
        spec = json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
        json.dumps(spec, ensure_ascii=False, allow_nan=False).encode()
    except InputError:
        raise
    except READ_ERRORS as error:
        line = f" (line {error.lineno})" if isinstance(error, json.JSONDecodeError) else ""
        raise InputError(f"--spec {path} cannot be read as JSON{line}: correct it.") from error
    if not isinstance(spec, dict):
        raise InputError(f"--spec {path} holds no JSON object: write one, {{…}}.")
    return spec


def _chosen(workspace: Path, datasets: list[str] | None) -> list[Path]:
    from frostline.cache import InputError, Workspace
    from frostline.cache.listing import store_dataset, workspace_stores

    place = Workspace(workspace)
    folders = workspace_stores(place)
    chosen = [f for f in folders if not datasets or store_dataset(place, f) in datasets]
    if datasets and not chosen:
        raise InputError(
            f"There is no store of {' or '.join(datasets)} in {workspace}: `frostline cache ls` "
            "lists what there is."
        )
    return chosen
