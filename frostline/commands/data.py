"""Commands about data: index, audit, and which backbones there are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from frostline.commands.options import DEFAULT_WORKSPACE, WorkspaceOption

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


def index(
    name: Annotated[str, typer.Argument(help="What to call the data set.")],
    root: Annotated[list[Path], typer.Option(help="Folder with the images; may be repeated.")],
    kind: Annotated[
        Kind, typer.Option(help="What the data look like: docs/datasets.md describes each kind.")
    ] = "folder",
    table: Annotated[Path | None, typer.Option(help="CSV, TSV or Parquet file.")] = None,
    image_column: Annotated[str | None, typer.Option(help=_COLUMN.format("paths"))] = None,
    label_column: Annotated[str | None, typer.Option(help=_COLUMN.format("labels"))] = None,
    group_column: Annotated[
        str | None, typer.Option(help=_COLUMN.format("patients or lesions"))
    ] = None,
    split_column: Annotated[str | None, typer.Option(help=_COLUMN.format("splits"))] = None,
    image: Annotated[
        str | None, typer.Option(help="Pattern of paths, such as 'images/{image_id}.jpg'.")
    ] = None,
    mask: Annotated[str | None, typer.Option(help="Pattern of paths of tumour masks.")] = None,
    min_roi: Annotated[
        int | None, typer.Option(help="Slices whose mask has more pixels than this are taken.")
    ] = None,
    spacing: Annotated[
        tuple[float, float, float] | None,
        typer.Option(help="Voxel size in mm (x y z) to which volumes are resampled."),
    ] = None,
    keep_val: Annotated[
        bool, typer.Option("--keep-val", help="Keep a validation part that the paper leaves out.")
    ] = False,
    follow: Annotated[
        list[str] | None,
        typer.Option(help="Data set whose split its groups keep here; may be repeated."),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Another option of the kind; may be repeated."),
    ] = None,
    group_pattern: Annotated[
        str | None,
        typer.Option(help="Regular expression that finds the patient in every file name."),
    ] = None,
    test_fraction: Annotated[
        float | None,
        typer.Option(help="Of the groups, where no test is given: 0.3, or what the paper took."),
    ] = None,
    val_fraction: Annotated[
        float, typer.Option(help="Of the groups of train, where no validation is given.")
    ] = 0.2,
    seed: Annotated[int, typer.Option(help="Seed of the splits that are made.")] = 0,
    resplit: Annotated[
        bool, typer.Option("--resplit", help="Make the splits again; else groups stay.")
    ] = False,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Make a data set's manifest, or bring it up to date.

    Example: frostline index photos --root photos --group-pattern 'patient\\d+'
    """
    from frostline.cache import Workspace
    from frostline.console import progress, say
    from frostline.extract.audit.audit import audit, render_audit
    from frostline.extract.index import index_dataset
    from frostline.extract.readers.kinds import parse_option

    options = {
        "table": str(table) if table else None,
        "image_column": image_column,
        "label_column": label_column,
        "group_column": group_column,
        "split_column": split_column,
        "image": image,
        "mask": mask,
        "min_roi": min_roi,
        "spacing": list(spacing) if spacing else None,
        "keep_val": keep_val or None,
        "follow": follow or None,
        **dict(parse_option(kind, text) for text in option or []),
    }
    with progress("Reading files", "files") as update:
        manifest = index_dataset(
            Workspace(workspace),
            name,
            kind=kind,
            roots=root,
            group_pattern=group_pattern,
            seed=seed,
            test_fraction=test_fraction,
            val_fraction=val_fraction,
            resplit=resplit,
            options={key: value for key, value in options.items() if value is not None},
            progress=update,
        )
    typer.echo(render_audit(audit(manifest)))
    say(f"Next: frostline extract --dataset {name} --backbone BACKBONE{_same(workspace)}")


def audit(
    name: Annotated[str, typer.Argument(help="A data set.")],
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 1 if the test split may be leaking.")
    ] = False,
    with_images: Annotated[
        Path | None, typer.Option(help="Write a PNG sheet of the images that were flagged.")
    ] = None,
    controls: Annotated[
        bool,
        typer.Option("--controls", help="Score what must score at chance: permuted labels, …"),
    ] = False,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Count images and groups; find what leaks across splits.

    Example: frostline audit chest --strict
    """
    from frostline.cache import Workspace, read_manifest
    from frostline.console import say
    from frostline.extract.audit.audit import audit as audit_manifest
    from frostline.extract.audit.audit import render_audit
    from frostline.extract.audit.sheet import picture_sheet
    from frostline.study.audits import stored_hashes

    manifest = read_manifest(Workspace(workspace).manifest(name))
    hashes = stored_hashes(Workspace(workspace).pixels(name))
    found = audit_manifest(manifest, hashes=hashes)
    typer.echo(render_audit(found))
    if hashes is None:
        say("Near-duplicates were not looked for: no pixels are stored yet (frostline extract).")
    if with_images is not None:
        sets = picture_sheet(found, manifest, with_images)
        say(f"{with_images} shows {sets} sets." if sets else "Nothing was flagged: no sheet.")
    if controls:
        from frostline.study.controls import render_controls, run_controls

        typer.echo("\n" + render_controls(*run_controls(Workspace(workspace), name)))
    if strict and found.leaks:
        raise typer.Exit(1)


def backbones(
    blocks: Annotated[
        str | None, typer.Option("--blocks", help="List the blocks of this backbone instead.")
    ] = None,
) -> None:
    """List the backbones, and which weights are at hand.

    Example: frostline backbones --blocks dinov2-s
    """
    from rich.table import Table

    from frostline.console import out
    from frostline.extract.backbones.listing import list_backbones

    if blocks is not None:
        _print_blocks(blocks)
        return
    table = Table("backbone", "library", "parameters", "dim", "features", "weights", box=None)
    for row in list_backbones():
        table.add_row(
            row.name,
            row.library,
            f"{row.parameters / 1e6:.1f} M",
            str(row.dim),
            ", ".join(row.features),
            "at hand" if row.at_hand else "to be fetched",
        )
    out.print(table)
    typer.echo(
        "Any model of those libraries: timm:NAME or torchvision:NAME; of Hugging Face: hf:ORG/NAME."
    )


def _print_blocks(name: str) -> None:
    from frostline.extract.backbones.backbone import empty_backbone
    from frostline.extract.backbones.blocks import blocks as find_blocks

    model = empty_backbone(name).model
    sizes = {key: value.numel() for key, value in model.named_parameters()}
    found = find_blocks(model)
    for number, block in enumerate(found):
        parameters = sum(sizes[key] for key in block.parameters)
        typer.echo(f"{len(found) - number:3d}  {block.name}  {parameters:,} parameters")
    typer.echo("--unfreeze N trains the blocks numbered N and less.")


def _same(workspace: Path) -> str:
    return "" if workspace == DEFAULT_WORKSPACE else f" --workspace {workspace}"
