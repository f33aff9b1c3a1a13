"""Commands that compute with backbones: extract, finetune."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from frostline.cache.tables.words import counted
from frostline.commands.groups import (
    ColumnOptions,
    ExecutionOptions,
    MachineOptions,
    NetworkOptions,
    RecipeOptions,
    grouped,
)
from frostline.commands.options import (
    DEFAULT_WORKSPACE,
    BackboneOption,
    BatchOption,
    DatasetOption,
    EngineOption,
    FeatureOption,
    KeepPixelsOption,
    SplitOption,
    WorkspaceOption,
    is_first_rank,
    parse_settings,
    parse_shard,
)
from frostline.probe.choices import MOST_VIEWS

if TYPE_CHECKING:
    from frostline.extract.augmentation.views import Views
    from frostline.extract.embed import Extraction
    from frostline.stages import Machine


@dataclass(frozen=True)
class EmbeddingOptions(MachineOptions):
    """Where and how to embed, and what is kept."""

    batch: BatchOption = None
    engine: EngineOption = "auto"
    keep_pixels: KeepPixelsOption = "yes"

    def machine(self, **more: Any) -> Machine:
        """Give the machine of the stages."""
        keep = self.keep_pixels == "yes"
        return super().machine(batch=self.batch, engine=self.engine, keep_pixels=keep, **more)


@dataclass(frozen=True)
class ViewOptions:
    """Augmented views of images, embedded besides these themselves."""

    views: Annotated[
        int,
        typer.Option(
            help="Also embed so many augmented views of each training image; --set says which "
            "changes.",
            min=0,
            max=MOST_VIEWS,
        ),
    ] = 0
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="FIELD=VALUE",
            help="What changes views, as of finetune: augmentation=horizontal_flip,random_crop or "
            "degrees=10; repeated.",
        ),
    ] = None
    seed: Annotated[
        int | None, typer.Option(help="Random seed of views; 0 if not given.", min=0)
    ] = None
    views_of: Annotated[
        Literal["train", "all"],
        typer.Option(help="Whose views; all: of every image, for cross-validation."),
    ] = "train"
    split: SplitOption = "split"

    def asked(self) -> Views | None:
        """Give the views; None where none are asked for."""
        from frostline.extract.augmentation.views import make_views

        form = "FIELD=VALUE, such as augmentation=horizontal_flip"
        fields = parse_settings(self.setting, (), "field", form)
        typed = {name: f"--set {name}" for name in fields}
        return make_views(self.views, fields, self.seed, self.views_of, self.split, typed)


@grouped
def extract(
    dataset: DatasetOption,
    backbone: BackboneOption,
    network: NetworkOptions,
    machine: EmbeddingOptions,
    views: ViewOptions,
    feature: Annotated[
        list[str] | None,
        typer.Option(
            help="What is taken as the embedding: cls, mean, cls+mean, last4cls+mean, pre_logits, "
            "imagenet-logits, layer:NAME, blocks (all depths, a store each); repeated: in one pass."
        ),
    ] = None,
    head_weights: Annotated[
        str | None, typer.Option(help="File of a linear head for --feature imagenet-logits.")
    ] = None,
    shard: Annotated[str | None, typer.Option(help="i/n: only this share of the files.")] = None,
    fail_on_skip: Annotated[
        bool,
        typer.Option(
            "--fail-on-skip", help="With --on-error skip: exit with 1 if an image was skipped."
        ),
    ] = False,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Embed every image once, and views of it if asked to; again, only what is missing.

    Under torchrun each process takes its share: torchrun --nproc-per-node 4 -m frostline extract …

    Example: frostline extract --dataset chest --backbone effnet-lite0
    """
    from frostline import stages
    from frostline.cache import InputError, Workspace
    from frostline.console import progress

    if head_weights is not None and "imagenet-logits" not in (feature or []):
        raise InputError("--head-weights is for --feature imagenet-logits: leave it out.")
    if fail_on_skip and machine.on_error != "skip":
        raise InputError("--fail-on-skip is for --on-error skip: give both, or neither.")
    chosen, where = network.network(backbone, None, head_weights), machine.machine()
    with progress("Embedding", of=f"{dataset} with {backbone}") as update:
        done = stages.extract_features(
            Workspace(workspace),
            dataset,
            chosen,
            feature or [None],
            machine=where,
            shard=parse_shard(shard),
            views=views.asked(),
            progress=update,
        )
    _say_extracted(done)
    if done[0].skipped and fail_on_skip:
        raise typer.Exit(1)


