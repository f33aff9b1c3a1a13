"""The command that trains one head on cached embeddings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from frostline.commands.groups import TrackingOptions, grouped
from frostline.commands.options import (
    DEFAULT_WORKSPACE,
    BackboneOption,
    DatasetOption,
    FeatureOption,
    LabelOption,
    SplitOption,
    WorkspaceOption,
    parse_settings,
)
from frostline.probe.choices import MOST_VIEWS, HeadName, Level, OnMissing, Pool, Protocol, Rows

if TYPE_CHECKING:
    from frostline.cache import Workspace
    from frostline.probe.run import Source

KeyOption = Annotated[
    str | None,
    typer.Option(help="First digits of the embedding store's key, where there are several."),
]
MissingOption = Annotated[
    Literal["stop", "skip"],
    typer.Option(help="At an image that has no embedding: stop, or skip it."),
]


LevelOption = Annotated[
    Level | None,
    typer.Option(
        help="What a head answers for: an image (if not given), or a patient by all images."
    ),
]
PoolOption = Annotated[
    Pool | None,
    typer.Option(help="Of a patient's embeddings, for heads that take one; mean if not given."),
]


ViewsOption = Annotated[
    int | None,
    typer.Option(
        help="Train on so many augmented views of each training image, too (extract --views).",
        min=0,
        max=MOST_VIEWS,
    ),
]
ViewsKeyOption = Annotated[
    str | None,
    typer.Option(help="First digits of a view's key, where there are views of several kinds."),
]


@dataclass(frozen=True)
class SourceOptions:
    """Which embeddings, labels and splits, and where."""

    key: KeyOption = None
    on_error: MissingOption = "stop"
    label: LabelOption = "label"
    split: SplitOption = "split"
    level: LevelOption = None
    pool: PoolOption = None
    views: ViewsOption = None
    views_key: ViewsKeyOption = None
    workspace: WorkspaceOption = DEFAULT_WORKSPACE

    @property
    def on_missing(self) -> OnMissing:
        """What to do about images that the store lacks."""
        from frostline.protocols import missing_images

        return missing_images(self.on_error)

    def of(self, feature: str | None) -> Source:
        """Give the source of a probe."""
        from frostline.probe.run import Source

        columns = self.key, self.label, self.split
        rows = Rows(
            level=self.level or "image",
            pool=self.pool,
            views=self.views or 0,
            views_key=self.views_key,
        )
        return Source(feature, *columns, self.on_missing, **rows)


@dataclass(frozen=True)
class DrawingOptions:
    """What is drawn of head attention."""

    figure: Annotated[
        Path | None,
        typer.Option(help="Draw what head attention weighs in test patients: .pdf, .png or .svg."),
    ] = None
    with_images: Annotated[
        bool, typer.Option("--with-images", help="With --figure: show the images themselves.")
    ] = False

    def check(self, head: str) -> None:
        """Refuse to draw what there is not, before anything is trained."""
        from frostline.cache.errors import InputError
        from frostline.commands.groups import check_figure
        from frostline.probe.heads.registry import HEADS

        if self.with_images and self.figure is None:
            raise InputError("--with-images shows images in a figure: give --figure too.")
        check_figure(self.figure)
        if self.figure is not None and not HEADS[head].bags:
            raise InputError(
                f"--figure draws the weights of head attention, and {head} has none: leave it out."
            )

    def draw(self, place: Workspace, dataset: str, run: str) -> None:
        """Draw the weights of the test patients of a run."""
        from frostline.cache.errors import InputError
        from frostline.console import say
        from frostline.probe.attended import attention_weights
        from frostline.report.figures import save_figure
        from frostline.report.figures.attention import attention_figure, shown_images

        if self.figure is None:
            return
        weights, images = attention_weights(place, run), None
        if self.with_images:
            from frostline.study.report_data import stored_images

            images = stored_images(place, [], {}).read(dataset, shown_images(weights))
            if not images:
                raise InputError(
                    f"The pixels of data set {dataset!r} are not kept, so no image can be shown: "
                    "leave out --with-images, or run `frostline extract` again."
                )
        save_figure(attention_figure(weights, images), self.figure)
        say(f"Drew the weights of the first test patients in {self.figure}.")


@grouped
def probe(
    dataset: DatasetOption,
    backbone: BackboneOption,
    head: Annotated[HeadName | None, typer.Option(help="The protocol's if not given.")] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUES",
            help="A hyper-parameter of the head, such as C=0.01,1,100; repeated. Of several values "
            "validation chooses.",
        ),
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs of head adam.", min=1)] = None,
    seed: Annotated[
        int | None, typer.Option(help="Random seed of adam and attention.", min=0)
    ] = None,
    feature: FeatureOption = None,
    protocol: Annotated[
        Protocol, typer.Option(help="Named recipe that its predictions name.")
    ] = "paper",
    *,
    source: SourceOptions,
    drawing: DrawingOptions,
    tracking: TrackingOptions,
) -> None:
    """Train one head on cached embeddings, write predictions, and say the score.

    Many heads are a sweep: frostline sweep.

    Example: frostline probe --dataset chest --backbone effnet-lite0 --head logistic
    """
    from frostline.cache import Workspace
    from frostline.commands.scores import say_heads, say_score
    from frostline.probe.heads.registry import make_grid
    from frostline.probe.run import probe_head
    from frostline.protocols import choose_head

    chosen = choose_head(head.value if head else None, protocol, seed)
    hyperparameters = _hyperparameters(setting or [], epochs)
    # Here sentences can name what was typed.
    make_grid(chosen, hyperparameters, _typed(hyperparameters, epochs))
    drawing.check(chosen)
    place = Workspace(source.workspace)
    with tracking.tracking().open(place) as session:
        run, _ = probe_head(
            place,
            dataset,
            backbone,
            head=chosen,
            hyperparameters=hyperparameters,
            seed=seed or 0,
            protocol=protocol,
            source=source.of(feature),
        )
        session.hand_over([run])
    say_heads(place, [place.predictions(run)])
    typer.echo(place.predictions(run))
    say_score(place.predictions(run))
    drawing.draw(place, dataset, run)


def _hyperparameters(settings: list[str], epochs: int | None) -> dict[str, Any]:
    """What `--set NAME=VALUES` and `--epochs` say."""
    found: dict[str, Any] = {} if epochs is None else {"epochs": epochs}
    form = "NAME=VALUE,VALUE, such as C=0.01,1"
    given = parse_settings(settings, found, "hyper-parameter", form)
    return found | {name: one_or_many(values) for name, values in given.items()}


def _typed(hyperparameters: Mapping[str, Any], epochs: int | None) -> dict[str, str]:
    """Options by the hyper-parameters that they give."""
    options = {name: f"--set {name}" for name in hyperparameters}
    return options if epochs is None else {**options, "epochs": "--epochs"}


def one_or_many(text: str) -> Any:
    """Read comma-separated values: one as itself, several as a list."""
    found = parse_values(text)
    return found if len(found) > 1 else found[0]


def parse_values(text: str) -> list[Any]:
    """Read comma-separated numbers and words; `none` is no value."""
    found: list[Any] = []
    for word in map(str.strip, text.split(",")):
        for kind in (int, float):
            try:
                found.append(kind(word))
                break
            except ValueError:
                continue
        else:
            found.append(None if word.lower() == "none" else word)
    return found
