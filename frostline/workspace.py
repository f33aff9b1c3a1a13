"""The Python face: a workspace with the stages as methods.

Each method is the command of the same name. What it needs is imported when it is called, so that
`import frostline` costs nothing.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from frostline.cache.workspace import DEFAULT, VARIABLE

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn

    from frostline.cache import EmbeddingStore, Manifest
    from frostline.protocols import Protocol
    from frostline.report import Predictions
    from frostline.results import Audit, Report, Run, Sweep
    from frostline.stages import Machine, Network

    Backbone: TypeAlias = str | nn.Module | Network
    PathLike: TypeAlias = str | os.PathLike[str]


class Workspace:
    """A folder of manifests, caches, models, predictions and reports, and all that fills it.

    Parameters
    ----------
    folder : path, optional
        The environment's FROSTLINE_WORKSPACE if not given, else `frostline-workspace`.
    machine : Machine, optional
        Where and how to compute, in every method: device, precision, batch, workers, engine,
        and what to do about images that cannot be read.
    verbose : bool
        Print a line for every epoch of fine-tuning to standard error.

    Attributes
    ----------
    paths : frostline.cache.Workspace
        Where everything lies in the folder.

    Raises
    ------
    InputError
        By every method: a ValueError that says in one sentence what is wrong, where and what to do.

    Examples
    --------
    >>> ws = frostline.Workspace()
    >>> ws
    Workspace('frostline-workspace')
    """

    def __init__(
        self,
        folder: PathLike | None = None,
        *,
        machine: Machine | None = None,
        verbose: bool = False,
    ) -> None:
        from frostline.cache.workspace import Workspace as Paths

        self.folder = Path(folder or os.environ.get(VARIABLE) or DEFAULT)
        self.paths = Paths(self.folder)
        self.machine = machine
        self.verbose = verbose

    def __repr__(self) -> str:
        return f"Workspace({str(self.folder)!r})"

    def index(
        self,
        name: str,
        root: PathLike | Iterable[PathLike],
        *,
        kind: str = "folder",
        group_pattern: str | None = None,
        test_fraction: float | None = None,
        val_fraction: float = 0.2,
        seed: int = 0,
        resplit: bool = False,
        rehash: bool = False,
        options: Mapping[str, Any] | None = None,
    ) -> Manifest:
        """Make a data set's manifest, or bring it up to date.

        Parameters
        ----------
        name, root
            What to call the data set, and the folder or folders with the images.
        kind : str
            What reads them: `folder`, `table`, `mri-slices`, … (docs/datasets.md).
        group_pattern : str, optional
            Regular expression that finds the patient in a file's name.
        test_fraction, val_fraction, seed, resplit
            Fractions of the groups, for splits that the data lack; or make all splits again.
        rehash : bool
            Read every file again; else those whose size and time are as they were are not opened.
        options : mapping, optional
            Options of the kind, such as `{"table": "labels.csv", "label_column": "diagnosis"}`.

        Returns
        -------
        Manifest
            Its `table` is a pandas DataFrame with one row for each image.

        Examples
        --------
        >>> manifest = ws.index("mine", "images", group_pattern="(patient[0-9]+)")
        >>> len(manifest)
        24
        >>> manifest.table["label"].value_counts().to_dict()
        {'sick': 12, 'well': 12}
        """
        from frostline.console import progress
        from frostline.extract.index import index_dataset

        with progress("Reading files", "files") as update:
            return index_dataset(
                self.paths,
                name,
                kind=kind,
                roots=_paths(root),
                group_pattern=group_pattern,
                seed=seed,
                test_fraction=test_fraction,
                val_fraction=val_fraction,
                resplit=resplit,
                rehash=rehash,
                options=options,
                progress=update,
            )

    def audit(self, dataset: str, *, controls: bool = False) -> Audit:
        """Count images and groups; find what leaks across splits.

        Parameters
        ----------
        controls : bool
            Also score what must score at chance: permuted labels, metadata alone, ….

        Examples
        --------
        >>> found = ws.audit("mine")
        >>> found.leaks
        False
        """
        from frostline.results import Audit
        from frostline.study.audits import audit_datasets, run_controls

        found = audit_datasets(self.paths, [dataset])[dataset]
        table = run_controls(self.paths, dataset)[0] if controls else None
        return Audit.of(dataset, found, table)

    def extract(
        self,
        dataset: str,
        backbone: Backbone,
        *,
        feature: str | None = None,
        protocol: Protocol = "paper",
        weights: PathLike = "pretrained",
        weights_seed: int = 0,
        image_size: int | None = None,
        rehash: bool = False,
        transform: Callable[..., Any] | None = None,
        machine: Machine | None = None,
    ) -> EmbeddingStore:
        """Embed every image once; called again, only what is missing.

        Parameters
        ----------
        dataset : str
            Name given to `index`.
        backbone : str, torch.nn.Module or Network
            A name of `frostline.backbones()`, `timm:NAME`, `torchvision:NAME` or `hf:ORG/NAME`; a
            module of your own; or a `frostline.Network`, which says all about it.
        feature : str, optional
            What to take as the embedding, such as `cls+mean`; the backbone's default if None.
        protocol : str
            `paper` or `standard`: decides geometry and normalisation.
        weights : str or path
            `pretrained`, `random` (with `weights_seed`), or a file.
        image_size : int, optional
            Side of what the backbone sees, in pixels; the protocol's if None.
        rehash : bool
            Read the file of weights again; else it is the same if its size and time are.
        transform : callable, optional
            Your own, from a PIL image to pixels (docs/how-to/own-backbone.md).
        machine : Machine, optional
            Instead of the workspace's.

        Returns
        -------
        EmbeddingStore
            `arrays("train")` gives X, y and groups for scikit-learn; `frame()` a pandas DataFrame.

        Examples
        --------
        >>> store = ws.extract("mine", "effnet-lite0")
        >>> X, y, groups = store.arrays("train")
        >>> X.shape[1]
        1280
        """
        from frostline import stages
        from frostline.cache import EmbeddingStore
        from frostline.console import progress

        given = {"weights": os.fspath(weights), "weights_seed": weights_seed, "feature": feature}
        given |= {"protocol": protocol, "image_size": image_size, "transform": transform}
        given |= {"rehash": rehash}
        network, machine = _network(backbone, **given), machine or self.machine
        name = network.backbone_name
        with progress(f"Embedding {dataset} with {name}") as update:
            done = stages.extract(self.paths, dataset, network, machine=machine, progress=update)
        _warn_of(done.skipped)
        return EmbeddingStore.open(self.paths, dataset, name, done.key)

    def probe(
        self,
        dataset: str,
        backbone: Backbone,
        head: Any = None,
        *,
        protocol: Protocol = "paper",
        feature: str | None = None,
        key: str | None = None,
        seed: int = 0,
        label: str = "label",
        split: str = "split",
        hyperparameters: Mapping[str, Any] | None = None,
        on_error: Literal["stop", "skip"] = "stop",
    ) -> Run:
        """Train one head on cached embeddings, unless that is done.

        Parameters
        ----------
        dataset, backbone : str
            As in `extract`.
        head : str or classifier, optional
            `logistic`, `adam`, `knn`, `centroid` or `majority`, or any classifier of scikit-learn;
            the protocol's if None.
        feature, key : str, optional
            Which embeddings, where several were extracted: by feature, or by the first digits of
            the store's key.
        label, split : str
            Columns of the manifest.
        seed : int
            For heads that depend on one: `adam`, and classifiers with a `random_state`.
        hyperparameters : mapping, optional
            Instead of the head's own; validation chooses from a list.
        on_error : str
            `stop` where an image has no embedding, or `skip` it.

        Examples
        --------
        >>> frozen = ws.probe("mine", "effnet-lite0", "logistic")
        >>> frozen.path.parent.as_posix()
        'frostline-workspace/predictions'
        >>> frozen.predictions.table["prediction"].isin(["sick", "well"]).all()
        np.True_
        """
        from frostline.probe.run import Source, probe_head
        from frostline.protocols import PROTOCOL_HEADS, check_protocol

        chosen = PROTOCOL_HEADS[check_protocol(protocol)] if head is None else head
        _check_probe(chosen, seed, on_error)
        run, _ = probe_head(
            self.paths,
            dataset,
            _network(backbone).backbone_name,
            head=chosen,
            hyperparameters=hyperparameters,
            seed=seed,
            protocol=protocol,
            source=Source(feature, key, label, split, "skip" if on_error == "skip" else "error"),
        )
        return self._run(run)

    def sweep(
        self,
        file: PathLike | None = None,
        *,
        jobs: int | None = None,
        scheduler: str | None = None,
        **fields: Any,
    ) -> Sweep:
        """Train many heads on cached embeddings.

        Parameters
        ----------
        file : path, optional
            YAML file of a sweep.
        jobs : int, optional
            Processes; one for each core if None.
        scheduler : str, optional
            Address of a Dask scheduler, `tcp://HOST:PORT`.
        **fields
            Fields of a sweep (docs/sweeps.md), instead of those of the file: `datasets`,
            `backbones`, `heads`, `train_groups`, ….

        Examples
        --------
        >>> tried = ws.sweep(datasets=["mine"], backbones=["effnet-lite0"], heads=["knn"], jobs=1)
        >>> len(tried.runs)
        1
        """
        from frostline.console import progress
        from frostline.probe.sweep.run import run_sweep
        from frostline.probe.sweep.settings import parse_sweep, read_sweep
        from frostline.results import Sweep

        if file is None:
            chosen = parse_sweep(fields, "The fields of sweep")
        else:
            chosen = read_sweep(Path(file), fields)
        with progress(f"Sweep {chosen.name}", "heads") as update:
            found = run_sweep(self.paths, chosen, jobs=jobs, scheduler=scheduler, progress=update)
        return Sweep.of(self.paths, found)

    def finetune(
        self,
        dataset: str,
        backbone: Backbone,
        *,
        unfreeze: str | int = "all",
        protocol: Protocol = "paper",
        feature: str | None = None,
        weights: PathLike = "pretrained",
        image_size: int | None = None,
        seed: int = 0,
        label: str = "label",
        split: str = "split",
        machine: Machine | None = None,
        **recipe: Any,
    ) -> Run:
        """Train backbone and head, unless that is done.

        Parameters
        ----------
        dataset, backbone, feature, weights, image_size, machine
            As in `extract`; a `Network` has further fields, such as the seed of random weights.
        unfreeze : str or int
            How much of the backbone trains: `none`, its last N blocks, or `all`.
        protocol : str
            `paper` or `standard`: geometry, and every field of the recipe that is not given.
        label, split : str
            Columns of the manifest.
        **recipe
            Fields of the recipe to replace: `epochs`, `lr`, `batch_size`, `augmentation`, …
            (docs/finetuning.md).

        Examples
        --------
        >>> tuned = ws.finetune("mine", "effnet-lite0", unfreeze=1, epochs=1)
        >>> tuned.model.training
        False
        """
        from frostline import stages
        from frostline.console import say_epoch

        given = {"feature": feature, "protocol": protocol, "image_size": image_size}
        run, _ = stages.finetune(
            self.paths,
            dataset,
            _network(backbone, weights=os.fspath(weights), **given),
            unfreeze=str(unfreeze),
            machine=machine or self.machine,
            seed=seed,
            columns=stages.Columns(label, split),
            changes=recipe,
            on_epoch=say_epoch if self.verbose else None,
        )
        return self._run(run)

    def predict(
        self,
        run: Run | str,
        images: PathLike | Iterable[PathLike],
        *,
        slices: tuple[int | None, int | None] = (None, None),
        mask: PathLike | None = None,
        min_roi: int = 30,
        aggregate: Literal["none", "mean"] = "none",
        weights: PathLike | None = None,
        head_weights: PathLike | None = None,
        module: nn.Module | None = None,
        machine: Machine | None = None,
    ) -> Predictions:
        """Apply a run to new images.

        Parameters
        ----------
        run : Run or str
            A run, its id or the beginning of it, or a folder with its model.
        images : path or paths
            Images, folders, NIfTI or DICOM files.
        slices : (int, int)
            First axial slice of volumes and the one behind the last; None for no bound.
        mask : path, optional
            Volume that marks slices of the one volume given, those with more than `min_roi` pixels.
        aggregate : str
            `mean`: one row for each file, by its slices' mean probabilities.
        weights, head_weights : path, optional
            Files of a probe's backbone and its head for `imagenet-logits`.
        module : torch.nn.Module, optional
            For a run that fine-tuned a module of your own: one like it, whatever its weights.

        Examples
        --------
        >>> new = ws.predict(frozen, "images/sick")
        >>> len(new.table)
        12
        """
        from frostline.apply.load import Weights, load_run
        from frostline.apply.new_images import Slices
        from frostline.apply.predict import predict_images
        from frostline.console import progress
        from frostline.report import Predictions
        from frostline.stages import Machine

        machine = machine or self.machine or Machine()
        files = Weights(_text(weights), _text(head_weights), module)
        found = load_run(self.paths, _run_name(run), device=machine.resolve()[0], weights=files)
        with progress("Predicting") as update:
            done = predict_images(
                found,
                _paths(images),
                slices=Slices(*slices, None if mask is None else Path(mask), min_roi),
                aggregate=aggregate,
                on_error=machine.on_error,
                progress=update,
            )
        _warn_of(done.skipped)
        return Predictions(done.table, done.meta)

    def export(
        self,
        run: Run | str,
        path: PathLike | None = None,
        *,
        overwrite: bool = False,
        weights: PathLike | None = None,
        head_weights: PathLike | None = None,
        module: nn.Module | None = None,
    ) -> Path:
        """Write a run as one ONNX file, from pixels to probabilities, and compare it with PyTorch.

        Parameters
        ----------
        run, weights, head_weights, module
            As in `predict`.
        path : path, optional
            `RUN.onnx` if not given; returned.
        overwrite : bool
            Replace that file if it is there.
        """
        from frostline.apply.load import Weights, load_run
        from frostline.apply.onnx import export_onnx
        from frostline.cache.errors import InputError

        found = load_run(
            self.paths,
            _run_name(run),
            weights=Weights(_text(weights), _text(head_weights), module),
        )
        target = Path(path or f"{found.run}.onnx")
        if target.exists() and not overwrite:
            raise InputError(f"{target} is there: give another path, or overwrite=True.")
        export_onnx(found, target)
        return target

    def run(
        self,
        study: PathLike,
        *,
        data: PathLike | None = None,
        only: str | Sequence[str] = (),
        settings: str | Sequence[str] = (),
        jobs: int = 1,
        shard: tuple[int, int] | None = None,
        with_images: bool = False,
    ) -> Report:
        """Run a study: do every step that is not done yet, and write its report.

        Parameters
        ----------
        study : path or str
            A study file, or the name of a built-in study.
        data : path, optional
            Folder that the study's roots are relative to.
        only : str or sequence of str
            Patterns of runs, such as `chest/*/frozen`; all runs without any.
        settings : str or sequence of str
            `FIELD=VALUE` to replace fields of the study.
        jobs : int
            Processes that share the work. More than one start the script again: call this under
            `if __name__ == "__main__":`.
        shard : (int, int), optional
            `(i, n)`: only share i of n of the runs, counted from 0.
        with_images : bool
            Show the images that were most confidently wrong on the page.

        Raises
        ------
        InputError
            If a run failed, after all others are done.

        Examples
        --------
        >>> report = ws.run("study.yaml")
        >>> report.page.as_posix()
        'frostline-workspace/reports/small/index.html'
        """
        from frostline.cache.errors import InputError
        from frostline.results import Report
        from frostline.study.demo import study_data
        from frostline.study.file import read_study
        from frostline.study.runner import run_study

        folder = study_data(os.fspath(study), Path(data) if data else None, self.paths)
        chosen = read_study(Path(study), data=folder, settings=_several(settings))
        how: dict[str, Any] = {"jobs": jobs, "shard": shard, "with_images": with_images}
        outcome = run_study(self.paths, chosen, only=_several(only), **how)
        if outcome.failed:
            name, sentence = next(iter(outcome.failed.items()))
            count = f"{len(outcome.failed)} run{'s' if len(outcome.failed) > 1 else ''}"
            raise InputError(f"{count} failed; the first is {name}: {sentence}")
        runs = [self._run(path.stem) for path in outcome.predictions]
        return Report(outcome.report, runs)

    def report(
        self,
        study: PathLike,
        *,
        settings: str | Sequence[str] = (),
        with_images: bool = False,
    ) -> Report:
        """Write tables, figures and page of a study again, from the predictions of its last run.

        Parameters
        ----------
        study, settings, with_images
            As in `run`.
        """
        from frostline.results import Report
        from frostline.study.file import read_study
        from frostline.study.results import report_study, reported_runs

        chosen = read_study(Path(study), settings=_several(settings))
        folder = report_study(self.paths, chosen, with_images=with_images)
        names, failed = reported_runs(folder)
        return Report(folder, [self._run(name) for name in names], failed)

    def backbones(self) -> pd.DataFrame:
        """List the backbones; the same as `frostline.backbones()`."""
        return backbones()

    def _run(self, name: str) -> Run:
        from frostline.results import run_at

        return run_at(self.paths, name)


def backbones() -> pd.DataFrame:
    """List the backbones with short names, and which weights are on this machine.

    Returns
    -------
    DataFrame
        `backbone`, `library`, `parameters`, `dim` (length of the embedding), `features`, `weights`.

    Examples
    --------
    >>> list(frostline.backbones().columns)
    ['backbone', 'library', 'parameters', 'dim', 'features', 'weights']
    """
    import pandas as pd

    from frostline.extract.backbones.listing import list_backbones

    rows = [
        {
            "backbone": row.name,
            "library": row.library,
            "parameters": row.parameters,
            "dim": row.dim,
            "features": ", ".join(row.features),
            "weights": "at hand" if row.at_hand else "to be fetched",
        }
        for row in list_backbones()
    ]
    return pd.DataFrame(rows)


def _network(backbone: Backbone, **given: Any) -> Network:
    """Make a network of a name or a module; one that is given says all about itself."""
    from dataclasses import fields

    from frostline.cache.errors import InputError
    from frostline.stages import Network

    if not isinstance(backbone, Network):
        # A module is known by its state: torch is not imported for a name.
        if not (isinstance(backbone, str) or hasattr(backbone, "state_dict")):
            raise InputError(
                "A backbone is a name, a torch.nn.Module or a frostline.Network, not "
                f"{backbone!r}: `frostline backbones` lists the names."
            )
        return Network(backbone, **given)
    defaults = {field.name: field.default for field in fields(Network)}
    for name, value in given.items():
        if value != defaults[name]:
            raise InputError(f"A Network has its own {name}: set it there, or give a name.")
    return backbone


def _check_probe(head: Any, seed: int, on_error: str) -> None:
    from frostline.cache.errors import InputError
    from frostline.probe.heads.registry import find_head

    # The same head under another seed would be a second run of it, with equal numbers.
    if seed and isinstance(head, str) and not find_head(head).seeded:
        raise InputError(f"Head {head!r} does not depend on a seed: leave seed out.")
    if on_error not in ("stop", "skip"):
        raise InputError(f"There is no on_error {on_error!r}: choose stop or skip.")


def _warn_of(skipped: Iterable[str]) -> None:
    for sentence in skipped:
        warnings.warn(f"Skipped: {sentence}", stacklevel=3)


def _paths(given: PathLike | Iterable[PathLike]) -> list[Path]:
    return [Path(path) for path in ([given] if isinstance(given, str | os.PathLike) else given)]


def _run_name(run: Run | str) -> str:
    return run if isinstance(run, str) else run.id


def _several(texts: str | Sequence[str]) -> Sequence[str]:
    return [texts] if isinstance(texts, str) else texts


def _text(path: PathLike | None) -> str | None:
    return None if path is None else os.fspath(path)