def _say_extracted(done: list[Extraction]) -> None:
    from frostline.console import say, summary

    for sentence in done[0].skipped:
        say(f"Skipped: {sentence}")
    # Features that were asked for together differ in nothing that needs saying.
    several = len({one.feature for one in done}) > 1
    news = [
        ", ".join(each for each in one.differs if not (several and each.startswith("feature:")))
        for one in done
    ]
    for fields in filter(None, dict.fromkeys(news)):
        say(f"A new store, because it differs from the nearest in {fields}.")
    for one in done:
        reused = one.images - one.embedded - len(one.skipped)
        which = f"{one.feature}: " if several else ""
        if one.view:
            which = f"View {one.view}{', ' if several else ': '}{which}"
        summary(
            f"{which}{counted(one.images, 'image', 'distinct')}: {one.embedded} embedded now "
            f"({one.decoded} decoded), {reused} reused, {len(one.skipped)} skipped. "
            f"Key {one.key[:12]}."
        )


@grouped
def finetune(
    dataset: DatasetOption,
    backbone: BackboneOption,
    network: NetworkOptions,
    recipe: RecipeOptions,
    execution: ExecutionOptions,
    machine: MachineOptions,
    columns: ColumnOptions,
    unfreeze: Annotated[
        str,
        typer.Option(
            help="How much of the backbone trains: none, its last N blocks, lora or lora:N "
            "(adapters), norm (norms and biases), first:N, classifier (VGG's hidden linear "
            "layers), all."
        ),
    ] = "all",
    feature: FeatureOption = None,
    seed: Annotated[int, typer.Option(help="Random seed.", min=0)] = 0,
    cv: Annotated[
        str | None,
        typer.Option(
            help="5x3: 5 folds of groups, 3 times, instead of the splits. Predictions "
            "alone are kept."
        ),
    ] = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Train backbone and head; again, go on where it stopped.

    Under torchrun the processes share the work: torchrun --nproc-per-node 4 -m frostline finetune …

    Example: frostline finetune --dataset chest --backbone effnet-lite0 --unfreeze 2 --epochs 5
    """
    from frostline import stages
    from frostline.cache import Workspace
    from frostline.console import progress, say_epoch

    place, chosen = Workspace(workspace), network.network(backbone, feature)
    where, preparing = machine.machine(), progress("Preparing", of=f"{backbone} on {dataset}")
    with execution.tracking().open(place) as session, preparing as update:
        options: dict[str, Any] = {
            "unfreeze": unfreeze,
            "machine": where,
            "seed": seed,
            "columns": columns.columns(),
            "changes": recipe.changes(),
            "execution": execution.execution(session),
            "on_epoch": say_epoch,
            "progress": update,
        }
        if cv is None:
            runs = [stages.finetune(place, dataset, chosen, **options)]
        else:
            runs = stages.finetune_folds(place, dataset, chosen, cv, **options)
        session.hand_over(run for run, _ in runs if is_first_rank())
    if is_first_rank():
        paths = [place.predictions(run) for run, _ in runs]
        if not any(trained for _, trained in runs):
            _say_unused(paths, execution.given())
        _say_trained(paths, by_folds=cv is not None)


def _say_unused(paths: list[Path], options: list[str]) -> None:
    """Say which options changed nothing, because the training was finished before."""
    from frostline.console import say

    if not options:
        return
    run, them = ("run", "it") if len(paths) == 1 else ("runs", "them")
    say(
        f"The {run} finished before, and {' and '.join(options)} changed nothing: how a training "
        f"is carried out is no part of what it is. To train again, delete {them} first: "
        f"{', '.join(map(str, paths))}."
    )


def _say_trained(paths: list[Path], *, by_folds: bool) -> None:
    from frostline.commands.scores import say_folds, say_score

    for path in paths:
        typer.echo(path)
    if by_folds:
        say_folds(paths)
    else:
        say_score(paths[0])
