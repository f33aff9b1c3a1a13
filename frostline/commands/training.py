"""Commands that compute with backbones: extract, finetune."""

from __future__ import annotations

from typing import Annotated

import typer

from frostline.commands.options import (
    DEFAULT_WORKSPACE,
    BackboneOption,
    DatasetOption,
    DeviceOption,
    FeatureOption,
    ImageSizeOption,
    LabelOption,
    OnErrorOption,
    PrecisionOption,
    ProtocolOption,
    SplitOption,
    WeightsOption,
    WeightsSeedOption,
    WorkersOption,
    WorkspaceOption,
    check_engine,
    check_on_error,
    is_first_rank,
    parse_settings,
    parse_shard,
    rank_device,
)


def extract(
    dataset: DatasetOption,
    backbone: BackboneOption,
    feature: Annotated[
        list[str] | None,
        typer.Option(
            help="What is taken as the embedding: cls, mean, cls+mean, last4cls+mean, pre_logits, "
            "imagenet-logits or layer:NAME; repeated: several in one pass."
        ),
    ] = None,
    protocol: ProtocolOption = "paper",
    weights: WeightsOption = "pretrained",
    weights_seed: WeightsSeedOption = 0,
    head_weights: Annotated[
        str | None, typer.Option(help="File of a linear head for imagenet-logits.")
    ] = None,
    image_size: ImageSizeOption = None,
    batch: Annotated[int, typer.Option(help="Images a forward pass.", min=1)] = 32,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
    workers: WorkersOption = 0,
    engine: Annotated[
        str, typer.Option(help="torch, or onnx: ONNX Runtime, faster on a CPU.")
    ] = "torch",
    shard: Annotated[str | None, typer.Option(help="i/n: only this share of the files.")] = None,
    on_error: OnErrorOption = "stop",
    fail_on_skip: Annotated[
        bool, typer.Option("--fail-on-skip", help="Exit with 1 if an image was skipped.")
    ] = False,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Embed every image once; again, only what is missing.

    Under torchrun each process takes its share: torchrun --nproc-per-node 4 -m frostline extract …

    Example: frostline extract --dataset chest --backbone effnet-lite0
    """
    from frostline import stages as steps
    from frostline.cache import Workspace
    from frostline.console import progress, say

    network = steps.Network(
        backbone, weights, weights_seed, None, protocol, image_size, head_weights
    )
    machine = steps.Machine(
        rank_device(device),
        precision,
        batch,
        workers,
        check_on_error(on_error),
        check_engine(engine),
    )
    with progress(f"Embedding {dataset} with {backbone}") as update:
        everything = steps.extract_features(
            Workspace(workspace),
            dataset,
            network,
            feature or [None],
            machine=machine,
            shard=parse_shard(shard),
            progress=update,
        )
    first = everything[0]
    for sentence in first.skipped:
        say(f"Skipped: {sentence}")
    for done in everything:
        if done.differs:
            say(f"A new store, as this differs from the nearest one: {', '.join(done.differs)}.")
        reused = done.images - done.embedded - len(done.skipped)
        typer.echo(
            f"{done.images} distinct images: {done.embedded} embedded now ({done.decoded} "
            f"decoded), {reused} reused, {len(done.skipped)} skipped. Key {done.key[:12]}."
        )
    if first.skipped and fail_on_skip:
        raise typer.Exit(1)


def finetune(
    dataset: DatasetOption,
    backbone: BackboneOption,
    unfreeze: Annotated[
        str, typer.Option(help="How much of the backbone trains: none, its last N blocks, all.")
    ] = "all",
    protocol: ProtocolOption = "paper",
    feature: FeatureOption = None,
    weights: WeightsOption = "pretrained",
    weights_seed: WeightsSeedOption = 0,
    image_size: ImageSizeOption = None,
    epochs: Annotated[int | None, typer.Option(help="The protocol's if not given.", min=1)] = None,
    batch: Annotated[
        str | None,
        typer.Option(help="Images a step; auto: the protocol's, in parts that fit into memory."),
    ] = None,
    lr: Annotated[
        str | None,
        typer.Option(help="Learning rate; of several (1e-4,1e-3) validation chooses."),
    ] = None,
    augment: Annotated[
        list[str] | None,
        typer.Option(
            help="random_crop, random_resized_crop, horizontal_flip, vertical_flip, color_jitter, "
            "rand_augment or none; repeated: several."
        ),
    ] = None,
    select: Annotated[
        str | None,
        typer.Option(help="Metric that chooses the epoch on validation: accuracy, log_loss, …."),
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="FIELD=VALUE", help="Any field of the recipe, such as ema=0.999."
        ),
    ] = None,
    compiled: Annotated[
        bool, typer.Option("--compile", help="Train through torch.compile.")
    ] = False,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write epochs for TensorBoard.")
    ] = False,
    boundary: Annotated[
        str,
        typer.Option(
            help="Compute the output of frozen blocks once and keep it: auto (if it spares work "
            "and takes at most 20 GB and half of the free disk), on or off. The same numbers."
        ),
    ] = "auto",
    seed: Annotated[int, typer.Option(help="Random seed.")] = 0,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
    workers: WorkersOption = 0,
    on_error: OnErrorOption = "stop",
    label: LabelOption = "label",
    split: SplitOption = "split",
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Train backbone and head; again, go on where it stopped.

    Under torchrun the processes share the work: torchrun --nproc-per-node 4 -m frostline finetune …

    Example: frostline finetune --dataset chest --backbone effnet-lite0 --unfreeze 2 --epochs 5
    """
    from frostline import stages as steps
    from frostline.cache import Workspace
    from frostline.console import progress, say, say_epoch

    place = Workspace(workspace)
    network = steps.Network(backbone, weights, weights_seed, feature, protocol, image_size)
    machine = steps.Machine(
        rank_device(device), precision, workers=workers, on_error=check_on_error(on_error)
    )
    given = {"epochs": epochs, "lr": lr, "augmentation": augment, "select": select}
    given["micro_batch" if batch == "auto" else "batch_size"] = batch
    with progress(f"Preparing {dataset}") as update:
        run, _ = steps.finetune(
            place,
            dataset,
            network,
            unfreeze=unfreeze,
            machine=machine,
            seed=seed,
            columns=steps.Columns(label, split),
            changes=parse_settings(
                {name: value for name, value in given.items() if value is not None}, setting or []
            ),
            compiled=compiled,
            tensorboard=tensorboard,
            boundary=boundary,
            said=say,
            on_epoch=say_epoch,
            progress=update,
        )
    if is_first_rank():
        typer.echo(place.predictions(run))
