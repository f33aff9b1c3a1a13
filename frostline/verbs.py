"""The stages as Python functions with plain arguments: what `import frostline` offers.

Each is the command of the same name. What is imported here is imported when a function is called,
so that `import frostline` costs nothing.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    import pandas as pd

    from frostline.cache import EmbeddingStore, Manifest
    from frostline.report import Predictions
    from frostline.report.statistics.metrics import OwnMetric

    PathLike: TypeAlias = str | os.PathLike[str]
    Runs: TypeAlias = PathLike | Predictions | Iterable[PathLike | Predictions]

WORKSPACE = "frostline-workspace"


def index(
    name: str,
    root: PathLike | Iterable[PathLike],
    *,
    kind: str = "folder",
    group_pattern: str | None = None,
    test_fraction: float | None = None,
    val_fraction: float = 0.2,
    seed: int = 0,
    resplit: bool = False,
    options: Mapping[str, Any] | None = None,
    workspace: PathLike = WORKSPACE,
) -> Manifest:
    """Make a data set's manifest, or bring it up to date: `frostline index`.

    Parameters
    ----------
    name : str
        What to call the data set.
    root : path or paths
        Folders with the images.
    kind : str
        What reads them: `folder`, `table`, `mri-slices`, … (docs/datasets.md).
    group_pattern : str, optional
        Regular expression that finds the patient in a file's name.
    test_fraction, val_fraction, seed
        For the splits that the data lack; of groups. The kind's own test fraction if None.
    resplit : bool
        Make the splits afresh; else every group stays where it is.
    options : mapping, optional
        Options of the kind, such as `{"table": "labels.csv", "label_column": "diagnosis"}`.
    workspace : path
        Folder of manifests, caches and results.

    Returns
    -------
    Manifest
        Its `table` is a pandas DataFrame with one row an image.

    Raises
    ------
    frostline.cache.InputError
        A ValueError that says in one sentence what cannot be done, here and in every function of
        this module; `evaluate` and `compare` raise that of `frostline.report`.

    Examples
    --------
    >>> manifest = frostline.index("mine", "images", group_pattern="(patient[0-9]+)")
    >>> len(manifest)
    24
    >>> manifest.table["label"].value_counts().to_dict()
    {'sick': 12, 'well': 12}
    """
    from frostline.extract.index import index_dataset

    roots = [root] if isinstance(root, str | os.PathLike) else root
    return index_dataset(
        _place(workspace),
        name,
        kind=kind,
        roots=[Path(folder) for folder in roots],
        group_pattern=group_pattern,
        seed=seed,
        test_fraction=test_fraction,
        val_fraction=val_fraction,
        resplit=resplit,
        options=options,
    )


def extract(
    dataset: str,
    backbone: str,
    *,
    feature: str | None = None,
    protocol: str = "paper",
    weights: PathLike = "pretrained",
    weights_seed: int = 0,
    image_size: int | None = None,
    device: str = "auto",
    precision: str = "auto",
    batch: int = 32,
    workers: int = 0,
    engine: Literal["torch", "onnx"] = "torch",
    on_error: Literal["stop", "skip"] = "stop",
    workspace: PathLike = WORKSPACE,
) -> EmbeddingStore:
    """Embed every image once; again, only what is missing: `frostline extract`.

    Parameters
    ----------
    dataset : str
        Name given to `index`.
    backbone : str
        A name of `frostline backbones`, `timm:NAME`, `torchvision:NAME` or `hf:ORG/NAME`.
    feature : str, optional
        What is taken as the embedding, such as `cls` or `cls+mean`; the backbone's default if None.
    protocol : str
        `paper` or `standard`: decides geometry and normalisation.
    weights : str or path
        `pretrained`, `random` (with `weights_seed`), or a file.
    image_size : int, optional
        Side of what the backbone sees, in pixels; the protocol's if None.
    device, precision, batch, workers, engine
        Where and how to compute (`frostline.stages.Machine`).
    on_error : str
        `stop` at an image that cannot be read, or `skip` it with a warning.

    Returns
    -------
    EmbeddingStore
        `arrays("train")` gives X, y and groups for scikit-learn; `frame()` a pandas DataFrame.

    Examples
    --------
    >>> store = frostline.extract("mine", "effnet-lite0")
    >>> X, y, groups = store.arrays("train")
    >>> X.shape[1]
    1280
    """
    from frostline import stages as steps
    from frostline.cache import EmbeddingStore

    place = _place(workspace)
    network = steps.Network(
        backbone, os.fspath(weights), weights_seed, feature, protocol, image_size
    )
    machine = steps.Machine(device, precision, batch, workers, on_error, engine)
    done = steps.extract(place, dataset, network, machine=machine)
    for sentence in done.skipped:
        warnings.warn(f"Skipped: {sentence}", stacklevel=2)
    return EmbeddingStore.open(place, dataset, backbone, done.key)


def probe(
    dataset: str,
    backbone: str,
    *,
    head: str | None = None,
    protocol: str = "paper",
    key: str | None = None,
    seed: int = 0,
    label: str = "label",
    split: str = "split",
    hyperparameters: Mapping[str, Any] | None = None,
    on_error: Literal["stop", "skip"] = "stop",
    workspace: PathLike = WORKSPACE,
) -> Path:
    """Train a head on cached embeddings, unless it is done: `frostline probe`.

    Sweeps over many heads are `frostline.probe.sweep.sweep.run_sweep`, or the command.

    Parameters
    ----------
    dataset, backbone : str
        As in `extract`.
    head : str, optional
        `logistic`, `adam`, `knn`, `centroid` or `majority`; the protocol's if None.
    key : str, optional
        First digits of the embedding store's key, where there are several stores.
    label, split : str
        Columns of the manifest.
    hyperparameters : mapping, optional
        Instead of those in `frostline.probe.run.HEADS`.
    on_error : str
        `stop` where an image has no embedding, or `skip` it.

    Returns
    -------
    Path
        Of the predictions, a Parquet file; its stem is the run's id.

    Examples
    --------
    >>> frozen = frostline.probe("mine", "effnet-lite0", head="logistic")
    >>> frozen.parent.as_posix()
    'frostline-workspace/predictions'
    """
    from frostline.probe.run import probe_run
    from frostline.protocols import HEADS, check_protocol

    place = _place(workspace)
    run_id, _ = probe_run(
        place,
        dataset,
        backbone,
        head=head or HEADS[check_protocol(protocol)],
        protocol=protocol,
        seed=seed,
        key=key,
        label=label,
        split=split,
        hyperparameters=hyperparameters,
        on_missing="skip" if on_error == "skip" else "error",
    )
    return place.predictions(run_id)


def finetune(
    dataset: str,
    backbone: str,
    *,
    unfreeze: str | int = "all",
    protocol: str = "paper",
    feature: str | None = None,
    weights: PathLike = "pretrained",
    weights_seed: int = 0,
    image_size: int | None = None,
    seed: int = 0,
    label: str = "label",
    split: str = "split",
    device: str = "auto",
    precision: str = "auto",
    workers: int = 0,
    on_error: Literal["stop", "skip"] = "stop",
    verbose: bool = False,
    workspace: PathLike = WORKSPACE,
    **recipe: Any,
) -> Path:
    """Train backbone and head, unless it is done: `frostline finetune`.

    Parameters
    ----------
    dataset, backbone, feature, weights, weights_seed, image_size, device, precision, workers
        As in `extract`.
    unfreeze : str or int
        How much of the backbone trains: `none`, its last N blocks, or `all`.
    protocol : str
        `paper` or `standard`: geometry, and every field of the recipe that is not given.
    label, split : str
        Columns of the manifest.
    verbose : bool
        Print a line an epoch to standard error.
    **recipe
        Fields of the recipe to replace: `epochs`, `lr`, `batch_size`, `augmentation`, …
        (docs/finetuning.md).

    Returns
    -------
    Path
        Of the predictions, a Parquet file; its stem is the run's id.

    Examples
    --------
    >>> tuned = frostline.finetune("mine", "effnet-lite0", unfreeze=1, epochs=1)
    >>> tuned.suffix
    '.parquet'
    """
    from frostline import stages as steps
    from frostline.console import say_epoch

    place = _place(workspace)
    run_id, _ = steps.finetune(
        place,
        dataset,
        steps.Network(backbone, os.fspath(weights), weights_seed, feature, protocol, image_size),
        unfreeze=str(unfreeze),
        machine=steps.Machine(device, precision, workers=workers, on_error=on_error),
        seed=seed,
        columns=steps.Columns(label, split),
        changes=recipe,
        on_epoch=say_epoch if verbose else None,
    )
    return place.predictions(run_id)


def evaluate(
    predictions: Runs,
    *,
    split: str = "test",
    ci: str = "auto",
    replicates: int | None = None,
    unit: str = "group",
    seed: int = 0,
    metrics: Iterable[str | OwnMetric] | None = None,
    aggregate: str = "auto",
    stratified: bool = False,
) -> pd.DataFrame:
    """Score predictions with 95% intervals, beside the majority class: `frostline evaluate`.

    Parameters
    ----------
    predictions : path, Predictions, or several of them
        What `probe` and `finetune` gave; anyone's CSV with labels and predictions too.
    split, ci, replicates, unit, seed, metrics, aggregate, stratified
        As in `frostline.report.evaluate`.

    Returns
    -------
    pandas.DataFrame
        One row a run and metric: `run`, `metric`, `estimate`, `low`, `high`, …, as fractions.

    Raises
    ------
    frostline.report.InputError
        If a file is no table of predictions, or there is no such metric or interval.

    Examples
    --------
    >>> scores = frostline.evaluate([frozen, tuned], metrics=["accuracy"])
    >>> list(scores["metric"].unique()), len(scores)  # two runs, and the majority class
    (['accuracy'], 3)
    """
    from frostline.report import evaluate as score

    return score(
        _several(predictions),
        split=split,
        ci=ci,
        replicates=replicates,
        unit=unit,
        seed=seed,
        metrics=None if metrics is None else list(metrics),
        aggregate=aggregate,
        stratified=stratified,
    )


def compare(
    predictions: Runs,
    *,
    metric: str | OwnMetric = "accuracy",
    family: str = "pairs",
    margin: float | None = None,
    split: str = "test",
    replicates: int = 10_000,
    unit: str = "group",
    aggregate: str = "auto",
    seed: int = 0,
    intersection: bool = False,
) -> pd.DataFrame:
    """Say which run is better, and whether that is more than luck: `frostline compare`.

    Parameters
    ----------
    predictions : paths or Predictions
        Two runs at least.
    metric, family, margin, split, replicates, unit, aggregate, seed, intersection
        As in `frostline.report.compare`.

    Returns
    -------
    pandas.DataFrame
        One row a pair, with the difference, its interval, p and a verdict.

    Raises
    ------
    frostline.report.InputError
        If there are fewer than two runs, or no image is in all of them.

    Examples
    --------
    >>> found = frostline.compare([frozen, tuned], replicates=500)
    >>> found["verdict"].item() in {"better", "worse", "undecided"}
    True
    """
    from frostline.report import compare as compare_runs

    return compare_runs(
        _several(predictions),
        metric=metric,
        family=family,
        margin=margin,
        split=split,
        unit=unit,
        aggregate=aggregate,
        replicates=replicates,
        seed=seed,
        intersection=intersection,
    )


def run(
    study: PathLike,
    *,
    data: PathLike | None = None,
    only: str | Sequence[str] = (),
    settings: str | Sequence[str] = (),
    jobs: int = 1,
    shard: tuple[int, int] | None = None,
    with_images: bool = False,
    workspace: PathLike = WORKSPACE,
) -> list[Path]:
    """Do all that a study needs and is not done, and write its report: `frostline run`.

    Parameters
    ----------
    study : path or str
        A study file, or the name of a built-in study.
    data : path, optional
        Folder that the study's roots are relative to.
    only : str or sequence of str
        Patterns of runs, such as `chest/*/frozen`; of none, all.
    settings : str or sequence of str
        `FIELD=VALUE` by which fields of the study are replaced.
    jobs : int
        Processes that share the work; a script that asks for more than one does so under
        ``if __name__ == "__main__":``, as they start anew.
    shard : (int, int), optional
        `(i, n)`: only share i of n of the runs, counted from 0.
    with_images : bool
        Show the images that were most confidently wrong on the page.

    Returns
    -------
    list of Path
        The predictions of every run of the study.

    Raises
    ------
    frostline.cache.InputError
        If a run failed, after all others are done.

    Examples
    --------
    >>> paths = frostline.run("study.yaml")  # prints the answer and the table, too
    <BLANKLINE>
    On mine...
    >>> scores = frostline.evaluate(paths)
    """
    from frostline.cache import InputError
    from frostline.study.demo import study_data
    from frostline.study.file import read_study
    from frostline.study.runner import run_study

    place = _place(workspace)
    folder = study_data(os.fspath(study), Path(data) if data else None, place)
    only = [only] if isinstance(only, str) else only
    settings = [settings] if isinstance(settings, str) else settings
    chosen = read_study(Path(study), data=folder, settings=settings)
    outcome = run_study(place, chosen, with_images=with_images, only=only, jobs=jobs, shard=shard)
    if outcome.failed:
        name, sentence = next(iter(outcome.failed.items()))
        raise InputError(f"{len(outcome.failed)} runs failed; the first is {name}: {sentence}")
    return outcome.predictions


def _place(workspace: PathLike) -> Any:
    from frostline.cache import Workspace

    return Workspace(Path(workspace))


def _several(predictions: Runs) -> list[Predictions | Path | str]:
    one = isinstance(predictions, str | os.PathLike) or not isinstance(predictions, Iterable)
    given: Iterable[Any] = [predictions] if one else predictions  # type: ignore[assignment]
    return [Path(item) if isinstance(item, os.PathLike) else item for item in given]
